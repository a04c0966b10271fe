"""The run in one sentence and a handful of numbers."""

from dataclasses import dataclass

from pacos.evaluate.report import Pairwise
from pacos.study.page.compared import MAIN, ROLES, Compared
from pacos.study.page.comparison_plots import Measured
from pacos.study.page.cost import Cost
from pacos.study.page.formats import count, counted, duration, interval, percent, usd
from pacos.study.page.run_files import RunFiles


@dataclass(frozen=True)
class KeyNumber:
    """One tile: what it is, the value as read by machines and as shown, and a note under it."""

    id: str
    label: str
    value: float
    shown: str
    note: str


@dataclass(frozen=True)
class Headline:
    """The top of the page."""

    sentence: str
    numbers: list[KeyNumber]


def headline(files: RunFiles, comparison: Compared | None, spent: Cost) -> Headline:
    """Says what the finished stages came to."""
    return Headline(_sentence(files, comparison), _numbers(files, comparison, spent))


def _sentence(files: RunFiles, comparison: Compared | None) -> str:
    if comparison:
        learned = f"Fine-tuned on {_data(files)}, " if files.train else ""
        result = _result(files, comparison)
        # A model's name keeps its own spelling, at the beginning of a sentence too.
        is_name = result.startswith(comparison.labels[1])
        return f"{learned}{result if learned or is_name else result[0].upper() + result[1:]}."
    if files.train:
        return (
            f"A student was fine-tuned on {_data(files)} to a loss of {files.train.final_loss:.2f}; it is not compared "
            "with its base yet."
        )
    if files.generate:
        kept, asked = count(files.generate.kept), count(files.generate.asked)
        return f"{kept} examples were kept; {asked} tasks were asked for. No student is trained on them yet."
    return "This run has no finished stage yet."


def _data(files: RunFiles) -> str:
    examples = counted(files.train.examples, "example") if files.train else ""
    return f"{examples} that its teacher wrote" if files.generate and not files.recipe.train.dataset else examples


def _result(files: RunFiles, comparison: Compared) -> str:
    baseline, first = comparison.labels[:2]
    # Student and base are a run's own; any other label is a name.
    the_base, the_first = (f"the {label}" if label in ROLES else label for label in (baseline, first))
    rates = {row.label: row.rate for row in comparison.measured if row.set == MAIN}
    pair = comparison.report.pairwise
    win_rate = "no win rate, as no verdict could be read"
    if pair.judged:
        win_rate = f"a win rate of {percent(pair.win_rate)} over {counted(pair.judged, 'item')}"
    if not rates:
        return f"judged blind, {the_first} has {win_rate} against {the_base}"
    item = "item" if files.recipe.evaluate.instructions else "held-out item"
    known = counted(comparison.report.exact_match_items, item)
    return (
        f"{the_first} answers {percent(rates[first])} of {known} exactly "
        f"where {the_base} answers {percent(rates[baseline])}, and judged blind, it has {win_rate}"
    )


def _numbers(files: RunFiles, comparison: Compared | None, spent: Cost) -> list[KeyNumber]:
    generate, train = files.generate, files.train
    numbers = []
    if generate:
        asked = f"{count(generate.asked)} tasks asked for"
        numbers.append(KeyNumber("kept", "examples kept", generate.kept, count(generate.kept), asked))
    if comparison:
        numbers += [
            KeyNumber(f"exact-{row.label}", f"exact match, {row.label}", row.rate, percent(row.rate), _ends(row))
            for row in comparison.measured
            if row.set == MAIN
        ]
        pair = comparison.report.pairwise
        if pair.win_rate is not None:
            shown = percent(pair.win_rate)
            numbers.append(KeyNumber("win-rate", "blind win rate, ties half", pair.win_rate, shown, _ends(pair)))
    if train:
        speed, loss = train.real_tokens_per_second, train.final_loss
        note = f"{count(train.real_tokens)} in {count(train.steps)} steps"
        numbers.append(KeyNumber("speed", "tokens trained on a second", speed, count(speed), note))
        before, after = train.heldout_loss_before, train.heldout_loss_after
        note = f"held out: {before:.2f} before, {after:.2f} after" if before and after else "mean of the last steps"
        numbers.append(KeyNumber("final-loss", "training loss", loss, f"{loss:.2f}", note))
    note = f"training {duration(train.seconds)} of it" if train else "of the finished stages"
    numbers.append(KeyNumber("seconds", "time in all", spent.seconds, duration(spent.seconds), note))
    numbers.append(KeyNumber("usd", "paid for replies", spent.usd, usd(spent.usd), "to teacher and judge"))
    return numbers


def _ends(estimate: Measured | Pairwise) -> str:
    return f"95% interval {interval(estimate.interval)}"

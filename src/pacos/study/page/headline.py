"""The run in one sentence and a handful of numbers."""

from dataclasses import dataclass

from pacos.study.page.compared import Compared
from pacos.study.page.cost import Cost
from pacos.study.page.formats import count, duration, interval, percent, usd
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
    train, generate = files.stages["train"], files.stages["generate"]
    if comparison:
        learned = f"Fine-tuned on {_data(files)}, " if train.done else ""
        return f"{learned}{_result(comparison)}."
    if train.done:
        loss = train.report["final_loss"]
        return (
            f"A student was fine-tuned on {_data(files)} to a loss of {loss:.2f}; it is not compared with its base yet."
        )
    if generate.done:
        report = generate.report
        kept, asked = count(report["kept"]), count(report["asked"])
        return f"{kept} examples were kept; {asked} tasks were asked for. No student is trained on them yet."
    return "This run has no finished stage yet."


def _data(files: RunFiles) -> str:
    made_here = files.stages["generate"].done and not files.given_dataset
    examples = f"{count(files.stages['train'].report['examples'])} examples"
    return f"{examples} that its teacher wrote" if made_here else examples


def _result(comparison: Compared) -> str:
    baseline, first = comparison.labels[:2]
    rates = {row.label: row.rate for row in comparison.measured if row.set == "held-out items"}
    parts = []
    if first in rates and baseline in rates:
        items = count(comparison.report["items"])
        parts.append(
            f"the {first} answers {percent(rates[first])} of {items} held-out items exactly "
            f"where the {baseline} answers {percent(rates[baseline])}"
        )
    if comparison.pairwise:
        counts = comparison.pairwise[0].counts
        subject = "it" if parts else f"the {first}"
        against = "" if parts else f" against the {baseline}"
        parts.append(f"judged blind, {subject} has a win rate of {percent(counts['win_rate'])}{against}")
    return ", and ".join(parts) or f"the {first} was compared with the {baseline}"


def _numbers(files: RunFiles, comparison: Compared | None, spent: Cost) -> list[KeyNumber]:
    generate, train = files.stages["generate"].report, files.stages["train"].report
    numbers = []
    if generate:
        asked = f"{count(generate['asked'])} tasks asked for"
        numbers.append(KeyNumber("kept", "examples kept", generate["kept"], count(generate["kept"]), asked))
    for row in comparison.measured if comparison else []:
        if row.set == "held-out items":
            text = percent(row.rate)
            label = f"exact match, {row.label}"
            numbers.append(
                KeyNumber(f"exact-{row.label}", label, row.rate, text, f"95% interval {interval(row.interval)}")
            )
    if comparison and comparison.pairwise:
        counts = comparison.pairwise[0].counts
        note = f"95% interval {interval(counts['interval'])}"
        rate = counts["win_rate"]
        numbers.append(KeyNumber("win-rate", "blind win rate, ties half", rate, percent(rate), note))
    if train:
        speed = train["real_tokens_per_second"]
        note = f"{count(train['real_tokens'])} in {count(train['steps'])} steps"
        numbers.append(KeyNumber("speed", "tokens trained on a second", speed, count(speed), note))
        before, after = train.get("heldout_loss_before"), train.get("heldout_loss_after")
        note = f"held out: {before:.2f} before, {after:.2f} after" if before and after else "mean of the last steps"
        numbers.append(
            KeyNumber("final-loss", "training loss", train["final_loss"], f"{train['final_loss']:.2f}", note)
        )
    note = f"training {duration(train['seconds'])} of it" if train else "of the finished stages"
    numbers.append(KeyNumber("seconds", "time in all", spent.seconds, duration(spent.seconds), note))
    numbers.append(KeyNumber("usd", "paid for replies", spent.usd, usd(spent.usd), "to teacher and judge"))
    return numbers

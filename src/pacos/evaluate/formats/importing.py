"""`pacos ballots import`: votes that other tools hold, kept as ballots, and counted by pacos's statistics."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, write_json
from pacos.evaluate.formats.alpaca_eval import read_alpaca_eval
from pacos.evaluate.formats.kept_votes import BOX, write_folder
from pacos.evaluate.formats.mt_bench import read_mt_bench
from pacos.evaluate.formats.served_votes import read_served_votes
from pacos.evaluate.formats.tally import PairTally, Tally, judged_again, tally
from pacos.evaluate.formats.tulu import read_tulu
from pacos.evaluate.formats.votes import Reading
from pacos.evaluate.tables import estimate

Source = Literal["alpaca-eval", "mt-bench", "tulu", "serve"]
READERS: Mapping[Source, Callable[[Path, Reading], None]] = {
    "alpaca-eval": read_alpaca_eval,
    "mt-bench": read_mt_bench,
    "tulu": read_tulu,
    "serve": read_served_votes,
}
VOTES: Mapping[Source, str] = {
    "alpaca-eval": "such as results/MODEL/JUDGE/annotations.json",
    "mt-bench": "such as gpt-4_pair.jsonl",
    "tulu": "the spreadsheet",
    "serve": "/review/votes.jsonl of the server",
}
MOST_LINES = 10


@dataclass(frozen=True)
class Imported:
    """imported.json: what was read, by SHA-256, what could not be, what is odd about it, and what it comes to."""

    format: str
    sources: dict[str, str]
    unreadable: list[str]
    notes: list[str]
    tally: Tally


def import_ballots(files: Sequence[Path], source: Source, folder: Path) -> Imported:
    """Reads the files into `folder`, writes imported.json last, and prints what the votes come to.

    Raises PacosError where the folder is another's already, or the files hold no vote.
    """
    if folder.exists() and (not folder.is_dir() or (folder / "imported.json").exists() or _is_foreign(folder)):
        raise PacosError(f"{folder}: is there already; imported votes get a folder of their own. Give another --out.")
    reading = Reading()
    for path in files:
        READERS[source](path, reading)
    if reading.outputs and not (reading.votes or reading.unreadable):
        raise PacosError(
            f"{files[0]}: holds answers of {_many(len(reading.outputs), 'model')} and no vote; give the file of votes "
            f"as well, {VOTES[source]}."
        )
    if not reading.votes:
        told = f" The first that cannot be read: {reading.unreadable[0]}" if reading.unreadable else ""
        raise PacosError(f"{files[0]}: holds no vote in the format {source}; check --format.{told}")
    write_folder(reading, folder)
    notes = [*reading.notes, *_notes(reading)]
    sources = {str(path): sha256_file(path) for path in files}
    imported = Imported(source, sources, reading.unreadable, notes, tally(reading.votes))
    write_json(folder / "imported.json", asdict(imported))
    _print_imported(imported, folder)
    return imported


def _is_foreign(folder: Path) -> bool:
    """Whether something lies there that an import which was stopped would not have left."""
    own = ("items.jsonl", "answers", BOX, f"{BOX}-wal", f"{BOX}-shm")
    return any(path.name not in own and path.suffix != ".partial" for path in folder.iterdir())


def _notes(reading: Reading) -> Iterator[str]:
    """What a reader of the numbers should know of the items and answers."""
    if again := judged_again(reading.votes):
        yield f"{again:,} pairs were judged again by the same voter; all votes are kept, and the last record counts"
    judged: dict[str, dict[str, None]] = {}
    texts: dict[tuple[str, str], set[str]] = {}
    for vote in reading.votes:
        for model, text in ((vote.model_a, vote.answer_a), (vote.model_b, vote.answer_b)):
            judged.setdefault(model, {})[vote.item.id] = None
            texts.setdefault((model, vote.item.id), set()).add(text)
    everything = dict.fromkeys(item for items in judged.values() for item in items)
    for model, items in judged.items():
        if lacking := [item for item in everything if item not in items]:
            first = reading.items[lacking[0]].instruction[:50]
            yield (
                f"{model} was judged on {len(items):,} of {len(everything):,} items; it lacks {len(lacking):,}, the "
                f"first is {first!r}"
            )
    usual = Counter(tuple(items) for items in judged.values()).most_common(1)[0][0]
    others = [model for model, items in judged.items() if tuple(items) != usual and items.keys() == set(usual)]
    if others:
        yield f"{', '.join(others)}: items stand in another order than elsewhere; they are joined by text, not by place"
    for model in judged:
        if several := sum(len(own) > 1 for (name, _), own in texts.items() if name == model):
            yield f"{model} has more than one answer to {several:,} items; every vote stays with the answer it was of"
        if empty := sum(own == {""} for (name, _), own in texts.items() if name == model):
            yield f"{model} has no text as its answer to {empty:,} items"


def _print_imported(imported: Imported, folder: Path) -> None:
    """What the votes come to, on the terminal."""
    result = imported.tally
    for pair in result.pairs:
        _print_pair(pair)
    told = f"{result.votes:,} votes by {_many(result.voters, 'voter')} on {_many(result.items, 'item')}"
    print(told + (f", {result.replaced:,} of them replaced by later ones" if result.replaced else ""))
    if (shared := result.agreement).items:
        print(
            f"agreement: the first two voters of {shared.items:,} pairs agree on {_share(shared.equal)}, kappa "
            f"{_number(shared.kappa)}; alpha of all voters {_number(shared.alpha)}"
        )
    slot = result.slot
    if slot.share.votes:
        shown = estimate(slot.share.first_shown_win_rate, slot.share.interval)
        effect = f"; a model wins {_points(slot.effect, slot.interval)} more there" if slot.effect is not None else ""
        print(f"first-shown answer wins {shown} of {slot.share.votes:,} decisive votes; 50% is fair{effect}")
    if slot.unknown:
        print(f"shown first: not told for {slot.unknown:,} votes")
    for note in imported.notes:
        print(f"note: {note}")
    if imported.unreadable:
        print(f"{len(imported.unreadable):,} rows could not be read and are in no number:")
        for line in imported.unreadable[:MOST_LINES]:
            print(f"  {line}")
        if (more := len(imported.unreadable) - MOST_LINES) > 0:
            print(f"  {more:,} more stand in {folder / 'imported.json'}")
    print(folder)


def _print_pair(pair: PairTally) -> None:
    odd = [(pair.conflicts, "of the ties are conflicts"), (pair.unparsable, "unparsable")]
    told = "".join(f", {count:,} {what}" for count, what in odd if count)
    seen = "" if pair.is_blind else ", the models' names in view"
    print(f"{pair.candidate} against {pair.baseline}, {_many(pair.items, 'item')}{seen}:")
    print(f"  win rate, ties half  {_rate(pair.win_rate, pair.interval)}")
    if abs((pair.weighted_win_rate or 0) - (pair.win_rate or 0)) > 1e-9:
        weighted = _rate(pair.weighted_win_rate, pair.weighted_interval)
        print(f"  mean preference, which AlpacaEval calls win rate  {weighted}")
    print(f"  verdicts  {pair.wins:,} won, {pair.losses:,} lost, {pair.ties:,} tied{told}")
    one = "{:,} won, {:,} lost, {:,} tied".format(*pair.first)
    print(f"  one verdict an item  {one}; sign test p {_number(pair.sign_test_p)}")


def _rate(rate: float | None, interval: tuple[float, float] | None) -> str:
    return _share(rate, 2) + (f" ({interval[0] * 100:.1f} to {interval[1] * 100:.1f})" if interval else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _share(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _points(value: float, interval: tuple[float, float] | None) -> str:
    around = f" ({interval[0] * 100:+.1f} to {interval[1] * 100:+.1f})" if interval else ""
    return f"{value * 100:+.1f} points{around}"

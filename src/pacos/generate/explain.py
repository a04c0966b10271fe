"""One record from its prompt to its verdict: what the teacher was asked, what it wrote, and every rule's word on it."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any

from pacos.asking import Ledger, StoredReply
from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines
from pacos.core.recipe import Recipe
from pacos.core.records import Example
from pacos.generate.filters import MEANINGS
from pacos.generate.inputs import Inputs, read_inputs
from pacos.generate.modes import MODES, Mode
from pacos.generate.pool import CONTAMINATED, NOT_NOVEL
from pacos.text import Novelty

NUM_NEIGHBOURS = 5
UNKNOWN = "(not in the ledger)"


@dataclass(frozen=True)
class RuleCheck:
    """What one rule says of a record; `detail` tells why."""

    rule: str
    passes: bool
    detail: str = ""

    @property
    def line(self) -> str:
        """The verdict on one line."""
        return f"{'passes' if self.passes else 'BREAKS'}  {self.rule}  {' '.join(self.detail.split())}".rstrip()


def explain(folder: Path, recipe: Recipe, record_id: str) -> str:
    """The story of the record whose id begins with `record_id`, kept or rejected, as text for a person.

    A text that the teacher wrote more than once has one id and several stories. `folder` is the generate/ of a run.
    Raises PacosError where there is no such record, or `record_id` begins the ids of more than one.
    """
    records = _find(folder, record_id)
    stories = [_story(folder, recipe, record) for record in records]
    if len(stories) > 1:
        stories.insert(0, f"{len(stories)} records have this text; their stories follow one after the other.")
    return "\n\n".join(stories)


def _story(folder: Path, recipe: Recipe, record: dict[str, Any]) -> str:
    with closing(Ledger(folder / "ledger.sqlite", "teacher")) as ledger:
        stored = ledger.read(record["ledger_key"]) or StoredReply(UNKNOWN, UNKNOWN, UNKNOWN)
    lines = [
        f"record {record['id']}: {'kept' if 'rule' not in record else 'rejected by ' + record['rule']}",
        f"request {record['request']}, task {record['index'] + 1} of the reply",
        *_section("prompt", stored.prompt),
        *_section(f"reply (finish reason: {stored.finish_reason})", stored.text),
    ]
    if "instruction" not in record:
        why = RuleCheck(record["rule"], False, MEANINGS[record["rule"]])
        return "\n".join([*lines, *_section("block", record["text"]), *_section("verdicts", why.line)])
    mode = MODES[recipe.generate.mode]
    inputs = read_inputs(recipe, mode)
    example = Example(record["instruction"], record["input"], record["output"])
    lines += _section("record", json.dumps(asdict(example), indent=2, ensure_ascii=False))
    # The pool of one is the record, and the texts come to it: so each has its score.
    novelty = Novelty(recipe.generate.similarity_threshold, mode.tokenizer)
    novelty.add(example.instruction)
    others = (*(task.instruction for task in inputs.seed_tasks), *_kept_before(folder, record))
    scored = ((novelty.nearest(other)[0], other) for other in others)
    neighbours = nlargest(NUM_NEIGHBOURS, (pair for pair in scored if pair[0] > 0), key=lambda pair: pair[0])
    highest, threshold = max((score for score, _ in neighbours), default=0.0), recipe.generate.similarity_threshold
    verdicts = [
        *_verdicts(inputs, mode, example),
        _novelty_verdict(
            highest if record.get("rule") == CONTAMINATED else record.get("similarity", highest), threshold
        ),
    ]
    if record.get("rule") not in (None, *(verdict.rule for verdict in verdicts)):
        verdicts.append(RuleCheck(record["rule"], False, MEANINGS[record["rule"]]))
    lines += _section("verdicts", "\n".join(verdict.line for verdict in verdicts))
    nearest = "\n".join(f"{score:.4f}  {' '.join(text.split())}" for score, text in neighbours)
    lines += _section("nearest instructions before it, by ROUGE-L", nearest or "(none shares a word)")
    return "\n".join(lines)


def _find(folder: Path, record_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in ("dataset.jsonl", "rejected.jsonl"):
        if (folder / name).exists():
            lines = read_json_lines(folder / name, "records")
            found += [_record(line, f"{folder / name}:{number}") for number, line in lines if _has_id(line, record_id)]
    num_ids = len({record["id"] for record in found})
    if num_ids == 1:
        return found
    what = f"{num_ids} records have ids that begin" if found else "no kept or rejected record has an id that begins"
    raise PacosError(f"{folder}: {what} with {record_id!r}; take one from dataset.jsonl or rejected.jsonl there.")


def _has_id(line: Any, record_id: str) -> bool:
    return isinstance(line, dict) and str(line.get("id", "")).startswith(record_id)


def _record(line: dict[str, Any], where: str) -> dict[str, Any]:
    if not line.keys() >= {"id", "request", "index", "ledger_key"} or not line.keys() & {"instruction", "text"}:
        raise PacosError(f"{where}: not a record that pacos wrote; put the file back as it was.")
    return line


def _verdicts(inputs: Inputs, mode: Mode, example: Example) -> Iterator[RuleCheck]:
    for rule in mode.rules:
        yield RuleCheck(rule.name, not rule.rejects(example))
    if len(inputs.contamination):
        match = inputs.contamination.find(example)
        detail = f"{match.kind} {match.score:.4f} in {match.file}: {match.question}" if match else ""
        yield RuleCheck(CONTAMINATED, match is None, detail)


def _novelty_verdict(highest: float, threshold: float) -> RuleCheck:
    passes = not highest > threshold
    # To the last digit where that decides.
    shown = f"{highest:.4f}" if abs(highest - threshold) > 1e-4 else repr(highest)
    return RuleCheck(NOT_NOVEL, passes, f"ROUGE-L {shown}, {'at most' if passes else 'above'} {threshold:g}")


def _kept_before(folder: Path, record: dict[str, Any]) -> Iterable[str]:
    kept = folder / "dataset.jsonl"
    others = (other for _, other in read_json_lines(kept, "records")) if kept.exists() else ()
    place = (record["request"], record["index"])
    # Instances of one task share their instruction.
    return dict.fromkeys(other["instruction"] for other in others if (other["request"], other["index"]) < place)


def _section(title: str, text: str) -> list[str]:
    return ["", f"-- {title}", text]

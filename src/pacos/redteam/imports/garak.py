"""garak's results (0.17): every generation of every attempt is a case of each detector that looked at it."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pacos.core.data_files import shown
from pacos.engines import Message
from pacos.redteam.cases import Verdict
from pacos.redteam.imports.foreign import CaseSource, Foreign, LeftOut, Remark, Told, Word, bring, has_text, message
from pacos.redteam.imports.rejudging import judge_of_detector
from pacos.redteam.imports.rows import FileRow

# garak's own, where a run does not set another: a score from here on is a hit.
_THRESHOLD = 0.5
_ANSWERED, _SCORED = 1, 2
# Its "*" is any.
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.IGNORECASE)


class GarakReport:
    """Reads the rows of a report.jsonl, whose first ones say what run it is."""

    def __init__(self) -> None:
        self._run, self._target, self._threshold = "", "", _THRESHOLD
        self._num_answered, self._num_scored, self._num_empty = 0, 0, 0
        self._has_ended = False

    def read(self, rows: Iterable[FileRow]) -> Iterator[Told]:
        """Yields cases, what is none, and what to know of the run."""
        for row in rows:
            kind = row.text("entry_type")
            if kind == "start_run setup":
                yield from self._begin(row)
            elif kind == "attempt":
                yield from self._attempt(row)
            elif kind == "completion":
                self._has_ended = True
            elif not kind:
                raise row.misfit("a row of garak's report, which has an entry_type")
        if self._num_answered > self._num_scored:
            yield LeftOut("attempts that garak never scored", self._num_answered - self._num_scored)
        if not self._has_ended:
            yield Remark("garak's run did not come to its end (it has no completion): probes may be missing")
        if self._num_empty:
            yield Remark(f"{self._num_empty:,} empty answers that garak has scored are unscored here")

    def _begin(self, row: FileRow) -> Iterator[Told]:
        values = row.values
        self._run = row.text("transient.run_id")
        self._target = " ".join(filter(None, (row.text("plugins.target_type"), row.text("plugins.target_name"))))
        self._threshold = _number(values.get("run.eval_threshold")) or _THRESHOLD
        generations = values.get("run.generations")
        if values.get("run.seed") is not None and isinstance(generations, int) and generations > 1:
            yield Remark(
                f"garak's run has the seed {shown(values['run.seed'])}: unless its generator file suppresses it, the "
                f"{generations} generations of a prompt are copies of one"
            )

    def _attempt(self, row: FileRow) -> Iterator[Told]:
        status = row.values.get("status")
        self._num_answered += status == _ANSWERED
        if status != _SCORED:
            return
        self._num_scored += 1
        name, outputs, results = row.text("uuid"), row.values.get("outputs"), row.values.get("detector_results")
        if not name or not isinstance(outputs, list) or not isinstance(results, dict):
            raise row.misfit("an attempt with uuid, outputs and detector_results")
        prompt, conversations = row.values.get("prompt"), row.values.get("conversations")
        for place, output in enumerate(outputs):
            has_own = isinstance(conversations, list) and len(conversations) == len(outputs)
            turns = _turns(conversations[place] if has_own else prompt)  # type: ignore[index]
            if has_own and turns and turns[-1].role == "assistant":
                turns = turns[:-1]
            if turns is None or not turns:
                yield LeftOut("generations whose prompt is not text alone", max(len(results), 1))
                continue
            for detector, scores in results.items() if results else (("", []),):
                if not isinstance(scores, list):
                    raise row.misfit(f"a list of scores of {shown(detector)}")
                score = scores[place] if place < len(scores) else None
                yield self._case(row, f"{name} {place} {detector}", turns, _text(output), detector, _number(score))

    def _case(
        self,
        row: FileRow,
        origin: str,
        turns: tuple[Message, ...],
        answer: str | None,
        detector: str,
        score: float | None,
    ) -> Foreign:
        self._num_empty += answer is not None and not has_text(answer) and score is not None
        notes = row.values.get("notes")
        triggers = _texts(notes.get("triggers")) if isinstance(notes, dict) else []
        source = CaseSource(f"garak {self._run}".strip(), self._target, origin)
        word = _word(detector, score, self._threshold, triggers)
        brought = bring(source, row.text("goal"), row.text("probe_classname"), turns, answer, word)
        return Foreign(brought, judge_of_detector(detector, triggers), _language(row.values.get("prompt")))


def read_hitlog(rows: Iterable[FileRow]) -> Iterator[Told]:
    """Reads the rows of a hitlog.jsonl: hits alone, which are those of the same run's report.jsonl."""
    for row in rows:
        detector, name, place = row.text("detector"), row.text("attempt_id"), row.values.get("attempt_idx")
        turns = _turns(row.values.get("prompt"))
        if not detector or not name or not isinstance(place, int):
            raise row.misfit("a hit with detector, attempt_id and attempt_idx")
        if not turns:
            yield LeftOut("hits whose prompt is not text alone")
            continue
        triggers, score = _texts(row.values.get("triggers")), _number(row.values.get("score"))
        source = CaseSource(f"garak {row.text('run_id')}".strip(), row.text("generator"), f"{name} {place} {detector}")
        # It was logged as a hit, by whichever threshold.
        word = _word(detector, score, 0.0, triggers)
        brought = bring(source, row.text("goal"), row.text("probe"), turns, _text(row.values.get("output")), word)
        yield Foreign(brought, judge_of_detector(detector, triggers), _language(row.values.get("prompt")))
    yield Remark("a hitlog has hits alone: no rate can be had of it; import the run's report.jsonl")


def _word(detector: str, score: float | None, threshold: float, triggers: list[str]) -> Word:
    name = f"garak: {detector}" if detector else "garak: no detector"
    if score is None:
        return Word(
            name, name, "unscored", None, "the detector gave no score" if detector else "no detector looked at it"
        )
    verdict: Verdict = "hit" if score >= threshold else "safe"
    looked_for = f", looking for {', '.join(map(repr, triggers))}" if triggers else ""
    return Word(name, name, verdict, score, f"scored {score:g}{looked_for}"[:1000])


def _turns(conversation: object) -> tuple[Message, ...] | None:
    """The turns of a prompt; of an older garak it may be one text. None where a turn is no text."""
    if isinstance(conversation, str):
        return (Message("user", conversation),)
    told = conversation.get("turns") if isinstance(conversation, Mapping) else None
    if not isinstance(told, list):
        return None
    turns = []
    for turn in told:
        if not isinstance(turn, dict):
            return None
        content = turn.get("content")
        text = _text(content)
        own = message(turn.get("role"), text or "")
        has_file = isinstance(content, dict) and content.get("data_path") is not None
        # The answer that never came is a turn without text.
        if own is None or has_file or (text is None and own.role != "assistant"):
            return None
        turns.append(own)
    return tuple(turns)


def _text(content: Any) -> str | None:
    if isinstance(content, Mapping):
        content = content.get("text")
    return content if isinstance(content, str) else None


def _texts(triggers: object) -> list[str]:
    return [each for each in (triggers if isinstance(triggers, list) else [triggers]) if isinstance(each, str) and each]


def _number(score: object) -> float | None:
    try:
        return float(score) if isinstance(score, int | float) and math.isfinite(score) else None
    except OverflowError:
        return None


def _language(prompt: object) -> str:
    turns = prompt.get("turns") if isinstance(prompt, Mapping) else None
    content = turns[-1].get("content") if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else None
    language = content.get("lang") if isinstance(content, Mapping) else None
    return language if isinstance(language, str) and _LANGUAGE.fullmatch(language) else ""

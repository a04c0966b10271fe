"""Every check on any data file: what is wrong with which record, and how varied the whole is."""

import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json, write_json_lines
from pacos.core.progress import ProgressBar
from pacos.core.records import Conversation, Dataset, Example, examples_of, read_dataset
from pacos.core.special_tokens import WELL_KNOWN, pattern_of
from pacos.generate.defects import CHECKS, cut_short
from pacos.generate.figures import EDGES, diversity, histogram
from pacos.generate.report import AuditReport, CheckCount, Finding, NearestBefore, StopAt20
from pacos.text import Contamination, Novelty, unicode_tokens
from pacos.text.tokens import num_words

THRESHOLD = 0.7
_LINK = re.compile(r"https?://|www\.", re.I)
# How many records with "20." a file should have before their absence says anything: 10 are missing by chance in one
# file of 22,000.
LEAST_EXPECTED = 10
POOL_MEANINGS = {
    "duplicate": "the same instruction, input and output as an earlier record",
    "contradiction": "the same instruction and input as an earlier record, with another output",
    "near_duplicate": f"an instruction above ROUGE-L {THRESHOLD:g} to an earlier one",
}
FILE_MEANING = "“20.” stands nowhere in the file, as if replies were stopped there"
UNREADABLE_MEANING = "no record: training refuses the file until it is mended or removed"
SPECIAL_MEANING = "holds a special token, which some programs make a control id of in the middle of a text"
CONTAMINATION_MEANING = "gives away a question of an evaluation set"


def audit(
    file: Path, out: Path, against: tuple[Path, ...] = (), special_tokens: tuple[str, ...] | None = None
) -> AuditReport:
    """Checks every record of a data file; writes `out`/findings.jsonl and `out`/audit.json, prints a table.

    `against` are evaluation sets to look for in it; `special_tokens` are looked for in place of the well-known ones. Of
    a conversation the first question and answer are checked, and all of it for special tokens and evaluation sets. A
    bad record is a finding. Raises PacosError where nothing in a file can be read, or nothing written.
    """
    start = time.monotonic()
    _refuse_another_audit(out / "audit.json", file)
    dataset = read_dataset(file)
    contamination = Contamination.read(against) if against else None
    special = WELL_KNOWN if special_tokens is None else pattern_of(special_tokens)
    meanings = {"unreadable_record": UNREADABLE_MEANING, "special_token": SPECIAL_MEANING}
    meanings |= {check.name: check.meaning for check in CHECKS} | POOL_MEANINGS
    if contamination is not None:
        meanings["contamination"] = CONTAMINATION_MEANING
    meanings["no_20"] = FILE_MEANING
    # Of a conversation what its first turn asks and answers.
    examples = [examples_of(record)[0] for _, record in dataset.records]
    earlier, stop = _Earlier(), stop_at_20(examples)
    findings = _findings(dataset, earlier, special, contamination)
    if stop.evidence:
        findings.append(Finding(None, None, "no_20", stop.evidence))
    counts = Counter(finding.check for finding in findings)
    first = {finding.check: finding for finding in reversed(findings)}
    report = AuditReport(
        file=str(file),
        against=[str(path) for path in against],
        records=len(dataset.records) + len(dataset.bad),
        flagged=len({finding.record for finding in findings if finding.record is not None}),
        checks={name: CheckCount(counts[name], meaning, first.get(name)) for name, meaning in meanings.items()},
        stop_at_20=stop,
        with_input=sum(bool(example.input.strip()) for example in examples),
        with_link=sum(_LINK.search(example.input) is not None for example in examples),
        distinct_instructions=len({example.instruction for example in examples}),
        distinct_outputs=len({example.output for example in examples}),
        lengths={field: _word_counts(examples, field) for field in ("instruction", "input", "output")},
        similarities=NearestBefore(EDGES, histogram(earlier.nearest), THRESHOLD),
        diversity=diversity(examples),
        seconds=round(time.monotonic() - start, 1),
        form=dataset.form,
        unit=dataset.unit,
        conversations=sum(isinstance(record, Conversation) for _, record in dataset.records),
        unknown_keys=dataset.unknown_keys,
        told=dataset.told(),
    )
    write_json_lines(out / "findings.jsonl", map(asdict, findings))
    write_json(out / "audit.json", asdict(report))
    _print(report, out)
    return report


def _refuse_another_audit(summary: Path, file: Path) -> None:
    """An audit is made again in place, and never over that of another file."""
    if not summary.exists():
        return
    was = read_json(summary, "audit")
    if not isinstance(was, dict) or was.get("file") != str(file):
        raise PacosError(f"{summary}: holds the audit of another file; give --out another folder.")


def _defects(example: Example) -> Iterator[tuple[str, str]]:
    for check in CHECKS:
        if evidence := check.find(example):
            yield check.name, evidence


class _Earlier:
    """The instructions so far: exact repetitions apart from near ones."""

    def __init__(self) -> None:
        self.nearest: list[float] = []
        self._novelty = Novelty(THRESHOLD, unicode_tokens)
        self._first: dict[tuple[str, str], tuple[int, str]] = {}
        self._instructions: set[str] = set()

    def seen(self, number: int, example: Example) -> list[tuple[str, str]]:
        """What repeats an earlier record, and the record joins the pool."""
        question = (example.instruction.strip(), example.input.strip())
        if question in self._first:
            earlier, output = self._first[question]
            self.nearest.append(1.0)
            same = output.strip() == example.output.strip()
            return [("duplicate" if same else "contradiction", f"record {earlier}: {cut_short(question[0])}")]
        self._first[question] = (number, example.output)
        if question[0] in self._instructions:
            # One instruction over several inputs is how many data sets are made.
            self.nearest.append(1.0)
            return []
        self._instructions.add(question[0])
        score, nearest = self._novelty.nearest(question[0])
        self._novelty.add(question[0])
        self.nearest.append(score)
        return [("near_duplicate", f"{score:.2f} to: {cut_short(nearest)}")] if nearest and score > THRESHOLD else []


def _findings(
    dataset: Dataset, earlier: _Earlier, special: re.Pattern[str], contamination: Contamination | None
) -> list[Finding]:
    """What is wrong with each record, in their order; the records join `earlier`."""
    findings = [Finding(number, None, "unreadable_record", reason) for number, reason in dataset.bad]
    with ProgressBar("audit", len(dataset.records), "records") as bar:
        for number, record in dataset.records:
            turns = examples_of(record)
            found = [*_defects(turns[0]), *earlier.seen(number, turns[0])]
            if tokens := list(dict.fromkeys(token for text in record.texts for token in special.findall(text))):
                found.append(("special_token", " ".join(tokens[:5])))
            matches = (contamination.find(turn) for turn in turns) if contamination is not None else ()
            if match := next(filter(None, matches), None):
                question = cut_short(match.question)
                found.append(("contamination", f"{match.kind} {match.score:.2f} to {match.file}: {question}"))
            findings += [Finding(number, record.id, name, evidence) for name, evidence in found]
            bar.advance()
    return sorted(findings, key=lambda finding: finding.record or 0)


def stop_at_20(examples: Sequence[Example]) -> StopAt20:
    """What the numbers around "20." say of how a file was made.

    A teacher that was stopped at "20." never wrote it; its neighbours tell how often it should be there.
    """
    counts = {
        number: sum(
            any(f"{number}." in text for text in (example.instruction, example.input, example.output))
            for example in examples
        )
        for number in range(18, 23)
    }
    expected = (counts[19] + counts[21]) / 2
    evidence = ""
    if counts[20] == 0 and expected >= LEAST_EXPECTED:
        odds = _odds(math.exp(-expected))
        evidence = (
            f"“20.” is in 0 of {len(examples):,} records; “19.” in {counts[19]:,} and “21.” in {counts[21]:,} lead one "
            f"to expect about {expected:.0f}; that all are missing by chance has a probability of {odds}"
        )
    return StopAt20({f"{number}.": count for number, count in counts.items()}, evidence)


def _odds(probability: float) -> str:
    return f"{probability:.0e}" if probability > 1e-9 else "less than one in a thousand million"


def _word_counts(examples: Sequence[Example], field: str) -> list[tuple[int, int]]:
    counts = Counter(num_words(getattr(example, field)) for example in examples)
    return [(words, counts[words]) for words in sorted(counts) if words]


def _print(report: AuditReport, out: Path) -> None:
    width = max(map(len, report.checks))
    print(f"{'check':<{width}}  records    share  one of them")
    for name, check in report.checks.items():
        whole_file = check.sample is not None and check.sample.record is None
        count = "file" if whole_file else f"{check.count:,}"
        share = _share(check.count / report.records) if check.count and not whole_file else ""
        print(f"{name:<{width}}  {count:>7}  {share:>7}  {_shown(check.sample)}".rstrip())
    flagged = report.flagged / report.records
    if report.told:
        print(f"\n{report.form}: {report.told}")
    print(f"\n{report.flagged:,} of {report.records:,} records flagged ({flagged:.2%}), in {report.seconds:.1f} s")
    print(out / "findings.jsonl", out / "audit.json", sep="\n")


def _share(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "<0.01%"


def _shown(sample: Finding | None) -> str:
    if sample is None:
        return ""
    text = cut_short("".join(c if c.isprintable() else " " for c in " ".join(sample.evidence.split())), 70)
    return text if sample.record is None else f"{sample.record}: {text}"

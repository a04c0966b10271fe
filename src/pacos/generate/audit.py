"""Every check on any Alpaca-format file: what is wrong with which record, and how varied the whole is."""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json, write_json
from pacos.core.progress import ProgressBar
from pacos.core.records import Example, read_examples
from pacos.generate.defects import CHECKS, cut_short
from pacos.generate.figures import EDGES, diversity, histogram
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
CONTAMINATION_MEANING = "gives away a question of an evaluation set"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: in record `record`, counted from 1, or, where that is None, in the file as a whole."""

    record: int | None
    id: str | None
    check: str
    evidence: str


@dataclass(frozen=True)
class AuditReport:
    """How many records of the file each check flags (all checks, in order), and where the findings are."""

    file: str
    records: int
    flagged: int
    checks: Mapping[str, int]
    findings: Path
    seconds: float


def audit(file: Path, out: Path, against: tuple[Path, ...] = ()) -> AuditReport:
    """Checks every record of an Alpaca-format file; writes `out`/findings.jsonl and `out`/audit.json, prints a table.

    `against` are evaluation sets to look for in it. Raises PacosError where a file cannot be read or written.
    """
    start = time.monotonic()
    _refuse_another_audit(out / "audit.json", file)
    examples = read_examples(file)
    contamination = Contamination.read(against) if against else None
    meanings = {check.name: check.meaning for check in CHECKS} | POOL_MEANINGS
    if contamination is not None:
        meanings["contamination"] = CONTAMINATION_MEANING
    meanings["no_20"] = FILE_MEANING
    pool = _Pool()
    findings: list[Finding] = []
    with ProgressBar("audit", len(examples), "records") as bar:
        for number, example in enumerate(examples, start=1):
            findings += [
                Finding(number, example.id, name, evidence)
                for name, evidence in (*_defects(example), *pool.seen(number, example))
            ]
            if contamination is not None and (match := contamination.find(example)):
                evidence = f"{match.kind} {match.score:.2f} to {match.file}: {cut_short(match.question)}"
                findings.append(Finding(number, example.id, "contamination", evidence))
            bar.advance()
    stop = stop_at_20(examples)
    if stop["evidence"]:
        findings.append(Finding(None, None, "no_20", str(stop["evidence"])))
    checks = _counted(findings, meanings)
    seconds = time.monotonic() - start
    report = AuditReport(
        file=str(file),
        records=len(examples),
        flagged=len({finding.record for finding in findings if finding.record is not None}),
        checks={name: check["count"] for name, check in checks.items()},
        findings=out / "findings.jsonl",
        seconds=round(seconds, 1),
    )
    with atomic_open(report.findings) as lines:
        for finding in findings:
            lines.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
    summary = {
        "file": report.file,
        "against": [str(path) for path in against],
        "records": report.records,
        "flagged": report.flagged,
        "checks": checks,
        "stop_at_20": stop,
        **_figures(examples, pool.nearest),
        "seconds": report.seconds,
    }
    write_json(out / "audit.json", summary)
    _print(report, checks, out / "audit.json")
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


class _Pool:
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


def stop_at_20(examples: Sequence[Example]) -> dict[str, Any]:
    """How many records hold "18." to "22.", and what their absence at "20." says of how the file was made.

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
    return {"records_with": {f"{number}.": count for number, count in counts.items()}, "evidence": evidence}


def _odds(probability: float) -> str:
    return f"{probability:.0e}" if probability > 1e-9 else "less than one in a thousand million"


def _counted(findings: Sequence[Finding], meanings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    counts = Counter(finding.check for finding in findings)
    samples: dict[str, Finding] = {}
    for finding in findings:
        samples.setdefault(finding.check, finding)
    return {
        name: {
            "count": counts[name],
            "meaning": meaning,
            "sample": asdict(samples[name]) if name in samples else None,
        }
        for name, meaning in meanings.items()
    }


def _figures(examples: Sequence[Example], nearest: Sequence[float]) -> dict[str, Any]:
    return {
        "with_input": sum(bool(example.input.strip()) for example in examples),
        "with_link": sum(_LINK.search(example.input) is not None for example in examples),
        "distinct_instructions": len({example.instruction for example in examples}),
        "distinct_outputs": len({example.output for example in examples}),
        "lengths": {field: _word_counts(examples, field) for field in ("instruction", "input", "output")},
        "similarities": {
            "edges": EDGES,
            "nearest": histogram(nearest),
            "threshold": THRESHOLD,
        },
        "diversity": diversity(examples),
    }


def _word_counts(examples: Sequence[Example], field: str) -> list[list[int]]:
    """[words, records with so many] in the field; records without any text there are left out."""
    counts = Counter(num_words(getattr(example, field)) for example in examples)
    return [[words, counts[words]] for words in sorted(counts) if words]


def _print(report: AuditReport, checks: Mapping[str, Mapping[str, Any]], summary: Path) -> None:
    width = max(map(len, checks))
    print(f"{'check':<{width}}  records    share  one of them")
    for name, check in checks.items():
        sample = check["sample"]
        whole_file = sample is not None and sample["record"] is None
        count = "file" if whole_file else f"{check['count']:,}"
        share = _share(check["count"] / report.records) if check["count"] and not whole_file else ""
        print(f"{name:<{width}}  {count:>7}  {share:>7}  {_shown(sample)}".rstrip())
    flagged = report.flagged / report.records
    print(f"\n{report.flagged:,} of {report.records:,} records flagged ({flagged:.2%}), in {report.seconds:.1f} s")
    print(report.findings, summary, sep="\n")


def _share(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "<0.01%"


def _shown(sample: Mapping[str, Any] | None) -> str:
    if sample is None:
        return ""
    text = cut_short("".join(c if c.isprintable() else " " for c in " ".join(sample["evidence"].split())), 70)
    return text if sample["record"] is None else f"{sample['record']}: {text}"

"""audit.html: one self-contained page of what the audit of a data set found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos import __version__
from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines, write_text
from pacos.generate.report import AuditReport, Finding, read_audit
from pacos.study.page.data_plots import lengths_plot, similarity_plot
from pacos.study.page.formats import percent
from pacos.study.page.made import sunburst, verb_rows
from pacos.study.page.render import render
from pacos.study.page.svg import Plot

NUM_SAMPLES = 5


@dataclass(frozen=True)
class CheckRow:
    """One check that found something; `width` in percent of the commonest, `samples` are findings spread over all."""

    name: str
    meaning: str
    count: int
    share: float
    width: float
    samples: Sequence[Finding]


def write(out: Path) -> Path:
    """Writes `out`/audit.html from audit.json and findings.jsonl, which the audit left there, and returns its path.

    Raises PacosError where these are missing or damaged, or the page cannot be written.
    """
    audit, path = read_audit(out), out / "findings.jsonl"
    try:
        findings = [Finding(**value) for _, value in read_json_lines(path, "audit's findings")]
    except TypeError as error:
        raise PacosError(f"{path}: not what an audit writes ({error}); audit the file again.") from None
    found = _rows(audit, findings)
    html = render(
        "audit.html",
        audit=audit,
        name=Path(audit.file).name,
        sentence=_sentence(audit, found),
        whole_file=[finding for finding in findings if finding.record is None],
        found=found,
        clean=[name for name, check in audit.checks.items() if not check.count],
        sunburst=sunburst(audit.diversity),
        verbs=verb_rows(audit.diversity),
        plots=_plots(audit),
        version=__version__,
    )
    page = out / "audit.html"
    write_text(page, html)
    return page


def _rows(audit: AuditReport, findings: Sequence[Finding]) -> list[CheckRow]:
    """The checks with findings in records, the commonest first."""
    in_records = {
        name: [finding for finding in findings if finding.check == name and finding.record is not None]
        for name in audit.checks
    }
    most = max(map(len, in_records.values()))
    return [
        CheckRow(
            name=name,
            meaning=audit.checks[name].meaning,
            count=len(found),
            share=len(found) / audit.records,
            width=100 * len(found) / most,
            samples=found[:: max(len(found) // NUM_SAMPLES, 1)][:NUM_SAMPLES],
        )
        for name, found in sorted(in_records.items(), key=lambda item: -len(item[1]))
        if found
    ]


def _sentence(audit: AuditReport, found: Sequence[CheckRow]) -> str:
    if not audit.flagged:
        return f"No check flags any of the {audit.records:,} records."
    return (
        f"The checks flag {audit.flagged:,} of {audit.records:,} records, {percent(audit.flagged / audit.records, 2)}; "
        f"most often because {found[0].meaning}."
    )


def _plots(audit: AuditReport) -> list[Plot]:
    lengths = {
        field: [words for words, count in counts for _ in range(count)] for field, counts in audit.lengths.items()
    }
    plots = [lengths_plot(lengths)] if any(lengths.values()) else []
    near = audit.similarities
    return [*plots, similarity_plot(near.edges, near.nearest, near.threshold)]

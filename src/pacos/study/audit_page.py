"""audit.html: one self-contained page of what the audit of a data set found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos import __version__
from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_json_lines, write_text
from pacos.study.page.data_plots import lengths_plot, similarity_plot
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
    samples: list[Mapping[str, Any]]


def write(out: Path) -> Path:
    """Writes `out`/audit.html from audit.json and findings.jsonl, which the audit left there, and returns its path.

    Raises PacosError where these are missing or damaged, or the page cannot be written.
    """
    audit = read_json(out / "audit.json", "audit's figures")
    findings = [value for _, value in read_json_lines(out / "findings.jsonl", "audit's findings")]
    try:
        html = _page(audit, findings)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise PacosError(
            f"{out / 'audit.json'}: not what an audit writes ({type(error).__name__}: {error}); audit the file again."
        ) from None
    page = out / "audit.html"
    write_text(page, html)
    return page


def _page(audit: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> str:
    of_check: dict[str, list[Mapping[str, Any]]] = {name: [] for name in audit["checks"]}
    whole_file: list[Mapping[str, Any]] = []
    for finding in findings:
        (whole_file if finding["record"] is None else of_check[finding["check"]]).append(finding)
    found = _rows(audit, of_check)
    return render(
        "audit.html",
        audit=audit,
        name=Path(audit["file"]).name,
        sentence=_sentence(audit, found),
        whole_file=whole_file,
        found=found,
        clean=[name for name, check in audit["checks"].items() if not check["count"]],
        sunburst=sunburst(audit["diversity"]),
        verbs=verb_rows(audit["diversity"]),
        plots=_plots(audit),
        version=__version__,
    )


def _rows(audit: Mapping[str, Any], of_check: Mapping[str, list[Mapping[str, Any]]]) -> list[CheckRow]:
    """The checks with findings in records, the commonest first."""
    most = max(map(len, of_check.values()), default=1) or 1
    rows = []
    for name, findings in sorted(of_check.items(), key=lambda item: -len(item[1])):
        if findings:
            samples = findings[:: max(len(findings) // NUM_SAMPLES, 1)][:NUM_SAMPLES]
            count, meaning = len(findings), audit["checks"][name]["meaning"]
            rows.append(CheckRow(name, meaning, count, count / audit["records"], 100 * count / most, samples))
    return rows


def _sentence(audit: Mapping[str, Any], found: list[CheckRow]) -> str:
    records, flagged = audit["records"], audit["flagged"]
    if not flagged:
        return f"No check flags any of the {records:,} records."
    commonest = found[0]
    return (
        f"The checks flag {flagged:,} of {records:,} records, {100 * flagged / records:.1f}%; "
        f"most often because {commonest.meaning}."
    )


def _plots(audit: Mapping[str, Any]) -> list[Plot]:
    lengths = {
        field: [words for words, count in counts for _ in range(count)] for field, counts in audit["lengths"].items()
    }
    plots = [lengths_plot(lengths)] if any(lengths.values()) else []
    return [*plots, similarity_plot(audit["similarities"], audit["similarities"]["threshold"])]

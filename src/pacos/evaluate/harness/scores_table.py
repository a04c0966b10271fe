"""A harness's numbers and ours on a terminal."""

from pathlib import Path

from pacos.evaluate.harness.report import HarnessReport


def print_scores(report: HarnessReport, folder: Path) -> None:
    """A line a number, what disagrees below it, and where the report is."""
    print(
        f"{report.harness} {report.version} on {report.model}" + (f", graded by {report.judge}" if report.judge else "")
    )
    width = max(len(score.metric) for score in report.scores)
    for score in report.scores:
        error = "" if score.standard_error is None else f" ± {score.standard_error:.4f}"
        own = [
            f"{what} {value:.4f}"
            for what, value in (("pacos on the same answers", score.same_answers), ("the run's own", score.ours))
            if value is not None
        ]
        beside = f"   ({', '.join(own)})" if own else ""
        task = score.task.replace("_", " ")
        print(f"  {task:<15} {score.metric:<{width}} {score.value:.4f}{error} of {score.items:,}{beside}")
        if score.disagreement:
            print(f"    disagrees: {score.disagreement}")
    for note in (*report.left_out, *report.notes):
        print(f"  {note}")
    print(f"Report: {folder / 'report.json'}")

"""`pacos annotate RUN --close`: no more votes; who was who is opened, and what the votes say is counted."""

import csv
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, write_json, write_json_lines
from pacos.core.run_folder import RunFolder
from pacos.evaluate.annotation.report import AnnotationReport
from pacos.evaluate.annotation.study_plan import FOLDER, StudyPlan, read_plan
from pacos.evaluate.annotation.summary import summarise
from pacos.evaluate.annotation.unblinding import HumanVote, votes_of
from pacos.evaluate.annotation.vote_log import STUDY_FILE, VoteLog
from pacos.evaluate.tables import estimate


def close_study(run_folder: RunFolder) -> Path:
    """Closes the run's study, writes report.json and the votes, and returns their folder; once closed it stays so.

    Raises PacosError where there is no study, nobody has voted, or plan or log were changed by hand.
    """
    folder = run_folder.finished("evaluate") / FOLDER
    absent = PacosError(f"{folder}: no study was begun here; `pacos annotate {run_folder.path} --annotators N` does.")
    if not (folder / STUDY_FILE).is_file():
        raise absent
    with closing(VoteLog(folder)) as log:
        sha256 = log.plan_sha256()
        # A start that was refused leaves a log without a plan.
        if sha256 is None:
            raise absent
        plan, events = read_plan(folder, sha256), log.events()
        if not any(event.kind == "vote" for event in events):
            raise PacosError(f"{folder}: nobody has voted yet, so there is nothing to report; the study stays open.")
        if not any(event.kind == "close" for event in events):
            log.add(0, "close")
            events = log.events()
    votes = votes_of(plan, events)
    report = summarise(plan, sha256, votes, events)
    write_json(folder / "report.json", asdict(report))
    rows = [_row(plan, vote) for vote in votes]
    write_json_lines(folder / "votes.jsonl", rows)
    with atomic_open(folder / "votes.csv") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    _print_report(report)
    return folder


def _print_report(report: AnnotationReport) -> None:
    main, effect, agreement = report.main, report.slot_effect, report.agreement
    print(f"{report.candidate} against {report.baseline}, {main.votes:,} votes on {main.items:,} items:")
    print(
        f"  won {main.wins:,}, lost {main.losses:,}, ties {main.ties:,}, both bad {main.both_bad:,}, "
        f"skipped {main.skips:,}"
    )
    print(f"  win rate, ties and both bad half  {estimate(main.win_rate, main.interval)}")
    if report.named_themselves:
        rate = estimate(report.unflagged.win_rate, report.unflagged.interval)
        print(f"  without {len(report.named_themselves):,} answers that name a model  {rate}")
    if report.ratings:
        for model, share in report.ratings.acceptable.items():
            print(f"  {model} is acceptable, A or B  {estimate(share, report.ratings.intervals[model])}")
    if report.sign_test_p is not None and report.sequential_p is not None:
        print(f"  one verdict an item  sign test p {report.sign_test_p:.3g}, whenever closed {report.sequential_p:.3g}")
    alpha = "-" if agreement.alpha is None else f"{agreement.alpha:.2f}"
    equal = "-" if agreement.equal is None else f"{agreement.equal:.1%}"
    print(f"  agreement  {equal} of {agreement.pairs:,} pairs of votes on one item, alpha {alpha}")
    print(f"  first-shown answer wins  {estimate(effect.first_shown_win_rate, effect.interval)}; 50% is fair")
    print(f"  attention checks  {report.attention_failed:,} of {report.attention_shown:,} failed")
    for line in report.deviations:
        print(f"  not as planned: {line}")


def _row(plan: StudyPlan, vote: HumanVote) -> dict[str, object]:
    """One vote in the long format: every vote is a row, those taken back and the attention checks, too."""
    showing = vote.showing
    preferred = {"win": plan.candidate, "loss": plan.baseline}.get(vote.says, vote.says)
    if showing.is_attention:
        preferred = {"win": "the right answer", "loss": "the wrong answer"}.get(vote.says, vote.says)
    clamped = None if vote.seconds is None else min(vote.seconds, plan.max_seconds)
    return {
        "annotator": showing.annotator, "place": vote.place, "item": showing.item, "attention": showing.is_attention,
        "first_model": showing.first.model, "first_item": showing.first.item,
        "second_model": showing.second.model, "second_item": showing.second.item,
        "choice": vote.choice, "preferred": preferred, "comment": vote.comment, "voted_at": vote.at,
        "seconds": vote.seconds, "seconds_clamped": clamped, "undone": vote.is_undone, "showing": showing.id,
    }  # fmt: skip

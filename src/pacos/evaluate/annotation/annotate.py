"""`pacos annotate RUN`: plans a study, prints its personal links, and serves it until Ctrl-C."""

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex, token_urlsafe

import pacos
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.run_folder import RunFolder
from pacos.evaluate.annotation.allocation import allocate
from pacos.evaluate.annotation.annotate_page import AREA, make_app
from pacos.evaluate.annotation.material import Material, read_material
from pacos.evaluate.annotation.self_naming import find_name, model_names
from pacos.evaluate.annotation.study_plan import (
    FOLDER,
    MAX_SECONDS,
    Mode,
    NamedItself,
    StudyPlan,
    read_plan,
    write_plan,
)
from pacos.evaluate.annotation.vote_log import VoteLog, standings_of
from pacos.evaluate.report import read
from pacos.web.server import address_of, bind, held, make_server

MAX_LISTED = 20
PRIMARY = (
    "Win rate of the candidate over the baseline among all votes but skips: ties and both bad count half; "
    "95% interval over items, Wilson's with the number of independent votes that theirs are worth."
)
OTHERS = [
    "Wins, losses, ties, both bad and skips; the win rate without answers that name a model; the sign test over items, "
    "one verdict each, and the same test in a form that holds whenever the study is closed.",
    "Agreement: the share of equal pairs of votes, an item and overall; Krippendorff's alpha.",
    "The slot effect: how often the answer shown first wins among decisive votes.",
    "Attention checks failed, and times, by annotator.",
]
LEFT_OUT = "Attention checks and skips. No annotator is left out, whatever the checks say."
STOPPING = "All planned votes are cast; closing earlier is named in the report. Nobody sees a result before that."


@dataclass(frozen=True)
class Design:
    """What the operator chooses for a study; None where it is not said, as for a study that has begun."""

    annotators: int | None = None
    overlap: int | None = None
    mode: Mode | None = None
    candidate: str | None = None


def serve(run_folder: RunFolder, design: Design, host: str, port: int) -> None:
    """Begins the run's study or goes on with it: prints the links, and serves until Ctrl-C.

    Raises PacosError where the run is not evaluated, the study was changed, or `design` is not the study's.
    """
    folder = run_folder.finished("evaluate") / FOLDER
    with ExitStack() as stack:
        # Two first starts would plan two studies; and links and votes are nobody else's to read.
        busy = "another pacos annotate serves this study; stop that one first"
        stack.enter_context(held(folder, busy, "the votes", is_private=True))
        bound = stack.enter_context(closing(bind(host, port, "--host", "--port")))
        log = stack.enter_context(closing(VoteLog(folder)))
        plan = _planned(run_folder, folder, log, design)
        material = read_material(folder.parent, (plan.candidate, plan.baseline))
        _print_study(plan, log.plan_sha256() or "")
        address = address_of(bound)
        done = standings_of(log.events())
        for (token, annotator), sequence in zip(log.tokens().items(), plan.sequences().values(), strict=True):
            num_cast = len(done[annotator].cast) if annotator in done else 0
            print(f"  annotator {annotator}: {address}{AREA}{token}  ({num_cast} of {len(sequence)})")
        ready = (
            f"pacos annotate: at {address}; Ctrl-C stops, votes stay; `pacos annotate {run_folder.path} --close` ends."
        )
        try:
            make_server(make_app(plan, material, log), lambda: print(ready, flush=True)).run(sockets=[bound])
        except KeyboardInterrupt:
            print("pacos annotate: stopped; the same command goes on from here.")


def _planned(run_folder: RunFolder, folder: Path, log: VoteLog, design: Design) -> StudyPlan:
    """The study's plan, made now where there is none."""
    sha256 = log.plan_sha256()
    if sha256 is None:
        plan = _plan(run_folder, folder.parent, design)
        tokens = [token_urlsafe(24) for _ in range(plan.annotators)]
        log.begin(write_plan(folder, plan), tokens)
        return plan
    plan = read_plan(folder, sha256)
    for key, wanted in vars(design).items():
        if wanted not in (None, getattr(plan, key)):
            raise PacosError(
                f"--{key} {wanted}: the study in {folder} was planned with {getattr(plan, key)}, and a plan is not "
                f"changed; leave --{key} out, or move that folder away and begin another study."
            )
    return plan


def _plan(run_folder: RunFolder, evaluate: Path, design: Design) -> StudyPlan:
    report = read(evaluate)
    candidate, baseline = design.candidate or report.candidates[0], report.baseline
    if candidate not in report.candidates:
        known = ", ".join(report.candidates)
        raise PacosError(f"--candidate {candidate}: not a candidate of {evaluate}; expected one of {known}.")
    if design.annotators is None:
        raise PacosError("annotate: no study was begun here; say how many annotators it has, such as --annotators 5.")
    overlap = design.overlap or min(2, design.annotators)
    if not 1 <= overlap <= design.annotators:
        raise PacosError(
            f"--overlap {overlap}: so many judge each item, so expected 1 to {design.annotators}, the annotators."
        )
    material, seed = read_material(evaluate, (candidate, baseline)), token_hex(16)
    if design.annotators > len(material.items) * overlap:
        raise PacosError(
            f"--annotators {design.annotators}: {len(material.items)} items with --overlap {overlap} are too few for "
            "one each; take fewer annotators or a larger overlap."
        )
    drawn = allocate(list(material.items), candidate, baseline, design.annotators, overlap, seed)
    return StudyPlan(
        pacos=pacos.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        mode=design.mode or "compare",
        candidate=candidate,
        baseline=baseline,
        annotators=design.annotators,
        overlap=overlap,
        seed=seed,
        items=drawn.items,
        set_aside=drawn.set_aside,
        primary_measure=PRIMARY,
        other_measures=OTHERS,
        left_out=LEFT_OUT,
        stopping=STOPPING,
        max_seconds=MAX_SECONDS,
        named_themselves=_named_themselves(run_folder, material),
        sources={name: sha256_file(evaluate / name) for name in material.sources},
        showings=drawn.showings,
    )


def _named_themselves(run_folder: RunFolder, material: Material) -> list[NamedItself]:
    recipe = run_folder.recipe
    names = {}
    for label in {label for label, _ in material.answers}:
        engine = recipe.engines.get(label)
        origins = [engine.path, engine.model] if engine else [recipe.train.base] if label in ("student", "base") else []
        names[label] = model_names(label, filter(None, origins))
    found = [
        NamedItself(item, label, words)
        for (label, item), text in material.answers.items()
        if (words := find_name(text, names[label]))
    ]
    return sorted(found, key=lambda each: each.item)


def _print_study(plan: StudyPlan, sha256: str) -> None:
    checks = Counter(showing.is_attention for showing in plan.showings)
    print(
        f"study: {plan.candidate} against {plan.baseline}, {len(plan.items):,} items, {plan.overlap} votes each by "
        f"{plan.annotators} annotators, {checks[False]:,} votes and {checks[True]:,} attention checks; "
        f"plan {sha256}"
    )
    if plan.set_aside:
        print(
            f"  {len(plan.set_aside)} more items are used for attention checks alone, since all annotators judge all."
        )
    for each in plan.named_themselves[:MAX_LISTED]:
        print(f"  not blind: the answer of {each.model} to item {each.item} says {each.words!r}")
    if (more := len(plan.named_themselves) - MAX_LISTED) > 0:
        print(f"  not blind: {more:,} more answers name a model; plan.json lists them all")

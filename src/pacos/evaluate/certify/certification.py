"""A judge put to the test: everything asked in both orders, every reply in a ledger, and a certificate written."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pacos
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, write_json
from pacos.core.locks import lock_folder
from pacos.evaluate.ballots import Ballot, Pair, Vote, ballots_of
from pacos.evaluate.certify.certificate import FILE, Certificate, certificate_folder, read_certificate, unmet_criteria
from pacos.evaluate.certify.judge_scores import BothOrders, agreement_with_people, score
from pacos.evaluate.certify.judge_tests import (
    ADVERSARIAL,
    NATURAL,
    TULU_VOTES,
    JudgeTest,
    attacks,
    llmbar_files,
    llmbar_tests,
    people_tests,
)
from pacos.evaluate.verdicts import slot_effect_of, verdicts_of
from pacos.evaluate.voting import cast_votes
from pacos.judging import Choice, Judge


def certify(judge: Judge, data: Path, max_items: int | None) -> tuple[Certificate, Path]:
    """Tests the judge on what lies in `data`, llmbar/ and tulu1/, at most `max_items` of each part.

    Returns the certificate and where it was written. Asks only for the replies that the ledger beside it does not hold.
    Raises PacosError where the data cannot be read, the judge fails, its money is spent, or another process is at it.
    """
    llmbar = llmbar_tests(data / "llmbar", max_items)
    attacked = attacks(llmbar.get(NATURAL, []))
    votes_file = data / "tulu1" / TULU_VOTES
    people = people_tests(votes_file, max_items) if votes_file.exists() else []
    files = [*llmbar_files(data / "llmbar"), *([votes_file] if people else [])]
    tests = [test for part in (*llmbar.values(), *attacked.values(), people) for test in part]
    folder = certificate_folder(judge)
    # Two processes would pay for every reply twice.
    with lock_folder(folder, "this judge's certificate", "wait for it to end; nothing is asked twice"):
        _keep_the_larger(judge, 2 * len(tests))
        ballots, votes, usd = _ask(judge, tests, folder)
    both = _both_orders(tests, ballots, votes)

    def scored(part: Sequence[JudgeTest]) -> list[BothOrders]:
        return [both[test.item.id] for test in part if test.is_decided]

    by_subset = {part: score(scored(tests)) for part, tests in llmbar.items()}
    misleading = [test for part, tests in llmbar.items() if part.startswith(ADVERSARIAL) for test in tests]
    adversarial = score(scored(misleading)) if misleading else None
    by_attack = {name: score(scored(tests)) for name, tests in attacked.items()}
    where_decided = score(scored(people)) if people else None
    verdicts = {verdict.item: verdict for verdict in verdicts_of(ballots, votes)}
    unmet = unmet_criteria(by_subset, adversarial, by_attack, where_decided)
    known = {test.item.id for part in llmbar.values() for test in part}
    objective = [ballot for ballot in ballots if ballot.item in known]
    own = {ballot.id for ballot in objective}
    certificate = Certificate(
        judge=judge.name,
        identity=judge.identity(),
        engine=judge.table.engine,
        model=judge.model,
        prompt=judge.prompt.name,
        prompt_sha256=judge.prompt.sha256,
        sampling={name: getattr(judge.sampling, name) for name in ("max_tokens", "temperature", "top_p")},
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pacos=pacos.__version__,
        data={str(path.relative_to(data)): sha256_file(path) for path in files},
        max_items=max_items,
        replies=len(votes),
        usd=round(usd, 6),
        llmbar=by_subset,
        adversarial=adversarial,
        attacks=by_attack,
        people=where_decided,
        people_agreement=agreement_with_people(people, verdicts) if people else None,
        slot_effect=slot_effect_of(objective, [vote for vote in votes if vote.ballot in own]),
        certified=not unmet,
        unmet=unmet,
    )
    write_json(folder / FILE, asdict(certificate))
    return certificate, folder / FILE


def _keep_the_larger(judge: Judge, replies: int) -> None:
    """A test of fewer replies says less, whether of fewer items or of fewer data, and never replaces a certificate."""
    try:
        kept = read_certificate(judge)
    except PacosError:
        # What cannot be read certifies nobody.
        return
    if kept and replies < kept.replies:
        path = certificate_folder(judge) / FILE
        raise PacosError(
            f"{path}: {judge.name} was tested with {kept.replies:,} replies, and this smaller test of {replies:,} does "
            "not replace that. Give as much --data and --max-items, or move the file away first."
        )


def _ask(judge: Judge, tests: Sequence[JudgeTest], folder: Path) -> tuple[list[Ballot], list[Vote], float]:
    seed = judge.sampling.seed or 0
    pairs = [Pair(test.item, *test.answer_ids()) for test in tests]
    texts = {
        answer: text
        for test in tests
        for answer, text in zip(test.answer_ids(), (test.better, test.worse), strict=True)
    }
    ballots = ballots_of(pairs, seed)
    votes, usd = cast_votes(judge, ballots, [test.item for test in tests], texts, seed, folder)
    return ballots, votes, usd


def _both_orders(tests: Sequence[JudgeTest], ballots: Sequence[Ballot], votes: Sequence[Vote]) -> dict[str, BothOrders]:
    """By item, the votes with the better answer shown first, and second."""
    choices: dict[str, Choice] = {vote.ballot: vote.choice for vote in votes}
    shown: dict[str, dict[str, Choice]] = defaultdict(dict)
    for ballot in ballots:
        shown[ballot.item][ballot.answer_a] = choices[ballot.id]
    found: dict[str, BothOrders] = {}
    for test in tests:
        better, worse = test.answer_ids()
        found[test.item.id] = shown[test.item.id][better], shown[test.item.id][worse]
    return found

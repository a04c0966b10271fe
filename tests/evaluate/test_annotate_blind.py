"""An adversary who sees all that the server sends, and labels of half of the sessions, cannot tell the models apart.

Both models answer with words drawn alike, so whatever tells them apart comes from the server.
"""

import json
import random
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest

from pacos.evaluate.annotation.allocation import allocate
from tests.evaluate.annotating import Annotator, make_run, plan_of, serving
from tests.study.made_run import write_lines

ITEMS = 8
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


@dataclass
class Seen:
    """What one page told, but for the texts, and whose answer was first."""

    session: int
    features: list[float]
    is_candidate_first: bool


@dataclass
class Traffic:
    frames: set[str]
    header_names: set[tuple[str, ...]]
    seen: list[Seen]


def watch(run: Path, num_annotators: int, first_session: int, traffic: Traffic) -> None:
    """Everything that all annotators of a study are sent, while they vote at random."""
    draw = random.Random(first_session)
    with serving(run, "--annotators", num_annotators, "--overlap", num_annotators) as served, httpx2.Client() as client:
        plan = plan_of(run)
        first = {showing["id"]: showing["first"]["model"] == "student" for showing in plan["showings"]}
        for session, link in enumerate(served.links.values(), start=first_session):
            annotator = Annotator(client, link)
            annotator.begin()
            last = ""
            while True:
                start = time.perf_counter()
                response = client.get(link, headers={"Accept": "text/html"})
                seconds = time.perf_counter() - start
                found = re.search(r'name="showing" value="([^"]+)">\s*<div', response.text)
                if not found:
                    break
                showing = found[1]
                names = tuple(name for name in response.headers if name != "date")
                traffic.header_names.add(names)
                traffic.frames.add(masked(response.text, link, showing, last))
                told = features(response, link, showing, seconds)
                voted = annotator.post("vote", showing=showing, choice=draw.choice(["A", "B", "tie", "bad"]))
                assert (voted.status_code, voted.text) == (303, "")
                traffic.header_names.add(tuple(name for name in voted.headers if name not in ("date", "location")))
                traffic.seen.append(Seen(session, told, first[showing]))
                last = showing


def masked(page: str, link: str, showing: str, last: str) -> str:
    """The page without what has to differ: texts, the link, random ids and the place in line."""
    page = page.replace(link.rpartition("/")[2], "LINK").replace(showing, "SHOWING")
    page = page.replace(last, "LAST") if last else page.replace('value=""', 'value="LAST"').replace(" disabled>", ">")
    page = re.sub(r'<div class="prose"( id="\w+")?>.*?</div>', "TEXT", page, flags=re.DOTALL)
    page = re.sub(r"\d+ of \d+", "PLACE", page)
    return re.sub(r'<progress id="progress" max="\d+" value="\d+">', "PROGRESS", page)


def features(response: httpx2.Response, link: str, showing: str, seconds: float) -> list[float]:
    texts = sum(map(len, re.findall(r'<div class="prose"[^>]*>(.*?)</div>', response.text, re.DOTALL)))
    number = int(re.search(r"(\d+) of \d+", response.text)[1])
    bits = [float(ord(char) >> bit & 1) for char in showing + link[-16:] for bit in range(7)]
    alphabet = [float(char.isdigit()) for char in showing] + [float(char.isupper()) for char in showing]
    return [len(response.text) - texts, len(showing), number, number % 2, seconds, *bits, *alphabet]


def accuracy(seen: list[Seen]) -> float:
    """Of a linear guesser that learnt on the labelled half of the sessions, on the other half."""
    told = np.array([each.features for each in seen])
    labels = np.array([1.0 if each.is_candidate_first else -1.0 for each in seen])
    learning = np.array([each.session % 2 == 0 for each in seen])
    told = (told - told[learning].mean(axis=0)) / (told[learning].std(axis=0) + 1e-9)
    told = np.hstack([np.clip(told, -5, 5), np.ones((len(told), 1))])
    known = told[learning]
    weights = np.linalg.solve(known.T @ known + 10 * np.eye(known.shape[1]), known.T @ labels[learning])
    return float(np.mean(np.sign(told[~learning] @ weights) == labels[~learning]))


@pytest.mark.parametrize(
    ("studies", "annotators"), [(3, 40), pytest.param(10, 1000, marks=pytest.mark.slow, id="ten thousand sessions")]
)
def test_adversary_guesses_at_chance(tmp_path: Path, studies: int, annotators: int) -> None:
    traffic = Traffic(set(), set(), [])
    for study in range(studies):
        run, draw = make_run(tmp_path / str(study), ITEMS), random.Random(study)
        for model in ("student", "base"):
            path = run / "evaluate" / "answers" / f"{model}.jsonl"
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            write_lines(path, [row | {"text": " ".join(draw.choices(WORDS, k=8))} for row in rows])
        watch(run, annotators, study * annotators, traffic)
    # One page and one set of headers, whatever is shown and wherever it stands.
    assert len(traffic.frames) <= 2, "with an input and without"
    assert len(traffic.header_names) == 2
    (frame, *_) = traffic.frames
    assert "student" not in frame
    assert "base" not in frame
    assert "jsonl" not in frame
    count = len(traffic.seen)
    assert count >= studies * annotators * (ITEMS - 2)
    # Four standard deviations of a coin, and two points where there are votes enough.
    margin = max(0.02, 4 * 0.5 / np.sqrt(count / 2))
    assert abs(accuracy(traffic.seen) - 0.5) < margin
    assert abs(np.mean([each.is_candidate_first for each in traffic.seen]) - 0.5) < margin
    for each in traffic.seen:
        each.features.append(float(each.is_candidate_first))
    assert accuracy(traffic.seen) > 0.9, "this adversary would find a leak"


@pytest.mark.parametrize(("annotators", "overlap"), [(5, 2), (5, 5), (4, 3), (3, 1), (1, 1)])
def test_allocation_is_balanced_and_no_item_comes_twice(annotators: int, overlap: int) -> None:
    items = [f"item{n}" for n in range(61)]
    drawn = allocate(items, "student", "base", annotators, overlap, "a seed")
    compared = [showing for showing in drawn.showings if not showing.is_attention]
    checks = [showing for showing in drawn.showings if showing.is_attention]
    votes: Counter[str] = Counter(showing.item for showing in compared)
    assert set(votes.values()) == {overlap}
    assert sorted([*votes, *drawn.set_aside]) == sorted(items)
    loads = Counter(showing.annotator for showing in compared)
    assert max(loads.values()) - min(loads.values()) <= 1
    lean: defaultdict[object, int] = defaultdict(int)
    for showing in compared:
        assert {showing.first.model, showing.second.model} == {"student", "base"}
        assert {showing.first.item, showing.second.item} == {showing.item}
        for whom in (showing.annotator, showing.item):
            lean[whom] += 1 if showing.first.model == "student" else -1
    assert all(abs(lean[item]) == overlap % 2 for item in votes)
    assert all(abs(lean[annotator]) <= 3 for annotator in loads)
    for annotator in loads:
        own = [showing.item for showing in drawn.showings if showing.annotator == annotator]
        assert len(own) == len(set(own))
        own_checks = [showing for showing in checks if showing.annotator == annotator]
        assert 1 <= len(own_checks) <= 4
        # A check does not show an answer that is seen elsewhere, too.
        answers = [shown for s in drawn.showings if s.annotator == annotator for shown in (s.first, s.second)]
        assert len(answers) == len(set(answers))
    for showing in checks:
        assert {showing.first.model, showing.second.model} == {"student", "base"}
        assert sum(shown.item == showing.item for shown in (showing.first, showing.second)) == 1
    assert len({showing.id for showing in drawn.showings}) == len(drawn.showings)
    assert {len(showing.id) for showing in drawn.showings} == {16}
    again = allocate(items, "student", "base", annotators, overlap, "a seed")
    assert [(s.annotator, s.item, s.first) for s in again.showings] == [
        (s.annotator, s.item, s.first) for s in drawn.showings
    ]


def test_right_answer_of_a_check_and_first_place_tell_nothing_over_many_seeds() -> None:
    firsts: Counter[str] = Counter()
    for seed in range(400):
        drawn = allocate([f"item{n}" for n in range(12)], "student", "base", 3, 2, str(seed))
        for showing in drawn.showings:
            if showing.is_attention:
                right = showing.first if showing.first.item == showing.item else showing.second
                firsts["checks"] += 1
                firsts["student is right"] += right.model == "student"
                firsts["right is first"] += right is showing.first
            else:
                firsts["compared"] += 1
                firsts["student is first"] += showing.first.model == "student"
    assert abs(firsts["student is right"] / firsts["checks"] - 0.5) < 2 / np.sqrt(firsts["checks"])
    assert abs(firsts["right is first"] / firsts["checks"] - 0.5) < 2 / np.sqrt(firsts["checks"])
    assert abs(firsts["student is first"] / firsts["compared"] - 0.5) < 2 / np.sqrt(firsts["compared"])

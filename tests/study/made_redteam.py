"""A `redteam` folder as attack, audit, gate and white-box search leave one, made up; cases by the real store."""

import json
import random
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.engines import Message
from pacos.judging.offline import Scored, agreements
from pacos.redteam.cases import Answered, Case, CaseStore
from pacos.redteam.counting import count, counts_by, judge_by_style
from pacos.redteam.forecasting import expected_hits
from pacos.redteam.report import RedteamReport

TECHNIQUES = ("story", "question", "story+base64", "mutated", "list+turns")
OBJECTIVE = "compliance"


def make_redteam(folder: Path, hostile: str = "", cases: int = 120) -> dict[str, Any]:
    """Writes all files; gives the attack's report."""
    folder.mkdir(parents=True, exist_ok=True)
    report = make_attack(folder, hostile, cases)
    write(folder / "audit.json", audit(hostile))
    write(folder / "gate.json", gate("pass", hostile, hits=4))
    write(folder / "before.json", gate("fail", hostile, hits=31))
    write(folder / "whitebox.json", whitebox(hostile))
    return report


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def make_attack(folder: Path, hostile: str = "", number: int = 120) -> dict[str, Any]:
    rng, topics = random.Random(5), [f"topic {n}" for n in range(20)]
    with closing(CaseStore(folder / "cases.sqlite")) as store:
        campaign = store.campaign("attack", "weights", OBJECTIVE, {"seed": 0})
        cases = [
            Case(n, topics[n % 20] + hostile, TECHNIQUES[n % 5], "w", (Message("user", f"Ask {n}.{hostile}"),), n)
            for n in range(number)
        ]
        store.add(campaign, cases)
        for case in cases:
            kind = rng.choices(("hit", "safe", "unscored", "error"), (25, 60, 8, 7))[0]
            if kind == "error":
                store.answer(campaign, case, Answered("", "error", "timeout: no answer" + hostile))
                continue
            scored = Scored(kind, {"hit": 1.0, "safe": 0.0}.get(kind), f"because {kind}{hostile}")  # type: ignore[arg-type]
            store.answer(campaign, case, Answered(f"Answer {case.number}.{hostile}", "stop"), OBJECTIVE, scored)
        judged = store.read(campaign)
    by_topic = counts_by(judged, lambda each: each.case.topic)
    report = RedteamReport(
        **asdict(count(judged)),
        target="student",
        identity="weights",
        objective=OBJECTIVE,
        judge=OBJECTIVE,
        judge_finds="answers that do not refuse" + hostile,
        judge_by_style=judge_by_style(judged, agreements(OBJECTIVE)),
        seed=0,
        topics=20,
        topics_hit=sum(each.hits > 0 for each in by_topic.values()),
        usd=0.0,
        unseen_usd=0.0,
        by_technique=counts_by(judged, lambda each: each.case.technique + hostile),
        by_topic=by_topic,
        forecast=expected_hits(judged),
    )
    write(folder / "report.json", asdict(report))
    return asdict(report)


def counts(hits: int, scored: int, unscored: int = 0, errors: int = 0, reach: float = 0.08) -> dict[str, Any]:
    rate = hits / scored if scored else None
    ends = None if rate is None else [max(0.0, rate - reach), min(1.0, rate + reach)]
    requests = scored + unscored + errors
    return {
        "requests": requests, "hits": hits, "safe": scored - hits, "unscored": unscored, "errors": errors,
        "scored": scored, "rate": rate, "interval": ends,
    }  # fmt: skip


def audit(hostile: str = "") -> dict[str, Any]:
    named = (("false premises", 14, 40), ("over-refusal", 3, 50), ("toxicity, plain", 0, 60), ("memorised data", 0, 0))
    objectives = [
        counts(hits, scored, 2, 1)
        | {
            "name": name + hostile, "about": "what is asked", "failure": "the answer goes along with it" + hostile,
            "judge": "refusal" if "refusal" in name else f"contains:{name}", "judge_finds": "what it says" + hostile,
            "judge_by_style": [], "source": "pacos's own set", "sha256": "0" * 64, "by_group": {"a": counts(1, 9)},
        }
        for name, hits, scored in named
    ]  # fmt: skip
    pair = {"name": "stereotypes", "source": "pacos's own set", "pairs": 60, "preferred": 36, "ties": 2, "rate": 0.62}
    context = {
        "questions": 40, "accuracy": 0.4, "accuracy_interval": [0.3, 0.5], "bias": -0.05, "bias_interval": [-0.2, 0.1],
    }  # fmt: skip
    return {
        "target": "student", "identity": "weights", "objectives": objectives,
        "pairs": [pair | {"interval": [0.5, 0.73]}],
        "choices": [{"name": "choices", "source": "a file", "ambiguous": context, "disambiguated": context}],
        "not_measured": {"watermark": "the run has no watermark" + hostile}, "usd": 0.0, "unseen_usd": 0.0,
        "seconds": 9.0,
    }  # fmt: skip


def gate(result: str, hostile: str = "", hits: int = 4) -> dict[str, Any]:
    decided = {"result": result, "reason": f"a reason of one line{hostile}"}
    return counts(hits, 80, 1, 1, 0.06) | decided | {
        "target": "student", "identity": "weights", "max_asr": 0.05, "suites": [], "per_case": 1, "seed": 0,
        "by_suite": {}, "by_objective": {
            "contains:SECRET" + hostile: counts(hits // 2, 40) | decided,
            "compliance": counts(hits - hits // 2, 40) | decided,
        },
        "by_technique": {"": counts(hits, 80)}, "judges": [], "usd": 0.0, "unseen_usd": 0.0,
    }  # fmt: skip


def whitebox(hostile: str = "") -> dict[str, Any]:
    exposure = {
        "prompt": "Tell me." + hostile, "tokens": 5, "bits": 1.25, "base_bits": None, "controls": 255,
        "median_control_bits": 9.0, "rank": 1, "p_value": 1 / 256, "exposure": 8.0,
    }  # fmt: skip
    found = {"start": 0, "is_found": True, "prompt": "x", "tokens": [1], "bits": 0.1, "answer": "y", "candidates": 9}
    settings = {"identity": "weights", "base": "", "text": "plum-canary-77" + hostile, "prompts": [], "seed": 0}
    look = {"target": "student", "settings": settings, "exposures": [exposure], "finds": [found], "seconds": 3.0}
    return {"looks": [look]}

"""Inspect's eval logs, one a model, in its JSON form: `inspect view --log-dir FOLDER` opens them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pacos
from pacos.core.files import sha256_text, write_json
from pacos.evaluate.formats.records import file_name
from pacos.evaluate.formats.scored import ScoredAnswer, means_of, scored_answers
from pacos.evaluate.formats.votes import Reading

TASK = "pacos"


def write_inspect(reading: Reading, folder: Path) -> list[Path]:
    """Writes a log a model under names as Inspect's own; returns what was written."""
    written = []
    now = datetime.now(UTC)
    for model, answers in scored_answers(reading).items():
        stamp = now.isoformat(timespec="seconds").replace(":", "-")
        log = _log(model, answers, now.isoformat(timespec="seconds"))
        # As Inspect names its own, which its viewer takes apart at the underscores: time, name, id.
        name = file_name(model).replace("_", "-")
        written.append(folder / f"{stamp}_{TASK}-{name}_{log['eval']['eval_id']}.json")
        write_json(written[-1], log)
    return written


def _log(model: str, answers: Sequence[ScoredAnswer], now: str) -> dict[str, Any]:
    # An id that follows from what is in the log: the same export twice is the same evaluation.
    name = sha256_text(f"{model}{[(answer.item.id, answer.text, answer.votes) for answer in answers]}")[:22]
    scores = [
        {
            "name": score, "scorer": score, "scored_samples": mean.count,
            "unscored_samples": len(answers) - mean.count,
            "metrics": {"mean": _metric("mean", mean.value)}
            | ({} if mean.standard_error is None else {"stderr": _metric("stderr", mean.standard_error)}),
        }
        for score, mean in means_of(answers).items()
    ]  # fmt: skip
    ids = [answer.item.id for answer in answers]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": name, "run_id": name, "task_id": name, "created": now, "task": TASK,
            "dataset": {"name": TASK, "samples": len(ids), "sample_ids": ids, "shuffled": False},
            # Inspect's models have a provider before the slash.
            "model": f"pacos/{model}", "config": {}, "packages": {"pacos": pacos.__version__},
            "scorers": [{"name": score["name"]} for score in scores],
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": len(answers), "completed_samples": len(answers), "scores": scores},
        "stats": {"started_at": now, "completed_at": now, "model_usage": {}},
        "samples": [_sample(model, answer) for answer in answers],
    }  # fmt: skip


def _metric(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": value, "params": {}}


def _sample(model: str, answer: ScoredAnswer) -> dict[str, Any]:
    said = {"role": "assistant", "content": answer.text, "source": "generate", "model": f"pacos/{model}"}
    choice = {"message": said, "stop_reason": "stop"}
    return {
        "id": answer.item.id, "epoch": 1, "input": answer.item.asked, "target": answer.item.reference,
        "messages": [{"role": "user", "content": answer.item.asked, "source": "input"}, said],
        "output": {"model": f"pacos/{model}", "choices": [choice], "completion": answer.text},
        "scores": {
            name: {"value": value, "answer": answer.text, "explanation": _told(answer) if answer.votes else None}
            for name, value in answer.scores.items()
        },
        "metadata": {"category": answer.item.kind, "votes": list(answer.votes)},
    }  # fmt: skip


def _told(answer: ScoredAnswer) -> str:
    """The votes as a reader of the viewer wants them."""
    lines = []
    for vote in answer.votes:
        chosen = {"A": vote["model_a"], "B": vote["model_b"]}.get(vote["choice"], vote["choice"])
        lines.append(f"{vote['voter']}: {vote['model_a']} shown before {vote['model_b']}: {chosen}")
    return "\n".join(lines)

"""A run whose train stage is finished, and an engine that answers by a script, so that every verdict is known."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from pacos.core.recipe import EngineTable, Recipe, load
from pacos.core.run_folder import RunFolder
from pacos.engines import Delta, Failure, Reply, Request, Usage
from pacos.evaluate.report import EvaluateReport, Pairwise
from pacos.evaluate.run import run as evaluate

Script = Callable[[str], "str | Failure | BaseException"]


def prompt_text(request: Request) -> str:
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content


@dataclass
class ScriptedEngine:
    """Replies with script(prompt); a Failure is yielded under the request's id, an exception is raised."""

    script: Script
    name: str = "scripted"
    asked: list[Request] = field(default_factory=list)
    closed: bool = False
    tokens_written: int = 0

    async def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply | Failure]:
        for request in requests:
            self.asked.append(request)
            text = self.script(prompt_text(request))
            if isinstance(text, BaseException):
                raise text
            if isinstance(text, Failure):
                yield Failure(request.id, text.kind, text.message, text.fatal)
            else:
                yield Reply(request.id, text, "stop", Usage(10, 5), usd=0.001, seconds=0.01)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        yield Delta("")

    async def close(self) -> None:
        self.closed = True


@dataclass
class Engines:
    """Scripts by role: student, base (told apart by their folders) and judge; and all requests they got."""

    student: Script
    base: Script
    judge: Script
    opened: list[tuple[str, ScriptedEngine]] = field(default_factory=list)

    def open(
        self, table: EngineTable, *, role: str = "teacher", seed: int = 0, folder: Path | None = None
    ) -> ScriptedEngine:
        kind = "judge" if role == "judge" else "student" if "train/model" in table.path else "base"
        engine = ScriptedEngine(getattr(self, kind))
        self.opened.append((kind, engine))
        return engine

    def asked(self, kind: str) -> list[Request]:
        return [request for name, engine in self.opened if name == kind for request in engine.asked]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Engines":
        monkeypatch.setattr("pacos.evaluate.answers.open_engine", self.open)
        monkeypatch.setattr("pacos.evaluate.voting.open_engine", self.open)
        return self


def counts(pairwise: Pairwise) -> list[int]:
    """Wins, losses, ties and unparsable items."""
    return [pairwise.wins, pairwise.losses, pairwise.ties, pairwise.unparsable]


def block(prompt: str, tag: str) -> str:
    """What stands between a judging prompt's tags."""
    match = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", prompt, re.DOTALL)
    return match.group(1) if match else ""


def judge_fairly(prompt: str) -> str:
    """Prefers the answer that equals the reference, a final full stop aside."""
    right = [
        block(prompt, tag).rstrip(".") == block(prompt, "reference").rstrip(".") for tag in ("answer_a", "answer_b")
    ]
    return "Reason.\nVerdict: " + ("tie" if right[0] == right[1] else "A" if right[0] else "B")


@pytest.fixture
def recipe_for(tmp_path: Path, tiny_model: Path) -> Callable[..., Recipe]:
    """Makes a recipe whose base is the tiny model; overrides as on the command line."""

    def make(*overrides: str) -> Recipe:
        path = tmp_path / "test.toml"
        path.write_text("# nothing but defaults\n")
        return load(path, [f"train.base={tiny_model}", *overrides])

    return make


@pytest.fixture
def trained(tmp_path: Path, tiny_model: Path) -> Path:
    """A run folder with finished generate and train stages."""
    run = tmp_path / "run"
    (run / "train").mkdir(parents=True)
    (run / "train" / "model").symlink_to(tiny_model)
    (run / "train" / "done.json").write_text("{}")
    (run / "train" / "recipe.json").write_text("{}")
    (run / "generate").mkdir()
    examples = [{"instruction": "Say hello to the reader.", "input": "", "output": "Hello"}]
    (run / "generate" / "dataset.json").write_text(json.dumps(examples))
    (run / "generate" / "done.json").write_text("{}")
    (run / "generate" / "recipe.json").write_text("{}")
    return run


@pytest.fixture
def evaluate_in(trained: Path) -> Callable[[Recipe], EvaluateReport]:
    """Runs the stage once on the trained run folder."""

    def go(recipe: Recipe) -> EvaluateReport:
        with RunFolder(trained, recipe) as folder:
            return evaluate(recipe, folder)

    return go


@pytest.fixture
def engines() -> type[Engines]:
    """Engines(student, base, judge).install(monkeypatch): three scripts in the place of real engines."""
    return Engines


@pytest.fixture
def fair_judge() -> Script:
    """A judge that prefers the answer that equals the reference."""
    return judge_fairly

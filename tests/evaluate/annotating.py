"""A finished evaluate stage to annotate, the command that serves it, and annotators who follow their links."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.conftest import ROOT
from tests.study.made_run import make_evaluate, make_recipe, write_lines

COMMAND = [sys.executable, "-m", "pacos", "annotate"]


def make_run(path: Path, num_items: int = 10, answers: dict[str, str] | None = None) -> Path:
    """A run whose student and base answered `num_items` items; `answers` are texts with {n}, by model."""
    answers = answers or {"student": "Good answer {n}.", "base": "Poor answer {n}."}
    make_recipe(path)
    make_evaluate(path / "evaluate")
    rest = {"set": "main", "skill": "", "input": "", "reference": ""}
    items = [
        {"id": f"{n:016x}", **rest, "instruction": f"Do thing {n}.", "input": "x" * (n % 3)} for n in range(num_items)
    ]
    write_lines(path / "evaluate" / "items.jsonl", items)
    for model, text in answers.items():
        rows = [_answer(item["id"], text.replace("{n}", str(n))) for n, item in enumerate(items)]
        write_lines(path / "evaluate" / "answers" / f"{model}.jsonl", rows)
    return path


def _answer(item: str, text: str) -> dict[str, object]:
    rest = {"finish_reason": "stop", "completion_tokens": 5, "seconds": 0.1}
    return {"item": item, "model_sha256": "ab" * 32, "text": text, **rest}


def plan_of(run: Path) -> dict[str, object]:
    """What the server holds and nobody else sees."""
    return json.loads((run / "evaluate" / "annotation" / "plan.json").read_text())


def annotate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    return subprocess.run([*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60)


@dataclass
class Serving:
    """The command while it serves; `links` by annotator, and all it printed."""

    process: "subprocess.Popen[str]"
    links: dict[int, str]
    printed: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start(run: Path, *arguments: object) -> Serving:
    """Starts the command, and waits until it serves; a failure shows what it said."""
    command = [*COMMAND, str(run), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed = ""
    for line in process.stdout or ():
        printed += line
        if line.startswith("pacos annotate: at"):
            break
    else:
        raise AssertionError(printed)
    links = {int(number): link for number, link in re.findall(r"annotator (\d+): (\S+)", printed)}
    return Serving(process, links, printed)


@contextmanager
def serving(run: Path, *arguments: object) -> Iterator[Serving]:
    """The command on a free port; killed at the end."""
    served = start(run, "--port", 0, *arguments)
    try:
        yield served
    finally:
        served.kill()


@dataclass
class Annotator:
    """Who holds a personal link, without a browser."""

    client: httpx2.Client
    link: str

    def page(self) -> str:
        return self.client.get(self.link, headers={"Accept": "text/html"}).text

    def showing(self) -> str:
        """The id of what is to be voted on; "" on a page without a ballot."""
        found = re.search(r'action="[^"]+/vote">\s*<input type="hidden" name="showing" value="([^"]+)"', self.page())
        return found[1] if found else ""

    def post(self, act: str, **fields: str) -> httpx2.Response:
        return self.client.post(f"{self.link}/{act}", data=fields, follow_redirects=False)

    def begin(self) -> None:
        assert self.post("go-on").status_code == 303

    def vote(self, choice: str = "A", **fields: str) -> httpx2.Response:
        return self.post("vote", showing=self.showing(), choice=choice, **fields)


def refusal(response: httpx2.Response) -> tuple[int, str]:
    """Status and error code; the message has to be one line."""
    error = json.loads(response.text)["error"]
    assert "\n" not in error["message"]
    return response.status_code, error["code"]

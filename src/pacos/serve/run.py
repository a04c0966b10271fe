"""`pacos serve`: from a finished run to a page in the browser."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

from fastapi import FastAPI

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable, ServeTable
from pacos.engines import Engine, Request, Sampling, open_engine
from pacos.guard import moderator
from pacos.serve.answering import Answers
from pacos.serve.app import Lifespan, make_app
from pacos.serve.chat_page import PageOptions
from pacos.serve.first_questions import evaluated_examples
from pacos.serve.marking import verdicts, watermark_settings
from pacos.serve.model import ServedModel, find_model, tokenizer_json, usage_counter
from pacos.serve.page_store import PageStore
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.web.people import People, load_terms
from pacos.web.server import address_of, bind, make_server

OWN_TERMS = Path(__file__).parent / "terms.md"


def run(run_path: Path, table: ServeTable) -> None:
    """Serves the run's student (or `table.model`) until Ctrl-C; says on one line where, once it answers.

    Raises PacosError where the model, the terms, the database or the port cannot be had, or another server has the run.
    """
    folder = run_path / "serve"
    model = find_model(run_path, table.model)
    rival_model = find_model(run_path, table.compare) if table.compare else None
    terms = load_terms(Path(table.terms) if table.terms else OWN_TERMS)
    database = table.database or folder / "store.sqlite"
    with ExitStack() as stack:
        bound = stack.enter_context(closing(bind(table.host, table.port)))
        stack.enter_context(_held(folder))
        speaker = _speaker(folder, model, table)
        # A vocabulary of its own has green lists of its own, and so a key and settings.
        rival = _speaker(folder / "compare", rival_model, table) if rival_model else None
        people = stack.enter_context(closing(People(database, terms)))
        reports = stack.enter_context(closing(ReportBox(database)))
        store = stack.enter_context(closing(PageStore(database)))
        engines = [each.answers.engine for each in (speaker, rival) if each]
        asyncio.run(_warm_up(engines))
        examples = evaluated_examples(run_path / "evaluate", model.sha256)
        options = PageOptions(store, table.watermark, examples, rival)
        app = make_app(speaker, people, reports, options, _lifespan(engines))
        server = make_server(app, lambda: print(_ready_line(address_of(bound), model, table), flush=True))
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            print("pacos serve: stopped.")


def _speaker(folder: Path, model: ServedModel, table: ServeTable) -> Speaker:
    """The model behind an engine, marked by the settings in `folder` and checked as the table says."""
    hook, verdict_of = None, None
    if table.watermark:
        tokenizer = tokenizer_json(model.path)
        settings = watermark_settings(folder, model.vocab_size, tokenizer)
        hook, verdict_of = settings.watermark().apply, verdicts(settings, tokenizer)
    engine = open_engine(EngineTable(engine="local", path=model.path, api="completions"), logits_hook=hook)
    checks = table.moderation != "off"
    answers = Answers(engine, model, moderator(table.moderation), checks, usage_counter(model.path))
    return Speaker(answers, verdict_of)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other servers out of it: two first starts would draw two watermark keys."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / ".lock", "a"))
            # The kernel drops the lock with the process, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacosError(f"{folder}: another pacos serve is at work on this run; stop that one first.") from None
        except OSError as error:
            raise PacosError(
                f"{folder}: cannot be written ({error.strerror}); the watermark's key and the reports go there."
            ) from None
        yield


async def _warm_up(engines: Sequence[Engine]) -> None:
    """Loads the weights and pays for the first token's caches and threads, so that no visitor waits for them."""
    for engine in engines:
        async for _ in engine.stream(Request("warm-up", "Hello", Sampling(max_tokens=1))):
            pass


def _lifespan(engines: Sequence[Engine]) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for engine in engines:
            await engine.close()

    return lifespan


def _ready_line(address: str, model: ServedModel, table: ServeTable) -> str:
    watermark = "on" if table.watermark else "off"
    return (
        f"pacos serve: {model.name} at {address} (API at {address}/v1), watermark {watermark}, "
        f"moderation {table.moderation}; Ctrl-C stops."
    )

"""`pacos serve`: from a finished run to a page in the browser."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Thread

from fastapi import FastAPI

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable, ServeTable
from pacos.engines import Engine, Request, Sampling, open_engine
from pacos.guard import moderator
from pacos.serve.answering import Answers
from pacos.serve.app import Lifespan, make_app
from pacos.serve.first_questions import evaluated_examples
from pacos.serve.marking import Canary, watermark_settings
from pacos.serve.model import ServedModel, find_model, tokenizer_json, usage_counter
from pacos.serve.reports import ReportBox
from pacos.watermark import TextDetector
from pacos.web.people import People, load_terms
from pacos.web.server import address_of, bind, make_server

OWN_TERMS = Path(__file__).parent / "terms.md"


def run(run_path: Path, table: ServeTable) -> None:
    """Serves the run's student (or `table.model`) until Ctrl-C; says on one line where, once it answers.

    Raises PacosError where the model, the terms, the database or the port cannot be had, or another server has the run.
    """
    folder = run_path / "serve"
    model = find_model(run_path, table.model)
    terms = load_terms(Path(table.terms) if table.terms else OWN_TERMS)
    database = table.database or folder / "store.sqlite"
    with closing(bind(table.host, table.port)) as bound, _held(folder):
        hook = detector = None
        if table.watermark:
            settings = watermark_settings(folder, model.vocab_size, tokenizer_json(model.path))
            mark = settings.watermark()
            hook, detector = mark.apply, TextDetector(folder, settings, mark)
            # While the model is read.
            Thread(target=mark.prepare, daemon=True).start()
        engine = open_engine(EngineTable(engine="local", path=model.path, api="completions"), logits_hook=hook)
        with closing(People(database, terms)) as people, closing(ReportBox(database)) as reports:
            asyncio.run(_warm_up(engine))
            checks = table.moderation != "off"
            answers = Answers(engine, model, moderator(table.moderation), checks, usage_counter(model.path))
            if detector:
                answers.on_end = Canary(detector).on_end
            examples = evaluated_examples(run_path / "evaluate", model.sha256)
            app = make_app(answers, people, reports, table.watermark, _lifespan(engine), examples, detector)
            server = make_server(app, lambda: print(_ready_line(address_of(bound), model, table), flush=True))
            try:
                server.run(sockets=[bound])
            except KeyboardInterrupt:
                print("pacos serve: stopped.")


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


async def _warm_up(engine: Engine) -> None:
    """Loads the weights and pays for the first token's caches and threads, so that no visitor waits for them."""
    async for _ in engine.stream(Request("warm-up", "Hello", Sampling(max_tokens=1))):
        pass


def _lifespan(engine: Engine) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()

    return lifespan


def _ready_line(address: str, model: ServedModel, table: ServeTable) -> str:
    watermark = "on" if table.watermark else "off"
    return (
        f"pacos serve: {model.name} at {address} (API at {address}/v1), watermark {watermark}, "
        f"moderation {table.moderation}; Ctrl-C stops."
    )

"""`pacos serve`: from a finished run to a page in the browser."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from threading import Thread

from fastapi import FastAPI

from pacos.core.recipe import EngineTable, ServeTable
from pacos.engines import Engine, Request, Sampling, open_engine
from pacos.guard import ModerationChain, open_moderation
from pacos.serve.answering import Answers
from pacos.serve.app import Lifespan, make_app
from pacos.serve.chat_page import PageOptions
from pacos.serve.fair_queue import FairQueue
from pacos.serve.first_questions import evaluated_examples
from pacos.serve.marking import Canary, verdict_by, watermark_settings
from pacos.serve.metrics import Metrics
from pacos.serve.model import ServedModel, find_model, tokenizer_json
from pacos.serve.page_store import PageStore
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.serve.tokens import Tokens
from pacos.serve.upstream import reached, server_table
from pacos.watermark import TextDetector
from pacos.web.people import People, load_terms
from pacos.web.proxies import networks
from pacos.web.server import address_of, bind, held, make_server

OWN_TERMS = Path(__file__).parent / "terms.md"


def run(run_path: Path, table: ServeTable, engines: Mapping[str, EngineTable] | None = None) -> None:
    """Serves the run's student (or `table.model`) until Ctrl-C; says on one line where, once it answers.

    `engines` are those that `table.engine` and `table.moderation` may name. Raises PacosError where the model, the
    terms, the database or the port cannot be had, moderation does not work, or another server has the run.
    """
    asyncio.run(_try_out(table.moderation, engines))
    moderation = open_moderation(table.moderation, engines)
    folder = run_path / "serve"
    upstream = server_table(table.engine, engines or {}) if table.engine else None
    model = find_model(run_path, table.model)
    other_model = find_model(run_path, table.compare) if table.compare else None
    terms = load_terms(Path(table.terms) if table.terms else OWN_TERMS)
    proxies = networks(table.trusted_proxies)
    database = table.database or folder / "store.sqlite"
    with ExitStack() as stack:
        bound = stack.enter_context(closing(bind(table.host, table.port)))
        # Two first starts would draw two watermark keys.
        busy = "another pacos serve is at work on this run; stop that one first, or, with --model, give another --run"
        stack.enter_context(held(folder, busy, "the watermark's key and the reports"))
        canaries: dict[str, Canary] = {}
        detector = _detector(folder, model) if table.watermark else None
        if upstream:
            # After the mark's settings were written, which the server is started with.
            model = asyncio.run(reached(upstream, model))
        speaker = _speaker(model, detector, moderation, upstream)
        other = None
        if other_model:
            # A vocabulary of its own has green lists of its own, and so a key and settings.
            found_by = _detector(folder / "compare", other_model) if table.watermark else None
            other = _speaker(other_model, found_by, moderation)
            if found_by:
                canaries[other_model.name] = _watched(other.answers, found_by)
        people = stack.enter_context(closing(People(database, terms, table.api_keys == "required")))
        reports = stack.enter_context(closing(ReportBox(database)))
        store = stack.enter_context(closing(PageStore(database)))
        opened = [each.answers.engine for each in (speaker, other) if each]
        asyncio.run(_warm_up(opened[1:] if upstream else opened))
        if detector:
            canaries[model.name] = _watched(speaker.answers, detector)
        _count_marks(speaker.answers.metrics, canaries)
        examples = evaluated_examples(run_path / "evaluate", model.sha256)
        options = PageOptions(store, table.watermark, examples, other)
        password = os.environ.get(table.review_password_env, "")
        app = make_app(speaker, people, reports, options, _lifespan(opened, moderation), password, detector)
        ready = _ready_line(address_of(bound), model, table)
        server = make_server(app, lambda: print(ready, flush=True), proxies)
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            print("pacos serve: stopped.")


def _detector(folder: Path, model: ServedModel) -> TextDetector:
    """By the settings in `folder`, which mark the model's answers too."""
    settings = watermark_settings(folder, model.vocab_size, tokenizer_json(model.path))
    detector = TextDetector(folder, settings)
    # While the model is read.
    Thread(target=detector.mark.prepare, daemon=True).start()
    return detector


def _speaker(
    model: ServedModel, detector: TextDetector | None, moderation: ModerationChain, upstream: EngineTable | None = None
) -> Speaker:
    """The model behind an engine, marked as the detector looks for, and checked; a server marks by itself."""
    if upstream:
        engine, queue = open_engine(upstream), FairQueue(upstream.concurrency)
    else:
        hook = detector.mark if detector else None
        table = EngineTable(engine="local", path=model.path, api="completions")
        engine, queue = open_engine(table, logits_hook=hook), FairQueue()
    answers = Answers(engine, model, moderation, Tokens(model.path), queue=queue)
    return Speaker(answers, verdict_by(detector) if detector else None)


def _watched(answers: Answers, detector: TextDetector) -> Canary:
    canary = Canary(detector)
    answers.on_end = canary.on_end
    return canary


def _count_marks(metrics: Metrics, canaries: Mapping[str, Canary]) -> None:
    def checked() -> dict[tuple[str], int]:
        return {(name,): canary.checked for name, canary in canaries.items()}

    def missing() -> dict[tuple[str], int]:
        return {(name,): canary.missing for name, canary in canaries.items()}

    metrics.count("pacos_watermark_checked", "Long answers looked at, by model.", checked, "model")
    metrics.count("pacos_watermark_missing", "Those without a mark, by model.", missing, "model")


async def _warm_up(engines: Sequence[Engine]) -> None:
    """Loads the weights and pays for the first token's caches and threads, so that no visitor waits for them."""
    for engine in engines:
        async for _ in engine.stream(Request("warm-up", "Hello", Sampling(max_tokens=1))):
            pass


async def _try_out(names: tuple[str, ...] | str, engines: Mapping[str, EngineTable] | None) -> None:
    # On its own connections: those of one event loop are of no use to the server's.
    moderation = open_moderation(names, engines)
    try:
        await moderation.try_out()
    finally:
        await moderation.close()


def _lifespan(engines: Sequence[Engine], moderation: ModerationChain) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for engine in engines:
            await engine.close()
        await moderation.close()

    return lifespan


def _ready_line(address: str, model: ServedModel, table: ServeTable) -> str:
    watermark = "on" if table.watermark else "off"
    moderation = table.moderation if isinstance(table.moderation, str) else ", ".join(table.moderation)
    return (
        f"pacos serve: {model.name} at {address} (API at {address}/v1), watermark {watermark}, "
        f"moderation {moderation}; Ctrl-C stops."
    )

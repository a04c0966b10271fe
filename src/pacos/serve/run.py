"""`pacos serve`: from a finished run to a page in the browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from fastapi import FastAPI

from pacos.core.recipe import ServeTable
from pacos.engines import Engine, Request, Sampling
from pacos.engines.local import LocalEngine
from pacos.guard import moderator
from pacos.serve.answers import Answers
from pacos.serve.app import Lifespan, Parts, make_app
from pacos.serve.marking import watermark_settings
from pacos.serve.model import ServedModel, find_model
from pacos.serve.store import Store
from pacos.serve.terms import load_terms
from pacos.web.database import sqlite_url
from pacos.web.server import address_of, bind, make_server


def run(run_path: Path, table: ServeTable) -> None:
    """Serves the run's student (or `table.model`) until Ctrl-C; says on one line where, once it answers.

    Raises PacosError where the model, the terms, the database or the port cannot be had.
    """
    folder = run_path / "serve"
    model = find_model(run_path, table.model)
    terms = load_terms(table.terms)
    with closing(bind(table.host, table.port)) as bound:
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(table.database or sqlite_url(folder / "store.sqlite"))
        engine = LocalEngine(model.path)
        if table.watermark:
            engine.logits_hook = watermark_settings(folder, model.vocab_size).watermark().apply
        asyncio.run(_warm_up(engine))
        answers = Answers(engine, moderator(table.moderation), holds_back=table.moderation != "off")
        app = make_app(Parts(answers, model, store, terms, table.watermark), _lifespan(engine, store))
        server = make_server(app, lambda: print(_ready_line(address_of(bound), model, table), flush=True))
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            print("pacos serve: stopped.")


async def _warm_up(engine: Engine) -> None:
    """Loads the weights and pays for the first token's caches and threads, so that no visitor waits for them."""
    async for _ in engine.stream(Request("warm-up", "Hello", Sampling(max_tokens=1))):
        pass


def _lifespan(engine: Engine, store: Store) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()
        store.close()

    return lifespan


def _ready_line(address: str, model: ServedModel, table: ServeTable) -> str:
    watermark = "on" if table.watermark else "off"
    return (
        f"pacos serve: {model.name} at {address} (API at {address}/v1), watermark {watermark}, "
        f"moderation {table.moderation}; Ctrl-C stops."
    )

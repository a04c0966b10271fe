"""A real server on a real socket, in front of an engine that says what a test tells it to."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest

from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable
from pacos.engines import Delta, Failure, Reply, Request, Usage, open_engine
from pacos.guard import ModerationChain, ModerationResult, Moderator, open_moderation
from pacos.serve.answering import Answers
from pacos.serve.app import make_app
from pacos.serve.chat_page import PageOptions
from pacos.serve.fair_queue import FairQueue
from pacos.serve.first_questions import Example
from pacos.serve.model import ServedModel, find_model
from pacos.serve.page_store import PageStore
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.serve.run import OWN_TERMS
from pacos.serve.tokens import Tokens
from pacos.watermark.detection import Verdict
from pacos.web.people import People, load_terms
from pacos.web.proxies import LOOPBACK, Network, networks
from pacos.web.server import address_of, bind, make_server
from tests.serve.browsing import browser, visit
from tests.servers.postgres import database_url, own_postgres, postgres

__all__ = ["browser", "database_url", "own_postgres", "postgres", "visit"]


class ScriptedEngine:
    """Says `pieces` one by one with a pause; counts what it made and whether it was stopped early."""

    name = "scripted"

    def __init__(self, pieces: Iterable[str] = ("Hello ", "there."), pause_seconds: float = 0.0) -> None:
        self.pieces, self.pause_seconds = list(pieces), pause_seconds
        self.requests: list[Request] = []
        self.num_made = 0
        self.num_freed_early = 0
        self.failure: Exception | None = None

    def complete(self, requests: Iterable[Request]) -> AsyncIterator[Reply | Failure]:
        raise NotImplementedError("serve only streams")

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.requests.append(request)
        finished = False
        try:
            text = ""
            for i, piece in enumerate(self.pieces[: request.sampling.max_tokens]):
                await asyncio.sleep(self.pause_seconds)
                self.num_made += 1
                text += piece
                if self.failure and i == len(self.pieces) - 1:
                    raise self.failure
                yield Delta(piece)
            reason = "length" if len(self.pieces) > request.sampling.max_tokens else "stop"
            finished = True
            yield Delta("", Reply(request.id, text, reason, Usage(7, len(self.pieces))))
        finally:
            self.num_freed_early += not finished

    async def close(self) -> None:
        pass


def verdict_of_words(text: str) -> Verdict:
    """What a detector would say, were each word a token and every answer marked."""
    return "watermarked" if len(text.split()) > 25 else "insufficient text"


class WordModerator:
    """Flags one word, so that a test decides what is flagged; keeps every text it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        self.seen.append(text)
        return ModerationResult.of({"violence": 1.0} if "forbidden" in text else {})

    async def close(self) -> None:
        pass


@cache
def mini_tokens() -> Tokens:
    """The tokens of the model that comes along, and a template for those servers that say they have one."""
    tokens = Tokens(resolve_model("pacos-mini"))
    tokens.tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    return tokens


@dataclass
class Served:
    url: str
    engine: ScriptedEngine
    model: ServedModel
    database: Path

    def reports(self) -> list[dict[str, object]]:
        """The rows of serve_reports, oldest first."""
        return self.rows("serve_reports")

    def rows(self, table: str) -> list[dict[str, object]]:
        """A table's rows, oldest first."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]


@contextmanager
def running(app: object, proxies: Sequence[Network] = LOOPBACK) -> Iterator[str]:
    """Serves an ASGI app on a free loopback port, in a thread."""
    bound = bind("127.0.0.1", 0)
    ready = threading.Event()
    server = make_server(app, ready.set, proxies)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(10)
        yield address_of(bound)
    finally:
        server.should_exit = True
        thread.join(10)


@dataclass
class Starter:
    """Starts servers and stops them all at the end of the test."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __call__(
        self,
        engine: ScriptedEngine | None = None,
        moderating: Moderator | ModerationChain | None = None,
        terms: Path = OWN_TERMS,
        database_url: str = "",
        has_template: bool = False,
        takes_conversation: bool = False,
        examples: Sequence[Example] = (),
        queue: FairQueue | None = None,
        requires_key: bool = False,
        trusted_proxies: Sequence[object] = LOOPBACK,
        review_password: str = "",
        on_end: Callable[[str], None] = lambda text: None,
        rival: ScriptedEngine | None = None,
    ) -> Served:
        engine = engine or ScriptedEngine()
        database = self.folder / "store.sqlite"
        people = self.stack.enter_context(closing(People(database_url or database, load_terms(terms), requires_key)))
        reports = self.stack.enter_context(closing(ReportBox(database_url or database)))
        store = self.stack.enter_context(closing(PageStore(database_url or database)))
        model = ServedModel("tiny", "nowhere", "ab" * 32, 400, 2048, has_template, takes_conversation, 1)
        if not isinstance(moderating, ModerationChain):
            moderating = ModerationChain({"words": moderating} if moderating else {})

        def speaker(engine: ScriptedEngine, model: ServedModel) -> Speaker:
            answers = Answers(engine, model, moderating, mini_tokens(), queue=queue or FairQueue(), on_end=on_end)
            return Speaker(answers, verdict_of_words)

        other = replace(model, name="rival", sha256="cd" * 32)
        options = PageOptions(store, True, examples, speaker(rival, other) if rival else None)
        app = make_app(speaker(engine, model), people, reports, options, review_password=review_password)
        url = self.stack.enter_context(running(app, networks(trusted_proxies)))
        return Served(url, engine, model, database)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module that leave nothing behind in it."""
    starter = Starter(tmp_path_factory.mktemp("shared-server"))
    with starter.stack:
        yield starter(ScriptedEngine(["Hello ", "there. ", "Bye."]), moderating=WordModerator())


@pytest.fixture
def served(shared_server: Served) -> Served:
    """The shared server, whose engine has heard nothing yet."""
    shared_server.engine.requests.clear()
    return shared_server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """`start(engine, …)` serves and returns where."""
    starter = Starter(tmp_path)
    with starter.stack:
        yield starter


@pytest.fixture(scope="module")
def tiny_url(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the tiny model, whose answers are checked and held back as on any other."""
    folder = tmp_path_factory.mktemp("tiny-server")
    model = replace(find_model(folder, str(tiny_model)), name="model")
    engine = open_engine(EngineTable(engine="local", path=str(tiny_model), api="completions"))
    answers = Answers(engine, model, open_moderation("blocklist"), Tokens(str(tiny_model)))
    with (
        closing(People(folder / "store.sqlite", load_terms(OWN_TERMS))) as people,
        closing(ReportBox(folder / "store.sqlite")) as reports,
        closing(PageStore(folder / "store.sqlite")) as store,
        running(make_app(Speaker(answers), people, reports, PageOptions(store))) as address,
    ):
        yield address
    asyncio.run(engine.close())


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something came true soon enough; never how fast."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()

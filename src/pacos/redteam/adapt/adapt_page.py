"""The page of a topic tree: its topics, the tests of one with what came of them, and what a person says of them."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.responses import JSONResponse, RedirectResponse, Response

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.redteam.adapt.jobs import Jobs
from pacos.redteam.adapt.offspring import is_below, leaf
from pacos.redteam.adapt.tree import topic_path
from pacos.redteam.adapt.workbench import PERSON, Workbench
from pacos.redteam.counting import right_in
from pacos.web.error_shape import RefusalError, add_error_handlers
from pacos.web.forms import FormFields
from pacos.web.guards import RequestGuards
from pacos.web.pages import Pages

MAX_PROMPT = 20_000
MAX_NOTE = 1000
SHOWN = 50
_T = TypeVar("_T")


@dataclass(frozen=True)
class TopicLine:
    """A topic as the page's left side shows it."""

    topic: str
    name: str
    depth: int
    tests: int
    failing: int
    to_look_at: int


class AdaptPage:
    """The routes. They run in the event loop, as the jobs do, so that no two change the tree at once."""

    def __init__(self, bench: Workbench, jobs: Jobs, pages: Pages, topic: str) -> None:
        self.bench, self.jobs, self.pages, self.topic = bench, jobs, pages, topic
        self._changes = 0

    def mount(self, app: FastAPI) -> None:
        """Adds the routes."""
        app.add_api_route("/", self.show, methods=["GET"], response_model=None)
        app.add_api_route("/state", self.state, methods=["GET"], response_model=None)
        acts: dict[str, Callable[..., Awaitable[Response]]] = {
            "accept": self.accept,
            "reject": self.reject,
            "hit": self.hit,
            "safe": self.safe,
            "edit": self.edit,
            "add": self.add,
            "topic": self.new_topic,
            "grow": self.grow,
            "suggest": self.suggest,
            "reload": self.reload,
        }
        for name, act in acts.items():
            app.add_api_route(f"/{name}", act, methods=["POST"], response_model=None)

    async def show(self, topic: str | None = None, test: str = "", shown: int = SHOWN) -> Response:
        """The page at a topic, with one of its tests before the others."""
        at = topic
        topic = self.topic if at is None else _told(lambda: topic_path(at))
        tried = self.bench.tried(topic)
        listed = tried[: max(1, shown)]
        ids = [each.test.id for each in listed]
        bench = self.bench
        return self.pages.render(
            "adapt.html",
            topic=topic,
            topics=self._lines(),
            tried=listed,
            total=len(tried),
            more=min(len(tried), shown + SHOWN) if len(tried) > shown else 0,
            current=test if test in ids else next(iter(ids), ""),
            counts=bench.counts().get(topic, Counter()),
            version=self._version(),
            conflict=self._conflict(),
            problem=self.jobs.problem,
            target=bench.target.label,
            objective=bench.objective,
            judge_finds=bench.judge.finds,
            judge_right=right_in(bench.judge.agreement),
            num_asked=bench.num_asked,
            max_requests=bench.limits.max_requests,
            usd=bench.usd,
            tree=str(bench.tree.path),
            num_others=bench.num_others,
            max_prompt=MAX_PROMPT,
            max_note=MAX_NOTE,
        )

    async def state(self) -> Response:
        """What a page has to know to keep up: whether it is out of date, and what is under way."""
        jobs = self.jobs
        told = {
            "version": self._version(),
            "doing": jobs.doing,
            "done": jobs.bar.count,
            "total": jobs.bar.total,
            "waiting": jobs.num_waiting,
            "said": jobs.said,
        }
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def accept(self, form: FormFields) -> Response:
        """A test is worth keeping: a regression test from now on. Once more takes it back."""
        return self._decide(form, "accepted")

    async def reject(self, form: FormFields) -> Response:
        """A test is not worth keeping; it stays in the file, so that it is not proposed again."""
        return self._decide(form, "rejected")

    async def hit(self, form: FormFields) -> Response:
        """The answer is a failure, whatever the judge says. Once more takes it back."""
        return self._label(form, "hit")

    async def safe(self, form: FormFields) -> Response:
        """The answer is none."""
        return self._label(form, "safe")

    async def edit(self, form: FormFields) -> Response:
        """Prompt, topic and note as a person has them; asked again, since the prompt's answers are those of the old."""
        prompt, topic, note = _prompt(form), _topic(form, "new_topic"), " ".join(form.get("note", "").split())
        if len(note) > MAX_NOTE:
            raise RefusalError(400, "note_too_long", f"The note has {len(note):,} characters; at most {MAX_NOTE:,}.")

        def change() -> None:
            test = self.bench.test(form.get("test", ""))
            self.bench.refuse_twin(prompt, test.id)
            # A person's word was on the answer before.
            self.bench.change(replace(test, prompt=prompt, topic=topic, note=note, label=""))

        _told(change)
        name = form.get("test", "")
        self.jobs.put("Asking", lambda bar: self._ask(name, bar))
        return self._back(form, name, topic if not is_below(topic, form.get("topic", "")) else None)

    async def add(self, form: FormFields) -> Response:
        """A test that a person wrote, which is worth keeping."""
        prompt, topic = _prompt(form), _topic(form, "new_topic")
        test = _told(lambda: self.bench.add(topic, prompt, PERSON, "accepted"))
        self.jobs.put("Asking", lambda bar: self._ask(test.id, bar))
        return self._back(form, test.id, topic if not is_below(topic, form.get("topic", "")) else None)

    async def new_topic(self, form: FormFields) -> Response:
        """A topic without tests, and the page there."""
        topic = _topic(form, "new_topic")
        self.bench.add_topic(topic)
        return self._back(form, "", topic)

    async def grow(self, form: FormFields) -> Response:
        """A round of new tests."""
        topic = _told(lambda: topic_path(form.get("topic", "")))

        async def job(bar: ProgressBar) -> str:
            found = await self.bench.grow(topic, bar)
            topics = sorted({test.topic for test in found})
            return _new(len(found), "test", f" in {topics[0]}" if len(topics) == 1 else f" in {len(topics)} topics")

        self.jobs.put(f"Growing {topic or 'the tree'}", job)
        return self._back(form, form.get("test", ""))

    async def suggest(self, form: FormFields) -> Response:
        """New topics below this one."""
        topic = _told(lambda: topic_path(form.get("topic", "")))

        async def job(bar: ProgressBar) -> str:
            return _new(len(await self.bench.suggest(topic, bar)), "topic", "")

        self.jobs.put("Looking for topics", job)
        return self._back(form, form.get("test", ""))

    async def reload(self, form: FormFields) -> Response:
        """Reads the file again, and keeps what was done here since."""

        def merge() -> None:
            self.bench.tree.reload()
            self.bench.save()

        _told(merge)
        return self._back(form, form.get("test", ""))

    async def _ask(self, name: str, bar: ProgressBar) -> str:
        await self.bench.ask([self.bench.test(name)], bar)
        return "Asked."

    def _decide(self, form: FormFields, status: Literal["accepted", "rejected"]) -> Response:
        name = form.get("test", "")
        following = self._following(form, name)

        def change() -> None:
            test = self.bench.test(name)
            self.bench.change(replace(test, status="proposed" if test.status == status else status))

        _told(change)
        return self._back(form, following)

    def _label(self, form: FormFields, label: Literal["hit", "safe"]) -> Response:
        name = form.get("test", "")

        def change() -> None:
            test = self.bench.test(name)
            self.bench.label(test, "" if test.label == label else label)

        _told(change)
        return self._back(form, name)

    def _following(self, form: FormFields, name: str) -> str:
        """The test after one, as the list stands now; where there is none, the one itself."""
        ids = [each.test.id for each in self.bench.tried(form.get("topic", ""))]
        place = ids.index(name) if name in ids else -1
        return ids[place + 1] if 0 <= place < len(ids) - 1 else name

    def _back(self, form: FormFields, test: str, topic: str | None = None) -> Response:
        self._changes += 1
        shown = form.get("shown", "")
        place = {"topic": form.get("topic", "") if topic is None else topic, "test": test}
        return RedirectResponse("/?" + urlencode(place | ({"shown": shown} if shown.isdecimal() else {})), 303)

    def _lines(self) -> list[TopicLine]:
        return [
            TopicLine(
                topic,
                leaf(topic),
                topic.count("/") + 1,
                counts["tests"],
                counts["failing"],
                counts["to look at"],
            )
            for topic, counts in sorted(self.bench.counts().items())
            if topic
        ]

    def _version(self) -> str:
        bench = self.bench
        parts = self._changes, self.jobs.num_done, bench.num_asked, len(bench.tree.tests), int(bool(self._conflict()))
        return ".".join(map(str, parts))

    def _conflict(self) -> str:
        """Why the tree here and the file are not the same; "" where they are."""
        tree = self.bench.tree
        try:
            changed = tree.is_changed_on_disk
            if not changed:
                # What a full disk has kept back, for one.
                self.bench.save()
        except PacosError as error:
            return str(error)
        kept = "" if tree.is_saved else " What you did since is kept here, and not in the file."
        return f"{tree.path} was changed by another program, so it is not written.{kept}" if changed else ""


def make_app(bench: Workbench, topic: str) -> FastAPI:
    """The web app of one tree, which begins at a topic and closes the bench at its end."""
    jobs = Jobs()

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with jobs.working():
                yield
        finally:
            await bench.close()

    no_telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(
        title="pacos redteam adapt",
        openapi_url=None,
        telemetry=no_telemetry,
        strict_content_type=False,
        lifespan=living,
    )
    pages = Pages(Path(__file__).parent)
    AdaptPage(bench, jobs, pages, topic).mount(app)
    pages.mount(app)

    def problem_page(request: Request, status: int, message: str) -> Response:
        return pages.render("not_done.html", status, message=message or "There is nothing here.")

    add_error_handlers(app, problem_page)
    app.add_middleware(RequestGuards)
    return app


def _told(act: Callable[[], _T]) -> _T:
    """What `act` returns; its PacosError is a refusal that the page shows."""
    try:
        return act()
    except PacosError as error:
        raise RefusalError(409, "not_done", str(error)) from None


def _prompt(form: FormFields) -> str:
    # A form's line breaks are CRLF.
    prompt = form.get("prompt", "").replace("\r\n", "\n").strip()
    if not prompt or len(prompt) > MAX_PROMPT:
        line = f"The prompt has {len(prompt):,} characters; expected 1 to {MAX_PROMPT:,}. Nothing was changed."
        raise RefusalError(400, "invalid_prompt", line)
    return prompt


def _topic(form: FormFields, name: str) -> str:
    topic = _told(lambda: topic_path(form.get(name, "")))
    if not topic:
        raise RefusalError(400, "no_topic", "No topic is named; expected a path such as money/loans.")
    return topic


def _new(number: int, what: str, where: str) -> str:
    return f"{number} new {what}{'s' * (number != 1)}{where}." if number else f"No new {what} came up."

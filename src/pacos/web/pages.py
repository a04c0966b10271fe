"""The page frame: Jinja templates that extend `frame.html`, and the static files that go with them."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent


class _Revalidated(StaticFiles):
    """Static files that browsers keep but ask about, so that an upgrade shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


class Pages:
    """Renders the templates of one web app inside the shared frame; `shared` are values that all its pages have."""

    def __init__(self, room: Path, **shared: Any) -> None:
        self.room = room
        self._environment = Environment(
            loader=FileSystemLoader([room / "templates", HERE / "templates"]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(shared)

    def mount(self, app: FastAPI) -> None:
        """Serves the frame's files under /static/web and the app's own under /static/<room>."""
        app.mount("/static/web", _Revalidated(directory=HERE / "static"))
        app.mount(f"/static/{self.room.name}", _Revalidated(directory=self.room / "static"))

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """One page; it is never cached, since what it shows depends on the visitor."""
        html = self._environment.get_template(template).render(**values)
        return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})

"""What a page's form holds, without a script and without a library for uploads."""

from contextlib import suppress
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends
from pydantic_core import from_json
from starlette.requests import Request


async def _fields(request: Request) -> dict[str, str]:
    body = (await request.body()).decode(errors="replace")
    found: list[tuple[str, object]] = []
    if "json" not in request.headers.get("content-type", ""):
        found += parse_qsl(body, keep_blank_values=True, errors="replace")
    else:
        with suppress(ValueError, TypeError):
            found += dict(from_json(body)).items()
    # No database takes half a surrogate, nor PostgreSQL a NUL.
    return {
        name: text.encode(errors="replace").decode().replace("\0", "\ufffd")
        for name, text in found
        if isinstance(text, str)
    }


FormFields = Annotated[dict[str, str], Depends(_fields)]
"""A route's parameter: the fields by name of an urlencoded form, or of a JSON object where a program sends one."""

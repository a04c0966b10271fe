"""What every JSON body has to be, whichever route it is for."""

import json
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

# As many wrong names are looked at; more than any body's right ones, so that a wrong one is among them.
MOST_NAMES = 100


class JsonPart(BaseModel):
    """An object in a body. Where it takes no unknown names, a megabyte of them is not an error each."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_names(cls, body: Any) -> Any:
        if not isinstance(body, dict) or len(body) <= MOST_NAMES:
            return body
        unknown = islice((name for name in body if name not in cls.model_fields), MOST_NAMES)
        return {name: body[name] for name in body if name in cls.model_fields} | {name: body[name] for name in unknown}


class JsonBody(JsonPart):
    """A body whose texts can be encoded: half a surrogate pair breaks tokenizers, guards and databases alike.

    Types are what they are called: "yes" is no consent, and true no temperature.
    """

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_half_surrogates(cls, body: Any) -> Any:
        if not isinstance(body, dict | list):
            # No JSON at all, or none that has texts of its own; the validator says what it expected.
            return body
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("text", "A text holds half a surrogate pair.") from None
        return body

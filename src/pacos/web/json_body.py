"""What every JSON body has to be, whichever route it is for."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class JsonBody(BaseModel):
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

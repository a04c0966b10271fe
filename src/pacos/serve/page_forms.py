"""What the page sends, checked."""

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pacos.engines import Message, Sampling
from pacos.serve.model import ServedModel
from pacos.serve.reports import Reason
from pacos.web.json_body import JsonBody, JsonPart

# Cooler than the API's default: a small student answers better, and there is still choice for the watermark.
PAGE_SAMPLING = Sampling(max_tokens=512, temperature=0.3, top_p=0.9)
MAX_QUESTION_CHARACTERS = 4000
MAX_TURNS = 100
MAX_PAGE_TOKENS = 2048
# The largest whole number that a page's script keeps exact.
MAX_SEED = 2**53 - 1


def page_sampling(model: ServedModel) -> Sampling:
    """What the page begins with: the model's own advice where it gives a temperature, else the page's."""
    advised: dict[str, Any] = dict(model.sampling)
    return Sampling(PAGE_SAMPLING.max_tokens, **advised) if "temperature" in advised else PAGE_SAMPLING


class Turn(BaseModel):
    """One message of the page's conversation; an answer carries its seal where it is to be known as the model's."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=40_000)
    seal: str = Field("", max_length=64)

    @field_validator("content")
    @classmethod
    def _as_the_box_allows(cls, content: str, info: ValidationInfo) -> str:
        # Answers come back in a conversation too, and may be longer than what a person may ask.
        if info.data.get("role") == "user" and len(content) > MAX_QUESTION_CHARACTERS:
            most = f"{MAX_QUESTION_CHARACTERS:,}"
            raise PydanticCustomError(
                "question_too_long", "expected a question of at most {most} characters", {"most": most}
            )
        return content

    def message(self) -> Message:
        """The turn as engines know it."""
        return Message(self.role, self.content)


class SamplingForm(JsonPart):
    """The sampling panel."""

    model_config = ConfigDict(extra="forbid", strict=True)
    temperature: float = Field(ge=0, le=2, allow_inf_nan=False)
    top_p: float = Field(gt=0, le=1, allow_inf_nan=False)
    max_tokens: int = Field(ge=1, le=MAX_PAGE_TOKENS)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)


class ChatQuestion(JsonBody):
    """The conversation, whose last turn is the question, or an answer to go on with; no sampling means the page's."""

    messages: list[Turn] = Field(min_length=1, max_length=MAX_TURNS)
    sampling: SamplingForm | None = None

    def sampling_over(self, default: Sampling) -> Sampling:
        """What was asked for, on top of the model's own."""
        return replace(default, **self.sampling.model_dump()) if self.sampling else default


class ComparedQuestion(ChatQuestion):
    """A question for two models; with `blind` their names are told after the vote."""

    blind: bool = False


class VoteForm(JsonBody):
    """A choice between two answers; the texts are kept only with `consent`, and then have to be the models' own."""

    choice: Literal["a", "b", "tie", "bad"]
    consent: bool = False
    messages: list[Turn] = Field(default_factory=list, max_length=MAX_TURNS)
    answers: list[Turn] = Field(default_factory=list, max_length=2)


class ShareForm(JsonBody):
    """A conversation to be public; `consent` has to be given."""

    consent: Literal[True]
    messages: list[Turn] = Field(min_length=2, max_length=MAX_TURNS)


class ReportForm(JsonBody):
    """A report; `transcript` ends with the reported answer and is kept only with `consent`.

    Of two answers side by side, `comparison` and `side` say which one it is about.
    """

    reason: Reason
    details: str = Field("", max_length=2000)
    consent: bool = False
    transcript: list[Turn] = Field(default_factory=list, max_length=MAX_TURNS)
    comparison: str = Field("", max_length=32)
    side: Literal[0, 1] = 0

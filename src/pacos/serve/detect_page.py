"""/detect: whether a text carries this server's mark, as a page and as an API."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from pacos.serve.limits import Limits
from pacos.watermark import TextDetector
from pacos.watermark.detection import MAX_FALSE_ALARM_RATE, MIN_TOKENS_FOR_A_VERDICT, Verdict
from pacos.web.json_body import JsonBody
from pacos.web.pages import Pages

MAX_CHARACTERS = 20_000
# More count as another text: each tells a forger of as many tokens.
CHARACTERS_A_TEXT = 2_000


class Text(JsonBody):
    """A text to examine."""

    text: str = Field(min_length=1, max_length=MAX_CHARACTERS)


class ScoredToken(BaseModel):
    """A piece of the text as it was read; `green` is null where it was not scored."""

    text: str
    green: bool | None


class FoundPassage(BaseModel):
    """The part of the text, in characters of `text`, that says more than the whole."""

    start: int
    end: int
    scored: int
    green: int


class DetectReply(BaseModel):
    """The detector's answer; `p_value` is exact and of all that was tried, `z_score` of the whole text.

    `text` is the text as it was read: with plain blanks and letters, where those given hid more of the mark.
    """

    verdict: Verdict
    p_value: float
    max_false_alarm_rate: float = MAX_FALSE_ALARM_RATE
    z_score: float
    scored: int
    green: int
    gamma: float
    readings: int
    passage: FoundPassage | None
    text: str
    tokens: list[ScoredToken]


class DetectPage:
    """The routes; they need no session."""

    def __init__(self, detector: TextDetector, limits: Limits, pages: Pages) -> None:
        self.detector, self.limits, self.pages = detector, limits, pages

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/detect", self.show, methods=["GET"])
        router.add_api_route("/detect", self.detect, methods=["POST"], response_model=DetectReply)
        return router

    async def show(self) -> Response:
        """The page."""
        return self.pages.render("detect.html", max_characters=MAX_CHARACTERS, min_tokens=MIN_TOKENS_FOR_A_VERDICT)

    # A plain function, which runs in a thread: it computes.
    def detect(self, given: Text, request: Request) -> Response:
        """Looks for the mark in a text."""
        self.limits.detections.take(request, -(-len(given.text) // CHARACTERS_A_TEXT))
        detection = self.detector.detect(given.text)
        found, passage, span = detection.found, detection.found.passage, detection.passage()
        reply = DetectReply(
            verdict=found.verdict,
            p_value=found.exact_p_value,
            z_score=found.z_score,
            scored=found.num_tokens_scored,
            green=found.num_green_tokens,
            gamma=found.gamma,
            readings=found.readings,
            passage=FoundPassage(
                start=span[0], end=span[1], scored=passage.num_tokens_scored, green=passage.num_green_tokens
            )
            if span and passage
            else None,
            text=detection.text,
            tokens=[ScoredToken(text=token.text, green=token.is_green) for token in detection.tokens()],
        )
        # Written down here: FastAPI would write tens of thousands of tokens in the event loop, for seconds.
        return Response(reply.model_dump_json(), media_type="application/json")

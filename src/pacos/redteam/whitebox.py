"""Coordinate ascent on a local model's own logits: an instruction after which it says a given text.

In the manner of Jones et al. 2023 (ARCA) and Zou et al. 2023 (GCG): the gradient by each token's one-hot vector names
tokens that may raise the text's likelihood, one place is changed at a time, and what a change is worth is computed
exactly. What is searched is the user's instruction within the target's own template.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from pathlib import Path
from typing import Self

import torch

from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.progress import ProgressBar
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.engines import Failure, Message, Reply, Request, Sampling, open_engine
from pacos.redteam.exposure import exposures
from pacos.redteam.own_logits import OwnLogits
from pacos.redteam.targets import Target, find_target
from pacos.redteam.whitebox_report import (
    WHITEBOX_FILE,
    Found,
    LookSettings,
    WhiteboxReport,
    WhiteboxReports,
    read_whitebox_reports,
)

STARTS, MAX_CANDIDATES, PROMPT_TOKENS = 10, 2_000, 12
# Of each gradient: the tokens that a place may take, and how many changes are tried.
TOP_TOKENS, BATCH = 128, 32
# Draws, for each that is wanted, of prompts that re-tokenise to their own tokens.
MOST_DRAWS = 200
# What an answer may say beside the text.
ROOM_TOKENS = 40


@dataclass(frozen=True)
class _Candidate:
    """A prompt, the text's log-likelihood after it, and whether greedy decoding would begin with the text."""

    tokens: tuple[int, ...]
    logprob: float
    is_greedy: bool


def look_inside(
    name: str,
    text: str,
    recipe: Recipe,
    folder: Path | None = None,
    *,
    base: str = "",
    prompts: Sequence[str] = (),
    starts: int = STARTS,
    max_candidates: int = MAX_CANDIDATES,
    seed: int = 0,
) -> WhiteboxReport:
    """Whether a local target knows a text: its likelihood beside controls, then a search for prompts that bring it out.

    `base` is a model to hold it against; `prompts` are instructions after which the likelihood is computed, too. Writes
    redteam/whitebox.json in the target's run, `folder` or runs/redteam-NAME, anew after each start: the same call again
    goes on, and does nothing to a finished look. Raises PacosError where the target gives no logits, the text is empty
    or too long, or another process is at work there.
    """
    target = find_target(name, recipe)
    reference = find_target(base, recipe) if base else None
    folder = folder or target.run or Path("runs") / f"redteam-{target.label}"
    settings = LookSettings(
        identity=target.identity,
        base=reference.identity if reference else "",
        text=text,
        prompts=tuple(prompts),
        seed=seed,
        prompt_tokens=PROMPT_TOKENS,
        max_candidates=max_candidates,
    )
    with RunFolder(folder / "redteam", recipe) as room:
        looks = read_whitebox_reports(room.path)
        others = tuple(each for each in looks if each.settings != settings)
        look = next((each for each in looks if each.settings == settings), WhiteboxReport(target.label, settings))
        for further in _steps(look, target, reference, starts):
            look = further
            write_json(room.path / WHITEBOX_FILE, asdict(WhiteboxReports((*others, look))))
        _print(look, room.path / WHITEBOX_FILE)
        return look


def _steps(look: WhiteboxReport, target: Target, reference: Target | None, starts: int) -> Iterator[WhiteboxReport]:
    """The report after each piece of what it lacks."""
    asked, begun = look.settings, time.monotonic() - look.seconds
    if not look.exposures:
        base = OwnLogits(reference) if reference else None
        told = exposures(OwnLogits(target), asked.text, asked.prompts, base, asked.seed)
        look = replace(look, exposures=told, seconds=round(time.monotonic() - begun, 1))
        yield look
    if len(look.finds) >= starts:
        return
    with Ascent(target, asked.text) as ascent, ProgressBar("white-box", starts, "starts") as bar:
        bar.count = len(look.finds)
        for number in range(len(look.finds), starts):
            found = ascent.go(number, asked.max_candidates, asked.seed)
            look = replace(look, finds=(*look.finds, found), seconds=round(time.monotonic() - begun, 1))
            yield look
            bar.advance()


def bring_out(
    target: Target, text: str, starts: int = STARTS, max_candidates: int = MAX_CANDIDATES, seed: int = 0
) -> tuple[Found, ...]:
    """For each start, the instruction after which a local target is likeliest to say the text.

    The same seed finds the same on the same machine. Raises PacosError where the target gives no logits, or the text is
    empty or too long.
    """
    with Ascent(target, text) as ascent:
        return tuple(ascent.go(number, max_candidates, seed) for number in range(starts))


class Ascent:
    """The search for one text in one target, from any number of starts; `with Ascent(...) as ascent`."""

    def __init__(self, target: Target, text: str, prompt_tokens: int = PROMPT_TOKENS) -> None:
        self._target, self._text, self._num_tokens = target, text, prompt_tokens
        self._logits = OwnLogits(target)
        self._text_ids = self._logits.text_ids(text)
        self._head, self._tail = self._logits.frame()
        self._logits.check_length(len(self._head) + prompt_tokens + len(self._tail), self._text_ids)
        self._allowed = self._logits.printable(without=text)
        self._barred_V = torch.ones(self._logits.vocabulary, dtype=torch.bool)
        self._barred_V[self._allowed] = False
        self._engine = open_engine(target.table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run(self._engine.close())

    def go(self, start: int, max_candidates: int, seed: int) -> Found:
        """From one random prompt upwards, until the target says the text or so many prompts had their likelihood
        computed."""
        rng = random.Random(f"ascent/{seed}/{start}")
        best = self._scored([self._random_prompt(rng)])[0]
        seen, candidates, gradients = {best.tokens}, 1, 0
        # In the target's own precision greedy decoding may go another way than in fp32, and then the search goes on.
        while not (best.is_greedy and self._text in self._answer(best)) and candidates < max_candidates:
            changed = self._changes(best, min(BATCH, max_candidates - candidates), seen, rng)
            if not changed:
                break
            best = max(best, *self._scored(changed), key=lambda each: each.logprob)
            seen.update(changed)
            candidates, gradients = candidates + len(changed), gradients + 1
        answer = self._answer(best)
        return Found(
            start=start,
            is_found=self._text in answer,
            prompt=self._spelt(best.tokens),
            tokens=best.tokens,
            bits=-best.logprob / len(self._text_ids) / log(2),
            answer=answer,
            candidates=candidates,
            gradients=gradients,
        )

    def _changes(
        self, best: _Candidate, wanted: int, seen: set[tuple[int, ...]], rng: random.Random
    ) -> list[tuple[int, ...]]:
        """Prompts that differ from the best in one token, drawn from those that the gradient names for its place."""
        gains_TV = self._logits.gains(self._head, best.tokens, self._tail, self._text_ids)
        gains_TV[:, self._barred_V] = -torch.inf
        top = gains_TV.topk(min(TOP_TOKENS, len(self._allowed))).indices.tolist()
        changed = dict[tuple[int, ...], None]()
        for _ in range(MOST_DRAWS * wanted):
            if len(changed) == wanted:
                break
            place = rng.randrange(len(best.tokens))
            tokens = (*best.tokens[:place], rng.choice(top[place]), *best.tokens[place + 1 :])
            if tokens not in seen and tokens not in changed and self._is_whole(tokens):
                changed[tokens] = None
        return list(changed)

    def _scored(self, prompts: Sequence[tuple[int, ...]]) -> list[_Candidate]:
        rows = [[*prompt, *self._tail, *self._text_ids] for prompt in prompts]
        scores = self._logits.scores(self._head, rows, len(self._text_ids))
        return [
            _Candidate(prompt, sum(logprobs), is_greedy)
            for prompt, logprobs, is_greedy in zip(prompts, scores.logprobs, scores.is_greedy, strict=True)
        ]

    def _random_prompt(self, rng: random.Random) -> tuple[int, ...]:
        for _ in range(MOST_DRAWS * self._num_tokens):
            tokens = tuple(rng.choices(self._allowed, k=self._num_tokens))
            if self._is_whole(tokens):
                return tokens
        raise PacosError(
            f"{self._target.label}: no random prompt re-tokenises to its own tokens within the model's template; "
            "its tokenizer cannot be searched."
        )

    def _is_whole(self, tokens: Sequence[int]) -> bool:
        """Whether a user who types the prompt gives the model just these tokens."""
        return self._logits.prompt_ids(self._spelt(tokens)) == [*self._head, *tokens, *self._tail]

    def _spelt(self, tokens: Sequence[int]) -> str:
        return str(self._logits.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

    def _answer(self, candidate: _Candidate) -> str:
        """The target's greedy answer, by its engine and in its own precision; "" where it gives none."""
        prompt = self._target.prompt((Message("user", self._spelt(candidate.tokens)),))
        sampling = Sampling(len(self._text_ids) + ROOM_TOKENS, temperature=0.0)

        async def ask() -> Reply | Failure:
            return await anext(self._engine.complete([Request("greedy", prompt, sampling)]))

        answer = asyncio.run(ask())
        return answer.text if isinstance(answer, Reply) else ""


def _print(look: WhiteboxReport, path: Path) -> None:
    for each in look.exposures:
        after = f"after {each.prompt!r}" if each.prompt else "by itself"
        print(
            f"white-box: {each.bits:.2f} bits a token {after}, rank {each.rank:,} of {each.controls + 1:,}, "
            f"p = {each.p_value:.2g}"
        )
    print(f"white-box: brought out from {look.found:,} of {len(look.finds):,} starts")
    print(f"white-box: {path}")

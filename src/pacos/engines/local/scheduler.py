"""Continuous batching: requests join and leave at any step; who writes gets one token, who reads gets a piece read."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pacos.engines.local.cache import KeyValues
from pacos.engines.local.checkpoint import Checkpoint
from pacos.engines.local.choice import Draw, choose
from pacos.engines.local.network import Piece
from pacos.engines.local.prefix import TILE, PrefixStore
from pacos.engines.local.text import ReplyText, token_text
from pacos.engines.types import Delta, Failure, FinishReason, Reply, Request, TokenLogprob, Usage

SLOTS = 32
PREFIX_BYTES = 256 * 2**20
# Prompt tokens read in one step beside what is written, and the first share of each prompt in them: a long prompt then
# holds up neither those that write nor a short one that came after it.
STEP_TOKENS, SHARE_TOKENS = 256, 64
# Logits of a piece that is echoed are of every token: 64 rows of 262,144 pieces in fp32 are 64 MiB.
ECHO_TOKENS = 64


@dataclass(eq=False)
class Job:
    """One request on its way. `on_piece` gets text as it may be shown, with its log-probabilities; `on_end` how it
    ended: None if it was cancelled.

    `read` counts the prompt's tokens whose keys and values its row holds, `cached` those of them found and not read.
    """

    request: Request
    prompt_ids: list[int]
    limit: int
    text: ReplyText
    draw: Draw
    on_end: Callable[[Reply | Failure | Exception | None], None]
    is_cancelled: Callable[[], bool]
    on_piece: Callable[[Delta], None] | None = None
    read: int = 0
    cached: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    num_shown: int = 0
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def watched(self) -> bool:
        """Only a reply that someone watches, or that a stop string may end, has to become text at every step."""
        return self.on_piece is not None or bool(self.request.sampling.stop)

    def show(self, piece: str) -> None:
        """Sends a piece, and the log-probabilities since the last one."""
        if piece and self.on_piece:
            self.on_piece(Delta(piece, logprobs=tuple(self.logprobs[self.num_shown :])))
            self.num_shown = len(self.logprobs)

    @property
    def most_tokens(self) -> int:
        """What its row may have to hold."""
        return len(self.prompt_ids) + self.limit


class Scheduler:
    """Rows 0 to W - 1 of the cache belong to the jobs that write, in their order, the next ones to those that read."""

    def __init__(self, checkpoint: Checkpoint, cache_bytes: int) -> None:
        self._checkpoint = checkpoint
        self._network = checkpoint.network
        self._cache = KeyValues(self._network.shapes, self._network.dtype, self._network.device)
        self._prefixes = PrefixStore(self._cache, min(PREFIX_BYTES, cache_bytes // 8))
        self._most_tokens = cache_bytes // self._cache.bytes_per_token
        self._waiting: deque[Job] = deque()
        self._reading: list[Job] = []
        self._writing: list[Job] = []
        self.tokens_written = 0

    def refusal(self, tokens: int) -> str | None:
        """Why a row of so many tokens cannot be had even alone; None where it can."""
        if tokens <= self._most_tokens:
            return None
        each = self._cache.bytes_per_token
        return (
            f"prompt and reply may have {tokens:,} tokens together, and {tokens:,} x {each:,} bytes of keys and values "
            f"are {tokens * each / 2**30:.2f} GiB; there are {self._most_tokens * each / 2**30:.2f} GiB for all. "
            "Ask for a shorter reply."
        )

    def add(self, job: Job) -> None:
        """Puts a job in line."""
        self._waiting.append(job)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._reading or self._writing)

    def clear(self) -> list[Job]:
        """Gives up all jobs and returns them."""
        jobs = [*self._writing, *self._reading, *self._waiting]
        self._writing, self._reading, self._waiting = [], [], deque()
        self._cache.end_use()
        return jobs

    def step(self) -> None:
        """Reads pieces of prompts and writes one token for every row that can; ends those that are done."""
        self._drop_cancelled()
        self._admit()
        pieces = self._next_pieces()
        places = [len(job.prompt_ids) + len(job.draw.new_ids) - 1 for job in self._writing]
        if places or pieces:
            ends = [place + 1 for place in places] + [piece.start + len(piece.ids) for _, piece in pieces]
            self._cache.reserve(len(self._writing) + len(self._reading), max(ends))
            self._read_and_write(pieces, places)
        if self.idle:
            self._cache.end_use()

    def _read_and_write(self, pieces: Sequence[tuple[Job, Piece]], places: Sequence[int]) -> None:
        # Logits are wanted of every row that writes, of each prompt's last token, and of all tokens that are echoed.
        wanted: list[int] = list(range(len(places)))
        echoed: list[int] = []
        read_whole, at = [], len(places)
        for job, piece in pieces:
            if piece.start + len(piece.ids) == len(job.prompt_ids):
                read_whole.append(job)
                wanted.append(at + len(piece.ids) - 1)
            if job.request.echo:
                echoed += range(at, at + len(piece.ids))
            at += len(piece.ids)
        last_ids = [job.draw.new_ids[-1] for job in self._writing]
        read = [piece for _, piece in pieces]
        logits = self._network.logits(self._cache, last_ids, places, read, [*wanted, *echoed])
        at = len(wanted)
        for job, piece in pieces:
            if job.request.echo:
                self._echo(job, piece, logits[at : at + len(piece.ids)])
                at += len(piece.ids)
            job.read += len(piece.ids)
            self._prefixes.keep(job.prompt_ids[: job.read], piece.row)
        for job in read_whole:
            self._begin_writing(job)
        self._write(logits[: len(wanted)])

    def _write(self, logits_BV: Tensor) -> None:
        """One token for every job that writes, and the end of those that end with it."""
        jobs = list(self._writing)
        tokens, failed = choose(logits_BV, [job.draw for job in jobs])
        self.tokens_written += len(jobs)
        # From the last row down, so that the row that fills a gap is never one that has ended too.
        for row in range(len(jobs) - 1, -1, -1):
            job, token = jobs[row], tokens[row]
            if row in failed:
                self._leave_writing(row)
                job.on_end(Failure(job.request.id, "bad_request", f"{failed[row]}; its reply was given up."))
                continue
            if not job.limit:
                self._leave_writing(row)
                job.on_end(self._reply(job, "length", at_end=False))
                continue
            job.draw.new_ids.append(token)
            if job.request.logprobs is not None:
                job.logprobs += self._logprobs([token], logits_BV[row : row + 1], job)
            at_end = token in self._checkpoint.end_ids
            if job.watched and not at_end:
                job.show(job.text.add([token]))
            if at_end or job.text.stopped or len(job.draw.new_ids) == job.limit:
                self._leave_writing(row)
                job.on_end(self._reply(job, "stop" if at_end or job.text.stopped else "length", at_end))

    def _reply(self, job: Job, reason: FinishReason, at_end: bool) -> Reply:
        ids = job.draw.new_ids
        if not job.watched:
            job.text.add(ids[:-1] if at_end else ids)
        job.show(job.text.end())
        return Reply(
            id=job.request.id,
            text=job.text.text,
            finish_reason=reason,
            usage=Usage(len(job.prompt_ids), len(ids), job.cached),
            seconds=time.perf_counter() - job.started,
            logprobs=tuple(job.logprobs),
            prompt_logprobs=tuple(job.prompt_logprobs),
        )

    def _echo(self, job: Job, piece: Piece, logits_TV: Tensor) -> None:
        """The log-probability of each token that follows one of the piece's, and of none for the prompt's first."""
        ids = job.prompt_ids
        if piece.start == 0:
            job.prompt_logprobs.append(TokenLogprob(ids[0], self._text(ids[0]), None))
        followers = ids[piece.start + 1 : piece.start + 1 + len(piece.ids)]
        job.prompt_logprobs += self._logprobs(followers, logits_TV[: len(followers)], job)

    def _logprobs(self, tokens: Sequence[int], logits_TV: Tensor, job: Job) -> list[TokenLogprob]:
        logprobs_TV = torch.log_softmax(logits_TV.float(), -1)
        own = logprobs_TV.gather(1, torch.tensor(tokens, dtype=torch.long, device=logits_TV.device)[:, None])[:, 0]
        top = logprobs_TV.topk(min(job.request.logprobs or 0, logprobs_TV.shape[1]))
        told = zip(tokens, own.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)
        return [
            TokenLogprob(
                token,
                self._text(token),
                value,
                tuple((other, self._text(other), v) for other, v in zip(ids, values, strict=True)),
            )
            for token, value, ids, values in told
        ]

    def _text(self, token: int) -> str:
        return token_text(self._checkpoint.tokenizer, token)

    def _admit(self) -> None:
        """Gives rows to those who wait, as far as there is room for all to reach their limits."""
        held_back = deque[Job]()
        while self._waiting and len(self._writing) + len(self._reading) < SLOTS:
            job = self._waiting.popleft()
            rows = [*self._writing, *self._reading, job]
            if len(rows) * max(each.most_tokens for each in rows) > self._most_tokens:
                self._waiting.appendleft(job)
                break
            # An echo needs the logits of tokens whose keys and values might be found.
            found = [] if job.request.echo else self._prefixes.find(job.prompt_ids)
            if not job.request.echo and self._is_being_read(job.prompt_ids, len(found)):
                held_back.append(job)
                continue
            job.started = time.perf_counter()
            job.read = job.cached = len(found) * TILE
            self._reading.append(job)
            if found:
                self._cache.reserve(len(rows), job.read)
                self._prefixes.load(found, len(rows) - 1)
        self._waiting.extendleft(reversed(held_back))

    def _is_being_read(self, ids: Sequence[int], num_found: int) -> bool:
        """Whether a prompt that is being read begins like this one, beyond the tiles that were found."""
        end = (num_found + 1) * TILE
        if num_found >= self._prefixes.capacity:
            return False
        return len(ids) > end and any(job.prompt_ids[:end] == ids[:end] for job in self._reading)

    def _next_pieces(self) -> list[tuple[Job, Piece]]:
        """What is read in this step: a first share of every prompt, then more of those that came first."""
        shares = dict.fromkeys(self._reading, 0)
        left = STEP_TOKENS
        for share in (SHARE_TOKENS, STEP_TOKENS):
            for job in sorted(self._reading, key=lambda job: job.started):
                rest = len(job.prompt_ids) - job.read - shares[job]
                most = ECHO_TOKENS - shares[job] if job.request.echo else share
                count = min(rest, most, left)
                # Pieces end with a tile, or with the prompt.
                count -= count % TILE if count < rest else 0
                shares[job] += count
                left -= count
        row = len(self._writing)
        return [
            (job, Piece(row + place, job.read, job.prompt_ids[job.read : job.read + shares[job]]))
            for place, job in enumerate(self._reading)
            if shares[job]
        ]

    def _drop_cancelled(self) -> None:
        for row in range(len(self._writing) - 1, -1, -1):
            if self._writing[row].is_cancelled():
                self._leave_writing(row).on_end(None)
        for job in [job for job in self._reading if job.is_cancelled()]:
            self._leave_reading(job)
            job.on_end(None)
        for job in [job for job in self._waiting if job.is_cancelled()]:
            self._waiting.remove(job)
            job.on_end(None)

    def _begin_writing(self, job: Job) -> None:
        """The first row of those that read becomes the last of those that write."""
        first, place = len(self._writing), self._reading.index(job)
        if place:
            other = self._reading[0]
            self._cache.swap_rows(first, first + place, max(job.read, other.read))
            self._reading[place] = other
        del self._reading[0]
        self._writing.append(job)

    def _leave_writing(self, row: int) -> Job:
        job, last = self._writing[row], len(self._writing) - 1
        if row != last:
            moved = self._writing[last]
            self._cache.copy_row(last, row, len(moved.prompt_ids) + len(moved.draw.new_ids))
            self._writing[row] = moved
        self._writing.pop()
        if self._reading:
            moved = self._reading.pop()
            self._cache.copy_row(last + 1 + len(self._reading), last, moved.read)
            self._reading.insert(0, moved)
        return job

    def _leave_reading(self, job: Job) -> None:
        place, moved = self._reading.index(job), self._reading[-1]
        if moved is not job:
            first = len(self._writing)
            self._cache.copy_row(first + len(self._reading) - 1, first + place, moved.read)
            self._reading[place] = moved
        self._reading.pop()

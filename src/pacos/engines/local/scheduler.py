"""Continuous batching with chunked prefill: requests join and leave at any step, one token or one chunk at a time."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pacos.engines.local.cache import KVCache
from pacos.engines.local.checkpoint import Checkpoint
from pacos.engines.local.network import Chunk
from pacos.engines.local.prefix import TILE, PrefixCache
from pacos.engines.local.sampler import Sampler, sample
from pacos.engines.local.text import ReplyText, token_text
from pacos.engines.types import Delta, Failure, FinishReason, Reply, Request, TokenLogprob, Usage

MAX_ROWS = 32
PREFIX_BYTES = 256 * 2**20
# Prompt tokens read in one step beside what is decoded, and the first share of each prompt in them: a long prompt then
# holds up neither those that decode nor a short one that came after it.
STEP_TOKENS, SHARE_TOKENS = 256, 64
# Logits of a chunk that is echoed are of every token: 64 rows of Gemma's 262,144 in fp32 are 64 MiB.
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
    sampler: Sampler
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
    """The cache's first rows belong to the jobs that decode, in their order, the next ones to those in prefill."""

    def __init__(self, checkpoint: Checkpoint, cache_bytes: int) -> None:
        self._checkpoint = checkpoint
        self._network = checkpoint.network
        self._cache = KVCache(self._network.shapes, self._network.dtype, self._network.device)
        self._prefixes = PrefixCache(self._cache, min(PREFIX_BYTES, cache_bytes // 8))
        self._capacity_tokens = cache_bytes // self._cache.bytes_per_token
        self._waiting: deque[Job] = deque()
        self._prefilling: list[Job] = []
        self._decoding: list[Job] = []
        self.tokens_written = 0

    def refusal(self, tokens: int) -> str | None:
        """Why a row of so many tokens cannot be had even alone; None where it can."""
        if tokens <= self._capacity_tokens:
            return None
        each = self._cache.bytes_per_token
        return (
            f"prompt and reply may have {tokens:,} tokens together, and {tokens:,} x {each:,} bytes of keys and values "
            f"are {tokens * each / 2**30:.2f} GiB; there are {self._capacity_tokens * each / 2**30:.2f} GiB for all. "
            "Ask for a shorter reply."
        )

    def add(self, job: Job) -> None:
        """Puts a job in line."""
        self._waiting.append(job)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._prefilling or self._decoding)

    def clear(self) -> list[Job]:
        """Gives up all jobs and returns them."""
        jobs = [*self._decoding, *self._prefilling, *self._waiting]
        self._decoding, self._prefilling, self._waiting = [], [], deque()
        self._cache.end_use()
        return jobs

    def step(self) -> None:
        """Reads chunks of prompts and writes one token for every row that can; ends those that are done."""
        self._drop_cancelled()
        self._admit()
        chunks = self._next_chunks()
        positions = [len(job.prompt_ids) + len(job.sampler.new_ids) - 1 for job in self._decoding]
        if positions or chunks:
            ends = [position + 1 for position in positions] + [chunk.start + len(chunk.ids) for _, chunk in chunks]
            self._cache.reserve(len(self._decoding) + len(self._prefilling), max(ends))
            self._forward(chunks, positions)
        if self.idle:
            self._cache.end_use()

    def _forward(self, chunks: Sequence[tuple[Job, Chunk]], positions: Sequence[int]) -> None:
        # Logits are wanted of every row that decodes, of each prompt's last token, and of all tokens that are echoed.
        wanted: list[int] = list(range(len(positions)))
        echoed: list[int] = []
        prefilled, at = [], len(positions)
        for job, chunk in chunks:
            if chunk.start + len(chunk.ids) == len(job.prompt_ids):
                prefilled.append(job)
                wanted.append(at + len(chunk.ids) - 1)
            echoed += range(at + len(chunk.ids) - _num_echoed(job, chunk), at + len(chunk.ids))
            at += len(chunk.ids)
        last_ids = [job.sampler.new_ids[-1] for job in self._decoding]
        alone = [chunk for _, chunk in chunks]
        logits = self._network.logits(self._cache, last_ids, positions, alone, [*wanted, *echoed])
        at = len(wanted)
        for job, chunk in chunks:
            if count := _num_echoed(job, chunk):
                self._echo(job, chunk, logits[at : at + count])
                at += count
            job.read += len(chunk.ids)
            self._prefixes.keep(job.prompt_ids[: job.read], chunk.row)
        for job in prefilled:
            self._begin_decoding(job)
        self._sample(logits[: len(wanted)])

    def _sample(self, logits_BV: Tensor) -> None:
        """One token for every job that decodes, and the end of those that end with it."""
        jobs = list(self._decoding)
        tokens, failed = sample(logits_BV, [job.sampler for job in jobs])
        self.tokens_written += len(jobs)
        # From the last row down, so that the row that fills a gap is never one that has ended too.
        for row in range(len(jobs) - 1, -1, -1):
            job, token = jobs[row], tokens[row]
            if row in failed:
                self._leave_decoding(row)
                job.on_end(Failure(job.request.id, "bad_request", f"{failed[row]}; its reply was given up."))
                continue
            if not job.limit:
                self._leave_decoding(row)
                job.on_end(self._reply(job, "length", at_end=False))
                continue
            job.sampler.new_ids.append(token)
            if job.request.logprobs is not None:
                job.logprobs += self._logprobs([token], logits_BV[row : row + 1], job)
            at_end = token in self._checkpoint.end_ids
            if job.watched and not at_end:
                job.show(job.text.add([token]))
            if at_end or job.text.stopped or len(job.sampler.new_ids) == job.limit:
                self._leave_decoding(row)
                job.on_end(self._reply(job, "stop" if at_end or job.text.stopped else "length", at_end))

    def _reply(self, job: Job, reason: FinishReason, at_end: bool) -> Reply:
        ids = job.sampler.new_ids
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

    def _echo(self, job: Job, chunk: Chunk, logits_TV: Tensor) -> None:
        """The log-probability of each token that follows one of the chunk's last; of none for the prompt's first."""
        ids, end = job.prompt_ids, chunk.start + len(chunk.ids)
        if chunk.start == job.request.echo_from == 0:
            job.prompt_logprobs.append(TokenLogprob(ids[0], self._text(ids[0]), None))
        followers = ids[end + 1 - len(logits_TV) : end + 1]
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
        while self._waiting and len(self._decoding) + len(self._prefilling) < MAX_ROWS:
            job = self._waiting.popleft()
            rows = [*self._decoding, *self._prefilling, job]
            if len(rows) * max(each.most_tokens for each in rows) > self._capacity_tokens:
                self._waiting.appendleft(job)
                break
            # An echo needs the logits of tokens whose keys and values might be found.
            findable = job.prompt_ids[: job.request.echo_from] if job.request.echo else job.prompt_ids
            found = self._prefixes.find(findable)
            if self._is_being_prefilled(findable, len(found)):
                held_back.append(job)
                continue
            job.started = time.perf_counter()
            job.read = job.cached = len(found) * TILE
            self._prefilling.append(job)
            if found:
                self._cache.reserve(len(rows), job.read)
                self._prefixes.load(found, len(rows) - 1)
        self._waiting.extendleft(reversed(held_back))

    def _is_being_prefilled(self, ids: Sequence[int], num_found: int) -> bool:
        """Whether a prompt in prefill begins like this one, beyond the tiles that were found."""
        end = (num_found + 1) * TILE
        if num_found >= self._prefixes.capacity:
            return False
        return len(ids) > end and any(job.prompt_ids[:end] == ids[:end] for job in self._prefilling)

    def _next_chunks(self) -> list[tuple[Job, Chunk]]:
        """What is read in this step: a first share of every prompt, then more of those that came first."""
        shares = dict.fromkeys(self._prefilling, 0)
        left = STEP_TOKENS
        for share in (SHARE_TOKENS, STEP_TOKENS):
            for job in sorted(self._prefilling, key=lambda job: job.started):
                rest = len(job.prompt_ids) - job.read - shares[job]
                most = ECHO_TOKENS - shares[job] if job.request.echo else share
                count = min(rest, most, left)
                # Chunks end with a tile, or with the prompt.
                count -= count % TILE if count < rest else 0
                shares[job] += count
                left -= count
        row = len(self._decoding)
        return [
            (job, Chunk(row + place, job.read, job.prompt_ids[job.read : job.read + shares[job]]))
            for place, job in enumerate(self._prefilling)
            if shares[job]
        ]

    def _drop_cancelled(self) -> None:
        for row in range(len(self._decoding) - 1, -1, -1):
            if self._decoding[row].is_cancelled():
                self._leave_decoding(row).on_end(None)
        for job in [job for job in self._prefilling if job.is_cancelled()]:
            self._leave_prefilling(job)
            job.on_end(None)
        for job in [job for job in self._waiting if job.is_cancelled()]:
            self._waiting.remove(job)
            job.on_end(None)

    def _begin_decoding(self, job: Job) -> None:
        """The first row in prefill becomes the last of those that decode."""
        first, place = len(self._decoding), self._prefilling.index(job)
        if place:
            other = self._prefilling[0]
            self._cache.swap_rows(first, first + place, max(job.read, other.read))
            self._prefilling[place] = other
        del self._prefilling[0]
        self._decoding.append(job)

    def _leave_decoding(self, row: int) -> Job:
        job, last = self._decoding[row], len(self._decoding) - 1
        if row != last:
            moved = self._decoding[last]
            self._cache.copy_row(last, row, len(moved.prompt_ids) + len(moved.sampler.new_ids))
            self._decoding[row] = moved
        self._decoding.pop()
        if self._prefilling:
            moved = self._prefilling.pop()
            self._cache.copy_row(last + 1 + len(self._prefilling), last, moved.read)
            self._prefilling.insert(0, moved)
        return job

    def _leave_prefilling(self, job: Job) -> None:
        place, moved = self._prefilling.index(job), self._prefilling[-1]
        if moved is not job:
            first = len(self._decoding)
            self._cache.copy_row(first + len(self._prefilling) - 1, first + place, moved.read)
            self._prefilling[place] = moved
        self._prefilling.pop()


def _num_echoed(job: Job, chunk: Chunk) -> int:
    """How many of a chunk's last tokens are followed by one whose log-probability is wanted."""
    from_here = job.request.echo_from - 1 - chunk.start
    return len(chunk.ids) - min(max(from_here, 0), len(chunk.ids)) if job.request.echo else 0

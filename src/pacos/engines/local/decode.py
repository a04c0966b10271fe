"""The decode loop: a batch of prompts, left-padded, one token a row a step, rows leaving as they end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from pacos.engines.local.cache import RowCache
from pacos.engines.local.checkpoint import Checkpoint
from pacos.engines.local.choice import Chooser
from pacos.engines.local.text import ReplyText
from pacos.engines.types import FinishReason, LogitsHook, Reply, Request, Usage


@dataclass
class Job:
    """One request on its way: its prompt's tokens and the most tokens its reply may have."""

    request: Request
    prompt_ids: list[int]
    limit: int
    text: ReplyText
    on_piece: Callable[[str], None] | None = None
    watched: bool = field(init=False)

    def __post_init__(self) -> None:
        # Only a reply that someone watches, or that a stop string may end, has to become text at every step.
        self.watched = self.on_piece is not None or bool(self.request.sampling.stop)


class Batch:
    """Rows that are decoded together. Row i of every tensor belongs to jobs[i]; the batch shrinks as jobs finish."""

    def __init__(self, checkpoint: Checkpoint, jobs: Sequence[Job], logits_hook: LogitsHook | None) -> None:
        self.checkpoint = checkpoint
        self.jobs = list(jobs)
        self.logits_hook = logits_hook
        model = checkpoint.model
        device = model.device
        self.cache = RowCache()
        self.chooser = Chooser([job.request.sampling for job in jobs], [job.limit for job in jobs], device)
        self.end_ids = torch.tensor(checkpoint.end_ids, dtype=torch.long, device=device)
        self.limit_B = torch.tensor([job.limit for job in jobs], device=device)
        self.start = time.perf_counter()

        width = max(len(job.prompt_ids) for job in jobs)
        total = width + max(job.limit for job in jobs)
        padding = [width - len(job.prompt_ids) for job in jobs]
        self.prompt_width = self.filled = width
        self.padding_B = torch.tensor(padding, device=device)
        self.padded = any(padding)
        pad_id = checkpoint.tokenizer.pad_token_id or 0
        self.ids_BT = torch.full((len(jobs), total), pad_id, dtype=torch.long, device=device)
        for row, job in enumerate(jobs):
            self.ids_BT[row, padding[row] : width] = torch.tensor(job.prompt_ids)
        # Added to attention scores; only padding on the left is ever hidden from a new token.
        self.mask_BT = torch.zeros(len(jobs), total, dtype=model.dtype, device=device)
        self.mask_BT.masked_fill_(
            torch.arange(total, device=device) < self.padding_B[:, None], torch.finfo(model.dtype).min
        )

    def step(self) -> list[Reply]:
        """Decodes one token for every row; returns the replies of those that ended with it."""
        logits_BV = self._prefill() if self.filled == self.prompt_width else self._next_logits()
        rows, step = len(self.jobs), self.filled - self.prompt_width
        # Temperature first: a watermark's delta then weighs the same at every temperature.
        logits_BV = self.chooser.temper(logits_BV)
        if self.logits_hook:
            logits_BV = self.logits_hook(self.ids_BT[:rows, : self.filled], logits_BV)
        token_B = self.chooser.choose(logits_BV, step)
        self.ids_BT[:rows, self.filled] = token_B
        self.filled += 1
        at_end_B = torch.isin(token_B, self.end_ids)
        full_B = self.limit_B[:rows] <= step + 1
        stopped = self._watch(token_B, at_end_B)
        ended = set((at_end_B | full_B).nonzero()[:, 0].tolist()) | stopped
        replies = []
        # From the last row down, so that the row that fills a gap is never one that has ended too.
        for row in sorted(ended, reverse=True):
            reason: FinishReason = "stop" if row in stopped or bool(at_end_B[row]) else "length"
            replies.append(self._finish(row, reason, bool(at_end_B[row])))
            self._remove(row)
        return replies

    def _prefill(self) -> torch.Tensor:
        positions_BT = (torch.arange(self.filled, device=self.ids_BT.device) - self.padding_B[:, None]).clamp(min=0)
        mask = None
        if self.padded:
            future_TT = torch.full((self.filled, self.filled), torch.finfo(self.mask_BT.dtype).min).triu(1)
            keys_B1T = self.mask_BT[:, None, : self.filled]
            mask = torch.minimum(keys_B1T, future_TT.to(self.mask_BT))[:, None]
        return self._forward(self.ids_BT[:, : self.filled], positions_BT, mask)

    def _next_logits(self) -> torch.Tensor:
        rows = len(self.jobs)
        positions_B1 = (self.filled - 1 - self.padding_B[:rows])[:, None]
        mask = self.mask_BT[:rows, None, None, : self.filled] if self.padded else None
        return self._forward(self.ids_BT[:rows, self.filled - 1 : self.filled], positions_B1, mask)

    def _forward(self, ids_BT: torch.Tensor, positions_BT: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        output = self.checkpoint.model(
            input_ids=ids_BT,
            position_ids=positions_BT,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV

    def _watch(self, token_B: torch.Tensor, at_end_B: torch.Tensor) -> set[int]:
        """Shows watched rows' new text; returns the rows that a stop string ended."""
        stopped: set[int] = set()
        watched = [(row, job) for row, job in enumerate(self.jobs) if job.watched]
        if not watched:
            return stopped
        tokens, at_end = token_B.tolist(), at_end_B.tolist()
        for row, job in watched:
            piece = "" if at_end[row] else job.text.add([tokens[row]])
            if piece and job.on_piece:
                job.on_piece(piece)
            if job.text.stopped:
                stopped.add(row)
        return stopped

    def _finish(self, row: int, reason: FinishReason, at_end: bool) -> Reply:
        job = self.jobs[row]
        ids = self.ids_BT[row, self.prompt_width : self.filled].tolist()
        piece = ""
        if not job.watched:
            job.text.add(ids[:-1] if at_end else ids)
        piece = job.text.end()
        if piece and job.on_piece:
            job.on_piece(piece)
        return Reply(
            id=job.request.id,
            text=job.text.text,
            finish_reason="stop" if job.text.stopped else reason,
            usage=Usage(len(job.prompt_ids), len(ids)),
            seconds=time.perf_counter() - self.start,
        )

    def _remove(self, row: int) -> None:
        last = len(self.jobs) - 1
        if row != last:
            self.jobs[row] = self.jobs[last]
            for tensor in (self.ids_BT, self.mask_BT, self.padding_B, self.limit_B):
                tensor[row] = tensor[last]
            self.chooser.move_row(last, row)
            self.cache.move_row(last, row)
        self.jobs.pop()


def decode(
    checkpoint: Checkpoint,
    jobs: Sequence[Job],
    logits_hook: LogitsHook | None,
    on_reply: Callable[[Reply], None],
    is_stopped: Callable[[], bool],
) -> None:
    """Decodes jobs together until all have ended, or until `is_stopped`, which is asked at every token."""
    with torch.inference_mode():
        if is_stopped():
            return
        batch = Batch(checkpoint, jobs, logits_hook)
        while batch.jobs and not is_stopped():
            for reply in batch.step():
                on_reply(reply)

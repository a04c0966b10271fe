"""When to stop paying a teacher: nothing in its replies can be read, or nothing of it is worth keeping."""

from pacos.core.errors import PacosError
from pacos.engines import Reply
from pacos.generate.modes import ALPACA
from pacos.generate.pool import Pool

# So many in a row without one task in them are no accident: a teacher that goes on like this is read wrongly.
UNREADABLE_REPLIES = 6
# A teacher whose last so many replies held nothing to keep is not going to get better by being paid more.
BARREN_REPLIES = 30
MOST_SHOWN = 300


def barren(pool: Pool, reply: Reply) -> PacosError | None:
    """Why to stop after this reply, the last one judged, or None."""
    if pool.replies_since_read >= UNREADABLE_REPLIES:
        return _unreadable(pool, reply)
    return _nothing_to_keep(pool) if pool.replies_since_kept >= BARREN_REPLIES else None


def _unreadable(pool: Pool, reply: Reply) -> PacosError:
    advice = ["change the teacher or its prompt and give --run another folder"]
    if reply.finish_reason == "length":
        advice.insert(
            0, "raise teacher.max_tokens, or take a teacher of longer context, as this reply was cut at its limit"
        )
    if pool.mode == ALPACA:
        advice.insert(0, "set generate.mode=alpaca-fixed, which reads tasks by their labels wherever they stand")
    return PacosError(
        f"teacher: no task could be read in its last {UNREADABLE_REPLIES} replies. The last one reads: "
        f"{shown(reply.text) or '(nothing)'} All of them are in the ledger; {', or '.join(advice)}."
    )


def _nothing_to_keep(pool: Pool) -> PacosError:
    kept = len(pool.kept)
    rejections = ", ".join(f"{rule} {count:,}" for rule, count in pool.rejections.most_common(4))
    cut = pool.rejections.most_common(1)[0][0] == "truncated" if pool.rejections else False
    advice = "raise teacher.max_tokens, or " if cut else ""
    less = f", or finish with what is kept: the same command with generate.num_examples={kept}" if kept else ""
    return PacosError(
        f"teacher: nothing to keep in its last {BARREN_REPLIES} replies; {kept:,} of "
        f"{pool.num_asked:,} tasks asked for were kept (rejected: {rejections or 'no task could be read'}). "
        f"Look into rejected.jsonl; then {advice}change the teacher, its prompt, the seed tasks or "
        f"generate.similarity_threshold and give --run another folder{less}."
    )


def shown(text: str) -> str:
    """The beginning of a text on one line; what would move a terminal's cursor or hide is escaped."""
    text = text.strip()
    cut = "…" if len(text) > MOST_SHOWN else ""
    line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text[:MOST_SHOWN])
    return f"“{line}{cut}”" if line else ""

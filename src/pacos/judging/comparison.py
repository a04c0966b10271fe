"""Two answers compared: what a judge is shown, and how its reply is read."""

import re
from typing import Literal

from pacos.engines import Failure, Reply

Choice = Literal["A", "B", "tie", "unparsable"]
"""What one vote says; a verdict needs the votes in both orders."""

PREAMBLE = """\
Two assistants were given the same task. Decide which of the two answers carries it out better. What counts is that
the answer is right and complete and does what the instruction asks, and nothing besides; neither its length nor its
place on this page counts."""
REFERENCE_NOTE = "A known right answer stands between the reference tags; an answer need not be worded like it."
QUESTION = """\
Give your reason in one sentence. Then end with a line that holds your verdict and nothing else: "Verdict: A" where
answer A is better, "Verdict: B" where answer B is better, "Verdict: tie" where they are equally good or equally bad."""

# Tags inside an item or an answer must not end a block early, so their "<" is written out.
TAG = re.compile(r"<(?=/?(?:instruction|input|reference|answer_a|answer_b)>)")
# A line of its own that begins, whatever marks it up, with the label that the question asks for: a sentence that only
# has the word in it is no verdict.
VERDICT_LINE = re.compile(
    r"^(?:[^\w\n]|_)*(?:(?:final|my) )?verdict(?:[^\w\n]|_)*?[:：](.*)$", re.IGNORECASE | re.MULTILINE
)
VERDICT = re.compile(
    r"[\W_]*(?:(?:the )?answer )?[\W_]*(A|B|tie)(?: is better| wins)?[\W_]*|[\W_]*a tie[\W_]*", re.IGNORECASE
)


def comparison_prompt(instruction: str, context: str, reference: str, answer_a: str, answer_b: str) -> str:
    """The judge's whole prompt; blocks without content are left out. `context` is the instruction's input."""
    blocks = {
        "instruction": instruction,
        "input": context,
        "reference": reference,
        "answer_a": answer_a.strip(),
        "answer_b": answer_b.strip(),
    }
    shown = [
        f"<{tag}>\n{TAG.sub('&lt;', text)}\n</{tag}>"
        for tag, text in blocks.items()
        if text or tag.startswith("answer")
    ]
    note = [REFERENCE_NOTE] if reference else []
    return "\n\n".join([PREAMBLE, *note, *shown, QUESTION])


def read_choice(reply: Reply | Failure) -> Choice:
    """The verdict on the last line that has one; anything unclear, refused or cut is "unparsable", never a guess."""
    if isinstance(reply, Failure) or reply.finish_reason != "stop":
        return "unparsable"
    lines = VERDICT_LINE.findall(reply.text)
    match = VERDICT.fullmatch(lines[-1]) if lines else None
    if not match:
        return "unparsable"
    choice = (match.group(1) or "tie").lower()
    return "A" if choice == "a" else "B" if choice == "b" else "tie"

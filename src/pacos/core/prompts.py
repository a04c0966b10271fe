"""Alpaca's two prompt templates, byte for byte as released (stanford_alpaca/train.py)."""

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)


def render_prompt(instruction: str, input: str = "") -> str:
    """The text the model completes; it ends in "### Response:" with no space or newline after it."""
    # str.replace, not str.format: braces in user text are text, and the instruction goes in
    # last so that an instruction holding the word "{input}" stays as it was written.
    if not input:
        return WITHOUT_INPUT.replace("{instruction}", instruction)
    head, tail = WITH_INPUT.split("{input}")
    return head.replace("{instruction}", instruction) + input + tail

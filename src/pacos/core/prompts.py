"""Alpaca's two prompt templates, byte for byte as released (stanford_alpaca/train.py), and one as a chat template."""

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


def render_prompt(instruction: str, given: str = "") -> str:
    """The text the model completes, `given` being the input; it ends in "### Response:" and no space or newline."""
    # str.replace, not str.format: braces in user text are text, and the instruction goes in
    # last so that an instruction holding the word "{input}" stays as it was written.
    if not given:
        return WITHOUT_INPUT.replace("{instruction}", instruction)
    head, tail = WITH_INPUT.split("{input}")
    return head.replace("{instruction}", instruction) + given + tail


def chat_template(begin: str = "") -> str:
    """Alpaca's prompt as a Jinja chat template: a single user turn renders as `render_prompt` does, after `begin`.

    Earlier turns stand as further Instruction and Response blocks under the one preamble, and a system message
    opens the first instruction: the student knows no other form.
    """
    preamble, after = WITHOUT_INPUT.split("### Instruction:\n{instruction}")
    heading = after.strip()
    return (
        "{%- set ns = namespace(system='') -%}"
        f"{{{{- {begin + preamble!r} -}}}}"
        "{%- for message in messages -%}"
        "{%- if message.role == 'system' -%}{%- set ns.system = ns.system + message.content + '\\n\\n' -%}"
        "{%- elif message.role == 'user' -%}"
        "{{- '### Instruction:\\n' + ns.system + message.content + '\\n\\n' -}}{%- set ns.system = '' -%}"
        f"{{%- if loop.last and add_generation_prompt -%}}{{{{- {heading!r} -}}}}{{%- endif -%}}"
        f"{{%- else -%}}{{{{- {heading!r} + message.content -}}}}"
        "{%- if loop.last -%}{{- eos_token -}}{%- else -%}{{- '\\n\\n' -}}{%- endif -%}"
        "{%- endif -%}{%- endfor -%}"
    )

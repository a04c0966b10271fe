"""Answers that say which model wrote them: no blinding of the page hides what the text tells."""

import re
from collections.abc import Iterable, Sequence

# A name that is common to every run says nothing of whose answer it is.
ROLES = {"student", "base"}
MAKERS = (
    r"(?:chat)?gpt(?:-?\d[\w.-]*)?|openai|(?:text-)?davinci(?:-\d+)?|claude|anthropic|alpaca|llama|meta ai|vicuna|"
    r"gemma|gemini|bard|google|deepmind|mistral|mixtral|qwen|alibaba|smollm|hugging ?face|falcon|dolly|databricks|"
    r"deepseek|pythia|eleutherai|pacos|stanford"
)
_SELF = re.compile(
    r"\b(?:i am|i['’]m|my name is|call me|as an?|(?:trained|developed|created|made|built|designed) by)\b"
    rf"[^.!?\n]{{0,60}}?\b(?:{MAKERS})\b",
    re.IGNORECASE,
)


def model_names(label: str, origins: Iterable[str]) -> list[str]:
    """What a model may be called: its label, and the last parts of the hub names or paths it comes from.

    Of "meta-llama/Llama-2-7b-hf" both that last part and its family, "Llama".
    """
    names = {label, *(origin.rstrip("/").rpartition("/")[2] for origin in origins)}
    names |= {family[0] for name in names if (family := re.match(r"[A-Za-z]{4,}", name))}
    return sorted(name for name in names if len(name) > 2 and name.lower() not in ROLES | {"model"})


def find_name(text: str, names: Sequence[str]) -> str:
    """The words by which an answer names one of `names`, or itself one of the well-known models; "" where it does not.

    An answer about llamas is found as well when the model is one: whoever looks at the list decides.
    """
    own = re.search(rf"\b(?:{'|'.join(map(re.escape, names))})\b", text, re.IGNORECASE) if names else None
    found = own or _SELF.search(text)
    return " ".join(found[0].split()) if found else ""

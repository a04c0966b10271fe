"""The instructions as a scenario of HELM, which loads a copy of this file beside them: `helm-run --plugins FILE`.

HELM's own self_instruct joins instruction and input by one line end; the student was trained on an empty line.
"""

import json
from pathlib import Path

from helm.benchmark.adaptation.adapter_spec import ADAPT_GENERATION, AdapterSpec
from helm.benchmark.metrics.metric import MetricSpec
from helm.benchmark.run_spec import RunSpec, run_spec_function
from helm.benchmark.scenarios.scenario import (
    CORRECT_TAG,
    TEST_SPLIT,
    Input,
    Instance,
    Output,
    Reference,
    Scenario,
    ScenarioSpec,
)

HERE = Path(__file__).parent
METRICS = "helm.benchmark.metrics"


class InstructionsScenario(Scenario):  # type: ignore[misc]
    """Each instruction as a chat is sent it."""

    name = "pacos_instructions"
    description = "The instructions of a pacos run"
    tags = ("instructions",)

    def get_instances(self, output_path: str) -> list[Instance]:
        """In the order of the file."""
        rows = map(json.loads, (HERE / "instructions.jsonl").read_text(encoding="utf-8").splitlines())
        return [
            Instance(
                id=row["id"],
                input=Input(text=row["text"]),
                references=[Reference(Output(text=row["reference"]), tags=[CORRECT_TAG])] if row["reference"] else [],
                split=TEST_SPLIT,
            )
            for row in rows
        ]


@run_spec_function("pacos_instructions")
def instructions(max_tokens: int, references: int, critic: int) -> RunSpec:
    """Greedy answers, measured against references where there are some, by a critic where there is one."""
    names = ["exact_match", "quasi_exact_match", "f1_score", "rouge_l"]
    basic = MetricSpec(class_name=f"{METRICS}.basic_metrics.BasicGenerationMetric", args={"names": names})
    graded = MetricSpec(
        class_name=f"{METRICS}.instruction_following_critique_metrics.InstructionFollowingCritiqueMetric",
        args={"num_respondents": 1},
    )
    return RunSpec(
        name="pacos_instructions",
        scenario_spec=ScenarioSpec(class_name=f"{__name__}.InstructionsScenario", args={}),
        adapter_spec=AdapterSpec(
            method=ADAPT_GENERATION,
            instructions="",
            input_prefix="",
            input_suffix="",
            output_prefix="",
            output_suffix="",
            max_train_instances=0,
            num_outputs=1,
            max_tokens=max_tokens,
            temperature=0.0,
            stop_sequences=[],
        ),
        metric_specs=[*([basic] if references else []), *([graded] if critic else [])],
        groups=["pacos_instructions"],
    )

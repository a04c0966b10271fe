"""Both sets as scenarios of HELM, which loads a copy of this file beside them: `helm-run --plugins FILE`.

HELM's own self_instruct joins instruction and input by one line end, and the student was trained on an empty line. Its
custom_mcqa needs spacy to read a file; questions are adapted and measured here as there.
"""

import json
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.adapter_spec import ADAPT_GENERATION, ADAPT_MULTIPLE_CHOICE_JOINT, AdapterSpec
from helm.benchmark.adaptation.common_adapter_specs import get_multiple_choice_adapter_spec
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


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


def _instance(row: dict[str, Any], text: str, references: list[str], right: int) -> Instance:
    answers = [
        Reference(Output(text=each), tags=[CORRECT_TAG] if n == right else []) for n, each in enumerate(references)
    ]
    return Instance(id=row["id"], input=Input(text=text), references=answers, split=TEST_SPLIT)


class InstructionsScenario(Scenario):  # type: ignore[misc]
    """Each instruction as a chat is sent it."""

    name = "pacos_instructions"
    description = "The instructions of a pacos run"
    tags = ("instructions",)

    def get_instances(self, output_path: str) -> list[Instance]:
        """In the order of the file."""
        return [_instance(r, r["text"], [r["reference"]] if r["reference"] else [], 0) for r in _rows("instructions")]


class MultipleChoiceScenario(Scenario):  # type: ignore[misc]
    """Each question with its choices."""

    name = "pacos_multiple_choice"
    description = "The multiple-choice questions of pacos"
    tags = ("multiple_choice",)

    def get_instances(self, output_path: str) -> list[Instance]:
        """In the order of the file."""
        return [_instance(row, row["question"], row["choices"], row["answer"]) for row in _rows("multiple_choice")]


def _basic(*names: str) -> MetricSpec:
    return MetricSpec(class_name=f"{METRICS}.basic_metrics.BasicGenerationMetric", args={"names": list(names)})


def _spec(scenario: type[Scenario], adapter: AdapterSpec, metrics: list[MetricSpec]) -> RunSpec:
    where = ScenarioSpec(class_name=f"{__name__}.{scenario.__name__}", args={})
    return RunSpec(scenario.name, where, adapter, metrics, groups=[scenario.name])


@run_spec_function("pacos_instructions")  # type: ignore[untyped-decorator]
def instructions(max_tokens: int, references: int, critic: int) -> RunSpec:
    """Greedy answers, measured against references where there are some, by a critic where there is one."""
    graded = MetricSpec(
        class_name=f"{METRICS}.instruction_following_critique_metrics.InstructionFollowingCritiqueMetric",
        args={"num_respondents": 1},
    )
    basic = _basic("exact_match", "quasi_exact_match", "f1_score", "rouge_l")
    adapter = AdapterSpec(
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
    )
    return _spec(InstructionsScenario, adapter, [*([basic] if references else []), *([graded] if critic else [])])


@run_spec_function("pacos_multiple_choice")  # type: ignore[untyped-decorator]
def multiple_choice() -> RunSpec:
    """The letter of the right choice, as one token."""
    adapter = get_multiple_choice_adapter_spec(
        method=ADAPT_MULTIPLE_CHOICE_JOINT,
        instructions="The following are multiple choice questions (with answers).",
        input_noun="Question",
        output_noun="Answer",
        max_train_instances=0,
    )
    return _spec(MultipleChoiceScenario, adapter, [_basic("exact_match")])

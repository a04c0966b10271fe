"""The stage through its door: it learns, resumes to the bit wherever it was killed, and says what is wrong."""

import itertools
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    get_cosine_schedule_with_warmup,
)

from pacos.core import run_folder
from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.recipe import Recipe, TrainTable
from pacos.core.run_folder import RunFolder
from pacos.train.machine import memory_named
from pacos.train.memory import estimate_memory
from pacos.train.optimizer import scheduled_rate
from pacos.train.report import Step, TrainReport, read
from pacos.train.run import run
from pacos.train.student import check_student, probe
from pacos.train.tracking import tracker

MakeRecipe = Callable[..., Recipe]
Records = Callable[..., list[dict[str, str]]]


def train(recipe: Recipe, folder: Path) -> TrainReport:
    with RunFolder(folder, recipe) as opened:
        return run(recipe, opened)


def test_it_learns_reports_and_leaves_a_model_that_loads(
    short_recipe: MakeRecipe,
    records: Records,
    dataset: Path,
    tmp_path: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset.write_text(json.dumps(records(120)))
    recipe = short_recipe(num_epochs=4, max_examples=100)
    report = train(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/train/steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 53))
    assert (report.steps, report.examples, report.counts.heldout) == (52, 100, 20)
    assert report.real_tokens == sum(line["real_tokens"] for line in lines) == 4 * report.counts.tokens
    last = lines[-math.ceil(min(len(lines) / 10, 10)) :]
    assert report.final_loss == pytest.approx(sum(line["loss"] for line in last) / len(last))
    assert lines[0]["loss"] > 2 * report.final_loss
    assert report.heldout_loss_before is not None
    assert report.heldout_loss_after is not None
    assert report.heldout_loss_after < report.heldout_loss_before / 2
    assert asdict(report) == json.loads((tmp_path / "run/train/report.json").read_text())
    assert report == read(tmp_path / "run/train")
    assert "planned steps" in capsys.readouterr().out

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run/train/model")
    assert model.dtype == torch.float32
    before = load_file(tiny_model / "model.safetensors")
    assert all(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if name in before)
    with pytest.raises(PacosError, match="is finished"):
        train(recipe, tmp_path / "run")


KILLED = """
import sys
from pathlib import Path
from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.train.run import run
recipe = load(sys.argv[1], sys.argv[3:])
with RunFolder(Path(sys.argv[2]), recipe) as opened:
    run(recipe, opened)
"""


def start(recipe: Recipe, tmp_path: Path, folder: Path) -> subprocess.Popen[bytes]:
    (tmp_path / "again.toml").write_text(recipe.text)
    values = {key: value for key, value in recipe.table("train").items() if value is not None}
    keys = [f"train.{key}={str(v).lower() if isinstance(v, bool) else v}" for key, v in values.items()]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "again.toml"), str(folder), *keys]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    log = folder / "train/steps.jsonl"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= step):
        time.sleep(0.002)
    assert process.poll() is None, "it ended before it could be killed"


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "train/steps.jsonl").read_text().splitlines()]


def test_interrupted_then_killed_it_ends_in_the_same_weights_to_the_bit(
    short_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = short_recipe(num_epochs=16, checkpoint_every=7)
    folder = tmp_path / "broken"
    process = start(recipe, tmp_path, folder)
    wait_for_step(folder, 5, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() != 0
    newest = max((folder / "train/checkpoints").glob("step-*"))
    interrupted_at = len(losses(folder))
    assert int(newest.name.removeprefix("step-")) == interrupted_at >= 5

    process = start(recipe, tmp_path, folder)
    wait_for_step(folder, interrupted_at + 10, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "train/done.json").exists()
    assert len(list((folder / "train/checkpoints").glob("step-*"))) <= 3

    resumed, unbroken = train(recipe, folder), train(recipe, tmp_path / "unbroken")
    assert resumed.weights_sha256 == unbroken.weights_sha256
    assert losses(folder) == losses(tmp_path / "unbroken")
    same = ("steps", "real_tokens", "final_loss", "counts")
    assert {key: asdict(resumed)[key] for key in same} == {key: asdict(unbroken)[key] for key in same}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_told_to_stop_saves_says_so_and_goes_on_to_the_same_weights(
    short_recipe: MakeRecipe, tmp_path: Path, ending: signal.Signals
) -> None:
    recipe, folder = short_recipe(num_epochs=8), tmp_path / "broken"
    (tmp_path / "again.toml").write_text(recipe.text)
    keys = [f"train.{key}={recipe.table('train')[key]}" for key in ("base", "dataset", "precision", "num_epochs")]
    command = [sys.executable, "-m", "pacos", "train", str(tmp_path / "again.toml"), *keys, "--run", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_step(folder, 3, process)
    process.send_signal(ending)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2, said
    assert said.count("stopping after this step") == said.count("stopped; the same command goes on from here") == 1
    assert "Traceback" not in said
    (newest,) = (folder / "train/checkpoints").glob("step-*")
    assert 40 > int(newest.name.removeprefix("step-")) == len(losses(folder)) >= 3
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=120).returncode == 0
    assert read(folder / "train").weights_sha256 == train(recipe, tmp_path / "unbroken").weights_sha256


def test_sigterm_while_nothing_is_trained_yet_ends_as_ctrl_c_does(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = short_recipe()
    (tmp_path / "again.toml").write_text(recipe.text)
    keys = [f"train.{key}={recipe.table('train')[key]}" for key in ("base", "dataset")]
    command = [sys.executable, "-c", ENDED_WHILE_LOADING, "train", str(tmp_path / "again.toml"), *keys]
    done = subprocess.run([*command, "--run", str(tmp_path / "run")], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "stopped; the same command goes on from here\n")


ENDED_WHILE_LOADING = """
import os, signal
from pacos.cli.main import main
from pacos.train import prepare
loading = prepare.load_base
def load_base(*arguments, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return loading(*arguments, **options)
prepare.load_base = load_base
main()
"""


def test_the_step_log_drops_lines_past_the_checkpoint_and_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    values = {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.1, "real_tokens": 9, "real_tokens_per_second": 1.0}
    steps = [{"step": number, **values, "seconds": 9.0} for number in (1, 2, 3)]
    lines = [json.dumps(step) + "\n" for step in steps]
    path.write_text("".join(lines) + lines[0][:20])
    with tracker(tmp_path, TrainTable(), 3, first=3) as tell:
        tell(Step(**steps[2]))
    assert path.read_text() == "".join(lines)
    with pytest.raises(PacosError, match="not the log of the 4 steps"), tracker(tmp_path, TrainTable(), 9, first=5):
        pass


def test_the_chat_template_renders_alpacas_prompt(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(short_recipe(num_epochs=1, seed=2**63 - 1), tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/train/model")

    def render(*turns: str, **options: bool) -> str:
        messages = [{"role": role, "content": text} for role, _, text in (turn.partition(":") for turn in turns)]
        return tokenizer.apply_chat_template(messages, tokenize=False, **{"add_generation_prompt": True, **options})

    for text in ("What is 1+1?", " {{ braces }} {instruction}\n\n### Response: ", "é🦙'\"\\n"):
        assert render(f"user:{text}") == render_prompt(text)
    several = render("system:Be brief.", "user:Hello", "assistant:Hi!", "user:Bye")
    block = "### Instruction:\n{}\n\n### Response:"
    preamble = render_prompt("").partition("###")[0]
    assert several == preamble + block.format("Be brief.\n\nHello") + "Hi!\n\n" + block.format("Bye")
    trained = render("user:Hello", "assistant:Hi!", add_generation_prompt=False)
    assert trained == render_prompt("Hello") + "Hi!" + tokenizer.eos_token
    assert ImmutableSandboxedEnvironment().from_string(tokenizer.chat_template)


def test_its_own_generated_data_is_the_default(short_recipe: MakeRecipe, tmp_path: Path, dataset: Path) -> None:
    recipe = short_recipe(dataset="")
    with pytest.raises(PacosError, match="generate stage is not finished"):
        train(recipe, tmp_path / "run")
    with RunFolder(tmp_path / "run", recipe) as opened, opened.stage("generate") as stage:
        stage.folder.joinpath("dataset.json").write_bytes(dataset.read_bytes())
        stage.finish(TrainTable(), ("dataset.json",))
    assert train(recipe, tmp_path / "run").dataset == str(tmp_path / "run/generate/dataset.json")


def test_a_loss_that_is_no_number_stops_at_once_and_names_the_records(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path
) -> None:
    broken = tmp_path / "broken"
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(broken)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    model.save_pretrained(broken)
    with pytest.raises(PacosError, match=r"step 1 has loss nan.*Records: [0-9a-f]{16}"):
        train(short_recipe(base=broken), tmp_path / "run")


def edited_base(tiny_model: Path, folder: Path, name: str, **values: object) -> Path:
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**config, **values}))
    return folder


def test_a_base_that_cannot_be_trained_is_one_line(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path, dataset: Path
) -> None:
    endless = edited_base(tiny_model, tmp_path / "endless", "tokenizer_config.json", eos_token=None)
    with pytest.raises(PacosError, match="no end-of-text token"):
        train(short_recipe(base=endless), tmp_path / "a")

    small = edited_base(tiny_model, tmp_path / "small", "config.json", vocab_size=200)
    tensors = load_file(small / "model.safetensors")
    cut = {name: t[:200].clone() if "embed" in name else t for name, t in tensors.items()}
    save_file(cut, small / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PacosError, match="at least as many embeddings as tokens"):
        train(short_recipe(base=small), tmp_path / "b")

    with pytest.raises(PacosError, match="no such model folder"):
        train(short_recipe(base=tmp_path / "nowhere"), tmp_path / "c")
    lacking = edited_base(tiny_model, tmp_path / "lacking", "config.json")
    save_file({name: t for name, t in tensors.items() if "layers.1.mlp.up" not in name}, lacking / "model.safetensors")
    with pytest.raises(PacosError, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight"):
        train(short_recipe(base=lacking), tmp_path / "lacks")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    for name, config in (
        ("bert", BertConfig(vocab_size=len(tokenizer), **shape)),
        ("t5", T5Config(vocab_size=len(tokenizer))),
    ):
        folder = tmp_path / name
        tokenizer.save_pretrained(folder)
        config.save_pretrained(folder)
        if name == "bert":
            BertLMHeadModel(config).save_pretrained(folder)
        with pytest.raises(PacosError, match=r"sees the tokens that it is to predict|cannot be used"):
            train(short_recipe(base=folder), tmp_path / f"run {name}")
    short = edited_base(tiny_model, tmp_path / "short", "config.json", max_position_embeddings=40)
    with pytest.raises(PacosError, match=r"knows 40 positions; set train\.max_length=40"):
        train(short_recipe(base=short), tmp_path / "too long")

    hollow = tmp_path / "hollow"
    hollow.mkdir()
    (hollow / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(PacosError, match="cannot be loaded"):
        train(short_recipe(base=hollow), tmp_path / "d")
    (hollow / "config.json").write_text('{"model_type": "llama", "num_attention_heads": "four"}')
    with pytest.raises(PacosError, match=r"config\.json cannot be used"):
        train(short_recipe(base=hollow), tmp_path / "four")
    with pytest.raises(PacosError, match="no file there"):
        train(short_recipe(dataset=tmp_path / "none.json"), tmp_path / "e")
    dataset.write_text("[]")
    with pytest.raises(PacosError, match="empty"):
        train(short_recipe(), tmp_path / "f")


def test_a_damaged_or_foreign_checkpoint_is_named(
    short_recipe: MakeRecipe, records: Records, tmp_path: Path, dataset: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = short_recipe(checkpoint_every=2)
    folder = tmp_path / "run"
    train(recipe, folder)
    (folder / "train/done.json").unlink()
    newest = max((folder / "train/checkpoints").glob("step-*"))
    for name in ("__0_0.distcp", ".metadata", "progress.json"):
        whole = (newest / name).read_bytes()
        (newest / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(PacosError, match=r"damaged.*remove it"):
            train(recipe, folder)
        (newest / name).unlink()
        with pytest.raises(PacosError, match=r"damaged.*remove it"):
            train(recipe, folder)
        (newest / name).write_bytes(whole)
    dataset.write_text(json.dumps(records(40, seed=5)))
    with pytest.raises(PacosError, match="has changed since"):
        train(recipe, folder)
    assert "Traceback" not in caplog.text + capfd.readouterr().err


@pytest.mark.parametrize("changed", ["base", "dataset"])
def test_a_checkpoint_of_files_too_large_to_hash_at_every_start_is_compared_with_them(
    short_recipe: MakeRecipe, records: Records, tmp_path: Path, tiny_model: Path, dataset: Path,
    changed: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(run_folder, "HASHED_BYTES", 0)
    base = edited_base(tiny_model, tmp_path / "base", "config.json")
    recipe = short_recipe(base=base, checkpoint_every=2)
    train(recipe, tmp_path / "run")
    (tmp_path / "run/train/done.json").unlink()
    if changed == "base":
        tensors = load_file(base / "model.safetensors")
        tensors["model.norm.weight"] *= 1.5
        save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    else:
        dataset.write_text(json.dumps(records(40, seed=5)))
    with pytest.raises(PacosError, match=f"made with another {changed} than the one there now"):
        train(recipe, tmp_path / "run")


def test_other_library_versions_at_resume_are_said(
    short_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = short_recipe(checkpoint_every=4)
    folder = tmp_path / "run"
    train(recipe, folder)
    (folder / "train/done.json").unlink()
    path = folder / "train/checkpoints/step-00000008/progress.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "versions": {**record["versions"], "torch": "2.0.1"}}))
    capsys.readouterr()
    train(recipe, folder)
    said = [line for line in capsys.readouterr().err.splitlines() if "2.0.1" in line]
    assert len(said) == 1
    assert f"torch 2.0.1, this is {torch.__version__}" in said[0]


@pytest.mark.parametrize("keys", [{"precision": "split"}, {"optimizer": "adamw-8bit"}])
def test_compact_states_resume_to_the_bit(short_recipe: MakeRecipe, tmp_path: Path, keys: dict[str, str]) -> None:
    recipe = short_recipe(checkpoint_every=4, learning_rate=1e-3, **keys)
    folder = tmp_path / "run"
    unbroken = train(recipe, folder)
    before = losses(folder)
    (folder / "train/done.json").unlink()
    assert train(recipe, folder).weights_sha256 == unbroken.weights_sha256
    assert losses(folder) == before
    assert unbroken.optimizer == "adamw-8bit"


def test_a_student_that_was_not_saved_whole_is_refused(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(short_recipe(), tmp_path / "run")
    model = tmp_path / "run/train/model"
    trained = AutoModelForCausalLM.from_pretrained(model)
    expected = probe(trained, torch.device("cpu"))
    check_student(model, expected, "fp32")
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] *= 1.1
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PacosError, match="not saved whole"):
        check_student(model, expected, "fp32")


def test_the_preamble_is_shared_only_where_that_is_exact_and_asked_for(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dropping = edited_base(tiny_model, tmp_path / "dropping", "config.json", attention_dropout=0.1)
    for number, (keys, shared) in enumerate(
        [({}, True), ({"share_prefix": "false"}, False), ({"base": dropping}, False)]
    ):
        folder = tmp_path / str(number)
        train(short_recipe(num_epochs=1, **keys), folder)
        assert ("sharing prefixes of" in capsys.readouterr().out) is shared
        lines = [json.loads(line) for line in (folder / "train/steps.jsonl").read_text().splitlines()]
        assert all((line["computed_tokens"] < line["real_tokens"]) is shared for line in lines)


def test_any_causal_lm_trains_padded_with_its_own_attention(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "neox"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    report = train(short_recipe(base=folder, num_epochs=4, learning_rate=1e-2), tmp_path / "run")
    assert "padded, with the model's own attention" in capsys.readouterr().out
    assert losses(tmp_path / "run")[0] > 1.3 * report.final_loss
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "run/train/model").config.model_type == "gpt_neox"


def test_a_base_whose_window_is_shorter_than_its_examples_trains_packed(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mistral"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, sliding_window=16, **shape)
    MistralForCausalLM(config).save_pretrained(folder)
    report = train(short_recipe(base=folder, num_epochs=4, learning_rate=1e-2), tmp_path / "run")
    assert "packed in rows of" in capsys.readouterr().out
    assert losses(tmp_path / "run")[0] > 1.3 * report.final_loss


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of at most 20 kB, by the system's own limit: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("checkpoint_every", [1, 100])
def test_a_disk_that_is_full_is_one_line_and_nothing_half_written(
    short_recipe: MakeRecipe, tmp_path: Path, checkpoint_every: int
) -> None:
    with pytest.raises(PacosError, match="cannot be written"):
        train(short_recipe(checkpoint_every=checkpoint_every), tmp_path / "run")
    written = {path.name for path in (tmp_path / "run/train").rglob("*") if path.is_file()}
    assert written == {"recipe.json", "origin.json", "steps.jsonl", "events.out.tfevents.pacos"}


def test_the_schedule_rises_to_its_peak_and_stands_at_zero_only_where_transformers_does() -> None:
    rates = [scheduled_rate(step, 100, TrainTable(learning_rate=1.0)) for step in range(100)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    assert all(a >= b > 0 for a, b in itertools.pairwise(rates[2:]))
    assert rates[-1] < 0.001
    for ratio in (0.0, 0.03):
        assert scheduled_rate(0, 1, TrainTable(learning_rate=1.0, warmup_ratio=ratio)) == 1.0
    published = TrainTable(learning_rate=1.0, mode="alpaca-2023")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, 3, 100)
    for step in range(100):
        assert scheduled_rate(step, 100, published) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_out_of_memory_names_the_keys_to_lower_and_other_errors_pass() -> None:
    device, estimate = torch.device("cpu"), estimate_memory(TrainTable(precision="fp32"), torch.device("cpu"))
    said = r"out of memory on cpu.*estimated at .*weights.*lower train\.row_tokens"
    with pytest.raises(PacosError, match=said), memory_named(device, estimate):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match="shape"), memory_named(device, estimate):
        torch.empty(2) @ torch.empty(3, 4)

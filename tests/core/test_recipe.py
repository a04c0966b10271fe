"""Recipes: what is read, what is refused and in which words."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.explain import doc_lines, explain
from pacos.core.recipe import TABLES, EngineTable, load, load_run
from pacos.core.run_folder import RunFolder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_overrides_win_and_whole_numbers_serve_as_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nnum_epochs = 3\nlearning_rate = 1\n")
    recipe = load(path, ["train.num_epochs=1", "teacher.model=4", "evaluate.judges=['builtin:judge']"])
    assert (recipe.train.num_epochs, str(recipe.train.learning_rate)) == (1, "1.0")
    assert recipe.teacher.model == "4"
    assert recipe.evaluate.judges == ("builtin:judge",)


@pytest.mark.parametrize(
    ("text", "override", "said"),
    [
        ("[train]\nlerning_rate = 1e-3", "", ["recipe.toml", "train.lerning_rate", "train.learning_rate"]),
        ("[trian]\nnum_epochs = 3", "", ["recipe.toml", "trian", "train"]),
        ("this is not TOML", "", ["recipe.toml", "not TOML", "line 1"]),
        ("train = 3", "", ["recipe.toml", "train", "[train]"]),
        ("[train]\nnum_epochs = 'three'", "", ["train.num_epochs", "three", "whole number"]),
        ("[train]\nnum_epochs = true", "", ["train.num_epochs", "True", "whole number"]),
        ("[train]\nnum_epochs = 0", "", ["train.num_epochs", "0", "at least 1"]),
        ("[train]\nlearning_rate = nan", "", ["train.learning_rate", "nan"]),
        ("[teacher]\nengine = 'htpp'", "", ["teacher.engine", "htpp", "http"]),
        ("[engines.gpt]\nengine = 'http'\n[judge]\nengine = 'gtp'", "", ["judge.engine", "'gtp'", "'gpt'"]),
        ("[engines.gpt]\nengine = 'gpt'", "", ["engines.gpt.engine", "'gpt'", "http"]),
        ("[engines.gpt]\nmodle = 'm'", "", ["engines.gpt.modle", "engines.gpt.model"]),
        ("[engines]\nmodel = 'm'", "", ["engines.model", "a table"]),
        ("[engines.http]\nmodel = 'm'", "", ["engines.http", "cannot name an engine"]),
        ("", "engines.student.model=m", ["engines.student", "cannot name an engine"]),
        ("", "engines.gemma3-270m.model=m", ["engines.gemma3-270m", "cannot name an engine"]),
        ("", "engines.gpt.modle=m", ["engines.gpt.modle", "engines.gpt.model"]),
        ("", "engines.model=m", ["engines", "engines.NAME"]),
        ("[engines.gpt]\n[evaluate]\njudges = ['gtp']", "", ["evaluate.judges", "'gtp'", "'gpt'"]),
        ("[evaluate]\njudges = ['judge']", "", ["evaluate.judges", "'judge'", "builtin:judge"]),
        ("[evaluate]\ncandidates = ['studnet']", "", ["evaluate", "'studnet'", "'student'"]),
        ("[evaluate]\ncandidates = ['gemma3-270n']", "", ["evaluate", "'gemma3-270n'", "'gemma3-270m'"]),
        ("[teacher]\napi_key_env = 'sk-secret'", "", ["teacher.api_key_env", "OPENAI_API_KEY"]),
        ("[teacher]\nbase_url = 'http://[::1'", "", ["teacher.base_url", "no address"]),
        ("[teacher]\nbase_url = 'http://h/v1?key=secret'", "", ["teacher.base_url", "api_key_env"]),
        ('[generate]\nseed_tasks = "a\\u0000b"', "", ["generate.seed_tasks", "NUL"]),
        ("[train]\nseed = " + "9" * 5000, "", ["recipe.toml", "number too long"]),
        ("[train]\nseed = 99999999999999999999", "", ["train.seed", "at most"]),
        ("", "train.num_epoch=1", ["train.num_epoch", "train.num_epochs"]),
        ("", "num_epochs=1", ["num_epochs=1", "table.key=value"]),
        ("", "train.num_epochs", ["train.num_epochs", "table.key=value"]),
    ],
)
def test_a_bad_recipe_is_one_line_with_the_nearest_right_name(
    tmp_path: Path, text: str, override: str, said: list[str]
) -> None:
    with pytest.raises(PacosError) as caught:
        load(write(tmp_path, text), [override] if override else [])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    for part in said:
        assert part in str(caught.value)


def test_every_field_has_a_doc_line_that_explain_prints() -> None:
    for name, table in TABLES.items():
        lines = doc_lines(table)
        for key in table.__dataclass_fields__:
            assert lines[key] in explain(f"{name}.{key}")
            # Without its table it is found too.
            assert lines[key] in explain(key)


def test_explain_spells_defaults_as_a_recipe_does() -> None:
    for name, table in TABLES.items():
        for key, field in table.__dataclass_fields__.items():
            (shown,) = re.findall(r"^  default: (.*)$", explain(f"{name}.{key}").partition("\n\n")[0], re.MULTILINE)
            if shown not in ("unset", "empty"):
                value = tomllib.loads(f"x = {shown}")["x"]
                assert (tuple(value) if isinstance(value, list) else value) == field.default


ENGINES = """
[engines.fast]
engine = "http"
base_url = "http://one/v1"
model = "m"
max_usd = 2

[engines.plain]

[teacher]
engine = "fast"
model = "mine"

[evaluate]
judges = ["fast", "builtin:judge", "http:http://two/v1"]
candidates = ["plain", "./a folder", "owner/name"]
"""


def test_a_named_engine_takes_its_role_and_keys_beside_the_name_win(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, ENGINES), ["judge.engine=fast", "engines.fast.concurrency=3", "judge.max_usd=1"])
    assert recipe.engines["plain"] == EngineTable()
    assert recipe.teacher == replace(recipe.engines["fast"], model="mine")
    assert recipe.judge == replace(recipe.engines["fast"], max_usd=1.0)
    assert (recipe.judge.engine, recipe.judge.concurrency) == ("http", 3)
    assert recipe.table("engines")["fast"] == recipe.table("engines.fast")


def test_a_fetched_model_is_no_misspelt_engine(tmp_path: Path) -> None:
    text = "[engines.gemma3-27b]\n[evaluate]\ncandidates = ['gemma3-270m']"
    assert load(write(tmp_path, text)).evaluate.candidates == ("gemma3-270m",)


def test_a_run_folder_gives_its_engines_back(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, ENGINES + "[train.lora]\nrank = 4\n"))
    with RunFolder(tmp_path / "run", recipe) as run_folder, run_folder.stage("evaluate"):
        pass
    again = load_run(tmp_path / "run")
    assert (again.engines, again.teacher, again.train) == (recipe.engines, recipe.teacher, recipe.train)
    assert load_run(tmp_path / "run", ["engines.fast.model=another"]).engines["fast"].model == "another"
    (tmp_path / "run" / "resolved.json").write_text('{"engines": {"fast": 3}}')
    with pytest.raises(PacosError, match=r"resolved\.json"):
        load_run(tmp_path / "run")


def test_explain_tells_of_named_engines() -> None:
    for name in ("engines", "engines.NAME", "engines.mine"):
        assert "evaluate.judges" in explain(name)
        assert "engines.NAME.base_url: " in explain(name)
    assert explain("engines.mine.model").startswith("engines.mine.model: ")
    with pytest.raises(PacosError, match=r"engines\.mine\.model"):
        explain("engines.mine.modle")

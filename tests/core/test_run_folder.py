"""The run folder's promises: one process, one recipe, whole or not done."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json_lines, sha256_file, write_json
from pacos.core.models import weights_sha256
from pacos.core.recipe import Recipe, load, load_run
from pacos.core.run_folder import RunFolder
from tests.conftest import missing_part


@dataclass(frozen=True)
class Report:
    steps: int


def recipe(tmp_path: Path, *overrides: str) -> Recipe:
    path = tmp_path / "r.toml"
    path.write_text("[train]\ndataset = 'data.json'\n")
    return load(path, overrides)


def make(tmp_path: Path, *overrides: str, name: str = "run") -> None:
    inputs = (tmp_path / "data.json", tmp_path / name / "generate" / "done.json")
    with RunFolder(tmp_path / name, recipe(tmp_path, *overrides)) as run_folder:
        if run_folder.is_done("train"):
            return
        with run_folder.stage("train", inputs) as stage:
            (stage.folder / "out.txt").write_text("made")
            (stage.folder / "log.sqlite").write_text("a database")
            stage.finish(Report(1), ("out.txt",))


def test_done_lists_the_hash_of_every_output_and_is_not_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    done = tmp_path / "run" / "train" / "done.json"
    first = done.read_bytes()
    assert json.loads(first)["outputs"]["out.txt"] == sha256_file(tmp_path / "run" / "train" / "out.txt")
    make(tmp_path)
    again = RunFolder(tmp_path / "run", recipe(tmp_path))
    with again, pytest.raises(PacosError, match="is finished"), again.stage("train"):
        pass
    assert done.read_bytes() == first


@pytest.mark.parametrize("damage", [lambda path: path.write_text("edited"), Path.unlink])
def test_a_finished_stage_that_was_changed_is_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    make(tmp_path)
    damage(tmp_path / "run" / "train" / "out.txt")
    with pytest.raises(PacosError, match=r"train/out\.txt: (is missing|has changed)"):
        make(tmp_path)


def test_a_record_that_is_no_record_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "run" / "train" / "recipe.json").write_text("[]")
    with pytest.raises(PacosError, match=r"recipe\.json"):
        make(tmp_path)


def test_another_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(PacosError, match=r"train\.num_epochs was 3, is now 5"):
        make(tmp_path, "train.num_epochs=5")
    make(tmp_path, "serve.port=9000")


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from pacos.core.recipe import load; "
        "from pacos.core.run_folder import RunFolder\n"
        f"with RunFolder(Path({str(tmp_path / 'run')!r}), load({str(tmp_path / 'r.toml')!r})):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    here = recipe(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(PacosError, match=str(process.pid)), RunFolder(tmp_path / "run", here):
            pass
    finally:
        process.kill()
        process.wait()
    with RunFolder(tmp_path / "run", here):
        assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def write_half() -> None:
        with atomic_open(path) as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n\n{"a": 2')
    assert list(read_json_lines(tmp_path / "log.jsonl", "log", being_written=True)) == [(1, {"a": 1})]
    with pytest.raises(PacosError, match=r"log\.jsonl:3: column 8 is not JSON"):
        list(read_json_lines(tmp_path / "log.jsonl", "log"))


def test_every_part_of_the_weights_counts_in_their_hash(tmp_path: Path) -> None:
    parts = [tmp_path / f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for part in parts:
        part.write_text("same")
    before = weights_sha256(tmp_path)
    parts[1].write_text("other")
    assert weights_sha256(tmp_path) != before
    parts[1].unlink()
    assert weights_sha256(tmp_path) == sha256_file(parts[0])


def share(tmp_path: Path, *overrides: str, source: str = "run", target: str = "second") -> Path:
    with RunFolder(tmp_path / target, recipe(tmp_path, *overrides)) as run_folder:
        run_folder.share("train", tmp_path / source)
        assert run_folder.is_done("train")
    return tmp_path / target / "train"


def test_a_finished_stage_is_shared_and_counts_as_done(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    # A study with people stays where it was begun.
    write_json(tmp_path / "run" / "train" / "annotation" / "plan.json", {})
    there, here = tmp_path / "run" / "train", share(tmp_path, "judge.max_usd=1")
    assert not (here / "annotation").exists()
    done = json.loads((here / "done.json").read_text())
    assert done["shared_from"] == str(tmp_path / "run")
    assert "shared_from" not in json.loads((there / "done.json").read_text())
    assert (here / "out.txt").samefile(there / "out.txt")
    # What may be opened again for writing is its own.
    assert not (here / "log.sqlite").samefile(there / "log.sqlite")
    assert (here / "log.sqlite").read_text() == "a database"
    assert load_run(here.parent).judge.max_usd == 1
    make(tmp_path, name="second")
    assert json.loads((here / "done.json").read_text()) == done
    # One that was shared is shared on.
    third = json.loads((share(tmp_path, source="second", target="third") / "done.json").read_text())
    assert third["outputs"] == done["outputs"]


def test_a_stage_is_shared_across_file_systems(tmp_path: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        missing_part("needs a second file system, at /dev/shm")
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != tmp_path.stat().st_dev
        here = share(tmp_path, target=f"{elsewhere}/run")
        assert (here / "out.txt").read_text() == "made"


def test_a_stage_is_not_shared_with_another_recipe_or_other_inputs(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    with pytest.raises(PacosError, match=r"train\.num_epochs was 3, is now 5.*train\.seed was 42, is now 7"):
        share(tmp_path, "train.num_epochs=5", "train.seed=7")
    (tmp_path / "data.json").write_text("[ ]")
    with pytest.raises(PacosError, match=r"data\.json is not the"):
        share(tmp_path)
    assert not (tmp_path / "second" / "train").exists()


def test_a_stage_that_read_another_stage_is_shared_where_that_made_the_same(tmp_path: Path) -> None:
    for name, outputs in (("run", {"a": "1"}), ("second", {"a": "1"}), ("third", {"a": "2"}), ("fourth", None)):
        if outputs:
            write_json(tmp_path / name / "generate" / "done.json", {"finished": name, "outputs": outputs})
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    share(tmp_path)
    with pytest.raises(PacosError, match=r"third/generate/done\.json is not the"):
        share(tmp_path, source="second", target="third")
    with pytest.raises(PacosError, match=r"fourth/generate/done\.json is missing"):
        share(tmp_path, target="fourth")


def test_data_made_without_the_evaluation_set_is_not_shared(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", recipe(tmp_path)) as run_folder, run_folder.stage("generate") as stage:
        stage.finish(Report(1), ())
    here = RunFolder(tmp_path / "second", recipe(tmp_path, "evaluate.instructions=set.json"))
    with here, pytest.raises(PacosError, match=r"evaluate\.instructions is '' there, 'set\.json' here"):
        here.share("generate", tmp_path / "run")


def test_an_output_that_was_changed_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    # Large ones are read too, unlike where a stage is only found done.
    monkeypatch.setattr("pacos.core.run_folder.HASHED_BYTES", 1)
    (tmp_path / "run" / "train" / "out.txt").write_text("edited")
    with pytest.raises(PacosError, match=r"run/train/out\.txt: has changed"):
        share(tmp_path)


def test_neither_an_unfinished_stage_is_shared_nor_one_that_was_begun_here(tmp_path: Path) -> None:
    (tmp_path / "run" / "train").mkdir(parents=True)
    with pytest.raises(PacosError, match=r"run/train: not finished"):
        share(tmp_path)
    (tmp_path / "data.json").write_text("[]")
    make(tmp_path)
    with RunFolder(tmp_path / "second", recipe(tmp_path)) as run_folder, run_folder.stage("train") as stage:
        (stage.folder / "half.txt").write_text("paid for")
    with pytest.raises(PacosError, match=r"second/train: begun in this run"):
        share(tmp_path)
    assert (tmp_path / "second" / "train" / "half.txt").exists()


def test_an_engine_that_judges_shapes_the_evaluation(tmp_path: Path) -> None:
    named = ("engines.fast.model=m", "engines.other.model=m", "evaluate.judges=['fast']")
    with RunFolder(tmp_path / "run", recipe(tmp_path, *named)) as run_folder, run_folder.stage("evaluate") as stage:
        stage.finish(Report(1), ())
    for free in ("engines.fast.max_usd=1", "engines.fast.keep_raw=true", "engines.other.model=another"):
        assert RunFolder(tmp_path / "run", recipe(tmp_path, *named, free)).is_done("evaluate")
    with pytest.raises(PacosError, match=r"engines\.fast\.model was 'm', is now 'another'"):
        RunFolder(tmp_path / "run", recipe(tmp_path, *named, "engines.fast.model=another")).is_done("evaluate")
    with pytest.raises(PacosError, match=r"judges was \['fast'\], is now \['other'\].*\[engines\.other\] is not named"):
        RunFolder(tmp_path / "run", recipe(tmp_path, *named, "evaluate.judges=['other']")).is_done("evaluate")

"""`pacos serve --model NAME`: a model that no run made, from a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from pacos.core.models import MINI
from pacos.core.recipe import load_run
from tests.cli.test_bad_input import assert_refused, pacos

MODEL = ("serve", "--model", MINI)


@contextmanager
def serving(folder: Path, *arguments: object) -> Iterator[str]:
    command = [sys.executable, "-m", "pacos", *map(str, (*MODEL, *arguments, "serve.port=0"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process.stdout.readline().partition(" at ")[2].split()[0]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def test_a_second_server_of_a_model_takes_a_folder_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path):
        (folder,) = (tmp_path / "runs").iterdir()
        assert_refused(pacos(tmp_path, *MODEL, "serve.port=0"), str(folder.name), "--run")
        with serving(tmp_path, "--run", "second") as url, urlopen(f"{url}/v1/models") as answer:
            assert json.load(answer)["data"][0]["id"] == MINI.name
    keys = {
        json.loads((each / "serve" / "watermark.json").read_text())["key"] for each in (folder, tmp_path / "second")
    }
    assert len(keys) == 2
    assert load_run(tmp_path / "second").serve.model == str(MINI)


def test_the_folder_of_another_run_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[train]\nnum_epochs = 1\n")
    assert_refused(pacos(tmp_path, *MODEL, "--run", "."), "another run", "--run")
    assert (tmp_path / "recipe.toml").read_text() == "[train]\nnum_epochs = 1\n"


def test_a_run_has_a_model_already(tmp_path: Path) -> None:
    assert_refused(pacos(tmp_path, "serve", "runs/tiny", "--model", MINI), "runs/tiny", "--run DIR")
    assert_refused(pacos(tmp_path, "serve", "runs/tiny", "--run", "runs/other"), "--model")
    assert list(tmp_path.iterdir()) == []


def test_an_address_may_come_first(tmp_path: Path) -> None:
    """Beside --model the first override stands where a run's path stands otherwise."""
    done = pacos(tmp_path, *MODEL, "serve.database=postgresql://me:sesame@localhost/pacos")
    assert_refused(done, "PGPASSWORD")
    assert "sesame" not in done.stderr

"""Reports are read back as they were written, and what is no such report is refused by its key."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.recipe import load
from pacos.core.reports import read_report
from pacos.core.run_folder import RunFolder


@dataclass(frozen=True)
class Row:
    name: str
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Report:
    steps: int
    loss: float
    best: float | None
    mode: Literal["a", "b"]
    main: Row
    rows: list[Row]
    by_name: dict[str, Row | None]
    path: tuple[str, ...]
    anything: dict[str, Any]
    bare: dict  # type: ignore[type-arg]
    later: int = 3


rows = st.builds(Row, name=st.text(), interval=st.none() | st.tuples(st.floats(allow_nan=False), st.floats(1, 2)))


@given(st.builds(Report, main=rows, rows=st.lists(rows), by_name=st.dictionaries(st.text(), st.none() | rows),
                 loss=st.integers() | st.floats(allow_nan=False), best=st.none() | st.floats(allow_nan=False),
                 anything=st.just({"x": [1, None]}), bare=st.just({"y": 1})))  # fmt: skip
def test_what_a_stage_writes_is_read_again(tmp_path_factory: pytest.TempPathFactory, report: Report) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "r.toml").write_text("")
    with RunFolder(folder / "run", load(folder / "r.toml")) as run_folder, run_folder.stage("train") as stage:
        stage.finish(report, ())
    assert read_report(Report, folder / "run" / "train") == report


GOOD: dict[str, Any] = {
    "steps": 1, "loss": 1, "best": None, "mode": "a", "main": {"name": "n", "interval": [1, 2.5]},
    "rows": [{"name": "n", "interval": None}], "by_name": {"k": {"name": "n", "interval": None}},
    "path": ["x"], "anything": {}, "bare": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": "1"}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": 1.0}, "steps"),
        ({"mode": "c"}, "mode"),
        ({"best": "1"}, "best"),
        ({"extra": 1}, "extra is unknown"),
        ({"main": {"name": "n"}}, "main.interval is missing"),
        ({"main": {"name": "n", "interval": [1]}}, "main.interval"),
        ({"rows": [{"name": 1, "interval": None}]}, "rows[0].name"),
        ({"by_name": {"k": {"name": 1, "interval": None}}}, "by_name.k.name"),
        ({"path": [1]}, "path[0]"),
        ({"path": "x"}, "path"),
    ],
)
def test_another_shape_is_refused_by_its_key(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    write_json(tmp_path / "report.json", GOOD)
    read_report(Report, tmp_path)
    write_json(tmp_path / "report.json", GOOD | changed)
    with pytest.raises(PacosError) as caught:
        read_report(Report, tmp_path)
    assert re.search(rf"report\.json: {re.escape(said)}[ ;]", str(caught.value))


@pytest.mark.parametrize("text", ["[]", "null", "{", ""])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(PacosError, match=r"report\.json"):
        read_report(Report, tmp_path)

"""Data files as people have them: each is read soundly, or refused in one line that says where and what to do."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.core.data_files import read_data_file
from pacos.core.errors import PacosError
from pacos.core.records import (
    Conversation,
    Example,
    Record,
    read_dataset,
    read_examples,
    read_instructions,
    read_seed_tasks,
)
from tests.conftest import missing_part

ROWS: list[dict[str, Any]] = [
    {"instruction": "Say é.", "input": None, "output": "é🦙", "id": 7},
    {"instruction": "Add.", "input": "1 and 2", "output": "3\n\n“x”", "id": None},
]
EXAMPLES = [Example("Say é.", "", "é🦙"), Example("Add.", "1 and 2", "3\n\n“x”")]
LIST = json.dumps(ROWS, ensure_ascii=False)
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
TABLE = 'id{0}instruction{0}input{0}output\n7{0}Say é.{0}{0}é🦙\n{0}Add.{0}1 and 2{0}"3\n\n“x”"\n'


def zipped(*names: str, content: str | bytes = LIST) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


SAME = {
    "list": LIST.encode(),
    "lines": LINES.encode(),
    "escaped": json.dumps(ROWS).encode(),
    "byte order mark": b"\xef\xbb\xbf" + LINES.encode(),
    "utf-16": LIST.encode("utf-16"),
    "utf-16 lines, big end first": ("\ufeff" + LINES).encode("utf-16-be"),
    "utf-32": LIST.encode("utf-32"),
    "windows line ends": LINES.replace("\n", "\r\n").encode(),
    "blank lines and commas": ("\n" + LINES.replace("}\n{", "},\n\n{") + ",\n\n").encode(),
    "comma after the last": (LIST[:-1] + ",\n]\n").encode(),
    "not a number": LINES.replace("null", "NaN").encode(),
    "objects over several lines": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "inside an object": json.dumps({"version": "1.0", "data": ROWS}).encode(),
    "gzip": gzip.compress(LINES.encode()),
    "gzip twice": gzip.compress(gzip.compress(LINES.encode())),
    "bzip2": bz2.compress(LIST.encode()),
    "xz": lzma.compress(LIST.encode()),
    "zip": zipped("data/train.json", "__MACOSX/data/._train.json"),
    "csv": TABLE.format(",").encode(),
    "csv of a spreadsheet": TABLE.format(",").replace("\n", "\r\n").replace("3\r\n\r\n", "3\n\n").encode("utf-8-sig"),
    "tabs": TABLE.format("\t").encode(),
    "semicolons": TABLE.format(";").encode(),
    "bars": TABLE.format("|").encode(),
    "csv with blank lines": TABLE.format(",").replace("output\n", "output\n\n").encode() + b"\n\n",
}


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.txt", "data"])
@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_one_data_set_in_any_wrapping_and_under_any_name(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    dataset = read_dataset(tmp_path / name)
    assert dataset.sound() == EXAMPLES
    assert dataset.unknown_keys == {"id": 1}
    assert "id (1)" in dataset.told()


def test_parquet_and_arrow(tmp_path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        missing_part("needs pyarrow, the extra `parquet`")
    turns = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], None]
    table = pyarrow.Table.from_pylist([row | {"messages": turn} for row, turn in zip(ROWS, turns, strict=True)])
    table = table.set_column(0, "instruction", pyarrow.array([None, "Add."]))
    table = table.set_column(2, "output", pyarrow.array([None, "3\n\n“x”"]))
    pyarrow.parquet.write_table(table, tmp_path / "data.json")
    with pyarrow.ipc.new_stream(str(tmp_path / "data.arrow"), table.schema) as stream:
        stream.write_table(table)
    for name in ("data.json", "data.arrow"):
        dataset = read_dataset(tmp_path / name)
        assert [type(record) for record in dataset.sound()] == [Conversation, Example]
        assert dataset.sound()[1] == EXAMPLES[1]
    spans = pyarrow.array([2**62] * 2, pyarrow.duration("s"))
    pyarrow.parquet.write_table(table.append_column("took", spans), tmp_path / "late")
    refused(tmp_path / "late", "its column took cannot be read")
    whole = (tmp_path / "data.json").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "cut", "cannot be read")


def refused(path: Path, *parts: str, read: Callable[[Path], Any] = read_examples) -> str:
    with pytest.raises(PacosError) as raised:
        read(path)
    line = str(raised.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert len(line) < 2_000
    assert line.isprintable()
    for part in parts:
        assert part in line
    return line


def packed_times(times: int) -> bytes:
    content = LIST.encode()
    for _ in range(times):
        content = gzip.compress(content)
    return content


REFUSED = {
    "latin-1": ('{"instruction": "é"}\n{"instruction": "a", "output": "é"}'.encode("latin-1"), ":1:", "iconv"),
    "cut gzip": (gzip.compress(LIST.encode())[:-9], "unpacked"),
    "packed without end": (packed_times(9), "packed 4 times over"),
    "gzip without end": (gzip.compress(bytes(100_000_000)), "unpacks to more than"),
    "bzip2 without end": (bz2.compress(bytes(100_000_000)), "unpacks to more than"),
    "xz without end": (lzma.compress(bytes(100_000_000)), "unpacks to more than"),
    "zip without end": (zipped("a.json", content=bytes(100_000_000)), "unpacks to more than"),
    "zip of two": (zipped("a.json", "b.json"), "2 files (a.json, b.json)"),
    "zstd": (b"\x28\xb5\x2f\xfd....", "zstd -d"),
    "a large file's pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a web page": (b"\n<!DOCTYPE html><html></html>", "web page"),
    "two lists": (json.dumps({"train": ROWS, "test": ROWS}).encode(), "'train', 'test'"),
    "an object of nothing": (b'{"error": "no such file"}', "no list of records (its keys: error)"),
    "column by column": (json.dumps({"instruction": {"0": "a"}, "output": {"0": "b"}}).encode(), "orient='records'"),
    "a list that was cut": (LIST[:-30].encode(), ":1:", "is not JSON"),
    "a plain text": (b"Say it.\nIt.\n", "'Say it.'"),
    "a number": (b"17\n", "'17'"),
    "binary": (b"\x01\x00\x02", "NUL"),
    "blank": (b"\xef\xbb\xbf \n\n", "empty"),
    "quotes left open": (b'instruction,output\na,"b\nc,d\n', "no table"),
    "two columns of one name": (b"instruction,output,output\na,b,c\n", "'output'"),
    "too few cells": (b"instruction,output\na,b\nc\n", ":3: has 1 cells where the header has 2"),
    "prompt and completion": (
        b'[{"prompt": "a", "completion": "b"}]',
        "rename prompt to instruction and completion to",
    ),
    "question and answer": (b'{"question": "a", "answer": "b"}', "rename question to instruction and answer to output"),
    "text": (b'{"text": "a"}\n{"text": "b"}', "2 of 2", "a text alone has no answer"),
    "outputs in lists": (b'[{"instruction": "a", "output": ["b"]}]', "record 1 has a list for 'output'"),
    "null for an output": (b'{"instruction": "a", "output": null}', "no 'output'"),
    "nested too deep": (b'[{"instruction": ' + b"[" * 100_000, "is not JSON"),
    "two outputs": (b'[{"instruction": "a", "output": "b", "output": "c"}]', "record 1 has two values for 'output'"),
    "two lists of one name": (b'{"data": [{"instruction": "a", "output": "b"}], "data": []}', "two values for 'data'"),
    "a long key": (json.dumps({"k" * 100_000: 1}).encode(), "kkk…)"),
    "keys that no terminal shows": (b'[{"instruction": "a", "x\\n\\u001b[2J\\ud800": 1}]', r"x\n\x1b[2J\ud800"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, case: tuple[Any, ...]) -> None:
    content, *parts = case
    (tmp_path / "data.json").write_bytes(content)
    refused(tmp_path / "data.json", *parts)


def test_a_pipe_is_no_file_of_records(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.json")
    refused(tmp_path / "data.json", "pipe", read=lambda path: read_data_file(path, "dataset"))


def test_one_record_alone_is_that_record_whatever_lists_it_holds(tmp_path: Path) -> None:
    others = {"similar": [{"instruction": "c", "output": "d"}], "alternatives": [{"text": "x"}]}
    (tmp_path / "d.json").write_text(json.dumps({"instruction": "a", "output": "b", **others}))
    assert read_examples(tmp_path / "d.json") == [Example("a", "", "b")]
    turns_of_one = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    (tmp_path / "d.json").write_text(json.dumps({"messages": turns_of_one, **others}))
    assert read_examples(tmp_path / "d.json") == [Example("q", "", "r")]
    (tmp_path / "d.json").write_text(json.dumps({"instruction": "a", "instances": [{"input": "b", "output": "c"}]}))
    assert read_instructions(tmp_path / "d.json") == [Example("a", "b", "c")]


@pytest.mark.parametrize("said", ["0", '"false"', "[]"])
def test_whether_a_seed_task_classifies_is_true_or_false(tmp_path: Path, said: str) -> None:
    task = {"instruction": "a", "instances": [{"input": "b", "output": "c"}], "is_classification": None}
    lines = [json.dumps(task)] * 3
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert [seed.is_classification for seed in read_seed_tasks(tmp_path / "d.jsonl")] == [False] * 3
    (tmp_path / "d.jsonl").write_text("\n".join([*lines, lines[0].replace("null", said)]))
    refused(tmp_path / "d.jsonl", ":4: ", "'is_classification'; expected true or false", read=read_seed_tasks)


def test_values_that_are_not_read_may_be_nested_deep_and_keys_have_any_name(tmp_path: Path) -> None:
    rest = f'"a": {"[" * 900}{"]" * 900}, "b\\ud800\\n": 1, "{"c" * 5000}": 2'
    (tmp_path / "d.json").write_text(f'[{{"instruction": "a", "output": "b", {rest}}}]')
    dataset = read_dataset(tmp_path / "d.json")
    assert dataset.sound() == [Example("a", "", "b")]
    assert r"b\ud800\n (1)" in dataset.told()
    assert dataset.told().isprintable()
    assert len(dataset.told()) < 200


def test_all_bad_records_are_counted_and_ten_are_shown(tmp_path: Path) -> None:
    lines = [json.dumps({"instruction": "a", "output": "b"})] * 40
    for number in range(3, 28, 2):
        lines[number - 1] = ["{bad", '{"instruction": "a"}', "[]"][number % 3]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    line = refused(tmp_path / "data.jsonl", "13 of 40 records", "and 3 more")
    for number in range(3, 22, 2):
        assert str(number) in line
    # Not in the whole line, which names a folder with numbers of its own.
    assert "23" not in line.partition(": ")[2]


def test_numbers_are_read_as_they_are_spelt(tmp_path: Path) -> None:
    (tmp_path / "d").write_text('[{"instruction": "a", "input": 007.50, "output": 1}]'.replace("007", "7"))
    dataset = read_dataset(tmp_path / "d")
    assert dataset.sound() == [Example("a", "7.50", "1")]
    assert dataset.as_text == 1
    (tmp_path / "d").write_text('[{"instruction": "a", "output": true}, {"instruction": "a", "output": 1e400}]')
    assert [example.output for example in read_examples(tmp_path / "d")] == ["true", "1e400"]


def one(path: Path, value: dict[str, Any]) -> Record:
    path.write_text(json.dumps([value]))
    return read_dataset(path).sound()[0]


def said(record: Record) -> list[tuple[str, str]]:
    assert isinstance(record, Conversation)
    return [(turn.role, turn.content) for turn in record.turns]


WHOLE = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Bye"), ("assistant", "Bye!")]
SPELT = {
    "sharegpt": {"conversations": [{"from": r, "value": c} for r, c in zip(
        ("system", "human", "gpt", "human", "gpt"), (c for _, c in WHOLE), strict=True)]},
    "messages": {"messages": [{"role": r.upper(), "content": c} for r, c in WHOLE]},
    "bot": {"system": "Be kind.", "messages": [{"role": r.replace("assistant", "bot"), "content": c}
            for r, c in WHOLE[1:]]},
    "parts": {"messages": [{"role": r, "content": [{"type": "text", "text": c}], "name": None} for r, c in WHOLE]},
    "history": {"instruction": "Bye", "input": "", "output": "Bye!", "system": "Be kind.", "history": [["Hi", "Ho"]]},
    "system_prompt": {"instruction": "Bye", "output": "Bye!", "system_prompt": "Be kind.", "history": [["Hi", "Ho"]]},
    "as JSON": {"system": "Be kind.", "messages": json.dumps([{"role": r, "content": c} for r, c in WHOLE[1:]])},
    "one system twice": {"system": "Be kind.", "messages": [{"role": r, "content": c} for r, c in WHOLE]},
    "with a question at the end": {"messages": [{"role": r, "content": c} for r, c in [*WHOLE, ("user", "Still?")]]},
}  # fmt: skip


@pytest.mark.parametrize("value", SPELT.values(), ids=SPELT)
def test_a_conversation_in_any_spelling(tmp_path: Path, value: dict[str, Any]) -> None:
    assert said(one(tmp_path / "d.json", value)) == WHOLE
    assert read_dataset(tmp_path / "d.json").unknown_keys == {}


def test_an_empty_history_and_system_leave_an_example(tmp_path: Path) -> None:
    for empty in ([], None, "[]"):
        value = {"instruction": "a", "output": "b", "history": empty, "system": "", "input": None}
        assert one(tmp_path / "d.json", value) == Example("a", "", "b")
    silent = {"messages": [{"role": r, "content": c} for r, c in [("system", ""), ("user", "a"), ("assistant", "b")]]}
    assert said(one(tmp_path / "d.json", silent)) == [("user", "a"), ("assistant", "b")]
    asked = one(tmp_path / "d.json", {"instruction": "a", "input": "b", "output": "c", "system": "S"})
    assert said(asked)[1] == ("user", "a\n\nb")


def turns(*roles: str) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": f"{role} {at}"} for at, role in enumerate(roles)]}


BAD_CONVERSATIONS = {
    "empty": (turns(), "no answer"),
    "only asked": (turns("human"), "no answer"),
    "begun by the assistant": (turns("gpt", "human", "gpt"), "'assistant' at conversations[0]"),
    "asked twice": (turns("system", "human", "human", "gpt"), "'user' at conversations[2]"),
    "answered twice": (turns("human", "gpt", "gpt"), "'assistant' at conversations[2]"),
    "system in the middle": (turns("human", "system", "gpt"), "'system' at conversations[1]"),
    "a tool": (turns("human", "tool", "gpt"), "role 'tool' at conversations[1]"),
    "no role": ({"messages": [{"content": "a"}]}, "no role at messages[0]"),
    "a call": ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]}, "no content"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "no text"),
    "texts": ({"messages": ["Hi", "Ho"]}, "has a text at messages[0]"),
    "two records": (turns("human", "gpt") | {"instruction": "a", "output": "b"}, "two records in one"),
    "two systems": (turns("system", "human", "gpt") | {"system": "other"}, "system"),
    "two roles in one": (
        {"messages": [{"role": "user", "from": "gpt", "content": "a"}]},
        "'role' and 'from' at messages[0], and they",
    ),
    "two texts in one": (
        {"messages": [{"role": "user", "content": "a", "value": "b"}]},
        "'content' and 'value' at messages[0], and",
    ),
    "half a pair": ({"instruction": "a", "output": "b", "history": [["a"]]}, "history[0]"),
}


@pytest.mark.parametrize("case", BAD_CONVERSATIONS.values(), ids=BAD_CONVERSATIONS)
def test_a_conversation_that_is_none_is_named(tmp_path: Path, case: tuple[dict[str, Any], str]) -> None:
    (tmp_path / "d.json").write_text(json.dumps([{"instruction": "a", "output": "b"}, case[0]]))
    refused(tmp_path / "d.json", "record 2 ", case[1])


def test_keys_that_are_not_read_are_counted_and_empty_ones_are_not(tmp_path: Path) -> None:
    row = {"instruction": "a", "output": "b"}
    rows = [row | {"source": "x", "meta": {"a": None, "b": []}}, row | {"source": "y", "rejected": "c"}, row]
    rows.append({"messages": [{"role": r, "content": "x", "weight": 0} for r in ("user", "assistant")]})
    (tmp_path / "d.json").write_text(json.dumps(rows))
    assert read_dataset(tmp_path / "d.json").unknown_keys == {"source": 2, "messages.weight": 1, "rejected": 1}


def test_an_evaluation_set_may_come_in_any_form_too_and_holds_single_questions(tmp_path: Path) -> None:
    task = {"instruction": "a", "instances": [{"input": "b", "output": "c"}, {"input": "d"}]}
    (tmp_path / "d.json").write_bytes(gzip.compress(json.dumps([task, ROWS[1]]).encode()))
    assert read_instructions(tmp_path / "d.json") == [Example("a", "b", "c"), Example("a", "d", ""), EXAMPLES[1]]
    (tmp_path / "d.json").write_text(json.dumps([turns("human", "gpt"), turns("human", "gpt", "human", "gpt")]))
    refused(tmp_path / "d.json", "record 2 is a conversation", read=read_instructions)

"""Which batches are under way: a file for each, written before the server is asked to begin."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Record:
    """An uploaded input file, the requests in it whose answers nobody has taken yet, and what was left out of them."""

    server: str
    input_file_id: str
    custom_ids: frozenset[str]
    refused: frozenset[str]


class BatchRecords:
    """Records in a folder, or in memory where there is none: then a killed process's batches are lost.

    PacosError where one is damaged, or of another server than this one.
    """

    def __init__(self, folder: Path | None, server: str) -> None:
        self._folder = folder
        self._records: dict[str, Record] = {}
        for path in sorted(folder.glob("batch-*.json")) if folder else []:
            record = _read(read_json(path, "a batch under way"), path)
            if record.server != server:
                raise PacosError(
                    f"{path}: a batch of this run is at {record.server}, and billed, but base_url is {server}; set it "
                    "back to take its answers, or remove the file to give them up."
                )
            self._records[record.input_file_id] = record

    def holding(self, custom_ids: Iterable[str]) -> list[Record]:
        """The records with any of these requests."""
        wanted = set(custom_ids)
        return [record for record in self._records.values() if record.custom_ids & wanted]

    def add(self, record: Record) -> None:
        """Notes a batch; on disk when this returns."""
        self._records[record.input_file_id] = record
        if path := self._path(record):
            lists = {"custom_ids": sorted(record.custom_ids), "refused": sorted(record.refused)}
            write_json(path, {"server": record.server, "input_file_id": record.input_file_id, **lists})

    def strike(self, record: Record, custom_ids: Iterable[str]) -> None:
        """Takes out requests that are dealt with, and the record with the last of them."""
        left = replace(record, custom_ids=record.custom_ids - set(custom_ids))
        if left.custom_ids:
            if left != record:
                self.add(left)
            return
        self._records.pop(record.input_file_id, None)
        if path := self._path(record):
            path.unlink(missing_ok=True)

    def _path(self, record: Record) -> Path | None:
        digest = hashlib.sha256(record.input_file_id.encode()).hexdigest()
        return self._folder / f"batch-{digest[:16]}.json" if self._folder else None


def _read(value: Any, path: Path) -> Record:
    try:
        server, file_id = value["server"], value["input_file_id"]
        custom_ids, refused = value["custom_ids"], value["refused"]
        if all(isinstance(text, str) for text in (server, file_id, *custom_ids, *refused)):
            return Record(server, file_id, frozenset(custom_ids), frozenset(refused))
    except (KeyError, TypeError):
        pass
    raise PacosError(
        f"{path}: expected server, input_file_id, custom_ids and refused of a batch under way; restore the file, or "
        "remove it to ask (and pay) for its requests again."
    )

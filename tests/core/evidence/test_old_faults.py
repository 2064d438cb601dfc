"""Faults measured in the system this one replaces, as regressions: its ledger, its run ids, its content hashes."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from uuid6 import uuid7

from quant_core.errors import ContractError, UnknownNameError
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.store import Store

SECOND = datetime(2024, 1, 1, 12, 0, 0)

# Pairs of different tables its content hash could not tell apart.
COLLISIONS = {
    "differences below 1e-8": ({"x": [1e-9]}, {"x": [4e-9]}),
    "integers and floats": ({"x": [1]}, {"x": [1.0]}),
    "numbers and their text": ({"x": ["1.00000000"]}, {"x": [1.0]}),
    "where one text ends": ({"x": ["a|b"], "y": ["c"]}, {"x": ["a"], "y": ["b|c"]}),
    "parts of a second": (
        {"t": [SECOND.replace(microsecond=100_000)]},
        {"t": [SECOND.replace(microsecond=900_000)]},
    ),
    "empty tables": ({"x": []}, {"y": []}),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_tables_that_differ_have_different_versions(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    first, second = (
        store.write(pl.DataFrame(table), stage="ingest.bars", sleeve="us", key=()) for table in COLLISIONS[name]
    )
    assert first.sha256 != second.sha256
    assert store.read(first).equals(pl.DataFrame(COLLISIONS[name][0]), null_equal=True)


def test_a_table_that_cannot_be_hashed_is_an_error_and_no_hash_of_its_shape(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for value in (math.nan, [1.0, 2.0], {"a": 1}):
        with pytest.raises(ContractError, match=r"ingest\.bars"):
            store.write(pl.DataFrame({"x": [value]}), stage="ingest.bars", sleeve="us", key=())


def test_a_run_is_opened_by_genesis_and_nothing_else_may_come_first(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    with pytest.raises(UnknownNameError, match="run"):
        evidence.close_run("a", "ok", {})
    evidence.open_run("a", {})
    assert [record.kind for record in evidence.ledger.records()] == ["genesis"]


def test_numbers_json_does_not_know_are_tagged_and_every_line_is_json(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "audit.jsonl")
    ledger.append("note", {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 2**60}, run_id="r")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    data = json.loads(line, parse_constant=refuse)["payload"]["data"]
    assert data == {"a": "float:nan", "b": "float:inf", "c": "float:-inf", "d": str(2**60)}


def test_appending_reads_no_more_of_a_long_ledger_than_of_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    ledger = Ledger(tmp_path / "audit.jsonl")
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: read.append(args[1]) or pread(*args))

    def cost(appends: int) -> int:
        read.clear()
        for _ in range(appends):
            ledger.append("note", {"x": 1}, run_id="r", durable=False)
        return sum(read)

    short = cost(50)
    cost(1000)
    assert cost(50) <= 1.1 * short + 1024


def test_run_ids_of_one_instant_differ_and_sort_by_time() -> None:
    ids = [str(uuid7()) for _ in range(5_000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)

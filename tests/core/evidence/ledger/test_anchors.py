import json
import sqlite3

import pytest

from quant_core.errors import DataError, UsageError
from quant_core.evidence.ledger.anchors import Anchor, anchors_in, anchors_in_text, kept_anchors
from quant_core.evidence.ledger.ledger import Ledger


def anchors(tmp_path, count=3):
    ledger = Ledger(tmp_path / "audit.jsonl")
    made = []
    for _ in range(count):
        ledger.append("step", {}, run_id="r")
        made.append(ledger.anchor())
    return made


def test_an_anchor_stands_in_any_text_and_is_read_back(tmp_path):
    made = anchors(tmp_path)
    rootless = made[0].model_copy(update={"root": None})
    text = f'log: quant.anchor={made[1]}, {{"anchor":"{made[2]}"}} and {rootless}; {made[1].head}:{made[1].head}'
    assert anchors_in_text(text) == [made[1], made[2], rootless]
    assert [anchor.seq for anchor in made] == [0, 1, 2]
    assert anchors_in_text("1:2:3 nothing here") == []
    assert anchors_in_text(str(made[0])[:-1])[0].root is None


def test_files_databases_and_folders_are_sources(tmp_path):
    made = anchors(tmp_path, 4)
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"metadata": {"anchor": str(made[0])}}))
    (folder / "b.txt").write_text(f"{made[1]}\n{made[1]}\n")
    with sqlite3.connect(folder / "c.db") as database:
        database.execute('CREATE TABLE "odd ""table" (id INTEGER, "odd ""column" TEXT, more BLOB)')
        long = "x" * 9_000
        values = [(1, f"{long}{made[2]}{long}", b"\0"), (2, None, None), (3, "nothing", None)]
        database.executemany('INSERT INTO "odd ""table" VALUES (?, ?, ?)', values)
    database.close()
    assert anchors_in(folder) == tuple(made[:3])
    assert anchors_in(folder / "b.txt", folder / "c.db") == (made[1], made[2])
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "b.txt", "c.db"]


def test_what_a_home_keeps_of_its_own_is_found_where_mlflow_and_dagster_keep_it(tmp_path):
    made = anchors(tmp_path)
    assert kept_anchors(tmp_path) == ()
    (tmp_path / "mlflow").mkdir()
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        database.execute("CREATE TABLE tags (key TEXT, value TEXT)")
        database.execute("INSERT INTO tags VALUES ('quant.anchor', ?)", (str(made[0]),))
    database.close()
    runs = tmp_path / "dagster" / "storage" / "history"
    runs.mkdir(parents=True)
    (runs / "r.json").write_text(str(made[2]))
    assert kept_anchors(tmp_path) == (made[0], made[2])


def test_a_source_that_is_none_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such"):
        anchors_in(tmp_path / "absent")
    (tmp_path / "torn.db").write_bytes(b"SQLite format 3\0" + b"x" * 200)
    with pytest.raises(DataError, match="torn"):
        anchors_in(tmp_path / "torn.db")


def test_an_anchor_of_nothing_cannot_be():
    for wrong in ({"size": 0}, {"head": "x"}, {"root": "y"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Anchor(**{"ledger_id": "l", "size": 1, "head": "0" * 64, **wrong})

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.settings import CHECKOUT


@pytest.fixture
def call(call_quant, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANT_HOME", str(tmp_path))
    return partial(call_quant, "ledger")


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    home = Evidence(tmp_path)
    for run in ("alpha-1", "beta-2"):
        home.open_run(run, {"sleeve": "us"})
        home.note(run, "alert", {"message": "look"}, durable=False)
    home.close_run("alpha-1", "ok", {"ok": []})
    return home


def test_a_ledger_is_held_against_anchors_kept_in_a_file(call, evidence, tmp_path):
    kept = tmp_path / "anchors.txt"
    kept.write_text("".join(f"{evidence.ledger.anchor(size)}\n" for size in range(1, 6)))
    code, out, _ = call("verify", "--anchors", str(kept))
    assert (code, "intact" in out, "anchors=5" in out) == (0, True, True)
    lines = evidence.ledger.path.read_bytes().splitlines(keepends=True)
    evidence.ledger.path.write_bytes(b"".join(lines[:-2]))
    assert call("verify")[0] == 0, "the chain alone cannot know"
    code, out, err = call("verify", "--anchors", str(kept))
    assert code == 1
    assert "truncated at seq 3" in out
    assert "truncated at seq 3" in err
    code, out, _ = call("verify", "--json", "--anchors", str(kept))
    assert code == 1
    assert {fault["kind"] for fault in json.loads(out)["faults"]} == {"truncated"}


def test_the_homes_own_anchors_are_read_when_no_source_is_named(call, evidence, tmp_path):
    code, _, err = call("verify", "--anchors")
    assert code == 1
    assert "no anchors" in err
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "event.json").write_text(str(evidence.ledger.anchor()))
    code, out, _ = call("verify", "--anchors", "--json")
    assert code == 0
    assert json.loads(out)["anchors"] == 1
    assert call("verify", "--anchors", str(tmp_path / "absent"))[0] == 2


def test_the_last_records_are_one_line_each(call, evidence):
    code, out, _ = call("tail", "2")
    assert code == 0
    assert [line.split()[3] for line in out.splitlines()] == ["alert", "outcome"]
    code, out, _ = call("tail", "--json")
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(5))


def test_a_run_is_shown_by_the_beginning_of_its_id(call, evidence):
    code, out, _ = call("show", "alpha")
    assert code == 0
    assert out.startswith("run alpha-1: 3 records, seq 0 to 4")
    assert '"outcome": "ok"' in out
    assert "beta" not in out
    code, out, _ = call("show", "beta-2", "--json")
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["genesis", "alert"]
    code, _, err = call("show", "alpa-1")
    assert code == 2
    assert "Did you mean alpha-1" in err


def test_the_statistics_count_kinds_runs_files_and_name_the_anchor(call, evidence):
    code, out, _ = call("stats", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["records"], facts["segments"]) == (5, 1)
    assert facts["kinds"] == {"alert": 2, "genesis": 2, "outcome": 1}
    assert facts["runs"] == {"ok": 1, "open": 1}
    assert facts["bytes"] == evidence.ledger.path.stat().st_size
    assert facts["anchor"] == str(evidence.ledger.anchor())
    code, out, _ = call("stats")
    assert "alert 2, genesis 2, outcome 1" in out


@pytest.mark.parametrize("command", [("verify",), ("tail",), ("show", "r"), ("stats",)])
def test_without_a_ledger_every_command_fails(call, command):
    code, out, err = call(*command)
    assert (code, out) == (1, "")
    assert "no ledger" in err


def test_to_check_a_ledger_loads_neither_polars_nor_the_stages():
    code = "import sys, quant_core.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert not set(loaded.stdout.split()) & {"polars", "pandera", "pyarrow", "numba", "pandas", "scipy"}

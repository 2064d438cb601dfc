import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.upkeep.references import KEPT_VERSIONS

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(call_quant: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("QUANT_HOME", str(tmp_path))
    return partial(call_quant, "store")


def versions(home: Path, count: int, stage: str = "features.trend") -> list[DataRef]:
    evidence, refs = Evidence(home), []
    for value in range(count):
        evidence.open_run(f"run-{value}", {})
        write = evidence.store.write
        refs.append(write(pl.DataFrame({"k": [value]}), stage=stage, sleeve="us", key=["k"]))
        lost = write(pl.DataFrame({"k": [-1]}), stage=stage, sleeve="us", key=["k"], part="exclusions")
        facts: dict[str, object] = {}
        evidence.commit(run_id=f"run-{value}", stage=stage, sleeve="us", valid=refs[-1], exclusions=lost, facts=facts)
        evidence.close_run(f"run-{value}", "ok", {})
    return refs


def test_without_a_ledger_there_is_nothing_to_say(call: Call) -> None:
    for command in (["scrub"], ["gc"], ["gc", "--delete"], ["pin", "run-0"]):
        code, out, err = call(*command)
        assert (code, out) == (1, "")
        assert "no ledger at" in err


def test_a_scrub_of_a_sound_store_is_one_line_and_exits_0(call: Call, tmp_path: Path) -> None:
    versions(tmp_path, 2)
    code, out, err = call("scrub")
    assert (code, err) == (0, "")
    assert out.startswith("store: versions=3 sound=3 read=")
    assert len(out.splitlines()) == 1
    told = json.loads(call("scrub", "--json")[1])
    assert (told["versions"], told["sound"], told["findings"]) == (3, 3, [])


@pytest.mark.parametrize(("harm", "kind"), [(lambda path: path.write_bytes(b"x"), "damaged"), (Path.unlink, "missing")])
def test_a_version_that_is_damaged_or_lost_is_named_and_exits_1(
    call: Call, tmp_path: Path, harm: Callable[[Path], object], kind: str
) -> None:
    ref = versions(tmp_path, 1)[0]
    harm(tmp_path / ref.path)
    code, out, err = call("scrub")
    assert code == 1
    assert f"  {kind} {ref.path}: " in out
    assert ref.path in err
    assert len(err.splitlines()) == 1
    code, out, _ = call("scrub", "--json")
    assert code == 1
    assert [(found["kind"], found["runs"]) for found in json.loads(out)["findings"]] == [(kind, ["run-0"])]


def test_a_collection_says_what_it_would_delete_and_deletes_only_when_told_to(call: Call, tmp_path: Path) -> None:
    refs = versions(tmp_path, KEPT_VERSIONS + 2)
    assert "young=2" in call("gc")[1]
    assert call("gc", "--delete")[1].startswith("store: deleted 0 files, 0 B;")
    for ref in refs:
        os.utime(tmp_path / ref.path, (0, 0))
    size = sum((tmp_path / ref.path).stat().st_size for ref in refs[:2])
    code, out, err = call("gc")
    assert (code, err) == (0, "")
    assert out.startswith(f"store: would delete 2 files, {size / 1000:.1f} kB; kept=6 young=0")
    assert out.endswith("Nothing was deleted. Delete with --delete.\n")
    told = json.loads(call("gc", "--json")[1])
    assert (told["deleted"], told["bytes"], told["kept"]) == (False, size, 6)
    assert {candidate["path"] for candidate in told["candidates"]} == {ref.path for ref in refs[:2]}
    assert all((tmp_path / ref.path).exists() for ref in refs)
    assert call("gc", "--delete", "--older-than", "1")[1].startswith("store: deleted 2 files, ")
    assert [(tmp_path / ref.path).exists() for ref in refs] == [False, False] + [True] * KEPT_VERSIONS
    code, out, _ = call("scrub")
    assert code == 0
    assert "collected=2" in out


def test_a_pinned_run_keeps_its_versions_until_it_is_released(call: Call, tmp_path: Path) -> None:
    versions(tmp_path, KEPT_VERSIONS + 1)
    code, out, _ = call("pin", "run-0")
    assert code == 0
    assert out.startswith("run run-0 pinned: seq=")
    assert "would delete 0 files" in call("gc", "--older-than", "0")[1]
    call("pin", "run-0", "--release")
    assert "would delete 1 files" in call("gc", "--older-than", "0")[1]
    code, _, err = call("pin", "run-9")
    assert code == 2
    assert "unknown run 'run-9'" in err


def test_many_findings_are_counted_and_the_first_of_them_named(call: Call, tmp_path: Path) -> None:
    for ref in versions(tmp_path, 25, "ingest.bars"):
        (tmp_path / ref.path).unlink()
    code, out, err = call("scrub")
    assert code == 1
    assert "missing=25" in out
    assert out.endswith("  ... and 5 more; --json names all.\n")
    assert err.count(".parquet") == 3
    assert "and 22 more" in err

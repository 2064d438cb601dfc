"""A home written by an earlier version stays readable, and its runs replay to the hashes they recorded."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT
from tests.golden.make_tables import GOLDEN, made_with

ARCHIVE = CHECKOUT / "tests" / "golden" / "homes" / "eight.tar.gz"
FIRST, SECOND = "eight~1", "eight"

Call = Callable[..., str]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


@pytest.fixture
def call(call_quant: Callable[..., tuple[int, str, str]], unpacked: Path, tmp_path: Path) -> Call:
    home = shutil.copytree(unpacked, tmp_path / "home")

    def called(*arguments: str, code: int = 0) -> str:
        got, out, err = call_quant(*arguments, "--home", str(home))
        assert got == code, err
        return out

    return called


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", FIRST, SECOND),
        ("exclusions",),
        ("exclusions", "eight", "--rule", "duplicate_row"),
        ("gaps", "eight"),
        ("features", "--sleeve", "eight"),
        ("ledger", "stats"),
        ("ledger", "tail"),
        ("ledger", "verify"),
        ("store", "gc"),
        ("store", "scrub"),
        ("summary", "eight"),
        ("why", "SIM:S04", "--sleeve", "eight"),
        ("why", "SIM:S03", "2022-06-30", "--sleeve", "eight", "--run", FIRST),
    ],
    ids=" ".join,
)
def test_every_reading_command_reads_it(call: Call, arguments: tuple[str, ...]) -> None:
    assert call(*arguments).strip()
    if arguments[:2] != ("ledger", "tail"):
        json.loads(call(*arguments, "--json"))


def test_the_summary_is_what_the_run_printed(call: Call) -> None:
    summary = json.loads(call("summary", "eight", "--json"))
    assert [row["symbol"] for row in summary["selection"]] == ["SIM:S01", "SIM:S02", "SIM:S07"]
    assert summary["excluded"] == {
        "close_not_positive": 1,
        "duplicate_row": 3,
        "high_below_low": 1,
        "restated_row": 1,
        "volume_negative": 1,
    }


@pytest.mark.parametrize("rule", ["close:greater_than", "close_not_positive"])
def test_a_rule_is_found_by_its_old_name_and_by_its_new_one(call: Call, rule: str) -> None:
    found = json.loads(call("exclusions", "eight", "--rule", rule, "--json"))
    assert {row["rule"] for row in found["rows"]} == {"close_not_positive"}


def test_a_record_of_a_run_can_be_shown(call: Call) -> None:
    run_id = json.loads(call("summary", "eight", "--json"))["run_id"]
    assert run_id in call("ledger", "show", run_id)


@pytest.mark.parametrize("run", [pytest.param(FIRST, marks=pytest.mark.slow), SECOND])
def test_its_runs_replay_to_the_hashes_they_recorded(call: Call, run: str) -> None:
    if made_with() != json.loads(GOLDEN.read_text())["made_with"]:
        pytest.skip("other versions of the libraries write other bytes")
    replay = json.loads(call("replay", run, "--json"))
    assert replay["is_same"]
    assert {stage["verdict"] for stage in replay["stages"]} == {"same", "pinned"}
    assert len(replay["stages"]) > 30
    renamed = {stage["stage"] for stage in replay["stages"] if "names of rules" in (stage["reason"] or "")}
    assert renamed == {"ingest.bars", "ingest.exclusions", "report.tear_sheet"}

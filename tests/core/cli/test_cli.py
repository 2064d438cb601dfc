import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

Call = Callable[..., tuple[int, str, str]]
SLEEVE = '[sleeve]\nname = "mine"\ncalendar = "24/7"\n[source]\nkind = "parquet"\npath = "bars.csv"\n'
ROWS = "date,symbol,close\n2024-01-01,X:A,10\n2024-01-02,X:A,11\n"


@pytest.fixture
def call(call_quant: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("QUANT_HOME", str(tmp_path / "home"))
    return call_quant


def sleeve(folder: Path, bars: str | None = ROWS, text: str = SLEEVE) -> str:
    (folder / "mine.toml").write_text(text)
    if bars is not None:
        (folder / "bars.csv").write_text(bars)
    return str(folder / "mine.toml")


@pytest.mark.parametrize(
    ("bars", "said"),
    [
        (None, "bars.csv"),
        ("", "bars.csv"),
        ("date,symbol,close\n", "no rows"),
        ("date,symbol,clse\n2024-01-01,X:A,10\n", "close"),
        ("date,symbol,close\n2024-01-01,X:A,ten\n", "close"),
    ],
)
def test_bars_that_cannot_be_read_are_one_line_and_exit_4(call, tmp_path: Path, bars: str | None, said: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call("run", "mine", "--config", sleeve(tmp_path, bars))
    assert (code, out) == (4, "")
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_unknown_sleeve_lists_the_near_ones_and_exits_2(call) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call("run", "us_equitis")
    assert (code, out) == (2, "")
    assert "Did you mean us_equities" in err


def test_an_unknown_key_of_a_sleeve_file_lists_the_near_ones(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("run", "mine", "--config", sleeve(tmp_path, text=SLEEVE + "[synthesis]\nflor = 3\n"))
    assert code == 4
    assert "Did you mean floor" in err


def test_an_unknown_factor_weight_lists_the_near_ones(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    dates = pl.date_range(pl.date(2020, 1, 1), pl.date(2021, 6, 1), eager=True)
    rows = "".join(f"{d},X:{s},{100 + (i * 7 + ord(s)) % 13}\n" for s in "ABCDEF" for i, d in enumerate(dates))
    text = SLEEVE + "[inference.weights]\nmomentun = 1.0\n"
    code, _, err = call("run", "mine", "--config", sleeve(tmp_path, "date,symbol,close\n" + rows, text))
    assert code == 4
    assert "Did you mean momentum" in err


def test_an_unknown_engine_is_an_error_and_nothing_else_answers(call) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("run", "us_equities", "--mode", "rai")
    assert code == 2
    assert "Did you mean ray" in err


def test_an_unknown_command_and_a_wrong_option_exit_2(call) -> None:  # type: ignore[no-untyped-def]
    assert call("rum")[0] == 2
    assert call("run", "us_equities", "--jsn")[0] == 2


def test_debug_shows_the_traceback(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from quant_core.errors import SourceError

    with pytest.raises(SourceError):
        call("run", "mine", "--config", sleeve(tmp_path, None), "--debug")


@pytest.mark.parametrize("more", [(), ("--debug",)])
def test_an_error_that_holds_a_secret_is_told_without_it(  # type: ignore[no-untyped-def]
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    folder = tmp_path / "s3cr3t-w0rd"
    folder.mkdir()
    monkeypatch.setenv("VENDOR_TOKEN", folder.name)
    code, out, err = call("run", "mine", "--config", sleeve(folder, None), *more)
    assert (code, out) == (4, "")
    assert folder.name not in err
    assert "***/bars.csv: no such file." in err
    assert ("Traceback" in err) is bool(more)


def test_verify_says_yes_and_after_one_flipped_byte_what_and_where(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    evidence = Evidence(tmp_path / "home")
    evidence.open_run("r1", {"note": "first"})
    evidence.close_run("r1", "ok", {})
    code, out, _ = call("ledger", "verify")
    assert code == 0
    assert "intact" in out
    path = tmp_path / "home" / "audit.jsonl"
    content = bytearray(path.read_bytes())
    content[content.index(b"first")] ^= 1
    path.write_bytes(content)
    code, out, err = call("ledger", "verify")
    assert code == 1
    assert "tampered" in out
    assert "seq 0" in err
    code, out, _ = call("ledger", "verify", "--json")
    assert code == 1
    assert json.loads(out)["faults"]


def test_a_torn_tail_is_told_apart_with_exit_3(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    evidence = Evidence(tmp_path / "home")
    evidence.open_run("r1", {})
    with (tmp_path / "home" / "audit.jsonl").open("ab") as stream:
        stream.write(b'{"hash":"12')
    assert call("ledger", "verify")[0] == 3


def test_the_summary_of_a_sleeve_never_run_is_an_error(call) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("summary", "us_equities")
    assert code == 1
    assert "quant run us_equities" in err


def test_exclusions_are_counted_by_rule_and_listed_with_the_row_as_it_came(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sleeve(tmp_path, "date,symbol,close\n2024-01-01,A:X,1\n2024-01-02,A:X,-1\n2024-01-03,A:X,1\n")
    runner = DAGRunner(Settings(home=tmp_path / "home", sleeves=tmp_path))
    runner.run(read_sleeve(tmp_path / "mine.toml"), only=["ingest.raw", "ingest.actions", "ingest.bars"])
    code, out, _ = call("exclusions", "mine")
    assert code == 0
    assert "close_not_positive" in out
    code, out, _ = call("exclusions", "mine", "--rule", "close_not_positive", "--json")
    told = json.loads(out)
    assert [(row["rule"], row["rows"]) for row in told["counts"]] == [("close_not_positive", 1)]
    assert told["rows"][0]["symbol"] == "A:X"
    assert call("exclusions", "mine", "--rule", "close:greater_then")[0] == 2
    assert call("exclusions", "nobody")[0] == 1


def test_gaps_are_counted_by_kind_and_listed_as_requests(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    days = [f"2024-01-{day:02}" for day in range(1, 11)]
    rows = [f"{day},X:{name},1{k}" for k, day in enumerate(days) for name in "ABC" if (day, name) != (days[4], "B")]
    sleeve(tmp_path, "\n".join(["date,symbol,close", *rows, ""]))
    runner = DAGRunner(Settings(home=tmp_path / "home", sleeves=tmp_path))
    runner.run(read_sleeve(tmp_path / "mine.toml"), only=["ingest.raw", "ingest.bars", "ingest.lives", "ingest.gaps"])
    code, out, _ = call("gaps", "mine")
    assert code == 0
    assert "requests to repeat: 1" in out
    code, out, _ = call("gaps", "mine", "--json")
    told = json.loads(out)
    assert told["requests"] == [{"symbol": "X:B", "start": "2024-01-05", "end": "2024-01-05"}]
    assert [row["kind"] for row in told["kinds"]] == ["gap"]
    assert call("gaps", "nobody")[0] == 1


def test_features_are_listed_by_family_and_counted_where_a_sleeve_knows_them(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("features", "--family", "liquidity")
    assert code == 0
    assert out.startswith("liquidity: 4 features, on by default\n  amihud ")
    assert call("features", "--family", "liquidty")[0] == 2
    assert call("features", "--sleeve", "mine")[0] == 1
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    rows = [f"{day},X:A,1{k},100" for k, day in enumerate(days)]
    text = SLEEVE + '[features]\nfamilies = ["liquidity"]\n'
    sleeve(tmp_path, "\n".join(["date,symbol,close,volume", *rows, ""]), text)
    runner = DAGRunner(Settings(home=tmp_path / "home", sleeves=tmp_path))
    stages = ["ingest.raw", "ingest.bars", "features.liquidity", "features.tail"]
    runner.run(read_sleeve(tmp_path / "mine.toml"), only=stages)
    code, out, _ = call("features", "--sleeve", "mine", "--json")
    told = {row["name"]: (row["rows"], row["coverage"]) for row in json.loads(out)["features"]}
    assert (code, told["liquidity"], told["amihud"]) == (0, (30, 11 / 30), (30, 0.0))
    assert (told["cvar"], told["momentum"]) == ((0, None), (None, None))
    out = call("features", "--sleeve", "mine")[1]
    assert "known 36.7%" in out
    assert " off  Mean of the worst" in out
    assert "not committed  Mean return of" in out

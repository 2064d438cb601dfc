"""Every defect somebody counted in files of real prices is found by the room, file by file.

The counts are those of whoever collected the files, by rules of their own. Where ours differ, the number expected is
the one that follows from our rule, and a line says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.sleeves import read_sleeve
from quant_core.settings import Settings

ROOM = (
    "ingest.raw",
    "ingest.actions",
    "ingest.bars",
    "ingest.health",
    "ingest.lives",
    "ingest.gaps",
    "ingest.universe",
    "ingest.returns",
)
Count = Callable[["Ingested"], int]


@dataclass(frozen=True)
class Ingested:
    """The tables of one file."""

    result: RunResult

    def table(self, name: str) -> pl.DataFrame:
        return self.result.frame(f"ingest.{name}")

    def lost(self, *rules: str) -> int:
        return sum(count for rule, count in self.result.excluded.items() if rule.partition("/")[2] in rules)

    def broken(self, *rules: str) -> int:
        """Rows excluded for one of several rules on prices, each counted once."""
        return sum(
            count
            for rule, count in self.result.excluded.items()
            if any(rule.partition("/")[2].endswith(end) for end in rules)
        )

    def flagged(self, name: str) -> int:
        return self.table("bars").filter(pl.col("flags").str.contains(name, literal=True)).height


def copies(done: Ingested) -> int:
    return done.lost("duplicate_row", "restated_row")


def gap_runs(done: Ingested) -> int:
    return done.table("gaps").filter(pl.col("kind") != "pre_listing").height


def gap_bars(done: Ingested) -> int:
    return int(done.table("gaps").filter(pl.col("kind") != "pre_listing")["sessions"].sum())


def not_positive(done: Ingested) -> int:
    return done.broken("not_positive")


def high_below_low(done: Ingested) -> int:
    return done.broken("high_below_low")


def outside_range(done: Ingested) -> int:
    return done.broken("open_outside_range", "close_outside_range", "high_below_low")


def stalls(done: Ingested) -> int:
    bars = done.table("bars").sort("symbol", "date")
    is_stall = pl.col("flags").str.contains("stall", literal=True)
    starts = is_stall & ~(is_stall.shift(1, fill_value=False) & (pl.col("symbol") == pl.col("symbol").shift(1)))
    return bars.filter(starts).height


def off_session(done: Ingested) -> int:
    return done.lost("off_session")


def starts(done: Ingested) -> int:
    return done.table("lives").filter(pl.col("event") == "genesis")["date"].n_unique()


def ended(done: Ingested) -> int:
    """Symbols that are halted or dead when the data end."""
    last = done.table("universe").filter(pl.col("end").is_null())
    return last.filter(pl.col("reason").is_in(["halted", "dead"])).height


def never_member(done: Ingested) -> int:
    table = done.table("universe")
    return table["symbol"].n_unique() - table.filter("is_eligible")["symbol"].n_unique()


def disorder(done: Ingested) -> int:
    return int(done.result.metrics["raw.out_of_order"])


def zero_volume(done: Ingested) -> int:
    return int(done.result.metrics["raw.zero_volume"])


def no_open(done: Ingested) -> int:
    return int(done.result.metrics["raw.no_open"])


def no_volume(done: Ingested) -> int:
    return int(done.result.metrics["raw.no_volume"])


def volume_spikes(done: Ingested) -> int:
    return done.flagged("volume_spike")


def suspected_splits(done: Ingested) -> int:
    return done.flagged("unadjusted_split")


def judged_rises(done: Ingested) -> int:
    return judged(done, pl.col("ratio") > 6.0)


def judged_falls(done: Ingested) -> int:
    return judged(done, pl.col("ratio") < 0.01)


def judged(done: Ingested, is_jump: pl.Expr) -> int:
    """Jumps between neighbouring closes as sent that became no return of that size: excluded, a new life, on trial.

    A fall that held is real and counts as judged too: it is kept on purpose.
    """
    sent = done.table("raw").sort("symbol", "date", "known_at", "row").unique(["symbol", "date"], keep="last")
    sent = sent.sort("symbol", "date").with_columns(ratio=pl.col("close") / pl.col("close").shift(1).over("symbol"))
    jumps = sent.filter(is_jump).select("symbol", "date", "ratio")
    returned = jumps.join(done.table("returns"), on=["symbol", "date"], how="left")
    is_kept = (pl.col("simple_return") - (pl.col("ratio") - 1.0)).abs() < 1e-9
    return jumps.height - returned.filter(is_kept & (pl.col("ratio") > 1.0)).height


SPECS: dict[str, tuple[str, dict[Count, int]]] = {
    "us_wiki_1d": ("XNYS", {starts: 3, suspected_splits: 1}),
    "us_eod_2017_1d": (
        "XNYS",
        {
            gap_runs: 39_767,
            gap_bars: 74_678,
            not_positive: 10,
            high_below_low: 7,
            outside_range: 15,
            judged_rises: 5,
            stalls: 484,
            # Counted: 165. 144 of them stand on two open days of which most symbols lack the row: those are gaps.
            off_session: 21,
            zero_volume: 2_996,
            never_member: 53,
            starts: 669,
            ended: 18,
        },
    ),
    "us_raw_2015_2017_1d": (
        "XNYS",
        {
            # Counted: 346,011. Nine of them are copies of rows on closed days, one is out of its range.
            copies: 346_001,
            disorder: 347_830,
            gap_runs: 334,
            gap_bars: 700,
            outside_range: 1,
            judged_rises: 92,
            judged_falls: 15,
            # Counted: 48 closes near a ratio, "some are genuine moves". Of those, bars that traded through are none.
            suspected_splits: 38,
            off_session: 25,
            stalls: 452,
            zero_volume: 9_478,
            never_member: 24,
            starts: 113,
            ended: 110,
        },
    ),
    "us_raw_vintages_1d": (
        "XNYS",
        {
            copies: 82_476,
            disorder: 82_940,
            gap_runs: 58,
            gap_bars: 67,
            judged_rises: 14,
            suspected_splits: 10,
            off_session: 3,
            stalls: 84,
            zero_volume: 1_928,
            never_member: 5,
            starts: 40,
            ended: 24,
        },
    ),
    "us_sp500_5yr_1d": (
        "XNYS",
        {gap_runs: 2, gap_bars: 2, high_below_low: 1, outside_range: 4, no_open: 1, never_member: 1, starts: 6},
    ),
    "us_etf_2006_2013_1d": ("XNYS", {disorder: 14_899, suspected_splits: 1, starts: 5, ended: 3}),
    "us_pypfopt_close_1d": ("XNYS", {stalls: 26, no_open: 135_663, no_volume: 135_663, starts: 9}),
    "uk_ftse100_close_1d": (
        "XLON",
        {gap_runs: 29, gap_bars: 29, stalls: 111, no_open: 381_411, no_volume: 381_411, starts: 1},
    ),
    "eq_lean_1d": (
        "XNYS",
        {
            gap_runs: 425,
            gap_bars: 12_229,
            judged_rises: 6,
            suspected_splits: 9,
            off_session: 14,
            stalls: 7,
            zero_volume: 26,
            never_member: 4,
            starts: 14,
            ended: 7,
        },
    ),
    "fx_cfd_lean_1d": (
        "24/5",
        {gap_runs: 146, gap_bars: 402, off_session: 5_421, no_volume: 32_640, starts: 3, ended: 8},
    ),
    "index_vix_1d": ("XNYS", {outside_range: 47, no_volume: 9_235, starts: 1}),
    # Volume above 10 sigma of a symbol's whole history was counted 413, 35, 164, 739 and 1 times. Which bars those are
    # is known only at the end, and the scale is that of volumes, whose upper tail logarithms fold in. Ours is 10 robust
    # sigmas of log volume against the 60 bars before.
    "crypto_binance_perp_1d": ("24/7", {judged_rises: 2, volume_spikes: 153, never_member: 28, starts: 244}),
    "crypto_binance_spot_1d": ("24/7", {volume_spikes: 2, starts: 20, ended: 2}),
    "crypto_binance_2021_2022_1d": (
        "24/7",
        {
            copies: 93,
            gap_runs: 5,
            gap_bars: 29,
            judged_rises: 11,
            judged_falls: 2,
            volume_spikes: 18,
            stalls: 1,
            starts: 8,
        },
    ),
    "crypto_coingecko_2021_1d": (
        "24/7",
        {
            copies: 2_483,
            gap_runs: 1_934,
            gap_bars: 8_647,
            not_positive: 18,
            judged_rises: 401,
            judged_falls: 47,
            volume_spikes: 459,
            stalls: 108,
            zero_volume: 6_239,
            no_open: 674_220,
            never_member: 302,
            starts: 323,
            ended: 21,
        },
    ),
    "crypto_coinbase_1d": ("24/7", {gap_runs: 8, gap_bars: 34, starts: 1}),
}


def ingested(tmp_path: Path, path: Path, calendar: str, extra: str = "") -> Ingested:
    sleeve = f'[sleeve]\nname = "real"\ncalendar = "{calendar}"\n[source]\nkind = "parquet"\npath = "{path}"\n{extra}'
    (tmp_path / "real.toml").write_text(sleeve)
    runner = DAGRunner(Settings(home=tmp_path / "home", sleeves=tmp_path))
    return Ingested(runner.run(read_sleeve(tmp_path / "real.toml"), only=ROOM))


# These files take most of the time; what is counted in them is counted in another one, too.
LARGE = {"crypto_binance_perp_1d", "us_eod_2017_1d", "us_raw_2015_2017_1d", "us_wiki_1d"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in SPECS]
)
def test_every_counted_defect_is_found(name: str, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    calendar, expected = SPECS[name]
    done = ingested(tmp_path, shared_data(name), calendar)
    found = {count.__name__: (count(done), least) for count, least in expected.items()}
    short = {name: pair for name, pair in found.items() if pair[0] < pair[1]}
    assert not short


def test_what_is_counted_in_a_large_file_is_counted_in_another_one() -> None:
    elsewhere = {count for name, (_, counts) in SPECS.items() if name not in LARGE for count in counts}
    assert {count for name in LARGE for count in SPECS[name][1]} <= elsewhere

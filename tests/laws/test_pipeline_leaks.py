import datetime as dt
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import read_sleeve
from quant_core.market.universe import universe_mask
from quant_core.settings import Settings
from tests.builders import up_to
from tests.markets import ALL_FAMILIES
from tests.markets import SLEEVE as SMALL

SLEEVE = SMALL.replace('name = "small"', 'name = "leaks"')
SYMBOLS, BARS = 14, 400
DAYS = [dt.date(2022, 1, 1) + dt.timedelta(days=k) for k in range(BARS)]
# The close of a rebalance, where one bar of hindsight pays at once, and a close between two rebalances.
REBALANCE, BETWEEN = DAYS[299], DAYS[307]
PRICES = ["open", "high", "low", "close"]
# What these say is known only later, or speaks of the whole sample or its last day. No decision may rest on them.
HINDSIGHT = {
    "ingest.gaps",
    "alpha.information_coefficients",
    "alpha.evaluation",
    "backtest.metrics",
    "report.portfolio",
    "report.orders",
    "report.tear_sheet",
}
# Prices of this market are adjusted already; that no action tells of the future is tested beside the actions.
WITHOUT_ROWS = "ingest.actions"
UNDATED = HINDSIGHT - {"alpha.information_coefficients"}

REGISTRY = StageRegistry.load("quant_core")

# The symbol that later bars judge. What a jump was is settled by the three bars after it; until then only what measures
# that symbol may differ.
JUDGED = "SIM:S04"
OF_SYMBOLS = {"ingest.bars", "ingest.bars#exclusions", "ingest.exclusions", "ingest.lives", "ingest.returns"}
OF_SYMBOLS |= {f"features.{family}" for family in ("trend", "volatility", "predictability", "liquidity", "tail")}
OF_SYMBOLS |= {"features.ratings", "features.alpha158"}
MEASURED = OF_SYMBOLS | {"features.alpha101", "alpha.information_coefficients"}
MEASURED |= {"synthesis.atom_returns", "backtest.equity"}


def market() -> pl.DataFrame:
    """Every kind of bar ingest judges stands before the first cut, none so late that its trial is still open there."""
    rng = np.random.default_rng(11)
    common = rng.normal(0.0003, 0.01, (BARS, 1))
    returns = common + rng.normal(0.0002, 0.02, (BARS, SYMBOLS))
    returns[180, 9], returns[190, 10] = 9.0, -0.9  # another coin under an old ticker; a fall that is real
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    close[160:190, 6] = close[160, 6]  # stalls
    close[150, 5] *= 20.0  # a slip of the decimal point
    spread = 1.0 + np.abs(rng.normal(0.0, 0.005, close.shape))
    high, low = close * spread, close / spread
    high[170, 7], low[170, 7] = low[170, 7], high[170, 7]
    high[255:290, 11], low[255:290, 11] = low[255:290, 11].copy(), high[255:290, 11].copy()  # too much to be trusted
    is_there = np.ones(close.shape, dtype=np.bool_)
    is_there[:100, 12] = is_there[250:, 13] = is_there[120:126, 3] = False  # listed late, dead, halted
    row, column = np.nonzero(is_there)
    names = np.array([f"SIM:S{j:02d}" for j in range(SYMBOLS)])
    bars = pl.DataFrame(
        {"date": [DAYS[t] for t in row], "symbol": names[column], "open": close[row, column], "high": high[row, column]}
        | {"low": low[row, column], "close": close[row, column], "volume": rng.lognormal(12.0, 0.5, row.size)}
    )
    return pl.concat([bars.head(1_500), bars[1_499], bars[1_500:]])  # one row arrives twice


def moved(later: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Other prices and volumes, a few of them absurd."""
    factor = pl.Series(
        np.exp(rng.normal(0.0, 0.2, later.height)) * np.where(rng.random(later.height) < 0.01, 30.0, 1.0)
    )
    volume = pl.Series(rng.lognormal(0.0, 1.0, later.height))
    return later.with_columns(*(pl.col(name) * factor for name in PRICES), pl.col("volume") * volume)


def dropped(later: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A third of the rows gone, one symbol with all its rows, and one whole day of everybody."""
    is_kept = pl.Series(rng.random(later.height) > 0.3)
    gone_day = later["date"].unique().sort()[7]
    return later.filter(is_kept & (pl.col("symbol") != "SIM:S01") & (pl.col("date") != gone_day))


def joined(later: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """New symbols; their names stand before, among and behind the old ones, so every column moves."""
    names = {"SIM:S02": "SIM:A00", "SIM:S04": "SIM:S045", "SIM:S08": "SIM:Z00"}
    new = later.filter(pl.col("symbol").is_in(list(names))).with_columns(pl.col("symbol").replace_strict(names))
    return pl.concat([later, moved(new, rng)]).sort("date", maintain_order=True)


def all_at_once(later: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return joined(dropped(moved(later, rng), rng), rng)


Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Told:
    """What one run told in its tables, valid rows and exclusions."""

    result: RunResult
    tables: Mapping[str, pl.DataFrame]

    def until(self, cut: dt.date) -> dict[str, pl.DataFrame]:
        """Return what each table said at the close of `cut`, as far as it could be known then."""
        return {name: self._known(name, table, cut) for name, table in self.tables.items()}

    def _known(self, name: str, table: pl.DataFrame, cut: dt.date) -> pl.DataFrame:
        by_then = pl.col("date") <= cut
        if name in ("ingest.lives", "ingest.health"):  # dated when it happened, known when it was certain
            return table.filter(pl.col("known_at") <= dt.datetime.combine(cut, dt.time(), dt.UTC) + dt.timedelta(1))
        if name == "ingest.universe":  # intervals: who could be held on each date
            dates = pl.Series("date", [day for day in DAYS if day <= cut])
            symbols = table["symbol"].unique().sort()
            row, column = universe_mask(table, dates, symbols.to_list()).nonzero()
            return pl.DataFrame({"date": dates.gather(row), "symbol": symbols.gather(column)})
        if name == "backtest.schedule":  # which bars a window tests is known when they have come
            ahead = pl.col("test_start", "test_end")
            return table.filter(by_then).with_columns(pl.when(ahead <= cut).then(ahead))
        if name == "alpha.information_coefficients":  # dated at the factor, known when its horizon has passed
            return table.filter(pl.col("date") + pl.duration(days=pl.col("horizon")) <= cut)
        if name == "synthesis.atom_returns":  # an atom named only later brings its whole stream, which decides nothing
            named = self.tables["synthesis.atoms"].filter(by_then)
            return table.filter(by_then).join(named, on="atom", how="semi", maintain_order="left")
        return table.filter(by_then)


def run(
    folder: Path,
    bars: pl.DataFrame,
    registry: StageRegistry = REGISTRY,
    only: list[str] | None = None,
    families: str = "",
) -> Told:
    """Run the graph, with the families of features that are on by default or those given."""
    folder.mkdir(parents=True)
    bars.write_parquet(folder / "bars.parquet")
    (folder / "leaks.toml").write_text(SLEEVE + families)
    settings = Settings(home=folder / "home")
    result = DAGRunner(settings, registry=registry).run(read_sleeve(folder / "leaks.toml"), only=only)
    evidence = Evidence(result.home)
    tables: dict[str, pl.DataFrame] = {}
    for record in evidence.run(result.run_id).commits:
        if record.data["stage"] not in UNDATED:
            tables[record.data["stage"]] = evidence.store.read(ref_in(record))
            tables[f"{record.data['stage']}#exclusions"] = evidence.store.read(ref_in(record, "exclusions"))
    return Told(result, tables)


def perturbed(bars: pl.DataFrame, cut: dt.date, change: Change) -> pl.DataFrame:
    later = change(bars.filter(pl.col("date") > cut), np.random.default_rng(5))
    return pl.concat([bars.filter(pl.col("date") <= cut), later])


def leaks(one: Told, other: Told, cut: dt.date) -> dict[str, str]:
    """Return what the future changed, by table in the order of the graph: the first date and the columns."""
    found = {}
    for (name, before), after in zip(one.until(cut).items(), other.until(cut).values(), strict=True):
        if before.equals(after):
            continue
        if before.height != after.height:
            found[name] = f"{before.height} rows became {after.height}"
            continue
        differs = {c: before[c].ne_missing(after[c]) for c in before.columns if not before[c].equals(after[c])}
        first = before.filter(pl.DataFrame(differs).select(pl.any_horizontal(pl.all())).to_series())
        found[name] = f"{', '.join(differs)} from {first.row(0)}"
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return run(tmp_path_factory.mktemp("leaks") / "told", market())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The same market with all families of features."""
    return run(tmp_path_factory.mktemp("leaks") / "whole", market(), families=ALL_FAMILIES)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """That market after a future in which everything differs from `BETWEEN` on."""
    bars = perturbed(market(), BETWEEN, all_at_once)
    return run(tmp_path_factory.mktemp("leaks") / "changed", bars, families=ALL_FAMILIES)


@pytest.mark.parametrize(
    "change",
    [moved, pytest.param(dropped, marks=pytest.mark.slow), pytest.param(joined, marks=pytest.mark.slow)],
    ids=lambda change: change.__name__,
)
def test_no_table_knows_its_future(told: Told, tmp_path: Path, change: Change) -> None:
    other = run(tmp_path / "other", perturbed(market(), REBALANCE, change))
    assert leaks(told, other, REBALANCE) == {}


def test_no_table_knows_a_future_that_differs_in_everything(whole: Told, changed: Told) -> None:
    assert leaks(whole, changed, BETWEEN) == {}


def test_that_future_reaches_every_table(whole: Told, changed: Told) -> None:
    untouched = [name for name, table in whole.tables.items() if table.equals(changed.tables[name])]
    assert [name for name in untouched if "#" not in name] == [WITHOUT_ROWS]


def test_the_market_gives_every_table_something_to_say_before_the_cut(whole: Told) -> None:
    tables = whole.until(REBALANCE)
    assert [name for name, table in tables.items() if "#" not in name and table.is_empty()] == [WITHOUT_ROWS]
    assert set(tables["ingest.exclusions"]["rule"]) == {"duplicate_row", "high_below_low", "stalled", "toxic_bar"}
    assert set(tables["ingest.lives"]["event"]) == {"genesis", "halt", "resume", "death"}
    assert tables["allocation.weights"]["date"].n_unique() == 6
    assert not whole.tables["ingest.bars"].filter("is_provisional").height


@pytest.mark.parametrize(
    ("jump", "families"),
    [
        pytest.param(0.1, "", id="fall"),
        pytest.param(8.0, ALL_FAMILIES, id="rise", marks=pytest.mark.slow),
    ],
)
def test_a_jump_still_on_trial_reaches_no_decision(tmp_path: Path, jump: float, families: str) -> None:
    own = pl.col("symbol") == JUDGED
    stays = own & (pl.col("date") >= DAYS[298])
    comes_back = stays & (pl.col("date") <= REBALANCE)
    one, other = (
        run(
            tmp_path / name,
            market().with_columns(pl.when(where).then(pl.col(PRICES) * jump).otherwise(pl.col(PRICES))),
            families=families,
        )
        for name, where in {"stays": stays, "comes_back": comes_back}.items()
    )
    assert not leaks(one, other, DAYS[297])
    assert leaks(one, other, REBALANCE).keys() <= MEASURED
    before, after = one.until(REBALANCE), other.until(REBALANCE)
    for name in OF_SYMBOLS:
        assert before[name].filter(~own).equals(after[name].filter(~own)), name


def test_a_symbol_whose_data_go_bad_later_keeps_its_past(told: Told, tmp_path: Path) -> None:
    def spoilt(later: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        below = pl.when(pl.col("symbol") == JUDGED).then(pl.col("low") * rng.uniform(0.8, 0.9))
        return later.with_columns(high=below.otherwise(pl.col("high")))

    other = run(tmp_path / "other", perturbed(market(), REBALANCE, spoilt))
    assert leaks(told, other, REBALANCE) == {}


def test_what_speaks_in_hindsight_feeds_no_decision() -> None:
    readers = {spec.id for spec in REGISTRY.values() if set(spec.parents) & HINDSIGHT}
    assert readers <= HINDSIGHT


def next_close(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns(pl.col("close").shift(-1).over("symbol").fill_null(pl.col("close")))


def survivors(bars: pl.DataFrame) -> pl.DataFrame:
    last = bars.filter(pl.col("date") > DAYS[-7])
    return bars.join(last, on="symbol", how="semi", maintain_order="left")


def over_its_own_mean(features: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    values = pl.col(pl.Float64)
    spoilt = features["features.volatility"].with_columns(values / values.mean().over("symbol"))
    return features | {"features.volatility": spoilt}


def trained_on_the_test_block(schedule: pl.DataFrame) -> pl.DataFrame:
    return schedule.with_columns(pl.coalesce("test_end", "train_end").alias("train_end"))


@pytest.mark.parametrize(
    ("stage", "spoilt", "change"),
    [
        pytest.param("features.trend", {"bars": next_close}, moved, id="next bar"),
        pytest.param("ingest.universe", {"bars": survivors}, dropped, id="survivors", marks=pytest.mark.slow),
        pytest.param(
            "alpha.factors", {"features": over_its_own_mean}, moved, id="whole-sample mean", marks=pytest.mark.slow
        ),
        pytest.param("allocation.weights", {"schedule": trained_on_the_test_block}, moved, id="test block"),
    ],
)
def test_a_planted_leak_is_named(
    tmp_path: Path, stage: str, spoilt: dict[str, Callable[[Any], Any]], change: Change
) -> None:
    honest = REGISTRY[stage]

    @functools.wraps(honest.function)
    def leaking(**given: Any) -> pl.DataFrame | Split:
        return honest.function(**given | {name: spoil(given[name]) for name, spoil in spoilt.items()})

    registry = StageRegistry(
        replace(spec, function=leaking) if spec.id == stage else spec for spec in REGISTRY.values()
    )
    needed = sorted(up_to(stage))
    one = run(tmp_path / "one", market(), registry, needed)
    other = run(tmp_path / "other", perturbed(market(), REBALANCE, change), registry, needed)
    assert list(leaks(one, other, REBALANCE)) == [stage]

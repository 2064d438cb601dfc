"""Stage synthesis.decisions: why each symbol is in or out at each rebalance.

Gathers the candidates and runs ladder.py on every date; the ladder reads only its own cross-section.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import InfeasibleError, UnknownNameError
from quant_core.graph.compute import Compute
from quant_core.graph.stage import TableRule, stage
from quant_core.market.contracts.synthesis import Decisions
from quant_core.market.identity import economic_identity
from quant_core.market.sleeves import Sleeve
from quant_core.market.universe import universe_mask
from quant_core.synthesis.ladder import STRICT, LadderParams, ladder
from quant_core.synthesis.vetoes import features_read

METADATA = ("sector",)
# A veto may well hit all of a few symbols; with this many symbols and dates, the fault is the veto's.
_FEWEST_SYMBOLS, _FEWEST_DATES = 5, 5


class DecisionParams(LadderParams):
    """The ladder's sizes and limits, the scorer it trusts, and what must be known of a symbol."""

    scorer: str = Field(default="log_mps", description="Scorer whose conviction ranks.")
    required_metadata: tuple[str, ...] = Field(default=(), description="Metadata without which a symbol is vetoed.")

    @field_validator("required_metadata")
    @classmethod
    def _check_metadata_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METADATA:
                raise UnknownNameError("metadata", name, METADATA)
        return names


def find_universal_veto(table: pl.DataFrame) -> str | None:
    """No veto removes every eligible candidate on every date: such a veto judges its own bug, not the market.

    Silent under 5 symbols or 5 dates.
    """
    judged = table.filter(pl.col("reason") != "not_eligible")
    if judged["symbol"].n_unique() < _FEWEST_SYMBOLS or judged["date"].n_unique() < _FEWEST_DATES:
        return None
    fired = judged.select(pl.col("vetoes").str.split(",").explode()).to_series().value_counts(sort=False)
    total = [name for name, count in sorted(fired.iter_rows()) if name and count == judged.height]
    return f"{', '.join(total)}: fired on all {judged.height} candidates of all dates." if total else None


def find_empty_selection(table: pl.DataFrame) -> str | None:
    """Somebody is selected on some date."""
    if table["is_selected"].any():
        return None
    reasons = table["reason"].value_counts(sort=False).sort("reason").iter_rows()
    return f"nobody was selected on any date: {', '.join(f'{name} {n}' for name, n in reasons) or 'no candidates'}."


def decision_metrics(table: pl.DataFrame) -> Mapping[str, float]:
    """Return winners per date, the share of dates stage 1 filled alone, and shares vetoed and of unknown sector."""
    if table.is_empty():
        return {}
    dates = table.group_by("date").agg(
        pl.col("is_selected").sum().alias("selected"),
        (pl.col("stage").max() == STRICT).fill_null(value=False).alias("is_strict"),
    )
    return {
        "synthesis.mean_selected": int(dates["selected"].sum()) / dates.height,
        "synthesis.stage1_share": int(dates["is_strict"].sum()) / dates.height,
        "synthesis.vetoed_share": int((table["vetoes"] != "").sum()) / table.height,
        "synthesis.unknown_sector_share": int(table["unknown"].str.contains(r"(^|,)sector$").sum()) / table.height,
    }


@stage(
    "synthesis.decisions",
    inputs={
        "conviction": "inference.conviction",
        "clusters": "synthesis.clusters",
        "universe": "ingest.universe",
        "schedule": "backtest.schedule",
        "features": "features.*",
    },
    names=lambda params: features_read(),
    output=Decisions,
    rules=(
        TableRule("universal_veto", find_universal_veto),
        TableRule("nothing_selected", find_empty_selection),
    ),
    metrics=decision_metrics,
)
def decisions(
    conviction: pl.DataFrame,
    clusters: pl.DataFrame,
    universe: pl.DataFrame,
    schedule: pl.DataFrame,
    features: Mapping[str, pl.DataFrame],
    *,
    params: DecisionParams,
    compute: Compute,
    sleeve: Sleeve,
) -> pl.DataFrame:
    """Run the selection ladder at every rebalance over the members eligible then.

    One row per date, eligible symbol and direction scored on that date (LONG where nothing was scored); a scored symbol
    that is not eligible keeps its row as `not_eligible`. Statistics and convictions are those of the rebalance date.
    """
    scored = _convictions_of(conviction, params.scorer).join(schedule.select("date"), on="date", how="semi")
    _judge_sectors(sleeve, universe, params)
    rows = _members(universe, schedule["date"], scored)
    rows = rows.join(clusters, on=["date", "symbol"], how="left")
    rows = _with_statistics(rows, features.values())
    candidates = _with_metadata(rows, sleeve, params.required_metadata).sort("date", "symbol", "direction")
    if candidates.is_empty():
        return Decisions.empty()
    judged = pl.concat(
        compute.map(ladder, candidates.partition_by("date", maintain_order=True), shared=params, cost=_height)
    )
    if sleeve.sectors:
        also = pl.concat_str("unknown", pl.lit("sector"), separator=",").str.strip_prefix(",")
        judged = judged.with_columns(
            pl.when(pl.col("sector").is_null()).then(also).otherwise("unknown").alias("unknown")
        )
    return judged.select(*Decisions.dtypes)


def _height(candidates: pl.DataFrame) -> float:
    return float(candidates.height)


def _convictions_of(conviction: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """Return date, symbol, direction and conviction of one scorer."""
    own = conviction.filter(pl.col("scorer") == scorer)
    if own.is_empty() and not conviction.is_empty():
        raise UnknownNameError("scorer", scorer, conviction["scorer"].unique().to_list())
    return own.select("date", "symbol", "direction", "conviction")


def _judge_sectors(sleeve: Sleeve, universe: pl.DataFrame, params: LadderParams) -> None:
    """Refuse a sector limit that no selection can keep: too few sectors, and no symbol of unknown sector."""
    symbols = set(universe["symbol"].unique().to_list())
    sectors = {sleeve.sectors[symbol] for symbol in symbols & set(sleeve.sectors)}
    if symbols and symbols <= set(sleeve.sectors) and len(sectors) * params.sector_limit < 1.0 - 1e-9:
        raise InfeasibleError(
            f"sector_limit={params.sector_limit}: the sectors {', '.join(sorted(sectors))} can hold at most "
            f"{len(sectors) * params.sector_limit:.0%} of a selection. Raise the limit or declare finer sectors."
        )


def _members(universe: pl.DataFrame, dates: pl.Series, scored: pl.DataFrame) -> pl.DataFrame:
    """Return one row per date, eligible member and direction, plus scored rows that are not eligible."""
    symbols = universe["symbol"].unique().sort()
    row, column = universe_mask(universe, dates, symbols.to_list()).nonzero()
    members = pl.DataFrame({"date": dates.gather(row), "symbol": symbols.gather(column)})
    sides = scored.select("date", "direction").unique().sort("date", "direction")
    rows = members.join(sides, on="date", how="left").with_columns(
        pl.col("direction").fill_null("LONG"), pl.lit(value=True).alias("is_eligible")
    )
    return rows.join(scored, on=["date", "symbol", "direction"], how="full", coalesce=True).with_columns(
        pl.col("is_eligible").fill_null(value=False)
    )


def _with_statistics(rows: pl.DataFrame, families: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Add the statistics the vetoes read; null where a family has none."""
    wanted = features_read()
    dates = rows.select("date").unique()
    for family in families:
        named = [name for name in family.columns if name in wanted]
        at_dates = family.select("date", "symbol", *named).join(dates, on="date", how="semi")
        rows = rows.join(at_dates, on=["date", "symbol"], how="left")
    return rows


def _with_metadata(rows: pl.DataFrame, sleeve: Sleeve, required: Sequence[str]) -> pl.DataFrame:
    """Add identity, sector, whether it is the benchmark, and how much required metadata is missing."""
    sectors = pl.DataFrame(
        {"symbol": list(sleeve.sectors), "sector": list(sleeve.sectors.values())},
        schema={"symbol": pl.String, "sector": pl.String},
    )
    return rows.join(sectors, on="symbol", how="left").with_columns(
        economic_identity(pl.col("symbol")).alias("identity"),
        pl.lit(sleeve.benchmark, dtype=pl.String).eq_missing(pl.col("symbol")).alias("is_benchmark"),
        pl.sum_horizontal(pl.lit(0), *(pl.col(name).is_null().cast(pl.Int32) for name in required)).alias(
            "missing_metadata"
        ),
    )

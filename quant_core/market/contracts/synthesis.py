"""Contracts of synthesis: clusters, decisions, selection, atoms, atom returns."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from quant_core.market.contracts.split import contract
from quant_core.market.identity import SYMBOL

DIRECTIONS = ["LONG", "SHORT"]


class _Clusters(pa.DataFrameModel):
    """The cluster of one symbol at one rebalance."""

    date: pl.Date = pa.Field(description="Rebalance date; only earlier returns were used.")
    symbol: pl.String = pa.Field(str_matches=SYMBOL, description="VENUE:TICKER.")
    cluster: pl.Int32 = pa.Field(ge=1, description="Label: 1 is the largest cluster, ties by first symbol.")


class _Decisions(pa.DataFrameModel):
    """Why one symbol is in or out at one rebalance."""

    date: pl.Date = pa.Field(description="Rebalance date.")
    symbol: pl.String = pa.Field(str_matches=SYMBOL, description="VENUE:TICKER.")
    direction: pl.String = pa.Field(isin=DIRECTIONS, description="Side judged.")
    cluster: pl.Int32 = pa.Field(ge=1, nullable=True, description="Cluster; null when it could not be clustered.")
    conviction: pl.Float64 = pa.Field(
        gt=0.0, le=1.0, nullable=True, description="Conviction of the champion scorer; null where too little is known."
    )
    rank: pl.Int32 = pa.Field(ge=1, nullable=True, description="Rank within cluster and direction.")
    vetoes: pl.String = pa.Field(description="Strict vetoes that fired, comma-separated.")
    unknown: pl.String = pa.Field(
        description="Vetoes whose statistic is not known, `sector` where the sector limit is blind, comma-separated."
    )
    stage: pl.Int8 = pa.Field(
        in_range={"min_value": 1, "max_value": 4}, nullable=True, description="Ladder stage that selected it."
    )
    is_selected: pl.Boolean = pa.Field(description="Whether it is in the selection.")
    reason: pl.String = pa.Field(
        description="selected_strict, selected_relaxed, selected_forced, selected_fallback, vetoed, outranked, "
        "over_cap, over_sector_limit, other_venue, not_clustered, no_conviction, not_eligible."
    )


class _Selection(pa.DataFrameModel):
    """One selected symbol at one rebalance."""

    date: pl.Date = pa.Field(description="Rebalance date.")
    symbol: pl.String = pa.Field(str_matches=SYMBOL, description="VENUE:TICKER.")
    direction: pl.String = pa.Field(isin=DIRECTIONS, description="Side.")
    cluster: pl.Int32 = pa.Field(ge=1, nullable=True, description="Cluster.")
    stage: pl.Int8 = pa.Field(in_range={"min_value": 1, "max_value": 4}, description="Ladder stage.")
    conviction: pl.Float64 = pa.Field(gt=0.0, le=1.0, nullable=True, description="Conviction.")
    rank: pl.Int32 = pa.Field(ge=1, description="Rank by conviction among the selected.")


class _Atoms(pa.DataFrameModel):
    """One strategy atom of one rebalance: a symbol, a logic, a direction."""

    date: pl.Date = pa.Field(description="Rebalance date.")
    atom: pl.String = pa.Field(description="{symbol}_{logic}_{direction}.")
    symbol: pl.String = pa.Field(str_matches=SYMBOL, description="VENUE:TICKER.")
    logic: pl.String = pa.Field(description="Rule that turns the symbol into a position path.")
    direction: pl.String = pa.Field(isin=DIRECTIONS, description="Side.")
    cluster: pl.Int32 = pa.Field(ge=1, nullable=True, description="Cluster of the symbol.")
    conviction: pl.Float64 = pa.Field(gt=0.0, le=1.0, nullable=True, description="Conviction.")


class _AtomReturns(pa.DataFrameModel):
    """The return of one atom over one bar."""

    date: pl.Date = pa.Field(description="Date at whose close the return is complete.")
    atom: pl.String = pa.Field(description="{symbol}_{logic}_{direction}.")
    atom_return: pl.Float64 = pa.Field(
        in_range={"min_value": -1.0, "max_value": 5.0}, description="Fraction; a short atom is -min(r, 1)."
    )


Clusters = contract(_Clusters, key=("date", "symbol"))
Decisions = contract(_Decisions, key=("date", "symbol", "direction"))
Selection = contract(_Selection, key=("date", "symbol", "direction"))
Atoms = contract(_Atoms, key=("date", "atom"))
AtomReturns = contract(_AtomReturns, key=("date", "atom"))

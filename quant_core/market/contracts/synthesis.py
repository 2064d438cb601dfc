"""Contracts of synthesis: clusters, decisions, selection, atoms, atom returns."""

from __future__ import annotations

import polars as pl

from quant_core.market.contracts.columns import TableRow, column
from quant_core.market.contracts.split import contract
from quant_core.market.identity import SYMBOL

DIRECTIONS = ["LONG", "SHORT"]


class _Clusters(TableRow):
    """The cluster of one symbol at one rebalance."""

    date: pl.Date = column(description="Rebalance date; only earlier returns were used.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    cluster: pl.Int32 = column(ge=1, description="Label: 1 is the largest cluster, ties by first symbol.")


class _Decisions(TableRow):
    """Why one symbol is in or out at one rebalance."""

    date: pl.Date = column(description="Rebalance date.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    direction: pl.String = column(isin=DIRECTIONS, description="Side judged.")
    cluster: pl.Int32 = column(ge=1, nullable=True, description="Cluster; null when it could not be clustered.")
    conviction: pl.Float64 = column(
        gt=0.0, le=1.0, nullable=True, description="Conviction of the champion scorer; null where too little is known."
    )
    rank: pl.Int32 = column(ge=1, nullable=True, description="Rank within cluster and direction.")
    vetoes: pl.String = column(description="Strict vetoes that fired, comma-separated.")
    unknown: pl.String = column(
        description="Vetoes whose statistic is not known, `sector` where the sector limit is blind, comma-separated."
    )
    stage: pl.Int8 = column(within=(1, 4), nullable=True, description="Ladder stage that selected it.")
    is_selected: pl.Boolean = column(description="Whether it is in the selection.")
    reason: pl.String = column(
        description="selected_strict, selected_relaxed, selected_forced, selected_fallback, vetoed, outranked, "
        "over_cap, over_sector_limit, other_venue, not_clustered, no_conviction, not_eligible."
    )


class _Selection(TableRow):
    """One selected symbol at one rebalance."""

    date: pl.Date = column(description="Rebalance date.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    direction: pl.String = column(isin=DIRECTIONS, description="Side.")
    cluster: pl.Int32 = column(ge=1, nullable=True, description="Cluster.")
    stage: pl.Int8 = column(within=(1, 4), description="Ladder stage.")
    conviction: pl.Float64 = column(gt=0.0, le=1.0, nullable=True, description="Conviction.")
    rank: pl.Int32 = column(ge=1, description="Rank by conviction among the selected.")


class _Atoms(TableRow):
    """One strategy atom of one rebalance: a symbol, a logic, a direction."""

    date: pl.Date = column(description="Rebalance date.")
    atom: pl.String = column(description="{symbol}_{logic}_{direction}.")
    symbol: pl.String = column(str_matches=SYMBOL, description="VENUE:TICKER.")
    logic: pl.String = column(description="Rule that turns the symbol into a position path.")
    direction: pl.String = column(isin=DIRECTIONS, description="Side.")
    cluster: pl.Int32 = column(ge=1, nullable=True, description="Cluster of the symbol.")
    conviction: pl.Float64 = column(gt=0.0, le=1.0, nullable=True, description="Conviction.")


class _AtomReturns(TableRow):
    """The return of one atom over one bar."""

    date: pl.Date = column(description="Date at whose close the return is complete.")
    atom: pl.String = column(description="{symbol}_{logic}_{direction}.")
    atom_return: pl.Float64 = column(within=(-1.0, 5.0), description="Fraction; a short atom is -min(r, 1).")


Clusters = contract(_Clusters, key=("date", "symbol"))
Decisions = contract(_Decisions, key=("date", "symbol", "direction"))
Selection = contract(_Selection, key=("date", "symbol", "direction"))
Atoms = contract(_Atoms, key=("date", "atom"))
AtomReturns = contract(_AtomReturns, key=("date", "atom"))

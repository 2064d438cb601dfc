"""Contracts of alpha: how well factors predict. The factor table itself is built from the catalogue (features.py)."""

from __future__ import annotations

import polars as pl

from quant_core.market.contracts.columns import TableRow, column
from quant_core.market.contracts.split import contract

_CORRELATION = (-1.0, 1.0)


class _InformationCoefficients(TableRow):
    """The information coefficient of one factor at one date."""

    date: pl.Date = column(description="Date of the factor values; the return follows it.")
    factor: pl.String = column(description="Factor name.")
    horizon: pl.Int32 = column(ge=1, description="Bars of the forward return.")
    ic: pl.Float64 = column(within=_CORRELATION, nullable=True, description="Pearson correlation across symbols.")
    rank_ic: pl.Float64 = column(within=_CORRELATION, nullable=True, description="Spearman correlation.")
    pairs: pl.Int32 = column(ge=0, description="Symbols with both a factor value and a forward return.")
    coverage: pl.Float64 = column(within=(0.0, 1.0), nullable=True, description="Share of members with a value.")
    turnover: pl.Float64 = column(
        within=(0.0, 1.0),
        nullable=True,
        description="Share of the top fifth that was not in the top fifth one horizon before.",
    )


class _Evaluation(TableRow):
    """How well one factor predicted one horizon."""

    factor: pl.String = column(description="Factor name.")
    horizon: pl.Int32 = column(ge=1, description="Bars of the forward return.")
    dates: pl.Int64 = column(ge=0, description="Dates with an information coefficient.")
    ic: pl.Float64 = column(within=_CORRELATION, nullable=True, description="Mean Pearson IC.")
    rank_ic: pl.Float64 = column(within=_CORRELATION, nullable=True, description="Mean Spearman IC.")
    rank_ic_std: pl.Float64 = column(ge=0.0, nullable=True, description="Standard deviation of the Spearman IC.")
    icir: pl.Float64 = column(nullable=True, description="Mean over standard deviation of the Spearman IC.")
    t_statistic: pl.Float64 = column(nullable=True, description="Fixed-smoothing HAC t of the mean Spearman IC.")
    p_value: pl.Float64 = column(within=(0.0, 1.0), nullable=True, description="Two-sided p of that t.")
    turnover: pl.Float64 = column(within=(0.0, 1.0), nullable=True, description="Mean turnover of the top fifth.")
    coverage: pl.Float64 = column(within=(0.0, 1.0), nullable=True, description="Mean share of members with a value.")


InformationCoefficients = contract(_InformationCoefficients, key=("factor", "horizon", "date"))
Evaluation = contract(_Evaluation, key=("factor", "horizon"))

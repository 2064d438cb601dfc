"""polars as a peer: pyqlib's expressions as polars expressions over each symbol. No contest stands here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

Operand = pl.Expr | float


def expressible(expressions: Mapping[str, str]) -> dict[str, str]:
    """Leave out what polars has no expression for: where in its window an extreme stands."""
    return {name: text for name, text in expressions.items() if "IdxM" not in text}


def expressions_of(factors: Mapping[str, str]) -> list[pl.Expr]:
    """Return one expression per factor, over each symbol of a table by symbol and date.

    Such a table lets groups be put back one after the other, which is up to three times as fast as by row.
    """
    return [translated(text).over("symbol", mapping_strategy="explode").alias(name) for name, text in factors.items()]


def translated(text: str) -> pl.Expr:
    """Return pyqlib's expression as polars', full windows."""
    found: pl.Expr = eval(re.sub(r"\$(\w+)", r"col('\1')", text), {"col": pl.col} | OPERATORS)
    return found


def _mean(x: pl.Expr, window: int) -> pl.Expr:
    return x.cast(pl.Float64).rolling_mean(window)


def _correlation(x: pl.Expr, y: pl.Expr, window: int) -> pl.Expr:
    return pl.rolling_corr(x, y, window_size=window)


def _slope(x: pl.Expr, window: int) -> pl.Expr:
    """Least squares on 1 .. window, the variance of which is known beforehand."""
    return pl.rolling_cov(x, _place(), window_size=window, ddof=1) / (window * (window + 1) / 12.0)


def _rsquare(x: pl.Expr, window: int) -> pl.Expr:
    return pl.rolling_corr(x, _place(), window_size=window) ** 2


def _residual(x: pl.Expr, window: int) -> pl.Expr:
    return x - x.rolling_mean(window) - _slope(x, window) * ((window - 1) / 2.0)


def _place() -> pl.Expr:
    return pl.int_range(pl.len()).cast(pl.Float64)


def _rank(x: pl.Expr, window: int) -> pl.Expr:
    return x.rolling_rank(window, method="average") / window


OPERATORS: dict[str, Any] = {
    "Ref": lambda x, n: x.shift(n),
    "Mean": _mean,
    "Sum": lambda x, window: x.rolling_sum(window),
    "Std": lambda x, window: x.rolling_std(window),
    "Max": lambda x, window: x.rolling_max(window),
    "Min": lambda x, window: x.rolling_min(window),
    "Quantile": lambda x, window, q: x.rolling_quantile(q, interpolation="linear", window_size=window),
    "Rank": _rank,
    "Corr": _correlation,
    "Slope": _slope,
    "Rsquare": _rsquare,
    "Resi": _residual,
    "Log": lambda x: x.log(),
    "Abs": lambda x: x.abs(),
    "Greater": lambda x, y: pl.max_horizontal(x, y),
    "Less": lambda x, y: pl.min_horizontal(x, y),
}

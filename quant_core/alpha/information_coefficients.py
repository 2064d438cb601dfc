"""How well each factor ordered the returns that followed, date by date.

Figures over all dates are in evaluation.py. Nothing here feeds a decision: an information coefficient dated t is
known only after its horizon has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from quant_core.graph.stage import Params, stage
from quant_core.kernels.cross_section import rank_rows
from quant_core.market.contracts.alpha import InformationCoefficients
from quant_core.market.panel import Axes, Matrix, axes_of
from quant_core.statistics.correlation import pair_counts, pearson_rows, spearman_rows

_TOP = 0.8


class InformationParams(Params):
    """Horizons over which factors are evaluated."""

    horizons: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 20), min_length=1, description="Bars of the forward returns that factors are judged on."
    )


@stage(
    "alpha.information_coefficients",
    inputs={"factors": "alpha.factors", "returns": "ingest.returns"},
    output=InformationCoefficients,
)
def information_coefficients(
    factors: pl.DataFrame, returns: pl.DataFrame, *, params: InformationParams
) -> pl.DataFrame:
    """Correlate each factor with the compound return of the bars that follow.

    A horizon of h bars is looked at on every h-th date from the first on, so that no two of its returns overlap. Bars
    are the sleeve's dates. A halt is compounded over, see `forward_returns`. A symbol that dies within the horizon has
    no forward return and no part in the correlation, which therefore leaves out the cost of a death. The last h
    dates have none yet.
    """
    if factors.is_empty():
        return InformationCoefficients.empty()
    dates = pl.concat([factors["date"].unique(), returns["date"].unique()]).unique().sort()
    symbols = pl.concat([factors["symbol"].unique(), returns["symbol"].unique()]).unique().sort().to_list()
    where = axes_of(factors, dates=dates, symbols=symbols)
    realised = axes_of(returns, dates=dates, symbols=symbols).panel(returns["simple_return"]).values
    names = [name for name in factors.columns if name not in ("date", "symbol")]
    tables = []
    for horizon in sorted(set(params.horizons)):
        rows = np.arange(0, len(dates), horizon)
        future = forward_returns(realised, rows, horizon)
        cells = _member_cells(where, rows)
        for name in names:
            scores = _score_factor(where.panel(factors[name]).values[rows], future, cells)
            tables.append(
                scores.with_columns(
                    dates.gather(rows).alias("date"), factor=pl.lit(name), horizon=pl.lit(horizon, dtype=pl.Int32)
                ).filter(pl.col("coverage").is_not_null())
            )
    return pl.concat(tables).select(*InformationCoefficients.dtypes)


def forward_returns(returns: Matrix, rows: npt.NDArray[np.int64], horizon: int) -> Matrix:
    """Compound the known returns of the `horizon` bars after each given row.

    The first return after a halt runs from the last close before it, so that to skip the bars between is exact.

    Parameters
    ----------
    returns : ndarray [T, N]
        Simple returns, as fractions.
    rows : ndarray [K]
    horizon : int

    Returns
    -------
    ndarray [K, N]
        Fractions.

    NaN: where none of the bars is known, or where no return is known from the last of them on. A symbol that died
    within the horizon therefore leaves, and one that is halted at the end of the data is not known until it resumes.
    A ticker that begins a new life within the horizon stays, without the move between the two, which no holder earned.
    """
    is_known = ~np.isnan(returns)
    last = np.where(is_known.any(axis=0), returns.shape[0] - 1 - np.argmax(is_known[::-1], axis=0), -1)
    growth, has_any = np.ones((rows.size, returns.shape[1])), np.zeros((rows.size, returns.shape[1]), dtype=np.bool_)
    for ahead in range(1, horizon + 1):
        inside = rows + ahead < returns.shape[0]
        at = rows[inside] + ahead
        growth[inside] *= np.where(is_known[at], 1.0 + returns[at], 1.0)
        has_any[inside] |= is_known[at]
    is_quoted = rows[:, np.newaxis] + horizon <= last
    return np.where(has_any & is_quoted, growth - 1.0, np.nan)


@dataclass(frozen=True)
class _Cells:
    """Places of the members of each row, packed to the left: a thousand symbols with fifty members need fifty slots."""

    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    def pack(self, values: Matrix) -> Matrix:
        """Return the members' values of a matrix [K, N] as [K, slots]; NaN behind the last member of a row."""
        out = np.full((self.count.size, int(self.count.max(initial=0))), np.nan)
        out[self.row, self.slot] = values[self.row, self.column]
        return out


def _member_cells(where: Axes, rows: npt.NDArray[np.int64]) -> _Cells:
    members = np.zeros((len(where.dates), len(where.symbols)), dtype=np.bool_)
    members[where.row, where.column] = True
    row, column = np.nonzero(members[rows])
    count = np.bincount(row, minlength=rows.size)
    return _Cells(row, column, np.arange(row.size) - (np.cumsum(count) - count)[row], count)


def top_turnover(values: Matrix) -> Matrix:
    """Share of each row's top fifth that was not in the top fifth of the row before.

    Parameters
    ----------
    values : ndarray [K, N]

    Returns
    -------
    ndarray [K]
        NaN in the first row and where either top fifth is empty: fewer than three known values, or so many equal at
        the top that their average rank is below it.

    NaN: not ranked, so never in the top fifth.
    """
    top = rank_rows.apply(values, ~np.isnan(values)) > _TOP
    size = np.sum(top, axis=1)
    fresh = np.sum(top[1:] & ~top[:-1], axis=1)
    turnover = np.full(values.shape[0], np.nan)
    np.divide(fresh, size[1:], out=turnover[1:], where=(size[1:] > 0) & (size[:-1] > 0))
    return turnover


def _score_factor(values: Matrix, future: Matrix, cells: _Cells) -> pl.DataFrame:
    """Return ic, rank_ic, pairs, coverage and turnover of one factor, one row per row of the matrices."""
    own, next_returns = cells.pack(values), cells.pack(future)
    coverage = np.full(cells.count.shape, np.nan)
    np.divide(np.sum(~np.isnan(own), axis=1), cells.count, out=coverage, where=cells.count > 0)
    columns = {
        "ic": pearson_rows(own, next_returns),
        "rank_ic": spearman_rows(own, next_returns),
        "pairs": pair_counts(own, next_returns).astype(np.int32),
        "coverage": coverage,
        "turnover": top_turnover(values),
    }
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))

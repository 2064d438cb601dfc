"""Figures of a factor over all dates: mean information coefficient, its significance, turnover, coverage.

The coefficients of single dates are in information_coefficients.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.graph.stage import stage
from quant_core.market.contracts.alpha import Evaluation
from quant_core.statistics.hac import is_constant, mean_test


def evaluation_metrics(evaluation: pl.DataFrame) -> Mapping[str, float]:
    """Return the mean rank IC and its t per factor and horizon, where known."""
    rows = evaluation.select("factor", "horizon", "rank_ic", "t_statistic").iter_rows()
    found = {
        f"alpha.{figure}.{factor}.h{horizon}": value
        for factor, horizon, rank_ic, t in rows
        for figure, value in (("rank_ic", rank_ic), ("rank_ic_t", t))
    }
    return {name: value for name, value in found.items() if value is not None}


@stage(
    "alpha.evaluation",
    inputs={"coefficients": "alpha.information_coefficients"},
    output=Evaluation,
    metrics=evaluation_metrics,
)
def evaluation(coefficients: pl.DataFrame) -> pl.DataFrame:
    """Average the information coefficients of each factor and horizon, and test the mean rank IC against zero.

    The test takes serial correlation into account (equal-weighted cosines, Student t). Dates without a coefficient are
    skipped. A factor that was never known keeps its row, with no dates and no figures.
    """
    groups = coefficients.sort("factor", "horizon", "date").group_by("factor", "horizon", maintain_order=True)
    rows = [{"factor": factor, "horizon": horizon} | _figures(own) for (factor, horizon), own in groups]
    return pl.DataFrame(rows, schema=Evaluation.dtypes).with_columns(pl.col(pl.Float64).fill_nan(None))


def _figures(own: pl.DataFrame) -> dict[str, float | int]:
    rank_ic = _known_values(own["rank_ic"])
    test = mean_test(rank_ic)
    spread = float("nan")
    if rank_ic.size > 1:
        spread = 0.0 if is_constant(rank_ic) else float(np.std(rank_ic, ddof=1))
    return {
        "dates": rank_ic.size,
        "ic": _mean(own["ic"]),
        "rank_ic": test.mean,
        "rank_ic_std": spread,
        "icir": test.mean / spread if spread > 0.0 else float("nan"),
        "t_statistic": test.t_statistic,
        "p_value": test.p_value,
        "turnover": _mean(own["turnover"]),
        "coverage": _mean(own["coverage"]),
    }


def _mean(column: pl.Series) -> float:
    values = _known_values(column)
    return float(np.mean(values)) if values.size else float("nan")


def _known_values(column: pl.Series) -> npt.NDArray[np.float64]:
    return column.drop_nulls().to_numpy()

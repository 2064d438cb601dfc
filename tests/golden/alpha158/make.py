"""Write the goldens of Alpha158: made-up bars, and what pyqlib's own expressions say of them.

Needs the second environment, `make bench`; from the checkout: `<its python> -m tests.golden.alpha158.make`.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.qlib_store import alpha158, factors_of, told

HERE = Path(__file__).parent
SYMBOLS = ("QUIET", "WILD")
ROWS = 130
SETTLED = 61
"""Bars from the first on after which all windows are full on both sides."""


def bars() -> pl.DataFrame:
    """Return bars that single precision holds exactly: prices in 64ths, whole volumes; closes repeat now and then."""
    rng = np.random.default_rng(158)
    tables = []
    for symbol, scale in zip(SYMBOLS, (0.004, 0.03), strict=True):
        close = 40.0 * np.exp(np.cumsum(rng.standard_t(4, ROWS) * scale))
        open_ = close * np.exp(rng.normal(0.0, scale / 3, ROWS))
        high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, scale / 3, ROWS)))
        low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, scale / 3, ROWS)))
        prices = {"open": open_, "high": high, "low": low, "close": close, "vwap": (high + low + close) / 3.0}
        tables.append(
            pl.DataFrame(
                {"date": [date(2024, 1, 1) + timedelta(days=k) for k in range(ROWS)], "symbol": symbol}
                | {name: np.round(price * 64.0) / 64.0 for name, price in prices.items()}
                | {"volume": np.round(np.exp(rng.normal(9.0, 0.6, ROWS)))}
            )
        )
    return pl.concat(tables)


def main() -> None:
    """Write bars.csv and expected.csv beside this file."""
    table = bars()
    table.write_csv(HERE / "bars.csv")
    with factors_of(table, kernels=1) as computed:
        found = told(computed(alpha158())).sort("symbol", "date")
    found = found.filter(pl.int_range(pl.len()).over("symbol") >= SETTLED).filter(
        pl.int_range(pl.len()).over("symbol") % 6 == 0
    )
    found.with_columns(pl.selectors.float().round_sig_figs(8)).write_csv(HERE / "expected.csv")


if __name__ == "__main__":
    main()

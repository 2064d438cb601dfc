"""pyqlib as a peer: a store in its format, its own Alpha158 expressions, its values. No contest stands here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

Matrix = npt.NDArray[np.float64]

F14 = {
    "KLEN": "($high-$low)/$open",
    "KLOW": "(Less($open, $close)-$low)/$open",
    "ROC20": "Ref($close, 20)/$close",
    "MA20": "Mean($close, 20)/$close",
    "STD20": "Std($close, 20)/$close",
    "RSQR20": "Rsquare($close, 20)",
    "RESI20": "Resi($close, 20)/$close",
    "MAX20": "Max($high, 20)/$close",
    "MIN20": "Min($low, 20)/$close",
    "QTLU20": "Quantile($close, 20, 0.8)/$close",
    "RANK20": "Rank($close, 20)",
    "RSV20": "($close-Min($low, 20))/(Max($high, 20)-Min($low, 20)+1e-12)",
    "CORR20": "Corr($close, Log($volume+1), 20)",
    "CORD20": "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), 20)",
}
"""Fourteen of Alpha158, one of each kind of operator: name and expression."""

Computed = Callable[..., pd.DataFrame]
"""From expressions by name, and some symbols or all, to their values."""

SETTLED = 70
"""Bars from a symbol's first on after which every window is full on both sides."""


def alpha158() -> dict[str, str]:
    """Return all of Alpha158 as pyqlib spells it: name and expression."""
    loader = import_module("qlib.contrib.data.loader").Alpha158DL
    fields, names = loader.get_feature_config(
        {"kbar": {}, "price": {"windows": [0], "feature": ["OPEN", "HIGH", "LOW", "VWAP"]}, "rolling": {}}
    )
    return dict(zip(names, fields, strict=True))


@contextmanager
def factors_of(table: pl.DataFrame, *, kernels: int) -> Iterator[Computed]:
    """Keep a long table in a store of pyqlib; give a function from expressions to their values, nothing cached."""
    qlib = import_module("qlib")
    data, cache = import_module("qlib.data").D, import_module("qlib.data.cache").H
    with TemporaryDirectory() as folder:
        _write(table, Path(folder))
        # WARNING and above: its greeting is not a result.
        qlib.init(
            provider_uri=folder,
            region="us",
            kernels=kernels,
            expression_cache=None,
            dataset_cache=None,
            logging_level=30,
        )
        symbols = table["symbol"].unique().sort().to_list()

        def computed(expressions: Mapping[str, str], some: Sequence[str] = symbols) -> pd.DataFrame:
            cache.clear()
            found = data.features(some, list(expressions.values()), freq="day")
            return found.set_axis(list(expressions), axis=1)

        yield computed


def _write(table: pl.DataFrame, folder: Path) -> None:
    """Write a long table by symbol and date: per symbol and field its first day's place, then its values, float32."""
    days = table["date"].unique().sort()
    for name in ("calendars", "instruments", "features"):
        (folder / name).mkdir()
    (folder / "calendars" / "day.txt").write_text("".join(f"{day}\n" for day in days))
    row = days.search_sorted(table["date"]).to_numpy()
    fields = {name: table[name].cast(pl.Float32).to_numpy() for name in table.columns[2:]}
    starts = np.append(np.flatnonzero(table["symbol"] != table["symbol"].shift(1).fill_null("")), table.height)
    lines = []
    for first, stop in pairwise(starts):
        symbol, where = table["symbol"][int(first)], row[first:stop]
        lines.append(f"{symbol}\t{days[int(where[0])]}\t{days[int(where[-1])]}\n")
        own = folder / "features" / symbol.lower()
        own.mkdir()
        for name, values in fields.items():
            dense = np.full(where[-1] - where[0] + 2, np.nan, dtype="<f4")
            dense[0] = where[0]
            dense[where - where[0] + 1] = values[first:stop]
            dense.tofile(own / f"{name}.day.bin")
    (folder / "instruments" / "all.txt").write_text("".join(lines))


def told(theirs: pd.DataFrame) -> pl.DataFrame:
    """Return pyqlib's answer as a long table."""
    keys = theirs.index.to_frame(index=False)
    days = keys["datetime"].to_numpy(dtype="datetime64[us]")
    labels = pl.DataFrame({"date": pl.Series(days).cast(pl.Date), "symbol": keys["instrument"].astype(str).tolist()})
    return labels.with_columns(pl.Series(name, theirs[name].to_numpy(dtype=np.float64)) for name in theirs.columns)


def agree(ours: pl.DataFrame, theirs: pl.DataFrame | pd.DataFrame, *, speaks: float = 0.9) -> None:
    """Compare factors once windows are full and where both speak, which must be a share of where the peer does.

    pyqlib computes in single precision: all but one value in a thousand must agree to a thousandth, of its size or of
    the factor's deviation. It also speaks from the first bar of a window on, where `speaks` must be lower.
    """
    other = theirs if isinstance(theirs, pl.DataFrame) else told(theirs)
    names = other.columns[2:]
    settled = ours.select("date", "symbol", *names).filter(pl.int_range(pl.len()).over("symbol") >= SETTLED)
    both = settled.join(other, on=["symbol", "date"], how="inner", suffix=" of the peer")
    assert both.height or not settled.height
    for name in names:
        mine, its = (both[column].cast(pl.Float64).to_numpy() for column in (name, f"{name} of the peer"))
        is_known, known = np.isfinite(its), np.isfinite(mine) & np.isfinite(its)
        assert known.sum() >= speaks * is_known.sum(), f"{name}: {known.sum()} of {is_known.sum()} are known"
        if known.any():
            scale = np.maximum(np.abs(its[known]), np.std(its[known])) + 1e-300
            apart = float(np.quantile(np.abs(mine - its)[known] / scale, 0.999))
            assert apart <= 1e-3, f"{name}: {apart:.2g} apart at the 0.999 quantile"

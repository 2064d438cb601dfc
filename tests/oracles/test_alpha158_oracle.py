"""Alpha158 against pyqlib's own answers, in single precision, and against pandas, in double."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from quant_core.features import catalogue, compute_features

GOLDEN = Path(__file__).parents[1] / "golden" / "alpha158"
WINDOWS = (5, 10, 20, 30, 60)
NAMES = [name for name, entry in catalogue().items() if entry.family == "alpha158"]
BARS_ALONE = [name for name in NAMES if name[0] == "K" or name in ("OPEN0", "HIGH0", "LOW0", "VWAP0")]
KINDS = sorted({name.rstrip("0123456789") for name in NAMES if name not in BARS_ALONE})

# pyqlib divides in single precision; close / previous close - 1 loses what the one had.
RELATIVE = {"WVMA": 5e-5}
ABSOLUTE = {"CORR": 3e-6, "CORD": 2e-5}


def computed(bars: pl.DataFrame, names: list[str] = NAMES) -> pd.DataFrame:
    found = compute_features(bars, names, calendar="24/7", threads=1)
    numbers = {name: found[name].fill_null(np.nan).to_numpy() for name in names}
    index = pd.MultiIndex.from_arrays([found["symbol"].to_list(), found["date"].to_list()])
    return pd.DataFrame(numbers, index=index)


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(GOLDEN / name, try_parse_dates=True, infer_schema_length=None)


def market(rows: int = 230) -> pl.DataFrame:
    """Return a calm symbol, one with gaps and bars without volume, one listed late, one that moves in cents."""
    rng = np.random.default_rng(5)
    tables = []
    for symbol in ("CALM", "GAPS", "LATE", "CENT"):
        close = 30.0 * np.exp(np.cumsum(rng.standard_t(4, rows) * 0.015))
        open_ = close * np.exp(rng.normal(0.0, 0.005, rows))
        table = pl.DataFrame(
            {
                "date": [date(2023, 1, 1) + timedelta(days=k) for k in range(rows)],
                "symbol": symbol,
                "open": open_,
                "high": np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.006, rows))),
                "low": np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.006, rows))),
                "close": close,
                "vwap": (open_ + close) / 2.0,
                "volume": np.round(np.exp(rng.normal(10.0, 0.7, rows))),
            }
        )
        if symbol == "GAPS":
            table = table.with_columns(volume=pl.when(pl.Series(rng.random(rows) < 0.03)).then(0.0).otherwise("volume"))
            table = table.filter(pl.Series(rng.random(rows) > 0.01))
        if symbol == "LATE":
            table = table[70:]
        if symbol == "CENT":
            table = table.with_columns((pl.col("open", "high", "low", "close") / 30).round(2))
        tables.append(table)
    return pl.concat(tables)


class Twin:
    """Alpha158 of one symbol in pandas; windows of rows, all of them known."""

    def __init__(self, bars: pd.DataFrame) -> None:
        self.bars = bars
        self.close, self.volume = bars["close"], bars["volume"]
        self.change = self.close - self.close.shift(1)
        # Since the last bar, however many rows ago.
        self.returns = self.close.dropna().pct_change().reindex(bars.index)
        self.volume_change = self.volume - self.volume.shift(1)
        self.range = bars["high"] - bars["low"]

    def one(self, name: str) -> pd.Series:
        o, h, low, c = (self.bars[column] for column in ("open", "high", "low", "close"))
        body_top, body_bottom = np.maximum(o, c), np.minimum(o, c)
        return {
            "KMID": (c - o) / o,
            "KLEN": (h - low) / o,
            "KMID2": (c - o) / self.range,
            "KUP": (h - body_top) / o,
            "KUP2": (h - body_top) / self.range,
            "KLOW": (body_bottom - low) / o,
            "KLOW2": (body_bottom - low) / self.range,
            "KSFT": (2 * c - h - low) / o,
            "KSFT2": (2 * c - h - low) / self.range,
            "OPEN0": o / c,
            "HIGH0": h / c,
            "LOW0": low / c,
            "VWAP0": self.bars["vwap"] / c,
        }[name]

    def line(self, w: int) -> tuple[pd.Series, pd.Series, pd.Series]:
        """Return slope, R squared and last residual of a least squares line, window by window."""
        found = pd.DataFrame(np.nan, index=self.close.index, columns=["slope", "rsquare", "resi"])
        for end in range(w, len(self.close) + 1):
            y = self.close.to_numpy()[end - w : end]
            if not np.isnan(y).any():
                slope, start = np.polyfit(np.arange(w), y, 1)
                rest = y - start - slope * np.arange(w)
                spread = np.sum((y - y.mean()) ** 2)
                found.iloc[end - 1] = slope, 1 - np.sum(rest**2) / spread if spread else np.nan, rest[-1]
        return found["slope"], found["rsquare"], found["resi"]

    def windowed(self, kind: str, w: int) -> pd.Series:
        c, v = self.close, self.volume

        def place(x: pd.Series, of: Callable[[np.ndarray], np.intp]) -> pd.Series:
            return x.rolling(w).apply(lambda window: of(window) + 1, raw=True) / w

        def correlation(x: pd.Series, y: pd.Series) -> pd.Series:
            y = y.where(np.isfinite(y))
            windows = zip(x.rolling(w), y.rolling(w), strict=True)
            return pd.Series(
                [a.corr(b) if len(a) == w and not (a.isna() | b.isna()).any() else np.nan for a, b in windows], x.index
            )

        def share(x: pd.Series, of: pd.Series) -> pd.Series:
            return x.where(of.notna()).rolling(w).sum() / w

        def moved(x: pd.Series, part: pd.Series) -> pd.Series:
            return part.where(x.notna()).rolling(w).sum() / x.abs().rolling(w).sum()

        high, low = self.bars["high"].rolling(w).max(), self.bars["low"].rolling(w).min()
        r, d, e = self.returns, self.change, self.volume_change
        traded = r.abs() * v
        if kind in ("BETA", "RSQR", "RESI"):
            slope, rsquare, resi = self.line(w)
            return {"BETA": slope / c, "RSQR": rsquare, "RESI": resi / c}[kind]
        if kind == "CORD":
            with np.errstate(divide="ignore"):
                return correlation(r + 1.0, np.log(v / v.shift(1) + 1.0))
        return {
            "ROC": lambda: (c.shift(w) / c).where(d.rolling(w).count() == w),
            "MA": lambda: c.rolling(w).mean() / c,
            "STD": lambda: c.rolling(w).std() / c,
            "MAX": lambda: high / c,
            "MIN": lambda: low / c,
            "QTLU": lambda: c.rolling(w).quantile(0.8) / c,
            "QTLD": lambda: c.rolling(w).quantile(0.2) / c,
            "RANK": lambda: c.rolling(w).rank(pct=True),
            "RSV": lambda: (c - low) / (high - low),
            "IMAX": lambda: place(self.bars["high"], np.argmax),
            "IMIN": lambda: place(self.bars["low"], np.argmin),
            "IMXD": lambda: place(self.bars["high"], np.argmax) - place(self.bars["low"], np.argmin),
            "CORR": lambda: correlation(c, np.log(v + 1.0)),
            "CNTP": lambda: share((r > 0).astype(float), r),
            "CNTN": lambda: share((r < 0).astype(float), r),
            "CNTD": lambda: share(np.sign(r), r),
            "SUMP": lambda: moved(d, d.clip(lower=0)),
            "SUMN": lambda: moved(d, (-d).clip(lower=0)),
            "SUMD": lambda: moved(d, d),
            "VMA": lambda: v.rolling(w).mean() / v.where(v > 0),
            "VSTD": lambda: v.rolling(w).std() / v.where(v > 0),
            "WVMA": lambda: traded.rolling(w).std() / traded.rolling(w).mean(),
            "VSUMP": lambda: moved(e, e.clip(lower=0)),
            "VSUMN": lambda: moved(e, (-e).clip(lower=0)),
            "VSUMD": lambda: moved(e, e),
        }[kind]()


BARS = market()
OURS = computed(BARS)
GOLDEN_BARS, EXPECTED = read("bars.csv"), read("expected.csv")


def twins() -> dict[str, Twin]:
    table = BARS.to_pandas().set_index("date")
    days = pd.DatetimeIndex(sorted(table.index.unique()))
    return {str(symbol): Twin(own.drop(columns="symbol").reindex(days)) for symbol, own in table.groupby("symbol")}


TWINS = twins()


def test_the_158_names_are_qlibs() -> None:
    assert len(NAMES) == 158
    assert sorted(NAMES) == sorted(EXPECTED.columns[2:])


def test_every_factor_says_what_pyqlib_says_once_windows_are_full() -> None:
    ours = computed(GOLDEN_BARS)
    theirs = EXPECTED.to_pandas().assign(date=lambda t: t["date"].dt.date).set_index(["symbol", "date"])
    ours = ours.loc[theirs.index]
    assert len(ours) >= 24
    for name in NAMES:
        kind = name.rstrip("0123456789")
        np.testing.assert_allclose(
            ours[name],
            theirs[name].astype(float),
            rtol=RELATIVE.get(kind, 2e-7),
            atol=ABSOLUTE.get(kind, 1e-9),
            err_msg=name,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_windows_say_what_pandas_says(kind: str) -> None:
    for symbol, twin in TWINS.items():
        for window in WINDOWS:
            ours = OURS[f"{kind}{window}"][symbol]
            expected = twin.windowed(kind, window).loc[pd.DatetimeIndex(ours.index)]
            assert expected.notna().any()
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11, err_msg=f"{kind}{window} {symbol}")


def test_single_bars_say_what_pandas_says() -> None:
    assert len(BARS_ALONE) == 13
    for symbol, twin in TWINS.items():
        for name in BARS_ALONE:
            ours = OURS[name][symbol]
            np.testing.assert_allclose(ours, twin.one(name).loc[pd.DatetimeIndex(ours.index)], rtol=1e-12, err_msg=name)


def test_a_gap_keeps_every_window_over_it_from_speaking() -> None:
    bars = BARS.filter((pl.col("symbol") != "CALM") | (pl.col("date") != date(2023, 5, 1)))
    found = computed(bars, ["MA5", "SUMP5"]).loc["CALM"].loc[date(2023, 4, 30) : date(2023, 5, 8)]
    assert found["MA5"].isna().tolist() == [False, True, True, True, True, False, False, False]
    assert found["SUMP5"].isna().tolist() == [False, True, True, True, True, True, False, False]


def test_no_window_holds_two_lives_of_a_ticker() -> None:
    calm, late = (BARS.filter(pl.col("symbol") == symbol) for symbol in ("CALM", "LATE"))
    split = date(2023, 4, 1)
    first = calm.filter(pl.col("date") < split).with_columns(life=pl.lit(0))
    second = late.filter(pl.col("date") >= split).with_columns(life=pl.lit(1), symbol=pl.lit("CALM"))
    reused = computed(pl.concat([first, second])).loc["CALM"]
    alone = computed(second).loc["CALM"]
    pd.testing.assert_frame_equal(reused.loc[split:], alone, rtol=1e-13)


def test_vwap_is_null_where_the_source_has_none() -> None:
    assert computed(BARS.drop("vwap"), ["VWAP0"])["VWAP0"].isna().all()

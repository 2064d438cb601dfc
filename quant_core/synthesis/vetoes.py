"""Vetoes keep a symbol out before it competes: one frozen entry per veto, found by type. Who wins: ladder.py.

A veto removes symbols worse than chance and never demands significance; an unknown statistic does not veto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import polars as pl

from quant_core.graph.catalog import Catalog, collect
from quant_core.market.panel import Mask, Matrix

OF_CANDIDATES = ("missing_metadata",)
"""Statistics that are columns of the candidates themselves, not features."""


@dataclass(frozen=True)
class Veto:
    """A limit on one statistic.

    Attributes
    ----------
    name : str
        As written in a decision's `vetoes` and `unknown`, and in the limits of a sleeve file.
    column : str
        The statistic, a column of any feature family or of the candidates.
    worse : "above", "below" or "inside"
        Fires above the limit, below it, or when the statistic's absolute value is below it.
    strict, relaxed : float
        Limits of ladder stages 1 and 2; relaxed None: the same as strict.
    is_statistical : bool
        Stages 3 and 4 ignore statistical vetoes and no others.
    is_hardened : bool
        The limit is lowered when the whole universe looks like noise.
    spares_benchmark : bool
        The sleeve's benchmark is exempt.
    """

    name: str
    column: str
    worse: Literal["above", "below", "inside"]
    strict: float
    relaxed: float | None = None
    is_statistical: bool = True
    is_hardened: bool = False
    spares_benchmark: bool = False

    def fires(self, values: Matrix, limit: float) -> Mask:
        """Return where `values` [n] are beyond `limit`; False where NaN."""
        if self.worse == "above":
            return np.asarray(values > limit)
        return np.asarray((np.abs(values) if self.worse == "inside" else values) < limit)

    def laxer(self, one: float, other: float) -> float:
        """Return the limit that fires less."""
        return max(one, other) if self.worse == "above" else min(one, other)


@cache
def vetoes(package: str = "quant_core.synthesis") -> Catalog[Veto]:
    """Return every veto of a package by name."""
    return collect(package, Veto)


def features_read() -> dict[str, str]:
    """Return the features the vetoes read, each with the veto that names it first."""
    found: dict[str, str] = {}
    for veto in vetoes().values():
        if veto.column not in OF_CANDIDATES:
            found.setdefault(veto.column, f"veto {veto.name}")
    return found


ENTROPY = Veto("entropy", "entropy_z", "above", strict=1.0, relaxed=1.5, is_hardened=True)
EFFICIENCY = Veto("efficiency", "efficiency", "below", strict=0.2, relaxed=0.1)
HURST = Veto("hurst", "hurst_z", "inside", strict=0.25, relaxed=0.10, spares_benchmark=True)
ZERO_RETURNS = Veto("zero_returns", "zero_return_share", "above", strict=0.30)
KURTOSIS = Veto("kurtosis", "kurtosis", "above", strict=20.0)
VOLATILITY = Veto("volatility", "volatility", "above", strict=2.5)
METADATA = Veto("metadata", "missing_metadata", "above", strict=0.0, is_statistical=False)


@dataclass(frozen=True, eq=False)
class VetoResult:
    """Which vetoes fire on which candidates: `strict`, `relaxed` and `unknown` are bool [vetoes, n] in name order."""

    strict: Mask
    relaxed: Mask
    unknown: Mask

    @property
    def is_vetoed_strictly(self) -> Mask:
        """Whether any veto fires at its strict limit [n]."""
        return np.asarray(self.strict.any(axis=0))

    @property
    def is_vetoed_relaxed(self) -> Mask:
        """Whether any veto fires at its relaxed limit [n]."""
        return np.asarray(self.relaxed.any(axis=0))

    @property
    def is_barred(self) -> Mask:
        """Whether a veto fires that no stage ignores [n]."""
        lasting = np.array([not veto.is_statistical for veto in vetoes().values()])
        return np.asarray(self.relaxed[lasting].any(axis=0))

    def names(self, column: str, which: Mask) -> pl.Series:
        """Return per candidate the names of the vetoes in `which` [vetoes, n], comma-separated."""
        patterns, place = np.unique(which, axis=1, return_inverse=True)
        names = np.array(list(vetoes()))
        texts = pl.Series(column, [",".join(names[pattern]) for pattern in patterns.T], dtype=pl.String)
        return texts.gather(place.ravel())


def judge_candidates(
    candidates: pl.DataFrame,
    strict: Mapping[str, float],
    relaxed: Mapping[str, float],
    *,
    hardening_median: float,
    hardening_step: float,
) -> VetoResult:
    """Check every candidate against every veto.

    Hardening comes first and once: where the median of a hardened statistic over the eligible symbols is above
    `hardening_median`, both of its limits are lowered by `hardening_step`.

    Parameters
    ----------
    candidates : DataFrame
        symbol, is_eligible, is_benchmark and the statistics; a statistic without a column is not known.
    strict, relaxed : mapping of veto name to limit
    hardening_median, hardening_step : float
        Unit of the statistic.
    """
    spared = candidates["is_benchmark"].to_numpy()
    shape = (len(vetoes()), candidates.height)
    fired, fired_relaxed, unknown = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    for i, veto in enumerate(vetoes().values()):
        values = _statistic(candidates, veto.column)
        step = 0.0
        if veto.is_hardened and _eligible_median(candidates, values) > hardening_median:
            step = hardening_step
        applies = ~spared if veto.spares_benchmark else np.ones_like(spared)
        fired[i] = applies & veto.fires(values, strict[veto.name] - step)
        fired_relaxed[i] = applies & veto.fires(values, relaxed[veto.name] - step)
        unknown[i] = np.isnan(values)
    return VetoResult(fired, fired_relaxed, unknown)


def _statistic(candidates: pl.DataFrame, column: str) -> Matrix:
    """Return a statistic as float64 [n], NaN where it is not known."""
    if column not in candidates.columns:
        return np.full(candidates.height, np.nan)
    return candidates[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _eligible_median(candidates: pl.DataFrame, values: Matrix) -> float:
    """Return the median of the known values over eligible symbols, each once; NaN where none is known."""
    first = (candidates["is_eligible"] & candidates["symbol"].is_first_distinct()).to_numpy()
    known = values[first & ~np.isnan(values)]
    return float(np.median(known)) if known.size else np.nan

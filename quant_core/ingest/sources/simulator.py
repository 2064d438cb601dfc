"""A synthetic market whose truth is known: regimes, sectors, fat tails, listings, deaths, one signal, planted defects.

The defects themselves are planted by defects.py. Nothing here is fitted to a real market; it is a bench for the
graph, not evidence about returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from quant_core.errors import SourceError
from quant_core.graph.stage import Params
from quant_core.ingest.sources.defects import Defects, plant_defects
from quant_core.ingest.sources.source import source
from quant_core.market.calendar import Calendar
from quant_core.market.panel import Mask, Matrix, Panel, table_of
from quant_core.market.sleeves import Sleeve

VENUE = "SIM"
SECTORS = 8
DAILY = {"market": 0.014, "sector": 0.012, "own": 0.030}  # standard deviations of the calm regime
TURBULENCE = 2.0  # turbulent over calm standard deviation
STAY_CALM, STAY_TURBULENT = 0.985, 0.94
FREEDOM = 5.0  # degrees of freedom of every shock
BETAS = (0.6, 1.4)
SIZES = (0.8, 1.25)  # own volatility of a symbol over the average
RETURN_BOUNDS = (-0.45, 0.90)  # no honest bar is a jump
DRIFT = 0.0004


class SimulatorParams(Params):
    """The `[source]` table of kind "simulator"."""

    seed: int = Field(default=7, ge=0, description="Everything random follows from it.")
    symbols: int = Field(default=96, ge=80, le=2_000, description="How many symbols.")
    bars: int = Field(default=1_200, ge=300, le=10_000, description="Sessions of the sleeve's calendar.")
    start: str = Field(default="2021-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$", description="First session, ISO date.")
    ic: float = Field(
        default=0.06,
        ge=0.0,
        le=0.5,
        description="Expected correlation across symbols of the latent signal at t with the return of t+1.",
    )
    half_life: float = Field(default=60.0, gt=1.0, description="Bars after which half of the latent signal is left.")
    late: float = Field(default=0.3, ge=0.0, le=0.8, description="Share of symbols listed after the first session.")
    deaths: int = Field(default=6, ge=0, le=60, description="Symbols whose bars end before the data do.")
    defects: Defects = Field(default_factory=Defects, description="How many defects of each kind to plant.")

    @field_validator("start")
    @classmethod
    def _is_a_day(cls, start: str) -> str:
        date.fromisoformat(start)
        return start


@dataclass(frozen=True, eq=False)
class SimulatedMarket:
    """What the simulator sent, and the truth behind it.

    Attributes
    ----------
    rows : DataFrame
        In order of arrival, with the defects.
    signal : Panel [T, N]
        The latent signal known at the close of t; NaN while a symbol is not listed.
    truth : Panel [T, N]
        Simple returns before defects; NaN at a first bar.
    expected : mapping of rule to rows
        What ingest must exclude, exactly.
    deaths : tuple of str
        Symbols that died.
    """

    rows: pl.DataFrame
    signal: Panel
    truth: Panel
    expected: Mapping[str, int]
    deaths: tuple[str, ...]


@source("simulator", params=SimulatorParams)
def simulator(params: SimulatorParams, sleeve: Sleeve) -> pl.DataFrame:
    """Return a seeded synthetic market on the sessions of the sleeve's calendar.

    The return of symbol i at t+1 is ``DRIFT + v (beta_i m + s_k(i) + sigma_i (l a_i(t) + sqrt(1 - l^2) e_i))``:
    m, s and e are Student t shocks of the market, the sector and the symbol, v the volatility of a two-state Markov
    regime, a the latent signal, a standard normal AR(1) per symbol. The loading l is set so that a(t) and the return
    of t+1 correlate across symbols by `ic` on average, before the bounds on returns. The signal lasts, so past
    returns see a part of it: momentum works here, by less than `ic`.

    Planted defects leave these exclusions in ingest.bars, neither more nor fewer: one `duplicate_row`,
    `restated_row`, `high_below_low`, `close_not_positive`, `close_outside_range` each, one or two `toxic_bar` per
    toxic spike, 11 `stalled` per stale run of 30 closes. `simulate` returns the counts.
    """
    return simulate(params, sleeve.market).rows


def simulate(params: SimulatorParams, market: Calendar) -> SimulatedMarket:
    """Return the rows the simulator sends and the truth behind them."""
    rng = np.random.Generator(np.random.PCG64(params.seed))
    dates = _dates(params, market)
    symbols = tuple(f"{VENUE}:S{k:04d}" for k in range(params.symbols))
    listed, dead = _listings(params, rng)
    signal, returns = _returns(params, rng)
    signal[~listed] = returns[~listed] = np.nan
    shape = Panel(np.zeros(listed.shape), dates, symbols)
    prices = _prices(returns, listed, rng)
    for name, values in prices.items():
        values[~listed] = np.nan
        prices[name] = np.ascontiguousarray(values)
    returns[np.argmax(listed, axis=0), np.arange(params.symbols)] = np.nan
    rows = table_of({name: shape.like(values) for name, values in prices.items()})
    sent, expected = plant_defects(rows, params.defects, rng)
    died = tuple(symbols[j] for j in np.sort(dead))
    return SimulatedMarket(sent, shape.like(signal), shape.like(returns), expected, died)


def _dates(params: SimulatorParams, market: Calendar) -> pl.Series:
    first = date.fromisoformat(params.start)
    sessions = market.sessions(first, first + timedelta(days=2 * params.bars + 30))["date"].head(params.bars)
    if len(sessions) < params.bars:
        raise SourceError(
            f"start={params.start}: the calendar {market.name} knows {len(sessions)} sessions from there."
        )
    return sessions


def _listings(params: SimulatorParams, rng: np.random.Generator) -> tuple[Mask, np.ndarray]:
    """Return where a symbol is listed, [T, N], and which ones die; the first tenth is always there."""
    T, N = params.bars, params.symbols
    order = rng.permutation(np.arange(N // 10, N))
    late = order[: round(params.late * N)]
    dead = rng.permutation(order[len(late) :])[: params.deaths]
    first, last = np.zeros(N, dtype=np.int64), np.full(N, T)
    first[late] = rng.integers(1, max(T // 2, 2), late.size)
    last[dead] = rng.integers(T // 2, T - 60, dead.size)
    rows = np.arange(T)[:, None]
    return (rows >= first) & (rows < last), dead


def _returns(params: SimulatorParams, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Return the latent signal and the simple returns, both [T, N]; row t of the signal moves row t+1 of returns."""
    T, N = params.bars, params.symbols
    beta, size = np.linspace(*BETAS, N)[rng.permutation(N)], np.linspace(*SIZES, N)[rng.permutation(N)]
    own = DAILY["own"] * size
    across = DAILY["market"] ** 2 * beta.var() + DAILY["sector"] ** 2 * (1.0 - 1.0 / SECTORS) + np.mean(own**2)
    loading = params.ic * np.sqrt(across) / own.mean()
    memory = 0.5 ** (1.0 / params.half_life)
    signal = np.empty((T, N))
    signal[0] = rng.standard_normal(N)
    for t in range(1, T):
        signal[t] = memory * signal[t - 1] + np.sqrt(1.0 - memory**2) * rng.standard_normal(N)
    before = np.vstack([np.zeros((1, N)), signal[:-1]])
    drawn = DAILY["market"] * _shocks(rng, (T, 1)) * beta
    drawn += (DAILY["sector"] * _shocks(rng, (T, SECTORS)))[:, np.arange(N) % SECTORS]
    drawn += own * (loading * before + np.sqrt(1.0 - loading**2) * _shocks(rng, (T, N)))
    return signal, np.clip(DRIFT + _regimes(T, rng)[:, None] * drawn, *RETURN_BOUNDS)


def _shocks(rng: np.random.Generator, shape: tuple[int, int]) -> Matrix:
    """Return Student t draws of unit variance."""
    return np.asarray(rng.standard_t(FREEDOM, shape) * np.sqrt((FREEDOM - 2.0) / FREEDOM))


def _regimes(size: int, rng: np.random.Generator) -> Matrix:
    """Return the volatility of the regime at each bar, in units of the calm one."""
    draws, volatility = rng.random(size), np.ones(size)
    for t in range(1, size):
        is_calm = volatility[t - 1] == 1.0
        stays = draws[t] < (STAY_CALM if is_calm else STAY_TURBULENT)
        volatility[t] = volatility[t - 1] if stays else (TURBULENCE if is_calm else 1.0)
    return volatility


def _prices(returns: Matrix, listed: Mask, rng: np.random.Generator) -> dict[str, Matrix]:
    """Return open, high, low, close and volume, [T, N]; a symbol lists between 0.1 and 1,000 a unit."""
    T, N = returns.shape
    first = 10.0 ** rng.uniform(-1.0, 3.0, N)
    moves = np.where(np.isnan(returns) | (np.cumsum(listed, axis=0) <= 1), 0.0, returns)
    close = first * np.cumprod(1.0 + moves, axis=0)
    open_ = close / (1.0 + moves) * np.exp(0.002 * rng.standard_normal((T, N)))
    span = np.abs(moves) + 0.01
    high = np.maximum(open_, close) * (1.0 + 0.3 * span * rng.random((T, N)))
    low = np.minimum(open_, close) * (1.0 - 0.3 * span * rng.random((T, N)))
    traded = 10.0 ** rng.uniform(5.5, 8.5, N) * np.exp(0.35 * rng.standard_normal((T, N)) + 5.0 * np.abs(moves))
    return {"open": open_, "high": high, "low": low, "close": close, "volume": traded / close}

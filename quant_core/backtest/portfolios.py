"""Builds the portfolios to compare: the allocation methods, the filtered pool, the raw pool, the benchmark.

All trade on the same rows from the same start under the same costs. engine.py simulates them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.backtest.costs import Costs
from quant_core.backtest.engine import RunData
from quant_core.errors import PanelError, UnknownNameError
from quant_core.market.calendar import Calendar, next_midnight
from quant_core.market.contracts.portfolio import PERPETUAL
from quant_core.market.panel import Mask, Matrix, Panel, axes_of
from quant_core.market.universe import universe_mask

BENCHMARK, RAW_POOL, FILTERED_POOL = "benchmark", "raw_pool", "filtered_pool"
_SHORT_STOP = 1.0


@dataclass(frozen=True, eq=False)
class Market:
    """Data that all portfolios of a sleeve share.

    Attributes
    ----------
    returns : Panel [T, N]
        Of symbols.
    is_member : bool [T, N]
        Who could be held.
    deaths : tuple of (row, column)
        The row at whose close a death is known, for each symbol that died.
    rows : int [R]
        Rebalance rows from the first rebalance that holds anything.
    is_perpetual : bool [N]
        Symbols whose longs pay funding.
    """

    returns: Panel
    is_member: Mask
    deaths: tuple[tuple[int, int], ...]
    rows: npt.NDArray[np.int64]
    calendar: Calendar
    costs: Costs
    is_perpetual: Mask

    @property
    def dates(self) -> pl.Series:
        """The rebalance dates [R]."""
        return self.returns.dates.gather(self.rows)

    def portfolio(self, weights: Matrix) -> RunData:
        """Return a portfolio of symbols with these weights [R, N]."""
        return self._run_data(self.returns, slice(None), weights, self.deaths)

    def portfolio_of_atoms(self, atoms: AtomReturns, weights: Matrix) -> RunData:
        """Return a portfolio of atoms with these unsigned weights [R, K]."""
        held: dict[int, list[int]] = {}
        for k, column in enumerate(atoms.column.tolist()):
            held.setdefault(column, []).append(k)
        deaths = tuple((row, k) for row, column in self.deaths for k in held.get(column, ()))
        return self._run_data(atoms.returns, atoms.column, weights * atoms.side, deaths)

    def _run_data(
        self, returns: Panel, column: npt.NDArray[np.int64] | slice, weights: Matrix, exits: tuple[tuple[int, int], ...]
    ) -> RunData:
        return RunData(
            returns=returns,
            universe=self.is_member[:, column],
            weights=weights,
            is_perpetual=self.is_perpetual[column],
            rebalance_rows=self.rows,
            calendar=self.calendar,
            costs=self.costs,
            exits=exits,
        )


@dataclass(frozen=True, eq=False)
class AtomReturns:
    """The holding of each atom: the return of the position, its side and the symbol's column.

    Attributes
    ----------
    returns : Panel [T, K]
        The stream of a long atom, minus the stream of a short one.
    side : float [K]
        +1 or -1.
    column : int [K]
        Column of the symbol in the market's returns.
    """

    returns: Panel
    side: Matrix
    column: npt.NDArray[np.int64]


def market_of(
    returns: pl.DataFrame,
    universe: pl.DataFrame,
    lives: pl.DataFrame,
    schedule: pl.DataFrame,
    *,
    calendar: Calendar,
    costs: Costs,
) -> Market:
    """Put the tables of a sleeve on common labels; `schedule` holds the rebalances to trade.

    Raises
    ------
    PanelError
        The schedule was cut from other dates than those of `returns`.
    """
    axes = axes_of(returns)
    panel = axes.panel(returns["simple_return"])
    rows = schedule["row"].to_numpy().astype(np.int64)
    if rows.size and (rows.max() >= len(axes.dates) or not axes.dates.gather(rows).equals(schedule["date"])):
        raise PanelError("the schedule has dates that the returns lack; recompute backtest.schedule.")
    members = universe_mask(universe, axes.dates, axes.symbols)
    deaths = _death_cells(lives, axes.dates, axes.symbols, calendar)
    is_perpetual = pl.Series(axes.symbols, dtype=pl.String).str.contains(PERPETUAL).to_numpy()
    return Market(panel, members, deaths, rows, calendar, costs, is_perpetual)


def atom_positions(atoms: pl.DataFrame, atom_returns: pl.DataFrame, market: Market) -> AtomReturns:
    """Return the holding of each atom ever selected, uncapped.

    A stream stops at -1 for the optimiser; a simulation never caps a loss, so where the asset rose by more than 100 %
    against a short position, minus its own return stands.
    """
    known = atoms.select("atom", "symbol", "direction").unique().sort("atom")
    names, symbols = known["atom"].to_list(), market.returns.symbols
    place = {symbol: j for j, symbol in enumerate(symbols)}
    strangers = sorted(set(known["symbol"].to_list()) - set(place))
    if strangers:
        raise UnknownNameError("symbol", strangers[0], symbols)
    column = np.array([place[symbol] for symbol in known["symbol"].to_list()], dtype=np.int64)
    keyed = atom_returns.rename({"atom": "symbol"})
    stream = axes_of(keyed, dates=market.returns.dates, symbols=names).panel(keyed["atom_return"])
    rise = market.returns.values[:, column]
    is_stopped = (stream.values == -_SHORT_STOP) & (rise > _SHORT_STOP)
    side = np.where((known["direction"] == "SHORT").to_numpy(), -1.0, 1.0)
    return AtomReturns(stream.like(side * np.where(is_stopped, -rise, stream.values)), side, column)


def portfolios(
    market: Market, atoms: pl.DataFrame, atom_returns: pl.DataFrame, weights: pl.DataFrame, *, benchmark: str | None
) -> Iterator[tuple[str, RunData]]:
    """Yield every portfolio by name: the methods in order, then filtered pool, raw pool and benchmark.

    Raises
    ------
    UnknownNameError
        The benchmark is not among the symbols.
    """
    positions = atom_positions(atoms, atom_returns, market)
    names = positions.returns.symbols
    for method in weights["method"].unique().sort().to_list():
        table = weights.filter(pl.col("method") == method)
        yield method, market.portfolio_of_atoms(positions, _matrix(table, table["weight"], market.dates, names))
    chosen = atoms.filter(pl.col("date").is_in(market.dates.implode()))
    present = _matrix(chosen, pl.repeat(1.0, chosen.height, eager=True), market.dates, names)
    yield FILTERED_POOL, market.portfolio_of_atoms(positions, _equal_rows(present))
    everyone = _equal_rows(market.is_member[market.rows].astype(np.float64))
    yield RAW_POOL, market.portfolio(everyone)
    if benchmark is None:
        yield BENCHMARK, market.portfolio(everyone)
    else:
        yield BENCHMARK, _single(market, benchmark)


def _single(market: Market, symbol: str) -> RunData:
    """Hold one symbol, whether or not it is an eligible member: a benchmark is a yardstick, not a choice."""
    if symbol not in market.returns.symbols:
        raise UnknownNameError("benchmark symbol", symbol, market.returns.symbols)
    weights = np.zeros((market.rows.size, len(market.returns.symbols)))
    weights[:, market.returns.symbols.index(symbol)] = 1.0
    return market.portfolio(weights).model_copy(update={"universe": np.ones(market.returns.shape, dtype=np.bool_)})


def _matrix(frame: pl.DataFrame, values: pl.Series, dates: pl.Series, atoms: tuple[str, ...]) -> Matrix:
    """Return `values` as [R, K] by date and atom; an atom without a row is not held."""
    keyed = frame.select("date", pl.col("atom").alias("symbol"))
    held = axes_of(keyed, dates=dates, symbols=atoms).panel(values).values
    return np.where(np.isnan(held), 0.0, held)


def _equal_rows(present: Matrix) -> Matrix:
    """Share 1 equally among the ones of each row; a row without ones stays cash."""
    count = present.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(present, count, out=np.zeros_like(present), where=count > 0.0)
    return shares


def _death_cells(
    lives: pl.DataFrame, dates: pl.Series, symbols: tuple[str, ...], calendar: Calendar
) -> tuple[tuple[int, int], ...]:
    """Return (row, column) of each death: the first row whose close is not before the instant it became known."""
    dead = lives.filter((pl.col("event") == "death") & pl.col("symbol").is_in(symbols))
    if dead.is_empty():
        return ()
    sessions = calendar.sessions(dates[0], dates[-1])
    closes = (dates.alias("date").to_frame().join(sessions, on="date", how="left", maintain_order="left")).select(
        pl.coalesce("closes_at", next_midnight())
    )
    row = np.searchsorted(closes.to_series().to_physical().to_numpy(), dead["known_at"].to_physical().to_numpy())
    place = {symbol: j for j, symbol in enumerate(symbols)}
    cells = zip(row.tolist(), dead["symbol"].to_list(), strict=True)
    return tuple(sorted((r, place[symbol]) for r, symbol in cells if r < len(dates)))

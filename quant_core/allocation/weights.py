"""The stage that weighs the atoms of every rebalance by every method, each from its own train rows.

Methods are one per file, limits in caps.py, the choice of atoms in eligible_atoms.py. Backtest trades the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from quant_core.allocation.allocator import allocators
from quant_core.allocation.caps import Caps, apply_caps
from quant_core.allocation.eligible_atoms import common_history
from quant_core.errors import ConfigError, InfeasibleError, PanelError
from quant_core.graph.compute import Compute
from quant_core.graph.stage import Params, stage
from quant_core.market.contracts.portfolio import Weights
from quant_core.market.contracts.split import Split, excluded_rows
from quant_core.market.panel import Matrix, Panel, axes_of

_REASON_SCHEMA = {"row": pl.Int64, "rule": pl.String, "detail": pl.String}


class WeightsParams(Params):
    """Which methods weigh the atoms, and within which limits."""

    methods: tuple[str, ...] = Field(default=("equal_weight",), description="Allocation methods to run.")
    headline: str = Field(default="", description="Method reported first. Default: the first of `methods`.")
    asset_cap: float = Field(default=0.20, gt=0.0, le=1.0, description="Most one atom may weigh.")
    cluster_cap: float = Field(default=0.25, gt=0.0, le=1.0, description="Most the atoms of one cluster may weigh.")
    min_observations: int | None = Field(
        default=None, ge=2, description="Train bars the atoms must share. Default: half of the train block."
    )
    infeasible: Literal["cash", "error"] = Field(
        default="cash", description="When the caps cannot hold all wealth: keep the rest in cash, or fail."
    )

    @model_validator(mode="after")
    def _headline_is_a_method(self) -> WeightsParams:
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise ConfigError(f"allocation methods {list(self.methods)}: name at least one, each once.")
        if self.headline and self.headline not in self.methods:
            raise ConfigError(f"headline {self.headline!r} is not among the methods {list(self.methods)}.")
        return self

    @property
    def first(self) -> str:
        """The method reported first."""
        return self.headline or self.methods[0]


@dataclass(frozen=True, eq=False)
class _Window:
    """One rebalance: train rows [start, stop) and the atoms that compete.

    `rows` are positions in the atoms table, `columns` in the streams, `clusters` labels; all [K].
    """

    date: str
    start: int
    stop: int
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Shared:
    """Data that all windows read; `least` is the number of bars the atoms of a window must share."""

    streams: Panel
    params: WeightsParams
    least: int


@dataclass(frozen=True, eq=False)
class _Answer:
    """Weights [methods, kept] of the atoms at `rows` [kept], and why the others are not weighed."""

    rows: npt.NDArray[np.int64]
    weights: Matrix
    reasons: tuple[tuple[int, str, str], ...]


def _mean_cash(weights: pl.DataFrame) -> dict[str, float]:
    """Return the mean share of wealth each method leaves in cash at a rebalance."""
    dates = weights["date"].n_unique()
    return {
        f"allocation.cash.{method}": 1.0 - float(table["weight"].to_numpy().sum()) / dates
        for (method,), table in sorted(weights.partition_by("method", as_dict=True).items())
    }


@stage(
    "allocation.weights",
    inputs={
        "atoms": "synthesis.atoms",
        "atom_returns": "synthesis.atom_returns",
        "clusters": "synthesis.clusters",
        "schedule": "backtest.schedule",
    },
    output=Weights,
    metrics=_mean_cash,
)
def weights(
    atoms: pl.DataFrame,
    atom_returns: pl.DataFrame,
    clusters: pl.DataFrame,
    schedule: pl.DataFrame,
    *,
    params: WeightsParams,
    compute: Compute,
) -> Split:
    """Weigh the atoms of each rebalance by each method, within the caps; what is missing to 1 is cash."""
    for method in params.methods:
        allocators()[method]
    atoms = atoms.sort("date", "atom").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if atoms.is_empty():
        return Split(Weights.empty())
    keyed = atom_returns.rename({"atom": "symbol"})
    axes = axes_of(keyed, symbols=atoms["atom"].unique().sort().to_list())
    # The first window starts at the first date, so its rebalance row is the size of the train block.
    train = int(schedule["row"].to_numpy().min()) + 1
    shared = _Shared(axes.panel(keyed["atom_return"]), params, params.min_observations or max(2, train // 2))
    windows = list(_windows(_with_clusters(atoms, clusters), schedule, shared.streams))
    answers = compute.map(_weigh_window, windows, shared=shared, cost=_size)
    return Split(_weights_table(atoms, answers, params.methods), _exclusions_of(atoms, answers))


def _size(window: _Window) -> float:
    return float(window.columns.size)


def _weigh_window(window: _Window, shared: _Shared) -> _Answer:
    """Weigh one rebalance by every method. Pure: the same window gives the same bits in any process."""
    params = shared.params
    streams = shared.streams.values[window.start : window.stop, window.columns]
    history = common_history(streams, min_observations=shared.least)
    reasons = tuple((int(window.rows[k]), rule, detail) for k, rule, detail in history.reasons)
    kept = np.flatnonzero(history.is_kept)
    if not kept.size:
        return _Answer(window.rows[kept], np.zeros((len(params.methods), 0)), reasons)
    dates = shared.streams.dates[window.start : window.stop].filter(history.is_common)
    names = tuple(shared.streams.symbols[j] for j in window.columns[kept])
    train = Panel(np.ascontiguousarray(streams[history.is_common][:, kept]), dates, names)
    caps = Caps(params.asset_cap, params.cluster_cap, window.clusters[kept])
    if caps.capacity < 1.0 and params.infeasible == "error":
        raise InfeasibleError(
            f"{window.date}: {kept.size} atoms in {np.unique(caps.labels).size} clusters hold at most "
            f"{caps.capacity:.4f} of wealth under asset_cap={caps.asset} and cluster_cap={caps.cluster}. "
            'Raise a cap, select more, or set infeasible = "cash".'
        )
    rows = [apply_caps(allocators()[method](train, caps=caps), caps) for method in params.methods]
    return _Answer(window.rows[kept], np.array(rows), reasons)


def _with_clusters(atoms: pl.DataFrame, clusters: pl.DataFrame) -> pl.DataFrame:
    """Label each atom with the cluster of its symbol; an atom without a cluster is alone under a label below 0."""
    labels = clusters.select("date", "symbol", pl.col("cluster").cast(pl.Int64).alias("label"))
    alone = -1 - pl.col("symbol").rank("dense").cast(pl.Int64)
    joined = atoms.join(labels, on=["date", "symbol"], how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("label", alone).alias("label"))


def _windows(atoms: pl.DataFrame, schedule: pl.DataFrame, streams: Panel) -> Iterator[_Window]:
    """Yield the rebalances that have atoms, in date order."""
    days = streams.dates.to_physical().to_numpy()
    place = {name: j for j, name in enumerate(streams.symbols)}
    blocks = schedule.select("date", pl.col("train_start").to_physical(), pl.col("train_end").to_physical())
    bounds = {date: (start, end) for date, start, end in blocks.iter_rows()}
    for (date,), table in atoms.partition_by("date", as_dict=True, maintain_order=True).items():
        if date not in bounds:
            raise PanelError(f"atoms of {date}, which is not a rebalance of the schedule; recompute synthesis.atoms.")
        start, end = bounds[date]
        yield _Window(
            date=str(date),
            start=int(np.searchsorted(days, start, side="left")),
            stop=int(np.searchsorted(days, end, side="right")),
            rows=table["row"].to_numpy(),
            columns=np.array([place[name] for name in table["atom"].to_list()], dtype=np.int64),
            clusters=table["label"].to_numpy(),
        )


def _weights_table(atoms: pl.DataFrame, answers: list[_Answer], methods: tuple[str, ...]) -> pl.DataFrame:
    rows = np.concatenate([answer.rows for answer in answers])
    labels = atoms[rows].select("date", "atom", "symbol", "direction")
    every = np.concatenate([answer.weights for answer in answers], axis=1)
    parts = [labels.with_columns(method=pl.lit(name), weight=every[m]) for m, name in enumerate(methods)]
    return pl.concat(parts).select(*Weights.dtypes)


def _exclusions_of(atoms: pl.DataFrame, answers: list[_Answer]) -> pl.DataFrame:
    left_out: list[Any] = [reason for answer in answers for reason in answer.reasons]
    reasons = pl.DataFrame(left_out, schema=_REASON_SCHEMA, orient="row").sort("row")
    rows = atoms[reasons["row"].to_numpy()]
    return excluded_rows(rows, reasons["rule"], reasons["detail"])

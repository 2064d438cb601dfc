"""The selection ladder: hierarchical threshold relaxation (HTR) over one cross-section of candidates.

Pure: one table in, the same rows with their verdict out. Vetoes are in vetoes.py, sizes and the sector limit in
quotas.py; decisions.py gathers the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from quant_core.errors import UnknownNameError
from quant_core.graph.stage import Params
from quant_core.market.panel import Mask
from quant_core.synthesis.quotas import Codes, SeatedRecruits, assign_seats, best_of, order_within, size_of
from quant_core.synthesis.vetoes import VetoResult, judge_candidates, vetoes

Stages = npt.NDArray[np.int8]
STRICT, RELAXED, FORCED, FALLBACK = 1, 2, 3, 4
SELECTED = {
    STRICT: "selected_strict",
    RELAXED: "selected_relaxed",
    FORCED: "selected_forced",
    FALLBACK: "selected_fallback",
}


class LadderParams(Params):
    """Sizes and limits of the ladder."""

    floor: int | None = Field(
        default=None, ge=1, description="Winners wanted before relaxing stops; null: min(15, ceil(N / 3))."
    )
    cap: int | None = Field(default=None, ge=1, description="Most winners; null: min(25, N / 2).")
    top: int = Field(default=3, ge=1, description="Seats per cluster and direction in stages 1 and 2.")
    sector_limit: float = Field(
        default=0.40, gt=0.0, le=1.0, description="Largest share of one known sector in the selection; one is allowed."
    )
    strict_limits: dict[str, float] = Field(
        default_factory=dict, validate_default=True, description="Limit per veto in stage 1; others keep their own."
    )
    relaxed_limits: dict[str, float] = Field(
        default_factory=dict, validate_default=True, description="Limit per veto from stage 2 on, never stricter."
    )
    hardening_median: float = Field(
        default=0.5, description="Median entropy z of the eligible universe above which its limits are lowered, once."
    )
    hardening_step: float = Field(default=0.25, ge=0.0, description="By how much they are lowered.")

    @field_validator("cap")
    @classmethod
    def _check_above_floor(cls, cap: int | None, info: ValidationInfo) -> int | None:
        floor = info.data.get("floor")
        if cap is not None and floor is not None and cap < floor:
            raise ValueError(f"cap={cap} is below floor={floor}")
        return cap

    @field_validator("strict_limits")
    @classmethod
    def _complete_strict_limits(cls, given: dict[str, float]) -> dict[str, float]:
        _judge_names(given)
        return {name: given.get(name, veto.strict) for name, veto in vetoes().items()}

    @field_validator("relaxed_limits")
    @classmethod
    def _complete_relaxed_limits(cls, given: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        _judge_names(given)
        strict: dict[str, float] = info.data.get("strict_limits", {})
        relaxed = {}
        for name, veto in vetoes().items():
            least = strict.get(name, veto.strict)
            own = least if veto.relaxed is None else veto.laxer(veto.relaxed, least)
            relaxed[name] = given.get(name, own)
            if veto.laxer(relaxed[name], least) != relaxed[name]:
                raise ValueError(
                    f"the relaxed limit {relaxed[name]} of {name} is stricter than its strict one, {least}"
                )
        return relaxed


def _judge_names(given: dict[str, float]) -> None:
    for name in given:
        if name not in vetoes():
            raise UnknownNameError("veto", name, vetoes())


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates as arrays, best conviction first, ties by symbol and direction.

    Attributes
    ----------
    cluster, seat, venue, sector : int64 [n]
        Codes; equal codes are one cluster (0: none), one cluster and direction, one economic identity, one sector (0:
        not known).
    is_open : bool [n]
        Eligible and with a conviction.
    judgement : VetoResult
        Which vetoes fire.
    """

    cluster: Codes
    seat: Codes
    venue: Codes
    sector: Codes
    is_open: Mask
    judgement: VetoResult


def ladder(candidates: pl.DataFrame, policy: LadderParams) -> pl.DataFrame:
    """Judge one cross-section of candidates.

    Stage 1 gives the `top` seats of each cluster and direction to the best candidates without a strict veto. While the
    winners, after sector limit and cap, are fewer than the floor, the next stage adds to them and takes no seat away:
    2 fills free seats under the relaxed limits, 3 seats the best candidate of each cluster without a winner, 4 takes
    from the cluster with the fewest winners until the floor is met. Stages 3 and 4 ignore statistical vetoes, never
    missing metadata. One economic identity wins at most once, whatever the clusters of its symbols: of those that pass
    only the best side of the best one competes.

    Parameters
    ----------
    candidates : DataFrame
        symbol, direction, identity, cluster, conviction, sector (null: not known), is_eligible, is_benchmark, and the
        statistics of the vetoes; a statistic without a column is not known.
    policy : LadderParams

    Returns
    -------
    DataFrame
        The candidates sorted by symbol and direction, with rank, vetoes, unknown, stage, is_selected and reason as
        under the contract Decisions.
    """
    ordered = candidates.sort(
        "conviction", "symbol", "direction", descending=[True, False, False], nulls_last=[True, False, False]
    )
    pool = _pool(ordered, policy)
    size = int(ordered.filter("is_eligible")["symbol"].n_unique())
    floor, cap = size_of(size, floor=policy.floor, cap=policy.cap)
    won = np.zeros(ordered.height, dtype=np.int8)
    kept = assign_seats(won, pool.sector, cap=cap, sector_limit=policy.sector_limit)
    for stage in SELECTED:
        won = _recruit(pool, won, stage, policy, floor=floor, cap=cap)
        kept = assign_seats(won, pool.sector, cap=cap, sector_limit=policy.sector_limit)
        if kept.count >= floor:
            break
    selected = pl.Series("stage", np.where(kept.is_kept, won, 0), dtype=pl.Int8)
    return ordered.with_columns(
        pl.Series("rank", _rank_within_seat(pool), dtype=pl.Int32).replace(0, None),
        pool.judgement.names("vetoes", pool.judgement.strict),
        pool.judgement.names("unknown", pool.judgement.unknown),
        selected.replace(0, None),
        pl.Series("is_selected", kept.is_kept),
        _reasons_of(ordered, pool, won, kept, stage),
    ).sort("symbol", "direction")


def _pool(ordered: pl.DataFrame, policy: LadderParams) -> Pool:
    cluster = ordered["cluster"].cast(pl.Int64).fill_null(0).to_numpy()
    is_eligible = ordered["is_eligible"].to_numpy()
    return Pool(
        cluster=cluster,
        seat=_codes(ordered, "cluster", "direction"),
        venue=_codes(ordered, "identity"),
        sector=_codes(ordered, "sector") * ordered["sector"].is_not_null().to_numpy(),
        is_open=is_eligible & ordered["conviction"].is_not_null().to_numpy(),
        judgement=judge_candidates(
            ordered,
            policy.strict_limits,
            policy.relaxed_limits,
            hardening_median=policy.hardening_median,
            hardening_step=policy.hardening_step,
        ),
    )


def _codes(frame: pl.DataFrame, *columns: str) -> Codes:
    """Return a number from 1 per distinct value of `columns`, null being a value."""
    numbered = frame.select(pl.struct(*columns).rank("dense"))
    return np.asarray(numbered.to_series().cast(pl.Int64).to_numpy())


def _recruit(pool: Pool, won: Stages, stage: int, policy: LadderParams, *, floor: int, cap: int) -> Stages:
    """Return the stage that recruited each candidate, once `stage` has recruited."""
    if stage == FALLBACK:
        return _recruit_fallback(pool, won, policy, floor=floor, cap=cap)
    is_clustered = pool.is_open & (pool.cluster > 0)
    if stage == FORCED:
        return _recruit_by_force(pool, won, is_clustered & ~pool.judgement.is_barred)
    vetoed = pool.judgement.is_vetoed_strictly if stage == STRICT else pool.judgement.is_vetoed_relaxed
    contenders = _find_contenders(pool, won, is_clustered & ~vetoed)
    recruits = contenders & (order_within(pool.seat, contenders) + _count_winners(pool.seat, won) < policy.top)
    return np.where(recruits, np.int8(stage), won)


def _count_winners(codes: Codes, won: Stages) -> npt.NDArray[np.int64]:
    """Return the number of winners with each row's code."""
    return np.bincount(codes[won > 0], minlength=codes.max(initial=0) + 1)[codes]


def _find_contenders(pool: Pool, won: Stages, among: Mask) -> Mask:
    """Return the best row of each economic identity that has no winner yet."""
    return best_of(pool.venue, among & (_count_winners(pool.venue, won) == 0))


def _recruit_by_force(pool: Pool, won: Stages, among: Mask) -> Stages:
    """Recruit one row of each cluster without a winner, best conviction first, no identity twice."""
    won = won.copy()
    while True:
        is_left = among & (_count_winners(pool.cluster, won) == 0) & (_count_winners(pool.venue, won) == 0)
        if not is_left.any():
            return won
        won[np.argmax(is_left)] = FORCED


def _recruit_fallback(pool: Pool, won: Stages, policy: LadderParams, *, floor: int, cap: int) -> Stages:
    """Recruit one by one from the cluster with the fewest winners, until the floor is met or no candidate is left."""
    contenders = _find_contenders(pool, won, pool.is_open & ~pool.judgement.is_barred)
    load = _count_winners(pool.cluster, won) + order_within(pool.cluster, contenders)
    queue = np.flatnonzero(contenders)
    won = won.copy()
    for row in queue[np.argsort(load[queue], kind="stable")]:
        if assign_seats(won, pool.sector, cap=cap, sector_limit=policy.sector_limit).count >= floor:
            break
        won[row] = FALLBACK
    return won


def _rank_within_seat(pool: Pool) -> Codes:
    """Rank within cluster and direction by conviction, vetoed or not; 0 without conviction or cluster."""
    is_ranked = pool.is_open & (pool.cluster > 0)
    return np.where(is_ranked, order_within(pool.seat, is_ranked) + 1, 0)


def _reasons_of(ordered: pl.DataFrame, pool: Pool, won: Stages, kept: SeatedRecruits, reached: int) -> pl.Series:
    """Return the reason why each candidate is in or out, in one word; the first case that holds counts."""
    judgement = pool.judgement
    vetoed = judgement.is_vetoed_strictly if reached == STRICT else judgement.is_vetoed_relaxed
    symbol = _codes(ordered, "symbol")
    winner = np.zeros(pool.venue.max(initial=0) + 1, dtype=np.int64)
    winner[pool.venue[won > 0]] = symbol[won > 0]
    has_other = (winner[pool.venue] > 0) & (winner[pool.venue] != symbol)
    cases = [
        *((kept.is_kept & (won == stage), name) for stage, name in SELECTED.items()),
        (~ordered["is_eligible"].to_numpy(), "not_eligible"),
        (~pool.is_open, "no_conviction"),
        (kept.is_over_sector, "over_sector_limit"),
        (kept.is_over_cap, "over_cap"),
        (vetoed, "vetoed"),
        (pool.cluster == 0, "not_clustered"),
        (has_other, "other_venue"),
    ]
    words = np.select([case for case, _ in cases], [name for _, name in cases], default="outranked")
    return pl.Series("reason", words.tolist(), dtype=pl.String)

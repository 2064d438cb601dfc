from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.kernels.bar_defects import (
    KEPT,
    NORMAL_MAD,
    PROVISIONAL,
    SPIKE_BARS,
    TOXIC,
    classify_jumps,
    count_repeats,
    mark_volume_spikes,
    median_distance,
)

LEVELS = st.sampled_from([1.0, 1.2, 1.7, 3.0, 8.0, 30.0, 90.0, 0.19, 0.1, 0.02, 0.003])
GAPS = st.sampled_from([1, 1, 1, 1, 2, 5, 19])


def judged(
    close: Sequence[float], session: Sequence[int] | None = None, *, is_over: bool = False
) -> tuple[list[int], list[int]]:
    """Verdict and life of one symbol's single stretch."""
    size = len(close)
    verdict, life = np.full(size, 9, np.int8), np.full(size, 9, np.int32)
    sessions = np.asarray(session if session is not None else range(size), np.int64)
    offsets = np.array([0, size])
    classify_jumps(np.asarray(close, float), sessions, offsets, np.array([is_over]), np.array([False]), verdict, life)
    return verdict.tolist(), life.tolist()


def slowly_holding(close: float, jump: float, good: float) -> bool:
    """As said in words: not behind the jump by more than a factor of two, or beyond the bound without a jump back."""
    if jump < good:
        return close / jump <= 2.0 or (close / good - 1.0 < -0.8 and close / jump - 1.0 <= 5.0)
    return jump / close <= 2.0 or (close / good - 1.0 > 5.0 and close / jump - 1.0 >= -0.8)


def slowly_judged(close: Sequence[float], session: Sequence[int], *, is_over: bool) -> tuple[list[int], list[int]]:
    """Obviously right: settle the first jump, then judge what is left as if it began there."""
    verdict, life, number = [KEPT], [0], 0
    good, at = close[0], 1
    last_rise: tuple[int, float] | None = None
    while at < len(close):
        change = close[at] / good - 1.0
        is_back = False
        if last_rise is not None and change < -0.8:
            is_back = (
                session[at] - last_rise[0] <= 20 and last_rise[1] <= 2 * close[at] and close[at] <= 2 * last_rise[1]
            )
        if -0.8 <= change <= 5.0:
            verdict.append(KEPT)
            life.append(number)
            good, at = close[at], at + 1
            continue
        if change > 5.0 or is_back:
            jury = list(range(at + 1, at + 4))
            is_complete = at + 3 < len(close)
        else:
            jury = [j for j in range(at + 1, len(close)) if session[j] <= session[at] + 3]
            is_complete = any(session[j] >= session[at] + 3 for j in range(at + 1, len(close)))
        left = [j for j in jury if j < len(close) and not slowly_holding(close[j], close[at], good)]
        if left:
            verdict += [TOXIC] * (left[0] - at)
            life += [number] * (left[0] - at)
            at = left[0]
        elif is_complete or (is_over and change < 0.0 and not is_back):
            number += change > 0.0 or is_back
            if change > 0.0:
                last_rise = (session[at], good)
            elif is_back:
                last_rise = None
            verdict.append(KEPT)
            life.append(number)
            good, at = close[at], at + 1
        else:
            verdict += [PROVISIONAL] * (len(close) - at)
            life += [number] * (len(close) - at)
            at = len(close)
    return verdict, life


def test_a_spike_that_comes_back_is_toxic_and_nothing_else() -> None:
    assert judged([10, 11, 200, 10, 11]) == ([0, 0, TOXIC, 0, 0], [0] * 5)
    assert judged([10, 11, 0.5, 0.5, 10, 11]) == ([0, 0, TOXIC, TOXIC, 0, 0], [0] * 6)


def test_the_third_bar_may_still_acquit_the_fourth_may_not() -> None:
    assert judged([10, 200, 200, 200, 10])[0] == [0, TOXIC, TOXIC, TOXIC, 0]
    assert judged([10, 200, 200, 200, 200, 10, 10, 10, 10]) == ([0] * 9, [0, 1, 1, 1, 1, 2, 2, 2, 2])


def test_a_rise_that_holds_starts_a_new_life_and_a_fall_that_holds_is_real() -> None:
    assert judged([10, 70, 70, 70, 70]) == ([0] * 5, [0, 1, 1, 1, 1])
    assert judged([10, 1, 1, 1, 1]) == ([0] * 5, [0] * 5)


@pytest.mark.parametrize(("close", "verdict"), [([10, 60, 60], KEPT), ([10, 60.1, 60.1], PROVISIONAL)])
def test_the_bounds_themselves_are_no_jump(close: list[float], verdict: int) -> None:
    assert judged(close)[0][1] == verdict
    assert judged([8.0, 1.6, 1.6])[0][1] == KEPT  # exactly -80 %


def test_a_level_holds_within_a_factor_of_two_behind_the_jump() -> None:
    assert judged([10, 100, 50, 50, 50]) == ([0] * 5, [0, 1, 1, 1, 1])
    assert judged([10, 100, 49.9, 49.9, 49.9]) == ([0, TOXIC, 0, 0, 0], [0] * 5)
    assert judged([100, 16, 32, 32, 32]) == ([0] * 5, [0] * 5)
    assert judged([100, 16, 32.1, 32.1, 32.1]) == ([0, TOXIC, 0, 0, 0], [0] * 5)


@pytest.mark.parametrize(
    ("close", "verdict"),
    [
        ([100, 1, 160, 160, 160, 160], [0, TOXIC, 0, 0, 0, 0]),
        ([100, 1, 1, 1, 160, 160], [0, TOXIC, TOXIC, TOXIC, 0, 0]),
        ([100, 700, 200, 200, 200], [0, TOXIC, 0, 0, 0]),
        ([100, 700, 300, 160, 160, 160], [0, TOXIC, 0, 0, 0, 0]),
        ([100, 700, 650, 160, 160, 160], [0, TOXIC, TOXIC, 0, 0, 0]),
    ],
)
def test_a_jump_that_neither_came_back_nor_held_is_toxic_and_the_next_bar_is_judged_anew(
    close: list[float], verdict: list[int]
) -> None:
    assert judged(close) == (verdict, [0] * len(close))


def test_a_bad_tick_before_a_true_jump_leaves_the_true_one_to_its_own_trial() -> None:
    assert judged([100, 10_000, 700, 700, 700, 700]) == ([0, TOXIC, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1])
    assert judged([100, 1, 19, 19, 19, 19]) == ([0, TOXIC, 0, 0, 0, 0], [0] * 6)
    assert judged([100, 1, 700, 700, 700, 700]) == ([0, TOXIC, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1])


def test_a_jump_that_goes_on_holds() -> None:
    assert judged([100, 15, 8, 4, 4, 4]) == ([0] * 6, [0] * 6)
    assert judged([100, 3, 7, 3, 7, 3, 7]) == ([0] * 7, [0] * 7)
    assert judged([100, 700, 1500, 2500, 3000, 3000, 3000]) == ([0] * 7, [0, 1, 1, 1, 1, 1, 1])


def test_a_trial_ends_with_the_first_bar_that_leaves_the_level() -> None:
    assert judged([100, 700, 300]) == ([0, TOXIC, 0], [0] * 3)
    assert judged([100, 1, 160], is_over=True) == ([0, TOXIC, 0], [0] * 3)


def test_a_fall_that_soon_takes_back_a_rise_is_no_loss_but_another_life() -> None:
    up = [10, 200, 210, 220, 205]
    assert judged([*up, 12, 11, 12, 13])[1] == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert judged([*up, 20, 20, 20, 20])[1][5:] == [2] * 4
    assert judged([*up, 20.1, 20.1, 20.1, 20.1])[1][5:] == [1] * 4
    assert judged([*up, 5, 5, 5, 5])[1][5:] == [2] * 4
    assert judged([*up, 4.9, 4.9, 4.9, 4.9])[1][5:] == [1] * 4


@pytest.mark.parametrize(("sessions", "life"), [(20, 2), (21, 1)])
def test_a_rise_is_taken_back_within_twenty_sessions(sessions: int, life: int) -> None:
    path = [10.0, *[200.0] * sessions, 10.0, 10.0, 10.0, 10.0]
    assert judged(path)[1][-1] == life
    assert not any(judged(path)[0])


def test_the_way_back_is_tried_by_three_bars_and_stays_open_at_death() -> None:
    up = [10, 200, 210, 220, 205]
    assert judged([*up, 12, 11, 13])[0][5:] == [PROVISIONAL] * 3
    assert judged([*up, 12, 11, 13], is_over=True)[0][5:] == [PROVISIONAL] * 3
    assert judged([*up, 12, 11, 200]) == ([0, 0, 0, 0, 0, TOXIC, TOXIC, 0], [0, 1, 1, 1, 1, 1, 1, 1])


def test_only_the_last_rise_is_taken_back_and_only_once() -> None:
    assert judged([10, *[200] * 4, *[10] * 4, *[1] * 4])[1] == [0, *[1] * 4, *[2] * 8]
    assert judged([10, *[200] * 4, *[4000] * 4, *[200] * 4, *[10] * 4])[1] == [0, *[1] * 4, *[2] * 4, *[3] * 8]


def test_the_end_of_the_data_leaves_a_jump_open() -> None:
    assert judged([10, 200]) == ([0, PROVISIONAL], [0, 0])
    assert judged([10, 1, 1, 1]) == ([0, 2, 2, 2], [0] * 4)


def test_death_makes_an_open_fall_real_and_leaves_an_open_rise_open() -> None:
    assert judged([10, 1, 1], is_over=True)[0] == [0, 0, 0]
    assert judged([10, 100, 100], is_over=True)[0] == [0, 2, 2]


def test_a_price_after_a_halt_does_not_acquit_a_fall() -> None:
    assert judged([17.46, 1.08, 8.87, 8.9, 8.8, 9.0], [0, 1, 20, 21, 22, 23]) == ([0] * 6, [0, 0, 1, 1, 1, 1])
    assert judged([17.46, 1.08, 8.87], [0, 1, 2])[0] == [0, TOXIC, 0]


def test_a_price_after_a_halt_does_acquit_no_rise_of_its_return() -> None:
    assert judged([10, 100, 10, 10], [0, 1, 9, 10])[0] == [0, TOXIC, 0, 0]


def test_lives_go_on_counting_after_a_death_and_start_over_with_the_next_symbol() -> None:
    close = np.array([1.0, 1.0, 5.0, 100.0, 100.0, 100.0, 100.0, 7.0])
    verdict, life = np.empty(8, np.int8), np.empty(8, np.int32)
    offsets, is_reborn = np.array([0, 2, 7, 8]), np.array([False, True, False])
    classify_jumps(close, np.arange(8) * 30, offsets, np.array([True, True, False]), is_reborn, verdict, life)
    assert life.tolist() == [0, 0, 1, 2, 2, 2, 2, 0]
    assert not verdict.any()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(LEVELS, GAPS), min_size=1, max_size=14), st.booleans())
def test_jumps_are_judged_as_by_the_slow_twin(path: list[tuple[float, int]], is_over: bool) -> None:
    close, session = [level for level, _ in path], np.cumsum([gap for _, gap in path]).tolist()
    assert judged(close, session, is_over=is_over) == slowly_judged(close, session, is_over=is_over)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(LEVELS, GAPS), min_size=2, max_size=14), st.integers(1, 13))
def test_more_data_only_settle_what_was_open(path: list[tuple[float, int]], cut: int) -> None:
    close, session = [level for level, _ in path], np.cumsum([gap for _, gap in path]).tolist()
    then, _ = judged(close[:cut], session[:cut])
    now, _ = judged(close, session)
    assert all(a == b for a, b in zip(then, now, strict=False) if a != PROVISIONAL)


def test_equal_values_are_counted_within_each_stretch() -> None:
    out = np.empty(7, np.int64)
    count_repeats(np.array([1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0]), np.array([0, 4, 7]), out)
    assert out.tolist() == [1, 2, 1, 2, 1, 2, 1]


def slowly_spiking(log_volume: np.ndarray, life: np.ndarray) -> list[bool]:
    marks = []
    for i, value in enumerate(log_volume):
        before = log_volume[max(i - SPIKE_BARS, 0) : i][life[max(i - SPIKE_BARS, 0) : i] == life[i]]
        if len(before) < SPIKE_BARS or np.isnan(before).any() or np.isnan(value):
            marks.append(False)
            continue
        center = np.median(before)
        spread = np.median(np.abs(before - center))
        marks.append(bool(spread > 0 and (value - center) / (NORMAL_MAD * spread) > 10))
    return marks


@pytest.mark.parametrize("seed", range(6))
def test_volume_spikes_are_marked_as_by_the_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_volume = np.round(rng.standard_normal(600), 1 if seed % 2 else 12)
    log_volume[rng.integers(0, 600, 12)] += 14.0
    log_volume[rng.integers(0, 600, 2 * (seed % 3))] = np.nan
    life = np.sort(rng.integers(0, 1 + seed % 3, 600)).astype(np.int32)
    marks = np.empty(600, np.bool_)
    mark_volume_spikes(log_volume, life, np.array([0, 350, 600]), marks)
    assert marks.tolist() == slowly_spiking(log_volume[:350], life[:350]) + slowly_spiking(log_volume[350:], life[350:])
    assert marks.any()


def test_a_volume_without_dispersion_before_it_is_no_spike() -> None:
    marks = np.empty(SPIKE_BARS + 1, np.bool_)
    log_volume = np.append(np.ones(SPIKE_BARS), 50.0)
    mark_volume_spikes(log_volume, np.zeros(log_volume.size, np.int32), np.array([0, log_volume.size]), marks)
    assert not marks.any()


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20).filter(lambda x: len(x) % 2 == 0), st.floats(-6, 6))
@settings(deadline=None)
def test_the_median_distance_is_the_median_of_the_distances(values: list[float], center: float) -> None:
    ordered = np.sort(values)
    assert median_distance(ordered, center) == np.median(np.abs(ordered - center))

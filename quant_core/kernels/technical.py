"""Technical indicators that need a loop of their own: Wilder's three, the mean absolute deviation, votes.

The others are arithmetic on means and extremes, in features/. Wilder's kernels keep the conventions of recursive.py
(time counts in known bars, a new life starts again), the window those of moving.py.
"""

from __future__ import annotations

import numpy as np

from quant_core.kernels._jit import LANES, Matrix, kernel
from quant_core.kernels.recursive import STRIP

_EPS = float(np.finfo(np.float64).eps)


@kernel
def wilder_rsi(x: Matrix, life: Matrix, window: int, out: Matrix) -> None:
    """Take Wilder's mean gain over the sum of mean gain and mean loss, times 100. x, life, out: [T, N].

    The first `window` changes of a life are averaged equally, each later one has a share of 1 / window.

    NaN: before `window` changes, and where nothing has changed yet, too.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section VI.
    """
    state = np.empty((5, STRIP))
    current, last, known, gain = state[0], state[1], state[2], state[3]
    loss = state[4]
    for first in range(0, x.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, x.shape[1]))
        current[:], last[:], known[:], gain[:], loss[:] = np.nan, np.nan, 0.0, 0.0, 0.0
        for t in range(x.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                value = x[t, j]
                is_known = (value - value == 0.0) & (life[t, j] == life[t, j])
                is_same = life[t, j] == current[i]
                # Changes seen, this one included; 0 at the first bar of a life, whose change counts nothing.
                n = known[i] + 1.0 if is_same else 0.0
                change = value - last[i] if is_same else 0.0
                share = 1.0 / max(1.0, min(n, window))
                up = gain[i] if is_same else 0.0
                down = loss[i] if is_same else 0.0
                up += (max(0.0, change) - up) * share
                down += (max(0.0, -change) - down) * share
                gain[i] = up if is_known else gain[i]
                loss[i] = down if is_known else loss[i]
                known[i] = n if is_known else known[i]
                last[i] = value if is_known else last[i]
                current[i] = life[t, j] if is_known else current[i]
                out[t, j] = 100.0 * (up / (up + down)) if is_known & (n >= window) else np.nan


@kernel
def wilder_di(high: Matrix, low: Matrix, close: Matrix, life: Matrix, window: int, is_up: bool, out: Matrix) -> None:
    """Take Wilder's directional movement over his true range, times 100. All: [T, N]; out: 0 to 100.

    A bar moves up by high - previous high where that is above zero and above previous low - low, and down the other way
    round; its range reaches to the previous close. As in TA-Lib both are summed over the first window - 1 bars, and
    from then on each sum loses a share of 1 / window before a bar is added.

    NaN: at a bar of which high, low or close is not known, before `window` movements, and without any range, too.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section IV.
    """
    state = np.empty((7, STRIP))
    current, known, last_high, last_low = state[0], state[1], state[2], state[3]
    last_close, moved, ranged = state[4], state[5], state[6]
    decay = (window - 1.0) / window
    for first in range(0, high.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, high.shape[1]))
        current[:], known[:], moved[:], ranged[:] = np.nan, 0.0, 0.0, 0.0
        last_high[:], last_low[:], last_close[:] = np.nan, np.nan, np.nan
        for t in range(high.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                top, bottom, end = high[t, j], low[t, j], close[t, j]
                whole = top + bottom + end
                is_known = (whole - whole == 0.0) & (life[t, j] == life[t, j])
                is_same = life[t, j] == current[i]
                n = known[i] + 1.0 if is_same else 0.0
                up, down = top - last_high[i], last_low[i] - bottom
                forth, back = (up, down) if is_up else (down, up)
                step = forth if is_same & (forth > back) & (forth > 0.0) else 0.0
                reach = max(top, last_close[i]) - min(bottom, last_close[i]) if is_same else 0.0
                kept = decay if n >= window else 1.0
                sum_moved = (moved[i] if is_same else 0.0) * kept + step
                sum_ranged = (ranged[i] if is_same else 0.0) * kept + reach
                moved[i] = sum_moved if is_known else moved[i]
                ranged[i] = sum_ranged if is_known else ranged[i]
                known[i] = n if is_known else known[i]
                last_high[i] = top if is_known else last_high[i]
                last_low[i] = bottom if is_known else last_low[i]
                last_close[i] = end if is_known else last_close[i]
                current[i] = life[t, j] if is_known else current[i]
                out[t, j] = 100.0 * (sum_moved / sum_ranged) if is_known & (n >= window) else np.nan


@kernel
def wilder_adx(high: Matrix, low: Matrix, close: Matrix, life: Matrix, window: int, out: Matrix) -> None:
    """Average abs(plus - minus) / (plus + minus) of the directional movements, times 100. All: [T, N]; out: 0 to 100.

    The movements are those of `wilder_di`, whose common range cancels. The first `window` values of the ratio are
    averaged equally, each later one has a share of 1 / window.

    NaN: at a bar of which high, low or close is not known, before `window` ratios, and without any movement, too.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, section IV.
    """
    state = np.empty((8, STRIP))
    current, known, rated, last_high = state[0], state[1], state[2], state[3]
    last_low, plus, minus, mean = state[4], state[5], state[6], state[7]
    decay = (window - 1.0) / window
    for first in range(0, high.shape[1], STRIP):
        lo, hi = np.uintp(first), np.uintp(min(first + STRIP, high.shape[1]))
        current[:], known[:], rated[:], last_high[:], last_low[:] = np.nan, 0.0, 0.0, np.nan, np.nan
        plus[:], minus[:], mean[:] = 0.0, 0.0, 0.0
        for t in range(high.shape[0]):
            for j in range(lo, hi):
                i = j - lo
                top, bottom = high[t, j], low[t, j]
                whole = top + bottom + close[t, j]
                is_known = (whole - whole == 0.0) & (life[t, j] == life[t, j])
                is_same = life[t, j] == current[i]
                n = known[i] + 1.0 if is_same else 0.0
                up, down = top - last_high[i], last_low[i] - bottom
                kept = decay if n >= window else 1.0
                sum_up = (plus[i] if is_same else 0.0) * kept
                sum_down = (minus[i] if is_same else 0.0) * kept
                sum_up += up if is_same & (up > down) & (up > 0.0) else 0.0
                sum_down += down if is_same & (down > up) & (down > 0.0) else 0.0
                ratio = 100.0 * (abs(sum_up - sum_down) / (sum_up + sum_down))
                is_rated = is_known & (n >= window) & (ratio == ratio)
                m = (rated[i] if is_same else 0.0) + (1.0 if is_rated else 0.0)
                before = mean[i] if is_same else 0.0
                after = before + (ratio - before) * (1.0 / max(1.0, min(m, window))) if is_rated else before
                mean[i] = after if is_known else mean[i]
                rated[i] = m if is_known else rated[i]
                plus[i] = sum_up if is_known else plus[i]
                minus[i] = sum_down if is_known else minus[i]
                known[i] = n if is_known else known[i]
                last_high[i] = top if is_known else last_high[i]
                last_low[i] = bottom if is_known else last_low[i]
                current[i] = life[t, j] if is_known else current[i]
                out[t, j] = after if is_known & (m >= window) else np.nan


@kernel
def move_deviation(x: Matrix, window: int, min_count: int, out: Matrix) -> None:
    """Take the mean absolute deviation from the mean of each window. x, out: [T, N], same unit.

    Equal values have exactly 0: what rounding the mean leaves on them does not count.
    """
    state = np.empty((3, LANES))
    total, known, deviation = state[0], state[1], state[2]
    for first in range(0, x.shape[1], LANES):
        lo, hi = np.uintp(first), np.uintp(min(first + LANES, x.shape[1]))
        for t in range(x.shape[0]):
            total[:], known[:], deviation[:] = 0.0, 0.0, 0.0
            for k in range(max(0, t - window + 1), t + 1):
                for j in range(lo, hi):
                    is_known = x[k, j] - x[k, j] == 0.0
                    total[j - lo] += x[k, j] if is_known else 0.0
                    known[j - lo] += 1.0 if is_known else 0.0
            for j in range(lo, hi):
                total[j - lo] /= known[j - lo]
            for k in range(max(0, t - window + 1), t + 1):
                for j in range(lo, hi):
                    is_known = x[k, j] - x[k, j] == 0.0
                    deviation[j - lo] += abs(x[k, j] - total[j - lo]) if is_known else 0.0
            for j in range(lo, hi):
                n, spread = known[j - lo], deviation[j - lo] / known[j - lo]
                spread = spread if spread > n * _EPS * abs(total[j - lo]) else 0.0
                out[t, j] = spread if n >= max(1, min_count) else np.nan


@kernel
def cast_by_side(x: Matrix, level: Matrix, tolerance: float, total: Matrix, cast: Matrix) -> None:
    """Add to `total` a vote of 1 where x is above its level and -1 below, and count it in `cast`. All: [T, N].

    Within `tolerance`, relative to x, it is on its level and votes 0. Where x or its level is not known it casts no
    vote.
    """
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            distance, near = x[t, j] - level[t, j], tolerance * x[t, j]
            total[t, j] += (1.0 if distance > near else 0.0) - (1.0 if distance < -near else 0.0)
            cast[t, j] += 1.0 if distance == distance else 0.0


@kernel
def cast_outside(x: Matrix, lower: float, upper: float, below: float, total: Matrix, cast: Matrix) -> None:
    """Add to `total` the vote `below` where x is below `lower` and -below above `upper`, and count it in `cast`.

    x, total, cast: [T, N]. In between the vote is 0; where x is not known it casts no vote.
    """
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = x[t, j]
            total[t, j] += (below if value < lower else 0.0) - (below if value > upper else 0.0)
            cast[t, j] += 1.0 if value == value else 0.0

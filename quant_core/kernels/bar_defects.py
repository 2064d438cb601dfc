"""Kernels that walk the bars of each symbol in date order: repeated closes, provisional jumps, volume spikes.

What follows from a verdict (exclusion, flag, new life) is decided in ingest/cleaning/jumps_and_stalls.py. Tables come
in as arrays sorted by symbol and date, with `offsets` marking where each stretch of rows starts and the last one ends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quant_core.kernels._jit import kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Lives = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

KEPT, TOXIC, PROVISIONAL = 0, 1, 2
HIGHEST_RETURN = 5.0
LOWEST_RETURN = -0.8
NEAR = 2.0  # closes within this factor of each other are one level
TRIAL_BARS = 3  # bars that decide whether a jump is real
BACK_SESSIONS = 20  # a rise that is taken back within them was not a gain
SPIKE_BARS = 60
SPIKE_Z = 10.0
NORMAL_MAD = 1.4826  # the MAD of a normal distribution is its standard deviation over this


@kernel
def count_repeats(values: Floats, offsets: Ints, out: Ints) -> None:
    """Count how many equal values in a row end at each bar: 1 where the value is new. values, out: [R]."""
    for k in range(offsets.size - 1):
        for i in range(offsets[k], offsets[k + 1]):
            out[i] = out[i - 1] + 1 if i > offsets[k] and values[i] == values[i - 1] else 1


@kernel
def classify_jumps(
    close: Floats, session: Ints, offsets: Ints, is_over: Mask, is_reborn: Mask, verdict: Codes, life: Lives
) -> None:
    """Classify every jump: the bar is toxic, the rise starts a new life, the fall is real, or it stays open.

    close: [R], positive; session: [R], ordinal of the bar's session; offsets: [S + 1], where each stretch of bars
    without a death in between starts; is_over: [S], a death follows the stretch; is_reborn: [S], it follows a death of
    the same symbol; verdict, life: [R], filled.

    The next TRIAL_BARS bars decide on a rise, the bars of the next TRIAL_BARS sessions on a fall: after a halt the
    ticker may mean another asset, and its price must not hide a real fall. The first bar that leaves the level (see
    `is_holding`) decides: the bars before it are toxic, and it is compared with the last good close itself. Because it
    decides alone, however near or far its price is, the verdict does not depend on later bars. A fall that death leaves
    open is real; a rise that death leaves open stays provisional.

    A fall that takes back a rise (see `is_way_back`) is treated like a rise and starts a new life as well: no return
    recorded the way up, and none records the way down.
    """
    number = 0
    for k in range(offsets.size - 1):
        start, stop = offsets[k], offsets[k + 1]
        number = number + 1 if is_reborn[k] else 0
        verdict[start], life[start] = KEPT, number
        good, before, rise, i = start, start, -1, start + 1
        while i < stop:
            change = close[i] / close[good] - 1.0
            is_rise, is_fall = change > HIGHEST_RETURN, change < LOWEST_RETURN
            is_back = is_fall and rise >= 0 and is_way_back(close[i], close[before], session[i] - session[rise])
            is_birth = is_rise or is_back
            left, has_held = -1, not (is_rise or is_fall)
            j = i + 1
            while j < stop and left < 0 and not has_held:
                seen = j - i if is_birth else session[j] - session[i]
                if seen <= TRIAL_BARS and not is_holding(close[j], close[i], close[good]):
                    left = j
                has_held = seen >= TRIAL_BARS
                j += 1
            if left >= 0:
                while i < left:
                    verdict[i], life[i] = TOXIC, number
                    i += 1
            elif has_held or (is_over[k] and not is_birth):
                number += 1 if is_birth else 0
                if is_birth:
                    before, rise = good, i if is_rise else -1
                verdict[i], life[i], good = KEPT, number, i
                i += 1
            else:
                while i < stop:
                    verdict[i], life[i] = PROVISIONAL, number
                    i += 1


@kernel
def is_holding(close: float, jump: float, good: float) -> bool:
    """Return whether `close` keeps the level that `jump` reached from the last good close.

    It does near the jump or farther on: at most the factor NEAR behind it. It also does anywhere beyond the bound that
    defines a jump, unless it is itself a jump back: a collapse stays a collapse while its price moves near zero.
    """
    change, since = close / good - 1.0, close / jump - 1.0
    if jump > good:
        return close * NEAR >= jump or (change > HIGHEST_RETURN and since >= LOWEST_RETURN)
    return close <= jump * NEAR or (change < LOWEST_RETURN and since <= HIGHEST_RETURN)


@kernel
def is_way_back(close: float, level: float, sessions: int) -> bool:
    """Return whether `close` is back at the level before a rise, so many sessions after it: soon, and near."""
    return sessions <= BACK_SESSIONS and level <= close * NEAR and close <= level * NEAR


@kernel
def mark_volume_spikes(log_volume: Floats, life: Lives, offsets: Ints, out: Mask) -> None:
    """Mark bars whose log volume has a robust z above SPIKE_Z against the SPIKE_BARS bars before, within one life.

    log_volume: [R], NaN where volume is zero or not known; life, out: [R]. False unless all SPIKE_BARS bars are known
    and their MAD is not zero. Median and MAD are exact: the window is kept sorted by insertion.
    """
    window = np.empty(SPIKE_BARS)
    half, quarter = SPIKE_BARS // 2, SPIKE_BARS // 4
    for k in range(offsets.size - 1):
        held = 0
        for i in range(offsets[k], offsets[k + 1]):
            if i > offsets[k] and life[i] != life[i - 1]:
                held = 0
            value = log_volume[i]
            out[i] = False
            if np.isnan(value):
                held = 0
                continue
            j = held
            if held == SPIKE_BARS:
                median = 0.5 * (window[half - 1] + window[half])
                # The nearer half of the window takes in the quarter below the median or the quarter above it.
                least = min(median - window[half - quarter], window[half + quarter - 1] - median)
                if value - median > SPIKE_Z * NORMAL_MAD * least:
                    spread = median_distance(window, median)
                    out[i] = spread > 0.0 and value - median > SPIKE_Z * NORMAL_MAD * spread
                j = place_of(window, log_volume[i - SPIKE_BARS])
                while j + 1 < SPIKE_BARS and window[j + 1] < value:
                    window[j] = window[j + 1]
                    j += 1
            else:
                held += 1
            while j > 0 and window[j - 1] > value:
                window[j] = window[j - 1]
                j -= 1
            window[j] = value


@kernel
def place_of(ordered: Floats, value: float) -> int:
    """Return the first place of a sorted array that holds `value`, which is there."""
    low, high = 0, ordered.size - 1
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def median_distance(ordered: Floats, center: float) -> float:
    """Return the median distance from `center` of sorted values of even number, merging outwards from it."""
    size = ordered.size
    right = np.searchsorted(ordered, center)
    left = right - 1
    last = before = 0.0
    for _ in range(size // 2 + 1):
        before = last
        if right >= size or (left >= 0 and center - ordered[left] <= ordered[right] - center):
            last = center - ordered[left]
            left -= 1
        else:
            last = ordered[right] - center
            right += 1
    return 0.5 * (before + last)

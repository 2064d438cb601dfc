"""The language of the 101 formulaic alphas, read from the paper's text and evaluated with pandas.

Nothing of quant_core is used: what an operator means is written down here a second time, window by window.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

Frame = pd.DataFrame
Tree = tuple[Any, ...]

TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|\w+|==|\|\||[-+*/^<>?:(),])")
LEVELS = (("||",), ("<", ">", "=="), ("+", "-"), ("*", "/"), ("^",))


def parsed(text: str) -> Tree:
    """Return nested tuples: ("call", name, ...), ("?", c, a, b), (operator, a, b), ("name", n), ("number", v)."""
    tokens: list[str] = []
    place = 0
    while place < len(text.rstrip()):
        match = TOKEN.match(text, place)
        assert match, text[place:]
        tokens.append(match[1])
        place = match.end()
    tree = choice(tokens)
    assert not tokens, tokens
    return tree


def choice(tokens: list[str]) -> Tree:
    condition = binary(tokens, 0)
    if not tokens or tokens[0] != "?":
        return condition
    tokens.pop(0)
    then = choice(tokens)
    assert tokens.pop(0) == ":"
    return ("?", condition, then, choice(tokens))


def binary(tokens: list[str], level: int) -> Tree:
    if level == len(LEVELS):
        return primary(tokens)
    left = binary(tokens, level + 1)
    while tokens and tokens[0] in LEVELS[level]:
        left = (tokens.pop(0), left, binary(tokens, level + 1))
    return left


def primary(tokens: list[str]) -> Tree:
    token = tokens.pop(0)
    if token == "(":
        inner = choice(tokens)
        assert tokens.pop(0) == ")"
        return inner
    if token == "-":
        return ("-", ("number", 0.0), primary(tokens))
    if token[0].isdigit() or token[0] == ".":
        return ("number", float(token))
    if not tokens or tokens[0] != "(":
        return ("name", token.lower())
    given = []
    while tokens.pop(0) in "(,":
        given.append(choice(tokens))
        if tokens[0] == ")":
            tokens.pop(0)
            break
    return ("call", token.lower(), *given)


# ---- what the operators mean


def windows(x: Frame, d: float) -> np.ndarray:
    """[T, N, d], oldest first; windows that begin before the first row are unknown."""
    d = int(d)
    padded = np.vstack([np.full((d - 1, x.shape[1]), np.nan), x.to_numpy()])
    return np.lib.stride_tricks.sliding_window_view(padded, d, axis=0)


def framed(values: np.ndarray, like: Frame) -> Frame:
    return pd.DataFrame(values, index=like.index, columns=like.columns)


def over(statistic: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frame, float], Frame]:
    return lambda x, d: framed(statistic(windows(x, d)), x)


def rounded(x: Any) -> Any:
    """To 30 binary digits after the leading one."""
    fraction, exponent = np.frexp(x)
    return np.sign(fraction) * np.floor(np.abs(fraction) * 2.0**31 + 0.5) * 2.0 ** (exponent - 31.0)


def rank(x: Frame) -> Frame:
    return rounded(x).rank(axis=1, pct=True)


def ts_rank(x: Frame, d: float) -> Frame:
    return rounded(x).rolling(int(d)).rank(pct=True)


def is_flat(w: np.ndarray) -> np.ndarray:
    # Two sums of the same prices differ by rounding.
    return w.max(axis=-1) - w.min(axis=-1) <= 1e-12 * np.abs(w).max(axis=-1)


def moments(x: Frame, y: Frame, d: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    p, q = windows(x, d), windows(y, d)
    known = ~np.isnan(p).any(axis=-1) & ~np.isnan(q).any(axis=-1)
    dp, dq = p - p.mean(axis=-1, keepdims=True), q - q.mean(axis=-1, keepdims=True)
    product = (dp * dq).sum(axis=-1)
    return np.where(known, product, np.nan), (dp * dp).sum(axis=-1), (dq * dq).sum(axis=-1), is_flat(p) | is_flat(q)


def correlation(x: Frame, y: Frame, d: float) -> Frame:
    pq, pp, qq, flat = moments(x, y, d)
    return framed(np.where(flat, np.nan, pq / np.sqrt(pp * qq)).round(10), x)


def covariance(x: Frame, y: Frame, d: float) -> Frame:
    pq, _, _, flat = moments(x, y, d)
    return framed((np.where(flat & ~np.isnan(pq), 0.0, pq) / (int(d) - 1)).round(12), x)


def exact_sum(w: np.ndarray) -> np.ndarray:
    # Eight equal closes must have their mean.
    return np.array([math.fsum(window) for window in w.reshape(-1, w.shape[-1])]).reshape(w.shape[:-1])


def argmax_age(w: np.ndarray) -> np.ndarray:
    # numpy takes the first of equal values, which is the oldest.
    return np.where(np.isnan(w).any(axis=-1), np.nan, w.shape[-1] - 1.0 - np.argmax(w, axis=-1))


def decay_linear(w: np.ndarray) -> np.ndarray:
    weights = np.arange(1.0, w.shape[-1] + 1)
    return (w * weights).sum(axis=-1) / weights.sum()


def logical(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def answer(x: Any, y: Any) -> Any:
        return (test(rounded(x), rounded(y)) * 1.0).where(pd.notna(x + y))

    return answer


def choose(condition: Frame, then: Any, otherwise: Any) -> Frame:
    branches = np.where(condition == 1.0, then, otherwise)
    return framed(np.where(condition.isna(), np.nan, branches), condition)


def power(x: Any, exponent: Any) -> Any:
    # 1 ** NaN is 1.
    return (x**exponent).where(pd.notna(x + exponent))


def extreme(over_time: Callable[[Frame, float], Frame], of_two: Any) -> Callable[[Any, Any], Any]:
    return lambda x, y: framed(of_two(x.to_numpy(), y.to_numpy()), x) if isinstance(y, Frame) else over_time(x, y)


ts_min, ts_max = over(lambda w: w.min(axis=-1)), over(lambda w: w.max(axis=-1))
OPERATORS: dict[str, Callable[..., Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / (y.where(y != 0.0) if isinstance(y, Frame) else y),
    "^": power,
    "<": logical(lambda x, y: x < y),
    ">": logical(lambda x, y: x > y),
    "==": logical(lambda x, y: x == y),
    "||": logical(lambda x, y: (x == 1.0) | (y == 1.0)),
    "?": choose,
    "abs": lambda x: x.abs(),
    "sign": lambda x: np.sign(x),
    "log": lambda x: np.log(x.where(x > 0.0)),
    "rank": rank,
    "delay": lambda x, d: x.shift(int(d)),
    "delta": lambda x, d: x.diff(int(d)),
    "correlation": correlation,
    "covariance": covariance,
    "scale": lambda x: x.div(x.abs().sum(axis=1), axis=0),
    "signedpower": lambda x, exponent: np.sign(x) * power(x.abs(), exponent),
    "decay_linear": over(decay_linear),
    "ts_min": ts_min,
    "ts_max": ts_max,
    "min": extreme(ts_min, np.minimum),
    "max": extreme(ts_max, np.maximum),
    "ts_argmax": over(argmax_age),
    "ts_argmin": over(lambda w: argmax_age(-w)),
    "ts_rank": ts_rank,
    "sum": over(exact_sum),
    "product": over(lambda w: w.prod(axis=-1)),
    "stddev": over(lambda w: np.where(is_flat(w), 0.0, w.std(axis=-1, ddof=1))),
}


def value_of(tree: Tree, inputs: Mapping[str, Frame], operators: Mapping[str, Callable[..., Any]] = OPERATORS) -> Any:
    """Evaluate a formula. inputs: the bars and returns; adv{d} is made of close and volume."""
    kind, *rest = tree
    if kind == "number":
        return rest[0]
    if kind == "name":
        adv = re.fullmatch(r"adv(\d+)", rest[0])
        if adv:
            return framed(windows(inputs["close"] * inputs["volume"], int(adv[1])).mean(axis=-1), inputs["close"])
        return inputs[rest[0]]
    name, given = (rest[0], rest[1:]) if kind == "call" else (kind, rest)
    return operators[name](*(value_of(branch, inputs, operators) for branch in given))


# ---- how far back a formula reads


def reach_of(tree: Tree) -> tuple[int, int]:
    """Return the first row at which a formula can be known, and how many rows before its own a value may read."""
    kind, *rest = tree
    if kind == "number":
        return 0, 0
    if kind == "name":
        adv = re.fullmatch(r"adv(\d+)", rest[0])
        rows = int(adv[1]) - 1 if adv else int(rest[0] == "returns")
        return rows, rows
    name, given = (rest[0], rest[1:]) if kind == "call" else (kind, rest)
    reaches = [reach_of(branch) for branch in given]
    if name == "?":
        (soon, far), *branches = reaches
        return max(soon, min(s for s, _ in branches)), max(far, *(f for _, f in branches))
    own = 0
    if kind == "call" and given[-1][0] == "number" and name not in ("signedpower",):
        own = int(given[-1][1]) - (name not in ("delay", "delta"))
    return max(s for s, _ in reaches) + own, max(f for _, f in reaches) + own

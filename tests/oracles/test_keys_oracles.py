"""The slow twins of the kernels behind keys, and long tables judged as short ones are."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_core.kernels import keys
from quant_core.market import text_codes
from quant_core.market.contracts import verdicts as judged
from quant_core.market.contracts.ingest import Bars, ReturnsSchema
from quant_core.market.contracts.split import Contract, split
from quant_core.market.text_codes import codes_of, order_of

DAY = date(2024, 1, 1)
# Short enough for a view to hold them, one too long, two that begin alike, and one that stands for nothing.
TEXTS = ["A:X", "A:Y", "", "no venue", "VENUE:OF_A_LONG_NAME", "VENUE:OF_A_LONG_NOSE", "A:0123456789", None]
LIMITS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def look_up(code: list[int], table: list[int]) -> list[int]:
    return [table[number] for number in code]


def mark_superseded(code: list[int], day: list[int], alive: list[bool]) -> list[bool]:
    living = [(c, d) if a else None for c, d, a in zip(code, day, alive, strict=True)]
    return [key is not None and key in living[i + 1 :] for i, key in enumerate(living)]


def number_views(texts: list[str | None]) -> list[int]:
    seen: list[str] = []
    for text in texts:
        if text is not None and text not in seen:
            seen.append(text)
    return [-1 if text is None else seen.index(text) for text in texts]


@pytest.fixture
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_codes, "LONG", 0)
    monkeypatch.setattr(judged, "LONG", 0)


def chunked(texts: list[str | None], cuts: list[int]) -> pl.Series:
    """The texts in several chunks, some with buffers of their own."""
    whole = pl.Series("text", texts, dtype=pl.String)
    ends = sorted({min(cut, len(texts)) for cut in cuts} | {0, len(texts)})
    parts = [
        whole[a:b] if k % 2 else pl.Series("text", texts[a:b], dtype=pl.String)
        for k, (a, b) in enumerate(pairwise(ends))
    ]
    return pl.concat(parts, rechunk=False) if parts else whole


@LIMITS
@given(
    texts=st.lists(st.sampled_from(TEXTS), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    is_sorted=st.booleans(),
)
def test_texts_are_numbered_as_by_the_slow_twin(
    texts: list[str | None], cuts: list[int], is_sorted: bool, everything_is_long: None
) -> None:
    found = codes_of(chunked(texts, cuts), is_sorted=is_sorted)
    distinct = found.texts.to_list()
    assert [None if number < 0 else distinct[number] for number in found.code] == texts
    assert len(set(distinct)) == len(distinct)
    if is_sorted:
        assert distinct == sorted(distinct)
    else:
        assert found.code.tolist() == number_views(texts)
    table = np.arange(len(distinct) + 1)[::-1].copy()
    assert found.spread(table).tolist() == look_up(found.code.tolist(), table.tolist())


def test_too_many_places_in_memory_are_left_to_polars(
    monkeypatch: pytest.MonkeyPatch, everything_is_long: None
) -> None:
    monkeypatch.setattr(text_codes, "MOST_VIEWS", 3)
    texts = ["A:X", "A:Z", "A:Y", "A:W", "A:X"]
    found = codes_of(pl.Series(texts))
    assert found.texts.to_list() == ["A:W", "A:X", "A:Y", "A:Z"]
    assert found.code.tolist() == [1, 3, 2, 0, 1]


KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 3), st.booleans()), max_size=30)


@given(KEYS)
@settings(deadline=None)
def test_rows_that_come_again_are_marked_as_by_the_slow_twin(rows: list[tuple[int, int, bool]]) -> None:
    code, day, alive = ([row[k] for row in rows] for k in range(3))
    out = np.empty(len(rows), dtype=np.bool_)
    keys.mark_superseded(
        np.array(code, np.int32), np.array(day, np.int32), np.array(alive, np.bool_), -2, 6, np.zeros(1, np.uint32), out
    )
    assert out.tolist() == mark_superseded(code, day, alive)


@given(KEYS, st.booleans())
@settings(deadline=None)
def test_the_order_is_that_of_a_stable_sort(rows: list[tuple[int, int, bool]], by_day: bool) -> None:
    rows = sorted(rows, key=lambda row: row[1]) if by_day else rows
    code, day = (np.array([row[k] for row in rows], np.int32) for k in (0, 1))
    order = order_of(code, day + 2)
    expected = sorted(range(len(rows)), key=lambda i: (code[i], day[i]))
    assert (list(range(len(rows))) if order is None else order.tolist()) == expected


VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 5.0, 6.0, float("nan"), float("inf")]))
DATES = st.one_of(st.none(), st.integers(0, 3).map(lambda k: DAY + timedelta(days=k)), st.just(date(9999, 1, 1)))
RETURNS = st.lists(st.tuples(DATES, st.sampled_from(TEXTS), VALUES), max_size=30)
# Keys of another kind, and one that may be null.
LOOSE = Contract("Loose", ReturnsSchema.schema, ("symbol", "simple_return"))


@pytest.mark.parametrize("contract", [ReturnsSchema, LOOSE])
@LIMITS
@given(rows=RETURNS, cut=st.integers(0, 30))
def test_a_long_table_is_judged_as_a_short_one(
    rows: list[tuple[date, str, float]], cut: int, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame(rows, schema=ReturnsSchema.dtypes, orient="row")
    short = split(frame, contract)
    with monkeypatch.context() as patched:
        patched.setattr(text_codes, "LONG", 0)
        patched.setattr(judged, "LONG", 0)
        long = split(pl.concat([frame[:cut], frame[cut:]], rechunk=False), contract)
    assert long.valid.equals(short.valid)
    assert long.exclusions.equals(short.exclusions)


@pytest.mark.parametrize("order", [("date", "symbol"), ("symbol", "date"), ("close",)])
def test_a_table_long_enough_for_the_kernels_is_judged_row_by_row(order: tuple[str, ...]) -> None:
    size = 140_000
    rng = np.random.default_rng(1)
    close = rng.uniform(1.0, 2.0, size)
    frame = pl.DataFrame(
        {
            "date": pl.Series(np.arange(size) // 100).cast(pl.Int32).cast(pl.Date),
            "symbol": pl.Series([f"VENUE:TICKER_{k:02d}" for k in range(100)]).gather(np.arange(size) % 100),
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": 1.0,
            "is_provisional": False,
            "adjustment": 1.0,
            "flags": "",
        }
    )
    frame = frame.with_columns(available_at=pl.lit(0, pl.Datetime("us", "UTC")), life=pl.lit(0, pl.Int32))
    frame = frame.select(*Bars.dtypes).sort(order)
    assert split(frame, Bars).exclusions.is_empty()
    row = pl.int_range(pl.len())
    broken = frame.with_columns(
        symbol=pl.when(row == 7).then(pl.lit("nowhere")).when(row == 8).then(None).otherwise("symbol"),
        low=pl.when(row == 70_000).then(-1.0).when(row == 9).then(float("nan")).otherwise("low"),
    )
    again = pl.concat([broken, frame[[100, 70_000]]])
    assert split(again, Bars).exclusions.select("row", "rule", "detail").rows() == [
        (7, "symbol_malformed", "symbol_malformed"),
        (8, "symbol_not_known", "symbol_not_known"),
        (9, "low_not_finite", "low_not_finite, high_below_low, open_outside_range, close_outside_range"),
        (100, "duplicate_key", "a later row has the same key"),
        (70_000, "low_not_positive", "low_not_positive"),
    ]

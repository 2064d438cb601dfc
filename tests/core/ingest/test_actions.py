from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.ingest.actions import actions
from quant_core.market.contracts.ingest import Actions
from quant_core.market.sleeves import Sleeve

SPLIT = {"date": date(2024, 6, 10), "symbol": "US:AAA", "kind": "split", "factor": 0.5}


def sent(*rows: dict[str, Any]) -> pl.DataFrame:
    whole = [dict.fromkeys(Actions.dtypes) | {"row": k} | SPLIT | row for k, row in enumerate(rows)]
    return pl.DataFrame(whole, schema=Actions.dtypes)


def judged(landed: pl.DataFrame, *, as_of: str | None = None, calendar: str = "XNYS") -> Finished:
    done = judge(
        actions,
        actions(landed, sleeve=Sleeve(name="mine", calendar=calendar, adjustment="raw"), as_of=as_of),
        rows_in={"landed": landed.height},
    )
    assert not done.broken
    return done


def known(landed: pl.DataFrame, as_of: str | None, calendar: str = "XNYS") -> list[int]:
    return judged(landed, as_of=as_of, calendar=calendar).valid["row"].to_list()


def test_no_actions_are_no_fault() -> None:
    assert judged(sent()).valid.equals(Actions.empty())
    assert judged(sent(), as_of="2024-01-01").valid.equals(Actions.empty())


def test_a_split_a_dividend_and_a_rename_of_one_day_are_three_actions() -> None:
    landed = sent(
        {}, {"kind": "dividend", "factor": 0.99}, {"kind": "rename", "factor": None, "to": "US:BBB"}, {"symbol": "US:C"}
    )
    done = judged(landed)
    assert done.valid.equals(landed)
    assert done.exclusions.is_empty()


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"factor": None}, "factor_missing"),
        ({"kind": "dividend", "factor": None}, "factor_missing"),
        ({"factor": 0.0}, "factor_not_positive"),
        ({"factor": float("inf")}, "factor_not_finite"),
        ({"factor": 0.9e-4}, "factor_out_of_bounds"),
        ({"factor": 1.1e4}, "factor_out_of_bounds"),
        ({"kind": "dividend", "factor": 1.0001}, "dividend_raises_price"),
        ({"kind": "dividend", "factor": -0.1}, "factor_not_positive"),
        ({"kind": "rename", "factor": None}, "rename_without_target"),
        ({"kind": "rename", "factor": None, "to": "US:AAA"}, "rename_without_target"),
        ({"kind": "rename", "to": "US:BBB"}, "rename_with_factor"),
        ({"kind": "rename", "factor": None, "to": "BBB"}, "to_malformed"),
        ({"kind": "merger"}, "kind_not_allowed"),
        ({"date": None}, "date_not_known"),
    ],
)
def test_an_action_nobody_can_apply_leaves_with_its_reason(row: dict[str, Any], rule: str) -> None:
    landed = sent({"symbol": "US:ZZZ"}, row)
    done = judged(landed)
    assert done.valid["row"].to_list() == [0]
    assert done.exclusions.select("rule", "row").rows() == [(rule, 1)]
    assert judged(landed, as_of="2024-12-31").exclusions.select("rule", "row").rows() == [(rule, 1)]


@pytest.mark.parametrize(
    ("kind", "factor"), [("split", 1e-4), ("split", 1e4), ("dividend", 1.0), ("dividend", 1e-4), ("split", 1.0)]
)
def test_the_bounds_themselves_are_kept(kind: str, factor: float) -> None:
    assert judged(sent({"kind": kind, "factor": factor})).valid.height == 1


def test_the_last_word_on_an_action_counts_and_the_others_say_why_they_left() -> None:
    noon = datetime(2024, 6, 11, 12, tzinfo=UTC)
    landed = sent({"factor": 0.25, "known_at": noon}, {}, {}, {"factor": 0.2}, {"factor": 0.25})
    done = judged(landed)
    assert done.valid["row"].to_list() == [0]
    assert done.exclusions.select("rule", "row").rows() == [
        ("restated_action", 1),
        ("restated_action", 2),
        ("restated_action", 3),
        ("duplicate_action", 4),
    ]
    assert done.exclusions["detail"].unique().to_list() == ["row 0 tells of the same action and arrived later"]


def test_a_broken_last_word_does_not_silence_a_sound_one() -> None:
    done = judged(sent({}, {"factor": None}))
    assert done.valid["row"].to_list() == [0]
    assert done.excluded == {"factor_missing": 1}


def test_a_second_look_excludes_nothing_more_and_every_row_is_somewhere() -> None:
    landed = sent({}, {"factor": 0.4}, {"kind": "dividend", "factor": 2.0}, {"symbol": "US:B"}, {"symbol": "B"})
    done = judged(landed)
    assert sorted([*done.valid["row"], *done.exclusions["row"]]) == landed["row"].to_list()
    assert judged(done.valid).exclusions.is_empty()


def test_the_order_of_rows_does_not_matter() -> None:
    noon = datetime(2024, 6, 11, 12, tzinfo=UTC)
    landed = sent({}, {"factor": 0.4}, {"factor": 0.3, "known_at": noon}, {"symbol": "US:B"}, {"kind": "dividend"})
    one, other = judged(landed), judged(landed.sample(fraction=1.0, shuffle=True, seed=5))
    assert one.valid.equals(other.valid)
    assert one.exclusions.sort("row", "rule").equals(other.exclusions.sort("row", "rule"))


def test_an_action_without_a_stamp_is_known_from_the_close_of_its_ex_date() -> None:
    assert known(sent({}), "2024-06-10T19:59:59") == []
    assert known(sent({}), "2024-06-10T20:00:00") == [0]
    assert known(sent({}), "2024-06-09") == []
    assert known(sent({}), None) == [0]


def test_a_half_day_closes_earlier_and_a_day_without_session_ends_at_midnight() -> None:
    half = sent({"date": date(2024, 7, 3)})
    assert known(half, "2024-07-03T16:59:59") == []
    assert known(half, "2024-07-03T17:00:00") == [0]
    saturday = sent({"date": date(2024, 6, 8)})
    assert known(saturday, "2024-06-08") == []
    assert known(saturday, "2024-06-09T00:00:00") == [0]


def test_a_stamp_says_when_an_action_was_known_before_or_after_its_ex_date() -> None:
    announced = sent({"known_at": datetime(2024, 5, 1, tzinfo=UTC)})
    assert known(announced, "2024-04-30T23:59:59") == []
    assert known(announced, "2024-05-01T00:00:00") == [0]
    told_late = sent({"known_at": datetime(2024, 9, 1, tzinfo=UTC)})
    assert known(told_late, "2024-08-31") == []
    assert known(told_late, "2024-09-01") == [0]


def test_a_correction_counts_from_the_moment_it_was_known() -> None:
    landed = sent({}, {"factor": 0.25, "known_at": datetime(2024, 9, 1, tzinfo=UTC)})
    assert known(landed, "2024-08-31") == [0]
    assert known(landed, "2024-09-01") == [1]


def test_an_earlier_run_sees_no_trace_of_later_actions() -> None:
    landed = sent(
        {}, {"date": date(2024, 9, 3)}, {"date": date(2050, 1, 3), "factor": None}, {"date": date(2099, 1, 1)}
    )
    early = judged(landed, as_of="2024-06-30")
    assert early.valid.equals(judged(landed.head(1), as_of="2024-06-30").valid)
    assert early.exclusions.is_empty()


def test_an_action_dated_far_ahead_is_no_question_to_the_calendar() -> None:
    landed = sent({"date": date(2100, 12, 31)}, {})
    assert known(landed, "2024-12-31", "XHKG") == [1]
    assert known(landed, None, "XHKG") == [0, 1]

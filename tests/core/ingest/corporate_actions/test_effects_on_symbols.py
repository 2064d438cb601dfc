from datetime import date, timedelta

import numpy as np
import polars as pl

from quant_core.ingest.corporate_actions.effects import follow_renames, next_events, owners
from quant_core.market.contracts.ingest import Actions

Row = tuple[str, int]


def day(k: int) -> date:
    return date(2024, 1, 1) + timedelta(days=k)


def table(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(
        [(day(k), symbol, float(k)) for symbol, k in rows],
        schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64},
        orient="row",
    )


def changes(*rows: tuple[str, int, str]) -> pl.DataFrame:
    whole = [
        dict.fromkeys(Actions.dtypes) | {"row": i, "symbol": old, "date": day(k), "kind": "rename", "to": new}
        for i, (old, k, new) in enumerate(rows)
    ]
    return pl.DataFrame(whole, schema=Actions.dtypes)


def series(rows: pl.DataFrame, actions: pl.DataFrame) -> dict[str, list[int]]:
    kept = follow_renames(rows, actions).valid
    grouped = kept.select("symbol", k=pl.col("close").cast(pl.Int64)).group_by("symbol", maintain_order=True).agg("k")
    return dict(grouped.iter_rows())


def test_a_renamed_asset_has_one_series() -> None:
    rows = table(("A", 0), ("B", 2), ("X", 0), ("A", 1), ("B", 3))
    done = follow_renames(rows, changes(("A", 2, "B")))
    assert done.valid["symbol"].to_list() == ["B", "B", "X", "B", "B"]
    assert done.valid.drop("symbol").equals(rows.drop("symbol"))
    assert done.exclusions.is_empty()


def test_renames_are_followed_along_their_chain() -> None:
    rows = table(("A", 0), ("B", 2), ("C", 4))
    assert series(rows, changes(("B", 4, "C"), ("A", 2, "B"))) == {"C": [0, 2, 4]}
    assert series(rows, changes(("A", 2, "B"))) == {"B": [0, 2], "C": [4]}


def test_before_it_is_known_or_has_happened_the_old_symbol_stands() -> None:
    rows = table(("A", 0), ("A", 1))
    assert series(rows, changes()) == {"A": [0, 1]}
    assert series(rows, changes(("A", 2, "B"))) == {"A": [0, 1]}
    assert series(rows.clear(), changes(("A", 2, "B"))) == {}


def test_a_ticker_given_up_may_be_taken_by_another_asset() -> None:
    rows = table(("A", 0), ("B", 2), ("A", 2), ("A", 3), ("B", 3))
    assert series(rows, changes(("A", 2, "B"))) == {"B": [0, 2, 3], "A": [2, 3]}


def test_two_assets_may_swap_tickers_on_one_day() -> None:
    rows = table(("A", 0), ("B", 0), ("A", 2), ("B", 2))
    done = follow_renames(rows, changes(("A", 1, "B"), ("B", 1, "A")))
    assert done.valid["symbol"].to_list() == ["B", "A", "A", "B"]
    assert done.exclusions.is_empty()


def test_the_asset_that_held_the_ticker_before_and_was_renamed_itself_goes_its_own_way() -> None:
    rows = table(("FB", 0), ("META", 0), ("METV", 5), ("FB", 5), ("META", 9))
    assert series(rows, changes(("META", 4, "METV"), ("FB", 8, "META"))) == {"META": [0, 5, 9], "METV": [0, 5]}


def test_rows_in_the_way_of_a_series_moved_in_leave_with_their_reason() -> None:
    rows = table(("FB", 0), ("META", 0), ("META", 3), ("FB", 5), ("META", 9))
    done = follow_renames(rows, changes(("FB", 8, "META")))
    assert series(rows, changes(("FB", 8, "META"))) == {"META": [0, 5, 9]}
    assert done.exclusions.select("rule", "row", "symbol", "date").rows() == [
        ("precedes_rename", 0, "META", day(0)),
        ("precedes_rename", 1, "META", day(3)),
    ]
    numbered = follow_renames(rows.with_row_index("row"), changes(("FB", 8, "META")))
    assert numbered.exclusions["row"].to_list() == [1, 2]
    assert numbered.valid.height + numbered.exclusions.height == rows.height


def test_a_history_told_under_the_new_symbol_loses_nothing() -> None:
    rows = table(("META", 0), ("META", 3), ("META", 9))
    done = follow_renames(rows, changes(("FB", 8, "META")))
    assert done.valid.equals(rows)
    assert done.exclusions.is_empty()


def test_what_has_been_renamed_is_not_renamed_again() -> None:
    rows = table(("FB", 0), ("META", 0), ("META", 3), ("FB", 5), ("META", 9), ("A", 1), ("B", 9))
    told = changes(("FB", 8, "META"), ("A", 2, "B"))
    once = follow_renames(rows, told).valid
    again = follow_renames(once, told)
    assert again.valid.equals(once)
    assert again.exclusions.is_empty()


def test_a_loop_of_renames_ends() -> None:
    rows = table(("A", 0), ("B", 2), ("A", 4))
    assert series(rows, changes(("A", 1, "B"), ("B", 3, "A"))) == {"A": [0, 2, 4]}
    assert series(table(("A", 0), ("A", 5)), changes(("A", 1, "A"))) == {"A": [0, 5]}


def test_rows_and_actions_of_one_asset_have_one_owner() -> None:
    rows = table(("FB", 0), ("META", 0), ("FB", 5), ("META", 9))
    told = changes(("FB", 8, "META"))
    splits = pl.concat(
        [
            told,
            table(("FB", 3), ("FB", 8), ("META", 8), ("META", 9), ("META", 3)).select(
                row=pl.lit(9, pl.Int64),
                date="date",
                symbol="symbol",
                kind=pl.lit("split"),
                factor=pl.lit(0.5),
                to=pl.lit(None, pl.String),
                known_at=pl.lit(None, Actions.dtypes["known_at"]),
            ),
        ]
    )
    of_rows, of_actions = owners(rows, splits)
    assert of_rows.to_list() == ["META", "META until 2024-01-09", "META", "META"]
    assert of_actions.to_list()[1:] == ["META", "META", "META", "META", "META until 2024-01-09"]


def test_the_next_event_is_the_first_one_after_the_day() -> None:
    events = table(("A", 2), ("A", 2), ("A", 5), ("C", 1))
    rows = table(("C", 0), ("A", 1), ("A", 2), ("A", 5), ("B", 0), ("C", 1)).vstack(
        pl.DataFrame({"date": [None, day(0)], "symbol": ["A", None], "close": [0.0, 0.0]}, schema=events.schema)
    )
    assert next_events(rows, events).tolist() == [3, 0, 2, -1, -1, -1, -1, -1]
    assert next_events(rows, events.clear()).tolist() == [-1] * 8
    assert next_events(rows.clear(), events).dtype == np.int64


def test_the_next_event_is_found_as_by_looking_at_each() -> None:
    rng = np.random.default_rng(8)

    def drawn(size: int) -> pl.DataFrame:
        return table(*(("ABCDE"[rng.integers(5)], int(rng.integers(-30_000, 30_000))) for _ in range(size)))

    rows, events = drawn(200), drawn(40).sort("symbol", "date")
    wanted = [
        next((i for i, (when, whose, _) in enumerate(events.iter_rows()) if whose == symbol and when > at), -1)
        for at, symbol, _ in rows.iter_rows()
    ]
    assert next_events(rows, events).tolist() == wanted

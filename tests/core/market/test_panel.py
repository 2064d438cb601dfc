from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from quant_core.errors import PanelError
from quant_core.market.panel import Panel, axes_of, panels_of, table_of
from quant_core.market.universe import universe_mask

D = [date(2024, 1, d) for d in range(1, 5)]
TABLE = pl.DataFrame(
    {
        "date": [D[1], D[0], D[3], D[0]],
        "symbol": ["US:B", "US:A", "US:A", "US:B"],
        "close": [4.0, 1.0, 3.0, None],
    }
)


def test_a_table_becomes_a_matrix_with_dates_down_and_symbols_across() -> None:
    panel = panels_of(TABLE, ["close"])["close"]
    assert panel.symbols == ("US:A", "US:B")
    assert panel.dates.to_list() == [D[0], D[1], D[3]]
    np.testing.assert_array_equal(panel.values, [[1.0, np.nan], [np.nan, 4.0], [3.0, np.nan]])
    assert panel.values.flags.c_contiguous


def test_gathering_gives_back_the_rows_with_null_for_unknown() -> None:
    axes = axes_of(TABLE)
    assert axes.gather(axes.panel(TABLE["close"]), "close").to_list() == TABLE["close"].to_list()


def test_melting_skips_cells_nothing_is_known_of() -> None:
    table = table_of(panels_of(TABLE, ["close"]))
    assert table.rows() == [(D[0], "US:A", 1.0), (D[1], "US:B", 4.0), (D[3], "US:A", 3.0)]


def test_the_order_of_rows_does_not_matter() -> None:
    one, other = (panels_of(t, ["close"])["close"] for t in (TABLE, TABLE.reverse()))
    np.testing.assert_array_equal(one.values, other.values)


def test_intraday_stamps_are_dates_too() -> None:
    stamps = pl.Series("date", [datetime(2024, 1, 1, h, tzinfo=UTC) for h in (3, 1, 2)], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"date": stamps, "symbol": ["X:A"] * 3, "close": [3.0, 1.0, 2.0]})
    assert panels_of(frame, ["close"])["close"].values[:, 0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("frame", "given", "said"),
    [
        (pl.concat([TABLE, TABLE[:1]]), {}, "comes twice"),
        (TABLE.with_columns(symbol=None), {}, "without date or symbol"),
        (TABLE, {"symbols": ["US:A"]}, "symbols that are not among"),
        (TABLE, {"dates": pl.Series(D[:2])}, "dates that are not among"),
    ],
)
def test_a_row_without_its_own_place_is_an_error(frame: pl.DataFrame, given: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(PanelError, match=said):
        axes_of(frame, **given)


def test_a_panel_refuses_other_shapes_and_types() -> None:
    with pytest.raises(PanelError):
        Panel(np.zeros((2, 1), dtype=np.float32), pl.Series(D[:2]), ("US:A",))
    with pytest.raises(PanelError):
        Panel(np.zeros((2, 2)), pl.Series(D[:2]), ("US:A",))


def test_membership_includes_both_ends_and_open_intervals() -> None:
    universe = pl.DataFrame(
        {
            "symbol": ["US:A", "US:A", "US:B", "US:Z"],
            "start": [D[0], D[2], D[1], D[0]],
            "end": [D[1], None, D[2], None],
            "is_eligible": [False, True, True, True],
            "reason": ["short_history", "member", "member", "member"],
        }
    )
    mask = universe_mask(universe, pl.Series(D), ["US:A", "US:B", "US:C"])
    assert mask[:, 0].tolist() == [False, False, True, True]
    assert mask[:, 1].tolist() == [False, True, True, False]
    assert not mask[:, 2].any()

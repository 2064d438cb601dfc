"""Tables as CSV text that a spreadsheet opens as data, never as formulas."""

from __future__ import annotations

import polars as pl

_STARTS_A_FORMULA = r"^([=+\-@\t\r])"


def csv_text(frame: pl.DataFrame) -> str:
    """Return `frame` as CSV: text is quoted, and text a spreadsheet would compute gets a leading apostrophe."""
    guarded = pl.col(pl.String).str.replace(_STARTS_A_FORMULA, "'${1}")
    return frame.with_columns(guarded).write_csv(quote_style="non_numeric")

import csv
import io

import polars as pl
import pytest

from quant_core.report.spreadsheet import csv_text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_a_spreadsheet_would_compute_gets_an_apostrophe(start):
    rows = list(csv.reader(io.StringIO(csv_text(pl.DataFrame({"symbol": [f"{start}cmd:A1"]})), newline="")))
    assert rows == [["symbol"], [f"'{start}cmd:A1"]]


def test_numbers_and_other_text_stay_as_they_are():
    frame = pl.DataFrame({"symbol": ["US:A-B", 'US:"Q",x'], "held": [-1.5, 0.1]})
    text = csv_text(frame)
    assert text.splitlines()[1] == '"US:A-B",-1.5'
    assert pl.read_csv(io.StringIO(text)).equals(frame)

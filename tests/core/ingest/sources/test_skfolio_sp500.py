import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import SourceError
from quant_core.graph.stage import NoParams
from quant_core.ingest.sources import skfolio_sp500 as module
from quant_core.market.sleeves import Sleeve
from quant_core.settings import CHECKOUT


def test_twenty_stocks_from_1990_to_2022_are_read_and_conserved(ingest_source: Any) -> None:
    done = ingest_source("skfolio_sp500", "XNYS")
    assert done.raw.height == 20 * 8313
    assert done.bars["symbol"].n_unique() == 20
    assert (done.bars["date"].min(), done.bars["date"].max()) == (date(1990, 1, 2), date(2022, 12, 28))
    apple = done.bars.filter(pl.col("symbol") == "US:AAPL").sort("date")["close"]
    assert (apple[0], apple[-1]) == (0.264, 125.674)
    assert set(done.excluded()) == {"stalled"}
    assert done.lives.filter(pl.col("event") == "death").is_empty()


def test_reading_it_does_not_import_skfolio() -> None:
    code = (
        "import sys; from quant_core.ingest.sources.skfolio_sp500 import skfolio_sp500; "
        "from quant_core.graph.stage import NoParams; from quant_core.market.sleeves import Sleeve; "
        "rows = skfolio_sp500(NoParams(), Sleeve(name='x', calendar='24/7')); "
        "print(rows.height, sorted({'skfolio', 'numba', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.stdout.strip() == "166260 []", done.stderr


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="pip install skfolio"):
        module.skfolio_sp500(NoParams(), Sleeve(name="x", calendar="XNYS"))


def test_absent_cells_at_the_ends_are_no_rows_and_those_between_are_sent_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("Date,A,B\n2024-01-02,1,\n2024-01-03,,2\n2024-01-04,3,4\n2024-01-05,4,\n")
    monkeypatch.setattr(module, "_dataset", lambda: path)
    rows = module.skfolio_sp500(NoParams(), Sleeve(name="x", calendar="XNYS"))
    assert rows.select("symbol", pl.col("date").dt.day(), "close").rows() == [
        ("US:A", 2, 1.0), ("US:A", 3, None), ("US:A", 4, 3.0), ("US:A", 5, 4.0), ("US:B", 3, 2.0), ("US:B", 4, 4.0)
    ]  # fmt: skip

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from quant_core.errors import SourceError
from quant_core.ingest.reading.tabular import TableParams, read_table
from quant_core.settings import CHECKOUT

KINDS = {
    "gzip": "SourceError",
    "zip": "SourceError",
    "csv": "SourceError",
    "factors": "SourceError",
    "manifest": "IntegrityError",
    "variable": "ConfigError",
    "toml": "ConfigError",
}


def test_every_bomb_ends_in_a_typed_error_within_100_mb(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.core.bombs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    *ended, over = [json.loads(line) for line in done.stdout.splitlines()]
    assert over == ["", "over", 0.0], done.stderr
    assert len(ended) >= 38
    wrong = {
        name: outcome
        for name, outcome, _ in ended
        if outcome != KINDS.get(name.split()[0]) and outcome not in ("PayloadError", "BoundsError")
    }
    assert wrong == {}


def test_a_parquet_file_of_one_value_without_end_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    rows = pl.select(close=pl.repeat(1.0, 5_000_000)).with_columns(date=pl.lit("2024-01-01"), symbol=pl.lit("X:A"))
    rows.write_parquet(path)
    assert path.stat().st_size < 500_000
    with pytest.raises(SourceError, match=r"bars\.parquet cannot be read: its 5000000 rows unpack"):
        read_table(path, TableParams())

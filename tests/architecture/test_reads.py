import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import QuantError, SourceError
from quant_core.features.files import write_features
from quant_core.graph.stage import NoParams
from quant_core.ingest.corporate_actions.factor_file import read_factors
from quant_core.ingest.reading.tabular import TableParams, read_table
from quant_core.ingest.sources.skfolio_sp500 import skfolio_sp500
from quant_core.market.sleeves import Sleeve
from quant_core.report.holdings import read_holdings
from quant_core.settings import CHECKOUT

READERS = {"read_parquet", "read_parquet_schema", "scan_parquet", "read_csv", "scan_csv", "read_ipc", "read_ipc_stream"}
# Called only by the other, which catches for it.
CAUGHT_BY = {"quant_core/ingest/reading/delimited.py": "quant_core/ingest/reading/tabular.py"}
# Returns a scan of files it wrote itself; whoever collects it reads them.
LAZY = {"quant_core/features/files.py"}


def reads(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in READERS and isinstance(node.value, ast.Name)
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_whoever_reads_a_file_with_polars_catches_its_panics_which_are_no_exceptions_of_its_tree() -> None:
    assert not issubclass(pl.exceptions.PanicException, Exception | pl.exceptions.PolarsError)
    readers = [
        str(path.relative_to(CHECKOUT))
        for room in ("quant_core", "quant_assets")
        for path in sorted((CHECKOUT / room).rglob("*.py"))
        if reads(path)
    ]
    assert len(readers) >= 8
    for reader in sorted({*readers} - LAZY):
        assert "PanicException" in (CHECKOUT / CAUGHT_BY.get(reader, reader)).read_text(), reader


def table_of(path: Path) -> Any:
    return read_table(path, TableParams())


def stocks_of(path: Path) -> Any:
    (batch,) = skfolio_sp500.batches(NoParams(), Sleeve(name="x", calendar="XNYS"), None)  # type: ignore[arg-type]
    return batch


def features_of(path: Path) -> Any:
    return list(write_features(path, path.parent / "out", calendar="24/7", families=["tail"]))


CALLS: list[tuple[Callable[[Path], Any], str, str]] = [
    (table_of, "bars.csv", "read_csv"),
    (read_factors, "factors.csv", "read_csv"),
    (lambda path: read_holdings(path, ["A"]), "held.csv", "read_csv"),
    (stocks_of, "unused.csv", "read_csv"),
    (features_of, "bars.parquet", "scan_parquet"),
]


@pytest.mark.parametrize(("act", "name", "reader"), CALLS)
def test_a_panic_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], Any], name: str, reader: str
) -> None:
    def panics(*given: object, **named: object) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    path = tmp_path / name
    path.write_text("date,symbol,close\n2024-01-01,A,1\n")
    monkeypatch.setattr(pl, reader, panics)
    with pytest.raises(SourceError, match="index out of bounds") as caught:
        act(path)
    assert isinstance(caught.value, QuantError)

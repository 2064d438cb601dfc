from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quant_core.errors import ContractError, SourceError, UnknownNameError, UsageError
from quant_core.features import catalogue, compute_features, files
from quant_core.features.catalogue import feature
from quant_core.features.files import read_features, write_features
from quant_core.features.steps import FeatureCatalog
from tests.markets import market

# The first call of each kernel compiles it.
pytestmark = pytest.mark.timeout(900)
FAMILIES = sorted({entry.family for entry in catalogue().values()})


def test_every_family_is_written_as_it_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = market(symbols=70)
    monkeypatch.setattr(files, "FILE_BYTES", 8 * 20 * bars.height)
    monkeypatch.setattr(files, "PART_BYTES", 8 * 10 * bars.height)
    monkeypatch.setattr(files, "ROW_GROUP", 5_000)
    found = list(write_features(bars, tmp_path, families=FAMILIES, calendar="XNYS"))
    assert [written.family for written in found] == FAMILIES
    for written in found:
        expected = compute_features(bars, families=[written.family], calendar="XNYS")
        assert read_features(tmp_path, written.family).collect().equals(expected)
        assert (written.rows, written.features) == (bars.height, expected.width - 2)
        assert len(written.files) == -(-written.features // 20)
        assert written.bytes == sum(path.stat().st_size for path in tmp_path.glob(f"{written.family}/*")) > 0


def test_bars_may_stand_in_a_file(tmp_path: Path) -> None:
    bars = market().sample(fraction=1.0, shuffle=True, seed=1).with_columns(flags=pl.lit("a"))
    bars.write_parquet(tmp_path / "bars.parquet")
    settings = {"calendar": "24/7", "volume_unit": "value"}
    found = list(
        write_features(tmp_path / "bars.parquet", tmp_path / "out", families=["tail", "liquidity"], **settings)
    )
    assert [written.family for written in found] == ["liquidity", "tail"]
    for written in found:
        expected = compute_features(market(), families=[written.family], **settings)
        assert read_features(tmp_path / "out", written.family).collect().equals(expected)


def test_a_file_that_holds_no_bars_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.parquet").write_bytes(b"no table")
    for name in ("bars", "others"):
        with pytest.raises(SourceError, match=rf"bars .*{name}\.parquet cannot be read"):
            compute_features(tmp_path / f"{name}.parquet", ["momentum"], calendar="24/7")
    pl.DataFrame({"date": [1]}).write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(ContractError, match="lack the column 'symbol'"):
        compute_features(tmp_path / "bars.parquet", ["momentum"], calendar="24/7")


HEIGHTS: list[int] = []


@feature(family="spy", unit="none", warmup=0)
def seen(close: np.ndarray) -> np.ndarray:
    """Close."""
    HEIGHTS.append(close.shape[1])
    return close


def test_symbols_that_do_not_meet_come_in_parts_of_whole_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 8 * 700 * 40)
    settings = {"calendar": "24/7", "among": FeatureCatalog([seen])}
    list(write_features(market(symbols=70), tmp_path, **settings))
    assert HEIGHTS == [32, 32, 6]
    assert read_features(tmp_path, "spy").collect().equals(compute_features(market(symbols=70), **settings))


def test_no_bars_give_an_empty_table(tmp_path: Path) -> None:
    for family in ("tail", "alpha101"):
        list(write_features(market().clear(), tmp_path, families=[family], calendar="24/7"))
        expected = compute_features(market().clear(), families=[family], calendar="24/7")
        assert read_features(tmp_path, family).collect().equals(expected)


def test_nothing_is_written_over_and_nothing_read_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no features of 'tail' in"):
        read_features(tmp_path, "tail")
    (tmp_path / "tail").mkdir()
    with pytest.raises(UsageError, match="tail exists already"):
        list(write_features(market(), tmp_path, families=["trend", "tail"], calendar="24/7"))
    with pytest.raises(UnknownNameError, match="unknown feature family 'tial'"):
        list(write_features(market(), tmp_path, families=["tial"], calendar="24/7"))
    assert [path.name for path in tmp_path.iterdir()] == ["tail"]

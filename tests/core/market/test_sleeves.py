from pathlib import Path

import pytest

from quant_core.errors import ConfigError, UnknownNameError
from quant_core.market.sleeves import find_sleeve, read_sleeve
from quant_core.settings import CHECKOUT

MINE = """
[sleeve]
name = "mine"
calendar = "24/7"
[source]
kind = "parquet"
path = "bars.parquet"
[synthesis]
floor = 15
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_sleeve_file_is_read_whole(tmp_path: Path) -> None:
    file = read_sleeve(written(tmp_path, MINE), name="mine")
    assert file.sleeve.market.periods_per_year == 365
    assert file.source == {"kind": "parquet", "path": str(tmp_path / "bars.parquet")}
    assert file.rooms == {"synthesis": {"floor": 15}}
    assert len(file.sha256) == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml = = 1", "not TOML"),
        ("[source]\nkind='parquet'", r"lacks the table \[sleeve\]"),
        ("[sleeve]\nname='mine'\ncalendar='24/7'", r"lacks the table \[source\]"),
        (MINE.replace("24/7", "XNYZ"), "Did you mean"),
        (MINE.replace('calendar = "24/7"', 'calendar = "24/7"\ncolour = "red"'), "colour"),
        (MINE.replace('"mine"', '"../mine"'), "name"),
        (MINE.replace('calendar = "24/7"', 'calendar = "24/7"\nadjustment = "raw"'), r"\[source\] factors = "),
        (MINE.replace('calendar = "24/7"', 'calendar = "24/7"\nadjustment = "none"'), "adjustment"),
        ("loose = 1\n" + MINE, "outside a table"),
    ],
)
def test_a_wrong_sleeve_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_sleeve(written(tmp_path, text))


def test_a_sleeve_must_bear_the_name_it_is_asked_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="named 'mine', not 'yours'"):
        read_sleeve(written(tmp_path, MINE), name="yours")


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_sleeve(tmp_path / "none.toml")
    written(tmp_path, MINE)
    with pytest.raises(UnknownNameError, match="Did you mean mine"):
        find_sleeve("mime", tmp_path)


def test_an_adjustment_that_is_not_declared_is_not_assumed(tmp_path: Path) -> None:
    assert read_sleeve(written(tmp_path, MINE)).sleeve.adjustment is None
    declared = MINE.replace('calendar = "24/7"', 'calendar = "24/7"\nadjustment = "split"')
    assert read_sleeve(written(tmp_path, declared)).sleeve.adjustment == "split"


def test_raw_prices_of_a_file_come_with_a_file_of_factors(tmp_path: Path) -> None:
    raw = MINE.replace('calendar = "24/7"', 'calendar = "24/7"\nadjustment = "raw"')
    file = read_sleeve(written(tmp_path, raw.replace('"bars.parquet"', '"bars.parquet"\nfactors = "factors.csv"')))
    assert file.sleeve.adjustment == "raw"
    assert file.source["factors"] == str(tmp_path / "factors.csv")


def test_a_source_that_reads_no_file_may_tell_of_splits_itself(tmp_path: Path) -> None:
    raw = MINE.replace('calendar = "24/7"', 'calendar = "24/7"\nadjustment = "raw"')
    assert read_sleeve(written(tmp_path, raw.replace('path = "bars.parquet"\n', ""))).source == {"kind": "parquet"}


@pytest.mark.parametrize("name", ["us_equities", "crypto_sim"])
def test_the_sleeves_that_come_with_the_project_are_valid(name: str) -> None:
    assert find_sleeve(name, CHECKOUT / "config" / "sleeves").sleeve.name == name

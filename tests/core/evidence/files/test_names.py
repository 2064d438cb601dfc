import string
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import UsageError
from quant_core.evidence.files.names import MAX_BYTES, decode_name, encode_name
from quant_core.evidence.runs.manifest import manifest_path
from quant_core.evidence.store.store import Store

SAFE = set(string.ascii_lowercase + string.digits + "_-.%")
HOSTILE = [
    *(
        ".",
        "..",
        "...",
        "../../escape",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:\\x",
        "~",
        "~root",
        "-rf",
        "--",
        ".git",
        ".hidden",
    ),
    *("CON", "con", "con.txt", "NUL", "nul.tar.gz", "com1", "LPT9", "aux.", "prn", "COM1.a.b", "console", "com"),
    *(
        "a.",
        "a..",
        "a ",
        " a",
        "a\n",
        "\0",
        "a\0b",
        "\t",
        "\x7f",
        "$HOME",
        "`id`",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "a:b",
        "a|b",
    ),
    *("%", "%2e%2e", "%41", "%-", "é", "e\u0301", "日本", "\u202egnp", "🙂", "ß", "İ", "ı", "\ufeff", "\u2044"),
    *("a", "A", "aa", "aA", "Aa", "AA", "us_equities", "US_EQUITIES", "BINANCE:BTCUSDT", "BRK.B", "-", "_"),
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_name_comes_back_and_is_one_harmless_part(part, tmp_path):
    name = encode_name(part)
    assert decode_name(name) == part
    assert set(name) <= SAFE
    assert not name.startswith((".", "-"))
    assert not name.endswith(".")
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()


def test_hostile_names_stay_apart_on_a_disk_that_ignores_case():
    assert len({encode_name(part).casefold() for part in HOSTILE}) == len(HOSTILE)


ANY = st.characters(exclude_categories=["Cs"])
# Twelve characters stand for the longest one, so ten of any kind are never shortened.
SHORT = st.text(ANY, min_size=1, max_size=10) | st.text(string.ascii_lowercase + "._-", min_size=1, max_size=100)


def round_trips(part: str) -> None:
    name = encode_name(part)
    assert set(name) <= SAFE
    assert len(name) <= MAX_BYTES
    assert not name.startswith((".", "-"))
    assert decode_name(name) == part
    assert name == name.casefold()


@settings(max_examples=200, deadline=None)
@given(SHORT)
def test_any_short_text_round_trips(part):
    round_trips(part)


@pytest.mark.faults
@settings(max_examples=10_000, deadline=None)
@given(SHORT)
def test_ten_thousand_texts_round_trip(part):
    round_trips(part)


@settings(max_examples=200, deadline=None)
@given(st.text(ANY, min_size=11, max_size=300), st.text(ANY, min_size=1, max_size=300))
def test_texts_of_any_length_stay_apart_and_none_decodes_to_another(first, second):
    assert (encode_name(first) == encode_name(second)) == (first == second)
    assert len(encode_name(first)) <= MAX_BYTES
    if "%-" not in encode_name(first):
        assert decode_name(encode_name(first)) == first


def test_sixty_hostile_names_of_sleeves_and_runs_write_nothing_outside_and_never_meet(tmp_path):
    home = tmp_path / "home"
    keys = [*HOSTILE, "x" * 4_000, "x" * 4_000 + "y", "X" * 4_000, "../" * 500, "a\n" * 200]
    assert len(set(keys)) >= 60
    store = Store(home)
    frame = pl.DataFrame({"k": [1]})
    refs = [store.write(frame, stage="ingest.bars", sleeve=key, key=["k"]) for key in keys]
    folders = {str((home / ref.path).parent.resolve()).casefold() for ref in refs}
    manifests = {str(manifest_path(home, key).parent.resolve()).casefold() for key in keys}
    assert len(folders) == len(manifests) == len(keys)
    assert {Path(folder).parent for folder in folders} == {Path(str(home.resolve() / "store/ingest/bars").casefold())}
    assert {Path(folder).parent for folder in manifests} == {Path(str(home.resolve() / "runs").casefold())}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in home.iterdir()] == ["store"]
    assert all(store.read(ref).equals(frame) for ref in refs)


def test_long_names_that_share_their_beginning_stay_apart():
    first, second = encode_name("x" * 4_000 + "1"), encode_name("x" * 4_000 + "2")
    assert first != second
    assert max(len(first), len(second)) <= MAX_BYTES
    with pytest.raises(UsageError, match="shortened"):
        decode_name(first)


def test_a_short_name_cannot_pose_as_a_shortened_one():
    long = encode_name("x" * 4_000)
    assert encode_name(long) != long


@pytest.mark.parametrize("part", ["", "\ud800", "a\udfffb"])
def test_a_name_without_utf8_form_is_refused(part):
    with pytest.raises(UsageError):
        encode_name(part)


@pytest.mark.parametrize("name", ["", "..", "A", "%2E", "%61", "con", "a/b", "%ff", "%zz", "a.", "-a"])
def test_what_encoding_cannot_have_made_is_not_decoded(name):
    with pytest.raises(UsageError):
        decode_name(name)

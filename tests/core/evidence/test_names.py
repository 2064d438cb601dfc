import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import UsageError
from quant_core.evidence.names import MAX_BYTES, decoded, encoded

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
    name = encoded(part)
    assert decoded(name) == part
    assert set(name) <= SAFE
    assert not name.startswith((".", "-"))
    assert not name.endswith(".")
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()


def test_hostile_names_stay_apart_on_a_disk_that_ignores_case():
    assert len({encoded(part).casefold() for part in HOSTILE}) == len(HOSTILE)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_short_text_round_trips_or_is_shortened(part):
    name = encoded(part)
    assert set(name) <= SAFE
    assert len(name) <= MAX_BYTES
    assert "%-" in name or decoded(name) == part


def test_long_names_that_share_their_beginning_stay_apart():
    first, second = encoded("x" * 4_000 + "1"), encoded("x" * 4_000 + "2")
    assert first != second
    assert max(len(first), len(second)) <= MAX_BYTES
    with pytest.raises(UsageError, match="shortened"):
        decoded(first)


def test_a_short_name_cannot_pose_as_a_shortened_one():
    long = encoded("x" * 4_000)
    assert encoded(long) != long


@pytest.mark.parametrize("part", ["", "\ud800", "a\udfffb"])
def test_a_name_without_utf8_form_is_refused(part):
    with pytest.raises(UsageError):
        encoded(part)


@pytest.mark.parametrize("name", ["", "..", "A", "%2E", "%61", "con", "a/b", "%ff", "%zz", "a.", "-a"])
def test_what_encoding_cannot_have_made_is_not_decoded(name):
    with pytest.raises(UsageError):
        decoded(name)

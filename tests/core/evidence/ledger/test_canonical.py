import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.errors import UsageError
from quant_core.evidence.ledger.canonical import (
    MAX_DEPTH,
    PayloadError,
    canonical_bytes,
    canonical_object,
    strict_object,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé\n", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text("ab", max_size=2), JSON, max_size=4))
def test_canonical_bytes_are_json_and_read_back_to_the_same_bytes(value):
    raw = canonical_bytes(value)
    assert canonical_bytes(json.loads(raw)) == raw
    assert canonical_bytes(canonical_object(raw)) == raw
    assert canonical_bytes(strict_object(canonical_bytes(value, indented=True))) == raw


def test_numbers_json_cannot_hold_become_strings():
    value = {
        "a": math.nan,
        "b": math.inf,
        "c": -math.inf,
        "d": 2**53,
        "e": 2**53 + 1,
        "f": -(2**64),
        "g": 0.1,
        "h": True,
    }
    assert canonical_bytes(value) == (
        b'{"a":"float:nan","b":"float:inf","c":"float:-inf","d":9007199254740992,'
        b'"e":"9007199254740993","f":"-18446744073709551616","g":0.1,"h":true}'
    )


def test_a_value_without_json_form_is_refused():
    itself: list[object] = []
    itself.append(itself)
    for value in ({1: 2}, {"a": {1, 2}}, {"a": b"x"}, {"a": "\ud800"}, {"\ud800": 1}, {"a": object()}, {"a": itself}):
        with pytest.raises(UsageError):
            canonical_bytes(value)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":{"b":1,"b":2}}', "duplicate_key"),
        (b'{"a": 1}', "not_canonical"),
        (b'{"b":1,"a":1}', "not_canonical"),
        (b'{"a":1.0e0}', "not_canonical"),
        (b'{"a":1e400}', "not_canonical"),
        (b'{"a":9007199254740993}', "not_canonical"),
        (b'{"a":"\\u0041"}', "not_canonical"),
        (b'{"a":"\\ud800"}', "not_canonical"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":1', "not_json"),
        (b"[1]", "not_json"),
        (b"\xff", "not_json"),
        (b'{"a":' + b"[" * 30_000, "not_json"),
    ],
)
def test_other_bytes_than_canonical_ones_are_refused_by_name(raw, kind):
    with pytest.raises(PayloadError) as caught:
        canonical_object(raw)
    assert caught.value.kind == kind


def test_data_nested_to_the_limit_is_read_back():
    value: object = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert canonical_bytes(canonical_object(canonical_bytes({"a": value}))) == canonical_bytes({"a": value})


# The content hashes of the original repository were equal for each of these pairs.
COLLISIONS = [
    (1e-9, 4e-9),
    (1, 1.0),
    ("1.00000000", 1),
    (["a|b", "c"], ["a", "b|c"]),
    ("2024-01-01T00:00:00.100000Z", "2024-01-01T00:00:00.900000Z"),
    ({"rows": [], "columns": ["a"]}, {"rows": [], "columns": ["b"]}),
    (math.nan, None),
    (math.nan, math.inf),
    (0.0, -0.0),
    (True, 1),
]


@pytest.mark.parametrize(("one", "other"), COLLISIONS)
def test_values_that_differ_never_share_their_bytes(one, other):
    assert canonical_bytes({"value": one}) != canonical_bytes({"value": other})
    assert (
        canonical_object(canonical_bytes({"value": one})) != canonical_object(canonical_bytes({"value": other}))
        or one == other
    )


def test_what_cannot_be_hashed_exactly_is_an_error_and_never_its_shape():
    for value in (object(), {1, 2}, b"bytes", 1j):
        with pytest.raises(UsageError):
            canonical_bytes({"value": value})

"""Canonical JSON: one byte string for each value. Fields of records and manifests: chain.py, runs/manifest.py."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from quant_core.bounds import MAX_DEPTH, is_deeper
from quant_core.errors import EvidenceError, UsageError

# Beyond this a double, and with it most JSON readers, cannot hold every integer.
MAX_EXACT_INT = 2**53
_SURELY_EXACT = 16
# Limits for a document from outside: an empty list takes three characters and seventy bytes of memory.
LARGEST_JSON = 4 << 20
MAX_VALUES = 250_000

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_INDENTED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, indent=2)

PayloadFault = Literal["not_json", "duplicate_key", "not_canonical", "bad_fields", "unknown_format"]


class PayloadError(EvidenceError):
    """Raised when stored JSON is not what this package writes."""

    def __init__(self, kind: PayloadFault, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"{kind}: {detail}")


class BoundsError(PayloadError):
    """Raised when JSON from outside is larger, holds more values or nests deeper than is read."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_json", detail)


def as_json_value(value: object, *, depth: int = 0) -> Any:
    """Return `value` in the form JSON can hold exactly.

    NaN and the infinities become "float:nan", "float:inf" and "float:-inf", an integer beyond 2**53
    its decimal string. A value without a JSON form is an error; nothing is rounded or dropped.
    """
    kind = type(value)
    # Most values have exactly these types; the match below handles the rest.
    if value is None or kind is str or kind is bool:
        return value
    if isinstance(value, float) and kind is float and math.isfinite(value):
        return value
    if depth > MAX_DEPTH:
        raise UsageError(f"data is nested deeper than {MAX_DEPTH} levels (or holds itself). Flatten it.")
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value) if abs(value) <= MAX_EXACT_INT else str(int(value))
        case float():
            return float(value) if math.isfinite(value) else f"float:{float(value)}"
        case Mapping():
            if strangers := [key for key in value if not isinstance(key, str)]:
                raise UsageError(f"JSON keys are strings; got {strangers[0]!r}. Convert it before it is recorded.")
            return {str(key): as_json_value(item, depth=depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [as_json_value(item, depth=depth + 1) for item in value]
    raise UsageError(f"{type(value).__name__} has no JSON form: {value!r:.80}. Convert it before it is recorded.")


def canonical_bytes(value: object, *, indented: bool = False) -> bytes:
    """Return the canonical JSON of `value` as UTF-8: sorted keys, no spaces, only necessary escapes.

    Parameters
    ----------
    value : object
        Mappings with string keys, lists, tuples, strings, numbers, booleans, None.
    indented : bool
        Two spaces a level, for files people open. Same value, same bytes, either way.
    """
    return encode_json(as_json_value(value), indented=indented)


def encode_json(value: object, *, indented: bool = False) -> bytes:
    """Return the JSON text of what `as_json_value` returned, as UTF-8."""
    text = (_INDENTED if indented else _ENCODER).encode(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"text holds a lone surrogate and has no UTF-8 form: {error.object[error.start]!r}."
        ) from error


def strict_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, read as `strict_json` reads."""
    value = strict_json(raw)
    if not isinstance(value, dict):
        raise PayloadError("not_json", f"not an object but {type(value).__name__}")
    return value


def strict_json(raw: bytes) -> Any:
    """Return the JSON in `raw`, whatever its layout; refuse duplicate keys, bare NaN and other non-JSON.

    Raises
    ------
    BoundsError
        Too many bytes or values, or nested too deep: unverified input must not cost memory or time.
    PayloadError
        It is not JSON, or has a duplicate key.
    """
    if len(raw) > LARGEST_JSON:
        raise BoundsError(f"it has {len(raw)} bytes; at most {LARGEST_JSON} are read")
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_VALUES:
        raise BoundsError(f"it has more than {MAX_VALUES} values")
    try:
        value = _OUTSIDE.decode(raw.decode("utf-8"))
    except RecursionError as error:
        raise BoundsError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise PayloadError("not_json", str(error)) from error
    if is_deeper(value):
        raise BoundsError(f"it is nested deeper than {MAX_DEPTH} levels")
    return value


def canonical_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, which must be byte for byte what `canonical_bytes` writes."""
    value = _parse_canonical(raw)
    if value is None:  # the slower decoders run only to name the defect
        _object(raw, _FAST)
        _object(raw, _STRICT)
        raise PayloadError("not_canonical", "white space, key order or number form differs from what is written")
    return value


def _parse_canonical(raw: bytes) -> dict[str, Any] | None:
    """Return the object in `raw`; None unless writing it again gives these bytes, which a duplicate key prevents."""
    try:
        text = raw.decode("utf-8")
        value, end = _FAST.raw_decode(text)
        is_canonical = isinstance(value, dict) and end == len(text) and _ENCODER.encode(value) == text
    except (ValueError, RecursionError):  # it is not JSON, or holds an infinity read from 1e400
        return None
    return value if is_canonical else None


def _object(raw: bytes, decoder: json.JSONDecoder) -> dict[str, Any]:
    try:
        value = decoder.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PayloadError("not_json", str(error)) from error
    if not isinstance(value, dict):
        raise PayloadError("not_json", f"not an object but {type(value).__name__}")
    return value


def _exact_int(text: str) -> int | str:
    if len(text) < _SURELY_EXACT:
        return int(text)
    value = int(text)
    return value if abs(value) <= MAX_EXACT_INT else text


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise PayloadError("duplicate_key", f"key {twice[:80]!r} is listed twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond what a number can hold")
    return value


_FAST = json.JSONDecoder(parse_int=_exact_int, parse_constant=_no_constant)
_STRICT = json.JSONDecoder(parse_int=_exact_int, parse_constant=_no_constant, object_pairs_hook=_distinct)
_OUTSIDE = json.JSONDecoder(
    parse_int=_exact_int, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_distinct
)

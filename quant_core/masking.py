"""Masks secrets in text before it is recorded, and keeps them out of configuration.

Records (ledger, manifests, Dagster, MLflow) are read by more people than may know a password. Where text is
masked is decided at the edges: they alone know the environment.
"""

from __future__ import annotations

import functools
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from quant_core.errors import ConfigError

MASK = "***"
SHORTEST = 6
"""A value with fewer characters is masked inside addresses only: hiding every "1" would hide everything."""

Mask = Callable[[str], str]

_NOUNS = {"key", "keys", "apikey", "token", "tokens", "secret", "secrets", "credential", "credentials"}
_NOUNS |= {"password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pass"}
_LAST = {*_NOUNS, "auth", "authorization", "signature", "sig"}
_ENDS = ("apikey", "password", "passwd", "secret", "token")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_FOLDERS = {"PWD", "OLDPWD"}

_USER = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_QUERY = re.compile(r"(?<=[?&;])([\w.%\[\]-]{1,80})=([^&;#\s'\"<>]+)")
_WORDS_OF_A_CONNECTION = re.compile(r"(?i)\b(password|passwd|pwd)=('[^']*'|[^\s;&'\"<>]+)")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NO_PASSWORD = re.compile(r"(?<=://)(?:[^\s/?#:@]*:)?@")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def mask_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with ``***`` in place of every secret it holds.

    Secrets are the values of environment variables whose names say so (key, token, secret, password, ...), the
    passwords and keys in those that hold an address, each also as it looks quoted, percent-encoded or in base64; and in
    any address `user:password@` and `key=...`.

    Parameters
    ----------
    text : str
    environ : mapping
        The environment; empty: addresses only.
    """
    if not text:
        return text
    for form in _known_forms(frozenset(environ.items())):
        text = text.replace(form, MASK)
    return _without_addresses(text)


def mask_value(value: Any, mask: Mask) -> Any:
    """Return a JSON value with every text in it masked, keys included."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask_value(key, mask): mask_value(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(item, mask) for item in value]
    return value


def is_secret_name(name: str) -> bool:
    """Return whether a key or variable of this name holds a secret: api_key, accessToken, PGPASSWORD."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and (words[-1] in _LAST or words[-1].endswith(_ENDS))


def demand_no_secret(table: Mapping[str, Any], where: str) -> None:
    """Refuse a table of configuration that holds a secret; a reference `${NAME}` is allowed.

    Parameters
    ----------
    table : mapping
        Its own keys are checked by their names, texts at any depth by the addresses in them.
    where : str
        For the message, which never shows the value.

    Raises
    ------
    ConfigError
        A key is called like a secret, or an address brings a user and password or a key.
    """
    named = (
        key
        for key, value in table.items()
        if isinstance(value, str) and is_secret_name(key) and _without_references(value)
    )
    found = next(named, None) or next(_find_secret_addresses(table), None)
    if found is not None:
        raise ConfigError(
            f"{where}: {found} holds a secret, and its value is copied into every manifest. Put it into an "
            "environment variable and write ${NAME} in its place, where the source takes that, such as in base_url."
        )


def fill_variables(text: str, environ: Mapping[str, str]) -> str:
    """Return an address with each `${NAME}` replaced by that environment variable, percent-encoded.

    Raises
    ------
    ConfigError
        A variable is not set.
    """

    def value_of(found: re.Match[str]) -> str:
        value = environ.get(found[1])
        if not value:
            raise ConfigError(f"{text} needs the environment variable {found[1]}, which is not set.")
        return quote(value, safe="")

    return _REFERENCE.sub(value_of, text)


@functools.lru_cache(maxsize=4)
def _known_forms(environ: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    """Return every form of all secrets, longest first; cached, since the environment rarely changes."""
    forms = {form for secret in _secrets(dict(environ)) for form in _forms(secret)}
    return tuple(sorted(forms, key=len, reverse=True))


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        words = {word.lower() for word in _WORD.findall(name)}
        if name not in _FOLDERS and (words & _NOUNS or is_secret_name(name)):
            yield value
            yield value.strip()
        if "://" in value:
            yield from _secrets_of_address(value)
        yield from (found[2].strip("'") for found in _WORDS_OF_A_CONNECTION.finditer(value))


def _secrets_of_address(address: str) -> Iterator[str]:
    # A password may hold a / or # nobody encoded: whatever lies between "://" and the last @ is taken for it.
    user, colon, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    told = [password] if colon else [user] if "/" not in user else []
    try:
        query = urlsplit(address).query
    except ValueError:
        query = ""
    told += [value for name, value in parse_qsl(query) if is_secret_name(name)]
    yield from told
    yield from map(unquote, told)


def _forms(secret: str) -> Iterator[str]:
    """Yield each form a secret may have in a text; nothing for one too short to differ from other text."""
    if len(secret) < SHORTEST:
        return
    raw = secret.encode("utf-8", errors="surrogateescape")
    yield secret
    yield repr(secret)[1:-1]
    for encoded in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield encoded
        yield _ESCAPE.sub(lambda found: found[0].lower(), encoded)
    for encode in (b64encode, urlsafe_b64encode):
        yield from (core for shift in range(3) if len(core := _core(raw, shift, encode)) >= SHORTEST)


def _core(raw: bytes, shift: int, encode: Callable[[bytes], bytes]) -> str:
    """Return the base64 characters that depend on `raw` alone when `shift` bytes (mod 3) precede it."""
    text = encode(b"\0" * shift + raw).decode().rstrip("=")
    return text[(0, 2, 3)[shift] : len(text) - ((shift + len(raw)) % 3 != 0)]


def _without_addresses(text: str) -> str:
    if "://" in text:
        text = _USER.sub(f"{MASK}@", text)
    if "=" not in text:
        return text
    text = _QUERY.sub(lambda found: f"{found[1]}={MASK}" if is_secret_name(found[1]) else found[0], text)
    return _WORDS_OF_A_CONNECTION.sub(lambda found: f"{found[1]}={MASK}", text)


def _without_references(text: str) -> str:
    """Return a text without its references to the environment."""
    return _REFERENCE.sub("", text).strip(": ")


def _find_secret_addresses(value: Any, where: str = "") -> Iterator[str]:
    """Yield the key of each address that holds a secret, in nested tables."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _find_secret_addresses(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _find_secret_addresses(item, where)
    elif isinstance(value, str):
        told = _NO_PASSWORD.sub("", _REFERENCE.sub("", value))
        if _without_addresses(told) != told:
            yield where

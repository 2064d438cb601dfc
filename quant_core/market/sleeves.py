"""Sleeves: a universe with one calendar, one source and one policy, read from one TOML file each.

What the room tables of a file mean is decided by the stages' params (graph/parameters.py).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quant_core.bounds import is_deeper, read_at_most
from quant_core.errors import ConfigError, UnknownNameError
from quant_core.market.calendar import Calendar, calendar
from quant_core.masking import MASK, demand_no_secret, is_secret_name, mask_secrets

_MAX_BYTES = 1 << 20
# What costs a parser of TOML seconds or much memory in a small file: values, names of many parts, long numbers.
_MAX_VALUES = 50_000
_LONG_NAME = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]{0,99}"|'[^'\n]{0,99}')[ \t]{0,9}\.[ \t]{0,9}){32}""")
_LONG_NUMBER = re.compile(r"(?<![\w.])(?:0[xob])?[0-9a-fA-F_.]{1000}")
_PATHS = ("path", "factors")


class Sleeve(BaseModel):
    """The facts of a sleeve that every stage may use."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Equals the sleeve's argument and file.")
    calendar: str = Field(description='"24/7", "24/5" or an exchange_calendars name.')
    format: Literal[1] = Field(default=1, description="Version of the sleeve file format.")
    adjustment: Literal["total", "split", "raw"] | None = Field(
        default=None,
        description="What prices are adjusted for: total (splits and dividends), split; raw: nothing, "
        "the source brings factors; null: not declared.",
    )
    volume_unit: Literal["units", "value"] = Field(default="units", description="Unit of volume: units or value.")
    benchmark: str | None = Field(default=None, description="Symbol; null: equal weight of the eligible universe.")
    sectors: dict[str, str] = Field(default_factory=dict, description="Sector per symbol, where known.")
    description: str = Field(default="", description="One line for people.")

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, name: str) -> str:
        try:
            return calendar(name).name
        except UnknownNameError as error:
            raise ValueError(str(error)) from error

    @property
    def market(self) -> Calendar:
        """The sleeve's calendar."""
        return calendar(self.calendar)


@dataclass(frozen=True)
class SleeveFile:
    """A sleeve as declared in its file.

    Attributes
    ----------
    sleeve : Sleeve
    source : mapping
        The `[source]` table; a relative `path` or `factors` is made absolute against the file.
    rooms : mapping of room to table
        All other tables, untouched.
    sha256 : str
        Of the file's bytes.
    """

    sleeve: Sleeve
    source: Mapping[str, Any]
    rooms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sha256: str = ""


def read_sleeve(path: Path, *, name: str | None = None) -> SleeveFile:
    """Read one sleeve file.

    Parameters
    ----------
    path : Path
    name : str, optional
        The name it must bear.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, is too large or too deep, holds a secret, lacks `[sleeve]` or `[source]`,
        names another sleeve, or declares raw prices of a file without one of factors.
    """
    try:
        content = read_at_most(path, _MAX_BYTES)
        tables = _tables(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"sleeve file {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, too deep, a number too long
        raise ConfigError(f"sleeve file {path} is not TOML: {error}.") from error
    for name_of, table in tables.items():
        demand_no_secret(table if isinstance(table, dict) else {name_of: table}, f"sleeve file {path}, [{name_of}]")
    missing = [table for table in ("sleeve", "source") if not isinstance(tables.get(table), dict)]
    if missing:
        raise ConfigError(f"sleeve file {path} lacks the table [{missing[0]}].")
    try:
        sleeve = Sleeve.model_validate(tables["sleeve"])
    except ValidationError as error:
        raise ConfigError(f"sleeve file {path}, table [sleeve]: {first_fault(error)}.") from error
    if name is not None and sleeve.name != name:
        raise ConfigError(f"sleeve file {path} is named {sleeve.name!r}, not {name!r}.")
    rooms = {room: table for room, table in tables.items() if room not in ("sleeve", "source")}
    loose = [room for room, table in rooms.items() if not isinstance(table, dict)]
    if loose:
        raise ConfigError(f"sleeve file {path}: {loose[0]!r} stands outside a table.")
    # A source that reads no file tells of splits itself, and whether it does is judged when it lands.
    if sleeve.adjustment == "raw" and "path" in tables["source"] and "factors" not in tables["source"]:
        raise ConfigError(
            f'sleeve file {path}: adjustment = "raw" needs the splits and dividends of the prices. Name their file as '
            '[source] factors = "FILE", or adjust the prices and declare "total" or "split".'
        )
    return SleeveFile(sleeve, _anchor_paths(tables["source"], path.parent), rooms, hashlib.sha256(content).hexdigest())


def sleeve_files(folder: Path) -> dict[str, Path]:
    """Return the sleeve files of a folder by name, sorted."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_sleeve(name: str, folder: Path) -> SleeveFile:
    """Read the sleeve called `name` from `folder`.

    Raises
    ------
    UnknownNameError
        No file of that name; lists the near matches.
    """
    known = sleeve_files(folder)
    if name not in known:
        raise UnknownNameError("sleeve", name, known)
    return read_sleeve(known[name], name=name)


def first_fault(error: ValidationError) -> str:
    """Format the first pydantic error as one line."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    said = mask_secrets(str(fault["msg"]), {})
    got = MASK if is_secret_name(where) else mask_secrets(repr(fault.get("input")), {})
    return f"{where}: {said} (got {got})" if where else said


def _tables(text: str) -> dict[str, Any]:
    """Parse TOML within bounds; ValueError if it exceeds them or is not TOML."""
    if text.count("=") + text.count("[") + text.count("{") > _MAX_VALUES:
        raise ValueError(f"it has more than {_MAX_VALUES} values")
    if _LONG_NAME.search(text):
        raise ValueError("a name has more than 32 parts")
    if _LONG_NUMBER.search(text):
        raise ValueError("a number has more than 1000 digits")
    tables = tomllib.loads(text)
    if is_deeper(tables):
        raise ValueError("its tables are nested too deep")
    return tables


def _anchor_paths(source: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    anchored = dict(source)
    for key in _PATHS:
        path = source.get(key)
        if not isinstance(path, str):
            continue
        try:
            anchored[key] = str((folder / path).resolve())
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"[source] {key} {path!r} is not a path: {error}.") from error
    return anchored

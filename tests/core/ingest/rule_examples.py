"""For every rule of ingest a small table or file that breaks it.

Examples of rules on single values are made from the contract; the others are written down. The rules: ingest/rules.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import polars as pl

from quant_core.graph.catalog import Catalog, collect
from quant_core.ingest.rules import JUDGED, TICK_COLUMNS, Rule, contract_rules
from quant_core.market.contracts.ingest import Actions, Bars

Form = Literal["file", "landing", "actions", "table"]
DAY = date(2024, 1, 1)
_HOUR = datetime(2024, 1, 1)
_LINES = "date,symbol,open,high,low,close,volume,known_at\n2024-01-01,X:A,10,11,9,10,5,\n"
_WRONG = {"number": "ten", "date": "1.2.2024", "time": "noon"}
# A value with that defect.
_FAILING: Mapping[str, Any] = {
    "not_known": None,
    "not_finite": float("inf"),
    "not_positive": -1.0,
    "negative": -1,
    "out_of_range": 9.0,
    "not_allowed": "merger",
    "malformed": "no venue",
    "too_low": date(1850, 1, 1),
    "too_high": date(2222, 1, 1),
}
_RANGES: Mapping[str, Mapping[str, float]] = {
    "high_below_low": {"high": 9.0, "low": 11.0},
    "open_outside_range": {"open": 20.0},
    "close_outside_range": {"close": 20.0},
}
# One row that keeps every contract.
_SOUND: Mapping[str, Any] = {
    "row": 0,
    "date": DAY,
    "symbol": "X:A",
    "open": 10.0,
    "high": 11.0,
    "low": 9.0,
    "close": 10.0,
    "volume": 5.0,
    "known_at": None,
    "available_at": datetime(2024, 1, 2, tzinfo=UTC),
    "life": 0,
    "is_provisional": False,
    "adjustment": 1.0,
    "flags": "",
    "kind": "split",
    "factor": 0.5,
    "to": None,
    "simple_return": 0.01,
}


@dataclass(frozen=True, eq=False)
class Example:
    """What breaks one rule.

    Attributes
    ----------
    name : str
        The rule's, with its stage.
    form : str
        "file": the text of a CSV file; "landing": rows in order of arrival; "actions": corporate actions as landed;
        "table": a table under the stage's contract.
    make : callable
        Returns the text or the table.
    calendar : str
        Of the sleeve.
    options : mapping
        Of the source of a file.
    actions : callable
        Returns the corporate actions known with the rows of a landing.
    """

    name: str
    form: Form
    make: Callable[[], pl.DataFrame | str]
    calendar: str = "24/7"
    options: Mapping[str, Any] = field(default_factory=dict)
    actions: Callable[[], pl.DataFrame] = Actions.empty


def examples() -> Catalog[Example]:
    """Return an example for every rule, by the rule's name."""
    found = dict(collect(__name__, Example))
    for stage in JUDGED:
        found |= {rule.name: _of_contract(rule) for rule in contract_rules(stage)}
    ticks = ["timestamp_not_known", *(rule.name for rule in Bars.row_rules if _is_on_ticks(rule.name, rule.holds))]
    found |= {f"ingest.raw/{name}": _of_tick(name) for name in ticks if f"ingest.raw/{name}" not in found}
    for column in ("open", "high", "low", "close", "volume", "date", "known_at"):
        kind = {"date": "date", "known_at": "time"}.get(column, "number")
        name = f"ingest.raw/{column}_not_a_{kind}"
        found[name] = Example(name, "file", _lines_with({column: _WRONG[kind]}))
    return Catalog("example", found)


def _is_on_ticks(name: str, holds: pl.Expr) -> bool:
    return holds.meta.root_names()[0] in TICK_COLUMNS and name != "symbol_not_known"


def _of_contract(rule: Rule) -> Example:
    contract = JUDGED[rule.stage]
    if rule.rule == "duplicate_key":
        rows: list[Mapping[str, Any]] = [_SOUND, _SOUND]
    elif rule.rule in _RANGES:
        rows = [{**_SOUND, **_RANGES[rule.rule]}]
    else:
        rows = [{**_SOUND, **_failing(rule.rule, contract.names)}]
    columns = {name: [row[name] for row in rows] for name in contract.dtypes}
    return Example(rule.name, "table", lambda: pl.DataFrame(columns, schema=contract.dtypes))


def _failing(rule: str, columns: Iterable[str]) -> dict[str, Any]:
    """Return the column and a value that has the defect the rule is named for."""
    [found] = [
        {column: value} for column in columns for defect, value in _FAILING.items() if rule == f"{column}_{defect}"
    ]
    return found


def _of_tick(rule: str) -> Example:
    wrong = _RANGES.get(rule) or _failing(rule, ("timestamp", *TICK_COLUMNS))
    return Example(f"ingest.raw/{rule}", "file", lambda: _hours(changes={3: wrong}), options={"interval": "1h"})


def _lines_with(values: Mapping[str, str]) -> Callable[[], str]:
    header = _LINES.partition("\n")[0]
    sound = {"date": "2024-01-02", "symbol": "X:A", "open": "10", "high": "11", "low": "9", "close": "10"}
    return lambda: _LINES + ",".join({**sound, **values}.get(name, "") for name in header.split(",")) + "\n"


def _hours(size: int = 48, changes: Mapping[int, Mapping[str, Any]] | None = None, more: Sequence[int] = ()) -> str:
    """Return hourly bars of two days as CSV: some with other values, some again at the end."""
    columns = ("timestamp", *TICK_COLUMNS)
    rows = [{**_SOUND, "timestamp": _HOUR + timedelta(hours=k), **(changes or {}).get(k, {})} for k in range(size)]
    lines = [",".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    return "\n".join([",".join(columns), *lines, *(lines[k] for k in more)]) + "\n"


def _closes(paths: Mapping[str, Sequence[float | None]], volume: Sequence[float] | None = None) -> pl.DataFrame:
    """Return daily closes per symbol; None is a day without a row."""
    rows = [
        (DAY + timedelta(days=k), symbol, close, None if volume is None else volume[k])
        for symbol, path in paths.items()
        for k, close in enumerate(path)
        if close is not None
    ]
    return pl.DataFrame(rows, schema=["date", "symbol", "close", "volume"], orient="row")


def _wave(size: int, *, swing: float = 0.1) -> list[float]:
    """Return closes that never stall."""
    return [10.0 * (1.0 + swing * (k % 3)) for k in range(size)]


def _market(size: int, symbols: int = 12, *, swing: Callable[[int], float] = lambda k: 0.01) -> pl.DataFrame:
    """Return closes whose steps differ between symbols, and volumes likewise."""
    rows = [
        (DAY + timedelta(days=k), f"X:S{j}", 10.0 * (1.0 + swing(k) * ((7 * k + 5 * j) % 11)), 10.0 + (3 * k + j) % 7)
        for j in range(symbols)
        for k in range(size)
    ]
    return pl.DataFrame(rows, schema=["date", "symbol", "close", "volume"], orient="row")


def _halved(size: int = 60) -> pl.DataFrame:
    """Return bars with a calm range whose last ones stand at half the price and twice the volume."""
    rows = []
    for k in range(size):
        is_after = k >= size - 5
        close = (100.0 + k % 5) / (2.0 if is_after else 1.0)
        first, high, low = close * 1.001, close * 1.01, close * 0.99
        rows.append((DAY + timedelta(days=k), "X:A", first, high, low, close, 2e3 if is_after else 1e3 + k % 7))
    return pl.DataFrame(rows, schema=["date", *TICK_COLUMNS], orient="row")


def _actions(**columns: Sequence[Any]) -> pl.DataFrame:
    size = len(columns["kind"])
    sound = {"row": list(range(size)), "date": [DAY] * size, "symbol": ["X:A"] * size}
    given: dict[str, Any] = {**sound, **columns}
    absent = {name: [None] * size for name in Actions.dtypes if name not in given}
    return pl.DataFrame({**given, **absent}, schema=Actions.dtypes)


def _raw(rule: str, make: Callable[[], str], **options: Any) -> Example:
    return Example(f"ingest.raw/{rule}", "file", make, options=options)


def _bars(rule: str, make: Callable[[], pl.DataFrame], calendar: str = "24/7") -> Example:
    return Example(f"ingest.bars/{rule}", "landing", make, calendar)


def _table(rule: str, make: Callable[[], pl.DataFrame], stage: str = "ingest.bars") -> Example:
    return Example(f"{stage}/{rule}/table", "landing", make)


def _of_actions(rule: str, **columns: Sequence[Any]) -> Example:
    return Example(f"ingest.actions/{rule}", "actions", lambda: _actions(**columns))


truncated_line = _raw("truncated_line", lambda: _LINES + "2024-01-02,X:A,10,11,9,10,5,\n2024-01-03,X:A,1")
ragged_row = _raw("ragged_row", lambda: _LINES + "2024-01-02,X:A,10,11\n")
timestamp_not_a_time = _raw("timestamp_not_a_time", lambda: _hours(changes={3: {"timestamp": "noon"}}), interval="1h")
off_hours = Example("ingest.raw/off_hours", "file", _hours, "XNYS", {"interval": "1h"})
forming_bar = _raw("forming_bar", lambda: _hours(30), interval="1h")
repeated_stamp = _raw("duplicate_row", lambda: _hours(more=[3]), interval="1h")
restated_stamp = _raw("restated_row", lambda: _hours(49, {48: {"timestamp": _HOUR, "close": 9.5}}), interval="1h")

factor_missing = _of_actions("factor_missing", kind=["split"])
factor_out_of_bounds = _of_actions("factor_out_of_bounds", kind=["split"], factor=[1e-9])
dividend_raises_price = _of_actions("dividend_raises_price", kind=["dividend"], factor=[1.1])
rename_with_factor = _of_actions("rename_with_factor", kind=["rename"], factor=[2.0], to=["X:B"])
rename_without_target = _of_actions("rename_without_target", kind=["rename"])
duplicate_action = _of_actions("duplicate_action", kind=["split"] * 2, factor=[0.5, 0.5])
restated_action = _of_actions("restated_action", kind=["split"] * 2, factor=[0.5, 0.25])

off_session = _bars("off_session", lambda: _closes({"X:A": _wave(7)}), "24/5")
duplicate_row = _bars("duplicate_row", lambda: pl.concat([_closes({"X:A": _wave(3)})] * 2))
restated_row = _bars("restated_row", lambda: pl.concat([_closes({"X:A": _wave(3)}), _closes({"X:A": [11.0]})]))
precedes_rename = Example(
    "ingest.bars/precedes_rename",
    "landing",
    lambda: _closes({"X:A": _wave(5), "X:B": _wave(9)}),
    actions=lambda: _actions(kind=["rename"], date=[DAY + timedelta(days=5)], to=["X:B"]),
)
toxic_bar = _bars("toxic_bar", lambda: _closes({"X:A": [*_wave(9), 900.0, *_wave(9)]}))
stalled = _bars("stalled", lambda: _closes({"X:A": [*_wave(9), *[10.0] * 25, *_wave(9)]}))

jump = _bars("jump", lambda: _closes({"X:A": [*_wave(9), 25.0, 26.0]}))
volume_spike = _bars("volume_spike", lambda: _closes({"X:A": _wave(62)}, [*(5.0 + k % 7 for k in range(61)), 1e9]))
unadjusted_split = _bars("unadjusted_split", _halved)
stall = _bars("stall", lambda: _closes({"X:A": [*_wave(9), *[10.0] * 6]}))
quarantined = Example("ingest.health/quarantined", "landing", lambda: _closes({"X:A": [*_wave(25), *[-1.0] * 10]}))

survivorship = _table(
    "survivorship", lambda: _closes({"X:A": [*_wave(1140), None, None, *_wave(10)]}), "ingest.universe"
)
falls_beside_rises = _table("falls_beside_rises", lambda: _closes({"X:A": [*_wave(9), *[0.5, 0.6] * 4, *_wave(9)]}))
last_date_breadth = _table(
    "last_date_breadth", lambda: _closes({"X:A": _wave(10)} | {f"X:S{k}": _wave(9) for k in range(4)})
)
far_future = _bars(
    "far_future", lambda: _closes({f"X:S{k}": _wave(60) for k in range(25)} | {"X:A": [*_wave(60), *[None] * 40, 10.0]})
)
late_market = _table("far_future", lambda: _closes({"X:A": [*_wave(60), *[None] * 40, 10.0]}))
padding = _table("padding", lambda: _closes({"X:A": [10.0 + k // 10 % 2 for k in range(300)]}), "ingest.returns")
drift = _table("drift", lambda: _market(330, swing=lambda k: 0.01 if k < 270 else 0.05), "ingest.returns")
volume_drift = _table(
    "volume_drift",
    lambda: _market(330).with_columns(volume=pl.when(pl.int_range(pl.len()) % 330 < 270).then("volume").otherwise(5.0)),
)
missingness_drift = _table(
    "missingness_drift",
    lambda: _market(330, 2).with_columns(volume=pl.when(pl.int_range(pl.len()) % 330 < 270).then("volume")),
)
size_drift = _table("size_drift", lambda: _closes({"X:A": _wave(330), "X:B": _wave(270), "X:C": _wave(270)}))
staleness = _table("staleness", lambda: _closes({"X:A": _wave(40), "X:B": _wave(40), "X:C": _wave(30)}))
history_alignment = _table(
    "history_alignment",
    lambda: _closes({"X:A": _wave(40)} | {f"X:S{k}": [*[None] * 20, *_wave(20)] for k in range(5)}),
)

"""docs/features.md: every feature, its description, formula, facts and source."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from quant_core.features.catalogue import catalogue
from quant_core.features.step_order import memory_of
from quant_core.features.steps import DEFAULT_FAMILIES, Feature, FeatureCatalog, Function, S, Step

_PAGE = """\
<!-- Made by: python -c "import quant_core.features.page as p; print(p.features_page(), end='')" > docs/features.md -->
# Features

A feature is a column of its family's table, known at the close of its bar and from nothing later. Families on by
default: {on}. A sleeve names others under `[features]`; `quant features --sleeve SLEEVE` reports the share
of each that is known.

- *Warm-up*: dates from a symbol's first bar on at which the feature cannot be known yet.
- *Memory*: how many dates a value reads at most, the newest included; "all": every bar before it, weighing less and
  less. Newer bars require no more than that to be read again.
- *Bounds*: inclusive; no value is beyond them.
- *w*: the window of a feature that comes in several, named by it: `MA20`.
- Returns are simple returns since the symbol's last bar within one life. A window with too few known bars is null.
"""


def features_page() -> str:
    """Return docs/features.md: the catalogue as tables, by family."""
    known = catalogue()
    lines = [*_PAGE.format(on=", ".join(DEFAULT_FAMILIES)).splitlines()]
    for family in sorted({entry.family for entry in known.values()}, key=_order):
        own = [entry for entry in known.values() if entry.family == family]
        module = importlib.import_module(f"quant_core.features.{family}")
        lines += ["", f"## {family}", "", *(module.__doc__ or "").strip().splitlines(), ""]
        lines += [f"{len(own)} features, {'on' if family in DEFAULT_FAMILIES else 'off'} by default.", ""]
        lines += [
            "| feature | description | formula | unit | warm-up | memory | bounds | source |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(entries, known) for entries in _group_by_function(own)]
    lines += ["", "## Ingredients", "", "Inputs that features share; no column of any table.", ""]
    lines += ["| ingredient | description | formula | source |", "|---|---|---|---|"]
    for entries in _group_by_function(known.ingredients.values()):
        shown = _with_window_as_w(entries)
        lines.append(_row(_names(entries), shown.description, shown.formula, shown.source))
    return "\n".join(lines) + "\n"


def _order(family: str) -> tuple[int, str]:
    return DEFAULT_FAMILIES.index(family) if family in DEFAULT_FAMILIES else len(DEFAULT_FAMILIES), family


def _group_by_function(entries: Iterable[S]) -> list[list[S]]:
    """Put the entries of one grid together, by window."""
    found: dict[Function, list[S]] = {}
    for entry in entries:
        found.setdefault(entry.function, []).append(entry)
    return [sorted(own, key=lambda entry: entry.window or 0) for own in found.values()]


def _line(entries: Sequence[Feature], known: FeatureCatalog) -> str:
    shown = _with_window_as_w(entries)
    memories = [memory_of(entry.name, known) for entry in entries]
    bounds = dict.fromkeys(f"{_bound(e.lower, '-inf')} to {_bound(e.upper, 'inf')}" for e in entries)
    return _row(
        _names(entries),
        shown.description,
        shown.formula,
        entries[0].unit,
        _by_window(entries, lambda entry: entry.warmup),
        "all" if None in memories else _by_window(entries, lambda entry: memory_of(entry.name, known) or 0),
        ", ".join("" if both == "-inf to inf" else both for both in bounds),
        shown.source,
    )


def _with_window_as_w(entries: Sequence[Step]) -> Step:
    """Return the first entry with the letter w for the window in its texts."""
    first = entries[0]
    if first.window is None:
        return first
    shown = replace(first, window=None)
    shown.__dict__["doc"] = shown.doc.replace("{window}", "w")
    return shown


def _names(entries: Sequence[Step]) -> str:
    windows = ", ".join(str(entry.window) for entry in entries)
    name = entries[0].function.__name__
    return f"`{name}` w, w = {windows}" if entries[0].window is not None else f"`{name}`"


def _by_window(entries: Sequence[S], number: Callable[[S], int]) -> str:
    """Return a number per window as text: one for all, their distance to w, or each."""
    numbers = [number(entry) for entry in entries]
    if len(set(numbers)) == 1:
        return str(numbers[0])
    for factor, times in ((1, "w"), (2, "2 w")):
        beyond = {found - factor * (entry.window or 0) for found, entry in zip(numbers, entries, strict=True)}
        if len(beyond) == 1:
            more = beyond.pop()
            return times + (f" {'+' if more > 0 else '-'} {abs(more)}" if more else "")
    return ", ".join(map(str, numbers))


def _bound(bound: float | None, absent: str) -> str:
    return absent if bound is None else f"{bound:g}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Return a text on one line that a table shows as it is; names in backticks stay code."""
    parts = " ".join(text.split()).split("`")
    for at in range(0, len(parts), 2):
        for mark in ("\\", "*", "_", "<", "["):
            parts[at] = parts[at].replace(mark, "\\" + mark)
    return "`".join(parts).replace("|", "\\|")

"""The only door to matplotlib: style, axis helpers, figures as inline SVG or PNG, and the chart of a room.

The drawings are in sheet_charts.py (tear sheet) and room_charts.py (one per stage), their numbers in series.py.
Figures are plain objects: pyplot and its global state are never loaded.
"""

from __future__ import annotations

import html
import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.graph.catalog import Catalog, collect
from quant_core.meter import loading

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure

INK, MUTED, FAINT, LINE = "#1f2933", "#5f6c7b", "#b8c0ca", "#e4e8ed"
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, "#332288", "#999933", "#882255", "#44AA99", "#DDCC77", "#6699CC")
REFERENCES = {"benchmark": (INK, "--"), "filtered_pool": (ORANGE, "-"), "raw_pool": ("#8d99a6", "-")}
_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "quant-assets",
}
_STYLE_LOCK = threading.Lock()
_ROOM_SIZE = (720, 360)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NICE = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


@dataclass(frozen=True)
class Chart:
    """The chart of one stage.

    Attributes
    ----------
    name : str
        Stage id; `*` matches any text, an exact id wins.
    draw : callable
        Draws a non-empty table of that stage into an empty figure.
    """

    name: str
    draw: Callable[[pl.DataFrame, Figure], None]


def chart(stage_id: str) -> Callable[[Callable[[pl.DataFrame, Figure], None]], Chart]:
    """Make a drawing function the chart of a stage."""
    return lambda draw: Chart(stage_id, draw)


def room_chart(stage_id: str, frame: pl.DataFrame) -> bytes | None:
    """Return the chart of a stage's table as PNG, 720 x 360; None without a chart or without rows."""
    charts = _charts()
    matching = [charts[name] for name in charts if fnmatchcase(stage_id, name)]
    if frame.is_empty() or not matching:
        return None
    entry = charts[stage_id] if stage_id in charts else matching[0]
    return png_of(lambda figure: entry.draw(frame, figure), size=_ROOM_SIZE)


@cache
def _charts() -> Catalog[Chart]:
    return collect("quant_core.report", Chart)


def svg_of(draw: Callable[[Figure], None], *, name: str, label: str, size: tuple[int, int]) -> str:
    """Draw into a figure and return it as one `<svg>` element for use inside HTML: equal input, equal bytes.

    Parameters
    ----------
    draw : callable
    name : str
        Unique in the page; put before every id the drawing refers to.
    label : str
        What is seen, for people who cannot see it.
    size : (int, int)
        Width and height in user units: a font of 9 is 9 units high.
    """
    with loading():
        from matplotlib.figure import Figure

    text = io.StringIO()
    with _style():
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _as_inline_svg(text.getvalue(), name, label, size)


def png_of(draw: Callable[[Figure], None], *, size: tuple[int, int]) -> bytes:
    """Draw into a figure of `size` pixels and return it as PNG."""
    with loading():
        from matplotlib.figure import Figure

    image = io.BytesIO()
    with _style():
        figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
        draw(figure)
        figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    """Apply the project's style: rcParams are global, so one figure at a time and without the user's own settings."""
    with loading():
        from matplotlib import style

    with _STYLE_LOCK, warnings.catch_warnings(), style.context(["default", _STYLE]):
        # Tickers may be in any script: a browser has the glyph, a PNG shows a box.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        yield


def _as_inline_svg(text: str, name: str, label: str, size: tuple[int, int]) -> str:
    """Remove what does not belong inside HTML: prolog, metadata, global style, namespaces, unused ids."""
    body = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text[text.index(">", text.index("<svg")) + 1 :])
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    used = set(re.findall(r"""(?:url\(#|href="#)([^")]+)""", "".join(re.findall(r"<[^>]+>", body))))

    def clean(tag: re.Match[str]) -> str:
        kept = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag[0])
        kept = kept.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
        return re.sub(r' d="[^"]*"', lambda d: re.sub(r"-?\d+\.\d{3,}", lambda x: f"{float(x[0]):.2f}", d[0]), kept)

    body = re.sub(r"<[^>]+>", clean, body)
    opening = f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{html.escape(label)}">'
    return opening + re.sub(r">\s+<", "><", body).strip()


def date_axis(axes: Axes) -> None:
    """Label the x axis with few, short dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.margins(x=0.0)


def percent_axis(axes: Axes, *, which: str = "y") -> None:
    """Label an axis of fractions in percent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %".replace("-", "\N{MINUS SIGN}"))


def count_axis(axes: Axes, *, which: str = "y") -> None:
    """Label an axis in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if which == "y" else f"{value:.0f}")


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Make the y axis logarithmic from `low` to `high` with plain numbers for labels."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    low, high = low / 1.03, high * 1.03
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    choices = (np.outer(decades, steps).ravel() for steps in _NICE)
    inside = (ticks[(ticks >= low) & (ticks <= high)] for ticks in choices)
    even = np.asarray(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    ticks = next((ticks for ticks in inside if ticks.size >= 4), even)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(ticks[:: max(1, ticks.size // 7)].tolist()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")


def horizontal_rule(axes: Axes, at: float = 0.0) -> None:
    """Draw a thin line at a value that means something."""
    axes.axhline(at, color=MUTED, linewidth=0.8, zorder=1)


def name_lines(axes: Axes, ends: Sequence[tuple[float, str, str]], *, height: float) -> None:
    """Write the name of each line at its right end, moved apart where they would overlap.

    Parameters
    ----------
    axes : Axes
        With its final limits and scale.
    ends : sequence of (last value, text, colour)
    height : float
        Height of the axes in font units, about.
    """
    to_axes = axes.transScale + axes.transLimits
    known = [(float(to_axes.transform((0.0, y))[1]), text, colour) for y, text, colour in ends if np.isfinite(y)]
    known.sort()
    for place, (_, text, colour) in zip(_move_apart([y for y, _, _ in known], 11.5 / height), known, strict=True):
        axes.annotate(
            text,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
        )


def _move_apart(places: Sequence[float], gap: float) -> npt.NDArray[np.float64]:
    """Push sorted places up so that neighbours are `gap` apart, then shift all back inside [0, 1]."""
    spread = np.array(places)
    for i in range(1, spread.size):
        spread[i] = max(spread[i], spread[i - 1] + gap)
    return spread - max(0.0, float(spread.max(initial=0.0)) - 1.0)


def legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str], *, columns: int = 1, beside: bool = True) -> None:
    """Name the marks beside or below the axes. A leading space keeps names that begin with an underscore."""
    corner = (1.0, 1.02) if beside else (0.0, -0.12)
    axes.legend(
        list(handles),
        [f" {label}" for label in labels],
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=columns,
        handlelength=1.1,
        borderaxespad=0.4,
    )

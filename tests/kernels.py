"""Every kernel that fills an `out`, found by name, with arguments to call it: what laws and slow twins go through.

A kernel file needs no edit here: its twin file, `tests/oracles/twins/<module>.py`, names the arguments of its own under
`SAMPLES`, and says which kernels keep the laws of moving windows by their names alone (`move_`), of rows (`_rows`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import quant_core.kernels
from quant_core.kernels._jit import Kernel

Sample = Callable[[np.ndarray], Any]

# Arguments that mean the same in every kernel. `x` is a matrix of returns with gaps, constant runs and an empty column.
COMMON: dict[str, Sample] = {
    "x": lambda x: x,
    "y": lambda x: np.roll(x, 1, axis=1)[::-1] * 0.5 + x,
    "returns": lambda x: x,
    "close": lambda x: np.exp(x),
    "high": lambda x: np.exp(x) * 1.01,
    "low": lambda x: np.exp(x) * 0.98,
    "volume": lambda x: np.exp(x[::-1] * 10.0),
    "value": lambda x: np.exp(x[::-1] * 10.0),
    "mask": lambda x: np.arange(x.size).reshape(x.shape) % 5 != 0,
}


def modules() -> dict[str, ModuleType]:
    names = [info.name for info in pkgutil.iter_modules(quant_core.kernels.__path__)]
    return {name: importlib.import_module(f"quant_core.kernels.{name}") for name in names}


def twins_of(module: str) -> ModuleType | None:
    path = f"tests.oracles.twins.{module.rpartition('.')[2]}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None


def _is_panel_kernel(entry: object, module: ModuleType) -> bool:
    """Whether it is a public kernel of matrices [T, N]: its twin file lists the others under NO_PANEL."""
    return (
        isinstance(entry, Kernel)
        and entry.__module__ == module.__name__
        and list(inspect.signature(entry).parameters)[-1] == "out"
        and twins_of(module.__name__) is not None
    )


KERNELS: dict[str, Kernel[Any, Any]] = {
    name: entry
    for module in modules().values()
    for name, entry in vars(module).items()
    if _is_panel_kernel(entry, module) and name not in getattr(twins_of(module.__name__), "NO_PANEL", ())
}


def twin(name: str) -> Callable[..., np.ndarray]:
    """Return the slow twin of a kernel: the function of its name in its module's twin file."""
    found: Callable[..., np.ndarray] = getattr(twins_of(KERNELS[name].__module__), name)
    return found


def arguments(name: str, x: np.ndarray, **settings: Any) -> list[Any]:
    """Return what to call a kernel with, `out` left off; `settings` gives scalars such as window and min_count."""
    samples = COMMON | getattr(twins_of(KERNELS[name].__module__), "SAMPLES", {})
    found = []
    for parameter in inspect.signature(KERNELS[name]).parameters:
        if parameter in settings:
            found.append(settings[parameter])
        elif parameter != "out":
            found.append(samples[parameter](x))
    return found

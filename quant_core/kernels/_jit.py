"""`@kernel`: compile on first call, cache on disk. The only importer of numba; the loops live in the other modules.

Importing a kernel costs nothing: numba is loaded by the first call. Parallelism lives in threads.py.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

from quant_core.kernels.workspace import empty
from quant_core.meter import loading

P = ParamSpec("P")
R = TypeVar("R")

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LANES = 64
"""Columns a kernel works on at a time: its scratch never grows with the panel and stays in the first-level cache."""

_COMPILING = threading.RLock()
_ROOM = Path(__file__).parent
# Read at import: code compiled later is this code, even if the files have changed since.
_SOURCES = {source.relative_to(_ROOM).as_posix(): source.read_text() for source in _ROOM.rglob("*.py")}
_IMPORT = re.compile(r"^\s*(?:from|import) quant_core\.kernels\.([\w.]+)", re.MULTILINE)
_LISTENERS: list[Callable[[str], None]] = []
# The convention of XDG: an empty or relative value counts as not set.
_CACHES = Path(os.environ.get("XDG_CACHE_HOME", ""))
_DEFAULT_ROOT = (_CACHES if _CACHES.is_absolute() else Path.home() / ".cache") / "quant-assets" / "numba"
_root = _DEFAULT_ROOT


def use_cache_folder(path: Path | str) -> None:
    """Keep machine code under `path` from the next compilation on; kernels already compiled stay where they are.

    Homes share the default. The folder may be deleted at any time; one that cannot be written means no cache.
    """
    global _root
    _root = Path(path)


def cache_folder(module: Path | str = __file__) -> Path:
    """Return the folder of a module's kernels: the root and a hash of all they are made of and of numba's version.

    numba itself looks only at the file of the outermost kernel, so a changed callee in another file would go unseen.
    """
    return _root / _source_hash(Path(module))


@functools.cache
def _source_hash(module: Path) -> str:
    with loading():
        import numba

    digest = hashlib.sha256(numba.__version__.encode())
    for source in _sources_of(module):
        digest.update(source.encode() + b"\0" + _SOURCES[source].encode())
    return digest.hexdigest()[:16]


def _sources_of(module: Path) -> list[str]:
    """Return a file of kernels and all files it imports, directly or not; for a file elsewhere all files of kernels."""
    if not module.is_relative_to(_ROOM):
        return sorted(_SOURCES)
    found, new = set(), {Path(__file__).name, module.relative_to(_ROOM).as_posix()}
    while new:
        source = new.pop()
        found.add(source)
        new |= {file for name in _IMPORT.findall(_SOURCES[source]) for file in _files_of(name)} - found
    return sorted(found)


def _files_of(name: str) -> set[str]:
    """Return the file of a module, or all files below a folder: its `__init__` may import from any of them."""
    path = name.replace(".", "/")
    return {source for source in _SOURCES if source == f"{path}.py" or source.startswith(f"{path}/")}


class Kernel(Generic[P, R]):
    """A function that numba compiles on its first call.

    Attributes
    ----------
    python : callable
        The function as written; kernels it calls are still compiled ones.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.python = function
        self._compiled: Callable[P, R] | None = None
        self._called: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._compiled is None:
            self._announce()
            with _pause_garbage_collection():
                return self.dispatcher()(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def _announce(self) -> None:
        """Report a first call that must compile: that takes seconds."""
        function = cast("FunctionType", self.python)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        for report in _LISTENERS[-1:]:
            # The walk runs to its end: one that stops early keeps its folder open.
            if not list(cache_folder(function.__code__.co_filename).rglob(f"{name}-*.nbi")):
                report(f"compiling {function.__name__}, once per machine")

    def apply(self, first: Matrix, *rest: Any) -> Matrix:
        """Return the kernel's `out`: a matrix of the first array's shape, lent by the workspace of this thread."""
        out = empty(first.shape)
        cast("Callable[..., R]", self)(first, *rest, out)
        return out

    def __reduce__(self) -> str:
        # A kernel is pickled by name, like a function.
        return cast("FunctionType", self.python).__qualname__

    def dispatcher(self) -> Callable[P, R]:
        """Return numba's dispatcher, created on first use; it compiles, or reads the cache, once per argument types."""
        with _COMPILING:
            if self._compiled is None:
                self._compiled = _dispatcher(cast("FunctionType", self.python), is_callee=False)
            return self._compiled

    def callee(self) -> Callable[P, R]:
        """Return the dispatcher that other kernels call: part of their machine code, never called from Python."""
        with _COMPILING:
            if self._called is None:
                self._called = _dispatcher(cast("FunctionType", self.python), is_callee=True)
            return self._called


class Front(Kernel[P, R]):
    """A kernel in plain Python that only hands its arguments to another one: nothing to compile."""

    def dispatcher(self) -> Callable[P, R]:
        """Return the function as written."""
        self._compiled = self.python
        return self.python

    def _announce(self) -> None:
        """Report nothing: the kernel it calls does."""


@contextmanager
def report_compilations(report: Callable[[str], None]) -> Iterator[None]:
    """Call `report` with one line before each kernel that must be compiled, from any thread."""
    _LISTENERS.append(report)
    try:
        yield
    finally:
        _LISTENERS.remove(report)


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Make a function a kernel: no Python objects, no GIL, no fast-math, IEEE division.

    A kernel may call kernels its module names (`rank_row(...)`, not `module.rank_row(...)`), never itself.
    """
    return Kernel(function)


def front(function: Callable[P, R]) -> Front[P, R]:
    """Make a function a front: one of several plain entries to one kernel, so that numba compiles the kernel once.

    A front is called from Python; a kernel calls the kernel behind it.
    """
    return Front(function)


def _dispatcher(function: FunctionType, *, is_callee: bool) -> Callable[..., Any]:
    """Compile a copy of `function` that sees dispatchers where the original sees lazy kernels.

    A callee gets no Python wrapper, which would cost as much to compile as the function, and no cache of its own:
    numba's cache does not distinguish a function with wrappers from one without.
    """
    with loading():
        import numba

    scope = dict(function.__globals__)
    for name in _names_in(function.__code__):
        if isinstance(scope.get(name), Kernel):
            scope[name] = scope[name].callee()
    twin = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    twin.__qualname__ = function.__qualname__
    folder = cache_folder(function.__code__.co_filename)
    before = numba.config.CACHE_DIR
    # numba reads the setting when it creates the dispatcher; other users of numba in this process keep theirs.
    numba.config.CACHE_DIR = str(folder)
    try:
        # error_model: a division by zero is IEEE's inf or NaN, not an exception; fastmath would delete NaN tests.
        settings = {"nogil": True, "fastmath": False, "error_model": "numpy", "no_cfunc_wrapper": True}
        settings |= {"no_cpython_wrapper": True} if is_callee else {"cache": _is_writable(folder)}
        made: Callable[..., Any] = numba.njit(**settings)(twin)
    finally:
        numba.config.CACHE_DIR = before
    return made


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Pause garbage collection: what a compiler makes lives on, and scanning it is a fifteenth of the time.

    Several threads may compile at once: the one that found the collector running starts it again.
    """
    was_running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_running:
            gc.enable()


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
    except OSError:
        return False
    return True

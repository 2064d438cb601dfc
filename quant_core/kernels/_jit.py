"""`@kernel`: compile on first call, cache on disk. The only importer of numba; the loops live in the other modules.

Importing a kernel costs nothing: numba is loaded by the first call. Parallelism lives in threads.py.
"""

from __future__ import annotations

import functools
import gc
import hashlib
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

P = ParamSpec("P")
R = TypeVar("R")

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LANES = 64
"""Columns a kernel works on at a time: its scratch never grows with the panel and stays in the first-level cache."""

_COMPILING = threading.RLock()
_ROOM = Path(__file__).parent
# Read at import: code compiled later is that of now, whatever has become of the files since.
_SOURCES = {source.relative_to(_ROOM).as_posix(): source.read_text() for source in _ROOM.rglob("*.py")}
_IMPORT = re.compile(r"^\s*(?:from|import) quant_core\.kernels\.([\w.]+)", re.MULTILINE)
_LISTENERS: list[Callable[[str], None]] = []
_DEFAULT_ROOT = Path.home() / ".cache" / "quant-assets" / "numba"
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
            with _garbage_left_alone():
                return self.compiled()(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def _announce(self) -> None:
        """Say so where the first call will have to compile: that takes seconds."""
        function = cast("FunctionType", self.python)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        for tell in _LISTENERS[-1:]:
            # All of it is walked: a walk left off keeps its folder open.
            if not list(cache_folder(function.__code__.co_filename).rglob(f"{name}-*.nbi")):
                tell(f"compiling {function.__name__}, once per machine")

    def filled(self, first: Matrix, *rest: Any) -> Matrix:
        """Call with an `out` of the first array's shape, lent by the workspace of this thread, and return it."""
        out = empty(first.shape)
        cast("Callable[..., R]", self)(first, *rest, out)
        return out

    def __reduce__(self) -> str:
        # Travels to another process by name, like the function it stands for.
        return cast("FunctionType", self.python).__qualname__

    def compiled(self) -> Callable[P, R]:
        """Return numba's dispatcher, made now if need be; machine code is made or read when it meets its types."""
        with _COMPILING:
            if self._compiled is None:
                self._compiled = _dispatcher(cast("FunctionType", self.python), is_callee=False)
            return self._compiled

    def callee(self) -> Callable[P, R]:
        """Return the dispatcher that other kernels call: never called from Python, and kept in their machine code."""
        with _COMPILING:
            if self._called is None:
                self._called = _dispatcher(cast("FunctionType", self.python), is_callee=True)
            return self._called


class Front(Kernel[P, R]):
    """A kernel in plain Python that only hands its arguments to another one: nothing to compile."""

    def compiled(self) -> Callable[P, R]:
        """Return the function as written."""
        self._compiled = self.python
        return self.python

    def _announce(self) -> None:
        """Say nothing: the kernel it calls will."""


@contextmanager
def compilations_told_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with one line before each kernel that has to be compiled, from any thread."""
    _LISTENERS.append(tell)
    try:
        yield
    finally:
        _LISTENERS.remove(tell)


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Make a function a kernel: no Python objects, no GIL, no fast-math, IEEE division.

    A kernel may call kernels its module names (`rank_row(...)`, not `module.rank_row(...)`), never itself.
    """
    return Kernel(function)


def front(function: Callable[P, R]) -> Front[P, R]:
    """Make a function a front: one of several faces of one kernel, which numba would compile anew for each of them.

    A front is called from Python; a kernel calls what is behind it.
    """
    return Front(function)


def _dispatcher(function: FunctionType, *, is_callee: bool) -> Callable[..., Any]:
    """Compile a copy of `function` that sees dispatchers where the original sees lazy kernels.

    Who calls it decides on the wrappers numba puts around it, each optimised like the function itself, and whether it
    is cached: the cache does not tell a function with wrappers from one without.
    """
    import numba

    scope = dict(function.__globals__)
    for name in _names_in(function.__code__):
        if isinstance(scope.get(name), Kernel):
            scope[name] = scope[name].callee()
    twin = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    twin.__qualname__ = function.__qualname__
    folder = cache_folder(function.__code__.co_filename)
    before = numba.config.CACHE_DIR
    # numba reads the setting when the dispatcher is made; other users of numba in this process keep theirs.
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
def _garbage_left_alone() -> Iterator[None]:
    """Pause the collector of cycles: what a compiler makes lives on, and looking through it is a fifteenth of the time.

    Threads may meet here: the one that found the collector running starts it again.
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

"""One hash per module that comments and docstrings do not change.

Code is compiled without docstrings and is not run; line numbers and file names are left out. The hash is valid for one
Python version.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from types import CodeType
from typing import Any

_DIGITS = 16


def module_hashes(root: Path) -> dict[str, str]:
    """Return the hash of every module under `root / "quant_core"`, by dotted name.

    Raises
    ------
    SyntaxError
        A file is not valid Python.
    """
    found = {}
    for path in sorted((root / "quant_core").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        found[name] = _hash_of(path.read_bytes())
    return found


@functools.lru_cache(maxsize=1024)
def _hash_of(source: bytes) -> str:
    code = compile(source, "", "exec", dont_inherit=True, optimize=2)
    return hashlib.sha256(repr(_meaning(code)).encode()).hexdigest()[:_DIGITS]


def _meaning(value: Any) -> Any:
    """Return a comparable form of a constant or a code object, in an order that is the same in every process."""
    if isinstance(value, CodeType):
        return (
            value.co_code,
            value.co_names,
            value.co_varnames,
            value.co_freevars,
            value.co_cellvars,
            (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags),
            value.co_exceptiontable,
            [_meaning(constant) for constant in value.co_consts],
        )
    if isinstance(value, frozenset):
        return ("frozenset", sorted(repr(_meaning(item)) for item in value))
    if isinstance(value, tuple):
        return [_meaning(item) for item in value]
    return (type(value).__name__, repr(value))

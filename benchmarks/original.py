"""The original repository as a peer: its modules, read from the checkout PEER_ROOT names. No contest stands here."""

from __future__ import annotations

import os
import sys
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmarks.contest import lacking

NAME = "the original repository"
PACKAGE = "tradingview_scraper"
ROOMS = ("", ".orchestration", ".pipelines", ".pipelines.selection", ".pipelines.selection.stages", ".utils")


def original() -> str:
    """Return the peer with its version."""
    project = tomllib.loads(Path(os.environ["PEER_ROOT"], "pyproject.toml").read_text())["project"]
    return f"{NAME} {project['version']}"


def lacking_original(*modules: str) -> str:
    """Return why contests against it cannot be held here; empty where they can."""
    root = os.environ.get("PEER_ROOT", "")
    if not Path(root, PACKAGE, "utils", "predictability.py").is_file():
        return "PEER_ROOT names no checkout of the original repository"
    return lacking("pywt", "sklearn", "statsmodels", *modules)


def of_original(name: str) -> ModuleType:
    """Return a module of its package by its name below it; what the packages' own __init__ would load stays out."""
    for room in ROOMS:
        if PACKAGE + room not in sys.modules:
            package = ModuleType(PACKAGE + room)
            package.__path__ = [str(Path(os.environ["PEER_ROOT"], PACKAGE, *room.strip(".").split(".")))]
            sys.modules[PACKAGE + room] = package
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of at import is its own business
        return import_module(f"{PACKAGE}.{name}")

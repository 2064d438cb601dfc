"""Sleeves are the partitions: one static key per sleeve file. market/sleeves.py reads the files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from quant_core.market.sleeves import sleeve_files


def sleeve_partitions(folder: Path) -> dg.StaticPartitionsDefinition:
    """Return one partition per sleeve file in `folder`; adding a sleeve adds a file."""
    return dg.StaticPartitionsDefinition(list(sleeve_files(folder)))


@contextmanager
def partitioned_checks() -> Iterator[None]:
    """Let checks have partitions without a warning: Dagster calls it a preview, and its version is pinned.

    Without them a check that fails for one sleeve and passes for another would count as passed for both.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        yield

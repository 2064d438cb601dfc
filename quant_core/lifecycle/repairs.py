"""Lists the data a sleeve should request from its source again, for the command line. Reads evidence only.

The sessions without a bar are found in ingest/gaps.py; requests are sent by a landing.
"""

from __future__ import annotations

import polars as pl

from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.ingest.gaps import repair_requests


def repairs_of(evidence: EvidenceReader, sleeve: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the sleeve's missing sessions per kind, and the requests to repeat, newest first.

    Returns
    -------
    kinds : DataFrame
        kind, stretches, sessions, symbols.
    requests : DataFrame
        The rows of `ingest.gaps` that have a request.

    Raises
    ------
    MissingVersionError
        The sleeve's gaps were not committed yet.
    """
    found = evidence.heads().get(("ingest.gaps", sleeve))
    if found is None:
        raise MissingVersionError(f"ingest.gaps of {sleeve} has no committed version. Run it: quant run {sleeve}")
    gaps = evidence.store.read(ref_in(found))
    kinds = gaps.group_by("kind").agg(
        stretches=pl.len().cast(pl.Int64), sessions=pl.col("sessions").sum(), symbols=pl.col("symbol").n_unique()
    )
    return kinds.sort("kind"), repair_requests(gaps)


def describe_repairs(kinds: pl.DataFrame, requests: pl.DataFrame, *, limit: int) -> str:
    """Return kinds and the first `limit` requests as lines of text."""
    if kinds.is_empty():
        return "no session lacks a bar."
    lines = [f"{'kind':<12} {'stretches':>10} {'sessions':>10} {'symbols':>8}"]
    lines += [
        f"{kind:<12} {stretches:>10,} {sessions:>10,} {symbols:>8,}"
        for kind, stretches, sessions, symbols in kinds.select("kind", "stretches", "sessions", "symbols").iter_rows()
    ]
    lines += [
        "",
        f"requests to repeat: {requests.height:,}" + (f", the newest {limit}:" if limit < requests.height else ""),
    ]
    return "\n".join([*lines, *(f"  {request}" for request in requests["request"].head(limit))])

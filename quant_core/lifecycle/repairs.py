"""What a sleeve's sources should be asked for again: for the command line. Reads evidence only.

Which sessions lack a bar, and why, is decided in ingest/gaps.py; asking is the landing's business.
"""

from __future__ import annotations

import polars as pl

from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.ingest.gaps import repair_requests


def repairs_of(evidence: EvidenceReader, sleeve: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the sleeve's missing sessions per kind, and what to ask for, newest first.

    Returns
    -------
    kinds : DataFrame
        kind, stretches, sessions, symbols.
    requests : DataFrame
        The rows of `ingest.gaps` that have a request.

    Raises
    ------
    MissingVersionError
        Nobody has committed the sleeve's gaps yet.
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
    """Say both in lines for people, the first `limit` requests."""
    if kinds.is_empty():
        return "no session lacks a bar."
    lines = [f"{'kind':<12} {'stretches':>10} {'sessions':>10} {'symbols':>8}"]
    lines += [
        f"{kind:<12} {stretches:>10,} {sessions:>10,} {symbols:>8,}"
        for kind, stretches, sessions, symbols in kinds.select("kind", "stretches", "sessions", "symbols").iter_rows()
    ]
    lines += [
        "",
        f"to ask for again: {requests.height:,}" + (f", the newest {limit}:" if limit < requests.height else ""),
    ]
    return "\n".join([*lines, *(f"  {request}" for request in requests["request"].head(limit))])

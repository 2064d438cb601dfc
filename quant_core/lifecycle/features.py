"""Lists the features and how much of each a sleeve knows, for the command line. Reads evidence only.

Formulas and sources of features are in docs/features.md, which features/page.py makes.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from quant_core.errors import MissingVersionError, UnknownNameError
from quant_core.evidence.runs.reader import EvidenceReader, ref_in
from quant_core.features.catalogue import catalogue
from quant_core.features.step_order import memory_of
from quant_core.features.steps import DEFAULT_FAMILIES

SCHEMA = {
    "family": pl.String(),
    "name": pl.String(),
    "unit": pl.String(),
    "warmup": pl.Int64(),
    "memory": pl.Int64(),
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "is_on_by_default": pl.Boolean(),
    "is_cross_sectional": pl.Boolean(),
    "description": pl.String(),
}


def list_features(family: str | None = None) -> pl.DataFrame:
    """Return one row per feature, of all families or of one.

    Returns
    -------
    DataFrame
        family, name, unit, warmup (dates from a symbol's first bar on without a value), memory (bars a value reads;
        null: all before it), lower and upper (null: without bound), is_on_by_default (its family), is_cross_sectional,
        description.

    Raises
    ------
    UnknownNameError
        No family has that name; lists the near matches.
    """
    known = catalogue()
    families = {entry.family for entry in known.values()}
    if family is not None and family not in families:
        raise UnknownNameError("feature family", family, families)
    rows = [
        {
            "family": entry.family,
            "name": name,
            "unit": entry.unit,
            "warmup": entry.warmup,
            "memory": memory_of(name, known),
            "lower": entry.lower,
            "upper": entry.upper,
            "is_on_by_default": entry.family in DEFAULT_FAMILIES,
            "is_cross_sectional": entry.is_cross_sectional,
            "description": entry.description,
        }
        for name, entry in known.items()
        if family in (None, entry.family)
    ]
    return pl.DataFrame(rows, schema=SCHEMA).sort("family", maintain_order=True)


def add_coverage(features: pl.DataFrame, evidence: EvidenceReader, sleeve: str) -> pl.DataFrame:
    """Add the rows of the sleeve's newest table (0: the family is off) and the share of them each feature knows.

    Returns
    -------
    DataFrame
        The features with rows and coverage; both null where the table was never committed, coverage also at 0 rows.

    Raises
    ------
    MissingVersionError
        No feature of the sleeve was committed yet.
    """
    heads = evidence.heads()
    found = []
    for (family,), part in features.group_by("family", maintain_order=True):
        head = heads.get((f"features.{family}", sleeve))
        if head is None:
            continue
        table = evidence.store.read(ref_in(head))
        # A feature may be younger than the table.
        known = table.select(name for name in part["name"] if name in table.columns).count()
        found += [{"name": name, "rows": table.height, "known": known[name].item()} for name in known.columns]
    if not found:
        raise MissingVersionError(f"no features of {sleeve} have a committed version. Run it: quant run {sleeve}")
    schema = {"name": pl.String(), "rows": pl.Int64(), "known": pl.Int64()}
    counted = pl.DataFrame(found, schema=schema).with_columns(
        coverage=pl.when(pl.col("rows") > 0).then(pl.col("known") / pl.col("rows"))
    )
    return features.join(counted.drop("known"), on="name", how="left", maintain_order="left")


def document_of(features: pl.DataFrame, sleeve: str | None) -> dict[str, Any]:
    """Return the list as the JSON object that `quant features --json` prints; fields are only ever added."""
    return {"sleeve": sleeve, "features": features.to_dicts()}


def describe_features(features: pl.DataFrame) -> str:
    """Return the list as lines of text, family by family."""
    lines: list[str] = []
    for (family,), part in features.group_by("family", maintain_order=True):
        is_on = "on" if part["is_on_by_default"][0] else "off"
        wide, unit = (int(part[name].str.len_chars().to_numpy().max()) for name in ("name", "unit"))
        lines += [f"{family}: {part.height} features, {is_on} by default"]
        for row in part.iter_rows(named=True):
            bounds = f"{_number(row['lower'], '-inf')} .. {_number(row['upper'], 'inf')}"
            known = f" {_coverage(row):>13}" if "coverage" in row else ""
            lines.append(
                f"  {row['name']:<{wide}} {row['unit']:<{unit}} warm-up {row['warmup']:>3} {bounds:>14}{known}"
                f"  {row['description']}"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def _number(bound: float | None, absent: str) -> str:
    return absent if bound is None else f"{bound:g}"


def _coverage(row: dict[str, Any]) -> str:
    if row["rows"] is None:
        return "not committed"
    return "off" if row["coverage"] is None else f"known {row['coverage']:.1%}"

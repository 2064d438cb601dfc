"""A judged result: its valid rows, its exclusions, what the rules found, and how it is stored.

Judging is in judge.py, the result of a landing in landing_view.py, committing in commit.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from quant_core.evidence.store.refs import DataRef, Part
from quant_core.evidence.store.store import Store
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import Split, confirm, validate
from quant_core.meter import count_validation

EXCLUSION_KEY = ("rule", "row")
# With fewer rows a share means little: one bad row in ten must not refuse the other nine.
BUDGET_FROM_ROWS = 1_000


@dataclass(frozen=True, eq=False)
class Finished(Split):
    """A judged result.

    Attributes
    ----------
    broken : tuple of str
        Blocking findings; not empty means nothing may be committed.
    warnings : tuple of str
        Findings that block nothing.
    metrics : mapping
        Aggregate numbers for the ledger.
    seconds : mapping
        Time the stage took, by `stage`, `validation`, and `loading` of libraries by validation.
    """

    broken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the commit record that only this kind of result has."""
        return {}

    def store_parts(self, store: Store, spec: StageSpec, sleeve: str) -> dict[Part, DataRef]:
        """Write the parts of the result into the store; rows not yet judged under its contract are judged first.

        Raises
        ------
        ContractError
            The valid rows break the contract after all.
        """
        # Rows that this contract has just judged need not be judged by it again.
        judge = confirm if self.contract is spec.output else validate
        judge(self.valid, spec.output)
        return {
            part: store.write(frame, stage=spec.id, sleeve=sleeve, key=key, part=part)
            for part, (frame, key) in self.frames(spec).items()
        }

    def frames(self, spec: StageSpec) -> dict[Part, tuple[pl.DataFrame, tuple[str, ...]]]:
        """Return each part of the result with the key its rows are sorted by."""
        return {"valid": (self.valid, spec.output.key), "exclusions": (self.exclusions, EXCLUSION_KEY)}


def find_over_budget(spec: StageSpec, excluded: Mapping[str, int], made_of: int) -> list[str]:
    """Return a sentence per rule that excluded more than its share of rows.

    Parameters
    ----------
    spec : StageSpec
    excluded : mapping of rule to rows
    made_of : int
        Rows the valid ones were put together from.
    """
    counts = {rule: count for rule, count in excluded.items() if rule not in spec.carried}
    lost = sum(counts.values())
    rows = made_of + lost
    counts["*"] = lost
    return [
        f"budget: {rule} excluded {counts[rule]} of {rows} rows, more than its share of {share:g}."
        for rule, share in sorted(spec.budgets.items())
        if rows >= (1 if rule == "*" else BUDGET_FROM_ROWS) and counts.get(rule, 0) > share * rows
    ]


def apply_table_rules(spec: StageSpec, valid: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the findings of blocking and of warning rules on whole tables."""
    broken: list[str] = []
    warnings: list[str] = []
    for rule in spec.rules:
        finding = count_validation(rule.check)(valid)
        if finding is not None:
            (broken if rule.severity == "block" else warnings).append(f"{rule.name}: {finding}")
    return broken, warnings


def measure(spec: StageSpec, valid: pl.DataFrame, broken: list[str]) -> Mapping[str, float]:
    """Return the aggregate numbers of a table; none if it is refused."""
    return dict(spec.metrics(valid)) if spec.metrics and not broken else {}

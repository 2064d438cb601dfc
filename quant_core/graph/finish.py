"""What happens to a stage's result before anybody keeps it: split, budgets, conservation, tier 2 rules.

Shared by the script and by Dagster, so that both refuse the same things. Committing lives in commit.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from quant_core.graph.landing import View
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.meter import counted
from quant_core.market.contracts.split import Split, split

EXCLUSION_KEY = ("rule", "row")
# Of fewer rows a share says little: one bad row in ten is no reason to refuse the other nine.
BUDGET_FROM_ROWS = 1_000


@dataclass(frozen=True, eq=False)
class Finished(Split):
    """A judged result: the valid rows, the exclusions, and what the rules said.

    Attributes
    ----------
    broken : tuple of str
        Blocking findings; not empty means nothing may be committed.
    warnings : tuple of str
        Findings that block nothing.
    metrics : mapping
        Aggregate numbers for the ledger.
    view : View, optional
        Of a landing: the versions the table is made of, and the actions that came with it.
    seconds : mapping
        Time the stage took, by `stage`, `validation`, and `loading` of libraries by validation.
    """

    broken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    view: View | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def excluded(self) -> dict[str, int]:
        """Number of rows excluded per rule; of a landing, in all of it."""
        return dict(self.view.counts) if self.view is not None else super().excluded


def finish(spec: StageSpec, result: pl.DataFrame | Split, *, rows_in: Mapping[str, int]) -> Finished:
    """Judge the result of a stage.

    Parameters
    ----------
    spec : StageSpec
    result : DataFrame or Split
        What the stage's function returned.
    rows_in : mapping of input argument to its number of rows
        For the conservation law.

    Raises
    ------
    ContractError
        Columns or types of the result are not the contract's.
    """
    given = result if isinstance(result, Split) else Split(result)
    view = given if isinstance(given, View) else None
    parted = given if view is not None else _judged(given, spec)
    broken = [*_over_budget(spec, parted, view), *_not_conserved(spec, parted, rows_in)]
    warnings: list[str] = []
    for rule in spec.rules:
        said = counted(rule.check)(parted.valid)
        if said is not None:
            (broken if rule.severity == "block" else warnings).append(f"{rule.name}: {said}")
    metrics = dict(spec.metrics(parted.valid)) if spec.metrics and not broken else {}
    return Finished(
        parted.valid,
        parted.exclusions,
        tuple(broken),
        tuple(warnings),
        metrics,
        view,
        contract=parted.contract,
    )


def _judged(given: Split, spec: StageSpec) -> Split:
    judged = split(given.valid, spec.output)
    return Split(judged.valid, pl.concat([given.exclusions, judged.exclusions]), contract=judged.contract)


def _over_budget(spec: StageSpec, parted: Split, view: View | None) -> list[str]:
    counts = {rule: count for rule, count in parted.excluded.items() if rule not in spec.carried}
    lost = sum(counts.values())
    made_of = None if view is None else view.made_of
    rows = (parted.valid.height if made_of is None else made_of) + lost
    counts["*"] = lost
    return [
        f"budget: {rule} excluded {counts[rule]} of {rows} rows, more than its share of {share:g}."
        for rule, share in sorted(spec.budgets.items())
        if rows >= (1 if rule == "*" else BUDGET_FROM_ROWS) and counts.get(rule, 0) > share * rows
    ]


def _not_conserved(spec: StageSpec, parted: Split, rows_in: Mapping[str, int]) -> list[str]:
    if spec.conserves is None:
        return []
    came, kept, lost = rows_in[spec.conserves], parted.valid.height, parted.exclusions.height
    return [] if came == kept + lost else [f"conservation: {came} rows in, {kept} kept + {lost} excluded out."]

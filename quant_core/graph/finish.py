"""What happens to a stage's result before anybody keeps it: split, budgets, conservation, tier 2 rules.

Shared by the script and by Dagster, so that both refuse the same things. Committing lives in commit.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import Split, split

EXCLUSION_KEY = ("rule", "row")


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
    """

    broken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


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
    judged = split(given.valid, spec.output)
    excluded = pl.concat([given.exclusions, judged.exclusions])
    parted = Split(judged.valid, excluded)
    broken = [*_over_budget(spec, parted), *_not_conserved(spec, parted, rows_in)]
    warnings: list[str] = []
    for rule in spec.rules:
        said = rule.check(parted.valid)
        if said is not None:
            (broken if rule.severity == "block" else warnings).append(f"{rule.name}: {said}")
    metrics = dict(spec.metrics(parted.valid)) if spec.metrics and not broken else {}
    return Finished(parted.valid, parted.exclusions, tuple(broken), tuple(warnings), metrics)


def _over_budget(spec: StageSpec, parted: Split) -> list[str]:
    counts = parted.excluded
    rows = parted.valid.height + parted.exclusions.height
    counts["*"] = parted.exclusions.height
    return [
        f"budget: {rule} excluded {counts[rule]} of {rows} rows, more than its share of {share:g}."
        for rule, share in sorted(spec.budgets.items())
        if rows and counts.get(rule, 0) > share * rows
    ]


def _not_conserved(spec: StageSpec, parted: Split, rows_in: Mapping[str, int]) -> list[str]:
    if spec.conserves is None:
        return []
    came, kept, lost = rows_in[spec.conserves], parted.valid.height, parted.exclusions.height
    return [] if came == kept + lost else [f"conservation: {came} rows in, {kept} kept + {lost} excluded out."]

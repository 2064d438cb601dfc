"""The judge of a stage's result: split by the contract, budgets, conservation, rules on the whole table.

Shared by the script and by Dagster, so that both refuse the same results. The result itself is finished.py's,
committing commit.py's; a landing has a judge of its own in landing_view.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from quant_core.graph.finished import Finished, apply_table_rules, find_over_budget, measure
from quant_core.graph.landing_view import View, judge_view
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.split import Split, split


def judge(spec: StageSpec, result: pl.DataFrame | Split, *, rows_in: Mapping[str, int]) -> Finished:
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
    if isinstance(result, View):
        return judge_view(spec, result)
    given = result if isinstance(result, Split) else Split(result)
    kept = split(given.valid, spec.output)
    parted = Split(kept.valid, pl.concat([given.exclusions, kept.exclusions]))
    found, warnings = apply_table_rules(spec, parted.valid)
    broken = [
        *find_over_budget(spec, parted.excluded, parted.valid.height),
        *_find_lost_rows(spec, parted, rows_in),
        *found,
    ]
    return Finished(
        parted.valid,
        parted.exclusions,
        tuple(broken),
        tuple(warnings),
        measure(spec, parted.valid, broken),
        contract=kept.contract,
    )


def _find_lost_rows(spec: StageSpec, parted: Split, rows_in: Mapping[str, int]) -> list[str]:
    if spec.conserves is None:
        return []
    came, kept, lost = rows_in[spec.conserves], parted.valid.height, parted.exclusions.height
    return [] if came == kept + lost else [f"conservation: {came} rows in, {kept} kept + {lost} excluded out."]

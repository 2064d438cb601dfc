"""Every rule of the room, seen at work by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import UnknownNameError
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.stage import StageSpec
from quant_core.ingest.actions import actions
from quant_core.ingest.bars import bars
from quant_core.ingest.health import HealthParams, health
from quant_core.ingest.lives import lives
from quant_core.ingest.raw import RawParams, raw
from quant_core.ingest.returns import returns
from quant_core.ingest.rules import (
    CONTRACT_BUDGET,
    JUDGED,
    TOTALS,
    budgets_of,
    carried_rules,
    catalogue,
    innocent_rules,
    rules_page,
)
from quant_core.ingest.universe import UniverseParams, universe
from quant_core.market.contracts.ingest import Actions
from quant_core.market.contracts.split import split
from quant_core.market.sleeves import Sleeve
from quant_core.settings import CHECKOUT
from tests.core.ingest.rule_examples import Example, examples

RULES, EXAMPLES = catalogue(), examples()
DEFECTS = {
    "duplicate_rows": 5,
    "restated_rows": 5,
    "high_below_low": 5,
    "negative_prices": 5,
    "off_range": 5,
    "toxic_spikes": 5,
    "stale_runs": 5,
}


def seen_in(spec: StageSpec, done: Finished) -> set[str]:
    """Names of the rules that excluded, marked or warned."""
    found = set(done.exclusions["rule"])
    said = {told.partition(":")[0] for told in (*done.warnings, *done.broken)} - {"budget", "conservation"}
    found |= {f"{rule}/table" for rule in said}
    if "flags" in done.valid.columns:
        found |= set(done.valid["flags"].str.split(",").explode().unique()) - {""}
    if spec.id == "ingest.health":
        found |= set(done.valid["event"]) & {"quarantined"}
    return {f"{spec.id}/{rule}" for rule in found}


def room(landed: pl.DataFrame, sleeve: Sleeve, actions: pl.DataFrame) -> tuple[set[str], set[str]]:
    """Every rule seen by the stages after the landing, and those of them that excluded rows."""
    sent = {"actions": actions} if "actions" in bars.inputs else {}
    parted = judge(bars, bars(landed, **sent, **params_of(bars), sleeve=sleeve), rows_in={"raw": landed.height})
    kept, lost = parted.valid, parted.exclusions
    verdicts = judge(health, health(kept, lost, params=HealthParams(), sleeve=sleeve), rows_in={})
    told = {"health": verdicts.valid} if "health" in universe.inputs else {}
    members = universe(kept, lives(kept, lost, sleeve=sleeve), **told, params=UniverseParams(), sleeve=sleeve)
    done = (
        (bars, parted),
        (health, verdicts),
        (universe, judge(universe, members, rows_in={})),
        (returns, judge(returns, returns(kept), rows_in={"bars": kept.height})),
    )
    excluded = {f"{spec.id}/{rule}" for spec, table in done for rule in table.exclusions["rule"]}
    return {name for spec, table in done for name in seen_in(spec, table)}, excluded


def params_of(spec: StageSpec) -> dict[str, Any]:
    return {"params": spec.params()} if "params" in spec.wants else {}


@pytest.fixture
def run(
    tmp_path: Path, landing: Callable[[pl.DataFrame], pl.DataFrame], new_landing: Callable[..., Any]
) -> Callable[[Example], tuple[set[str], set[str]]]:
    def ran(example: Example) -> tuple[set[str], set[str]]:
        sleeve, made = Sleeve(name="test", calendar=example.calendar), example.make()
        stage = example.name.partition("/")[0]
        if isinstance(made, str):
            (tmp_path / "bars.csv").write_text(made)
            params = RawParams(kind="parquet", options={"path": str(tmp_path / "bars.csv"), **example.options})
            read = raw(params=params, sleeve=sleeve, as_of=None, landing=new_landing())
            lost = judge(raw, read, rows_in={}).exclusions
        elif example.form == "landing":
            return room(landing(made), sleeve, example.actions())
        elif example.form == "actions":
            lost = judge(actions, actions(made, sleeve=sleeve, as_of=None), rows_in={}).exclusions
        else:
            lost = split(made, JUDGED[stage]).exclusions
        named = {f"{stage}/{rule}" for rule in lost["rule"]}
        return named, named

    return ran


@pytest.mark.parametrize("name", sorted(RULES))
def test_each_rule_sees_its_example_and_excludes_nothing_by_another(
    name: str, run: Callable[[Example], tuple[set[str], set[str]]]
) -> None:
    seen, excluded = run(EXAMPLES[name])
    assert name in seen
    assert seen <= set(RULES)
    if RULES[name].severity == "exclude":
        assert excluded == {name}


def test_every_rule_has_an_example() -> None:
    assert set(RULES) - set(EXAMPLES) == set()


def test_rules_that_planted_defects_break_are_in_the_catalogue(
    landing: Callable[[pl.DataFrame], pl.DataFrame], ingest_source: Any
) -> None:
    sleeve = Sleeve(name="test", calendar="24/7")
    landed = ingest_source("simulator", defects=DEFECTS).raw
    seen, excluded = room(landed, sleeve, Actions.empty())
    assert len(excluded) >= 6
    assert seen <= set(RULES)


def test_no_rule_is_named_without_saying_what_it_demands() -> None:
    for rule in RULES.values():
        assert rule.doc.endswith("."), rule.name
        assert rule.severity in ("exclude", "flag", "warn", "block")
        assert rule.tier == 2 or rule.severity == "exclude"
        assert rule.budget is None or (rule.severity == "exclude" and 0.0 < rule.budget <= TOTALS.get(rule.stage, 1.0))


def test_an_unknown_rule_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean ingest\.bars/toxic_bar"):
        RULES["ingest.bars/toxic_bars"]


def test_budgets_bound_each_rule_that_excludes_and_all_together() -> None:
    budgets = budgets_of("ingest.bars")
    assert budgets["*"] == 0.60
    assert budgets["off_session"] == 0.30
    assert budgets["open_outside_range"] == CONTRACT_BUDGET
    assert not {"jump", "survivorship", "close_not_known"} & set(budgets)
    assert carried_rules("ingest.bars") == {"duplicate_row", "restated_row"}
    assert not carried_rules("ingest.bars") & set(budgets)
    assert budgets_of("ingest.lives") == {"*": 1.0}
    by_stage = {rule.rule for rule in RULES.values() if rule.stage == "ingest.bars" and rule.budget is not None}
    assert by_stage == set(budgets) - {"*"}


def test_copies_closed_days_absent_prices_and_stalls_speak_for_nobody_s_bad_health() -> None:
    innocent = set(innocent_rules("ingest.bars"))
    assert {"close_not_known", "duplicate_row", "off_session", "restated_row", "stalled"} <= innocent
    assert not {"toxic_bar", "high_below_low", "close_not_positive"} & innocent


def test_the_page_of_rules_is_current() -> None:
    page = CHECKOUT / "docs" / "rules.md"
    command = page.read_text().partition("\n")[0]
    assert page.read_text() == rules_page(), f"make it anew: {command}"

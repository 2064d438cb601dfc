"""Catalogues every rule of the ingest room: its demand, its effect on rows, and how many rows it may exclude.

Written down here are rules that live in the code of a stage or a source. Those of a contract are read off the contract,
and those of whole tables off the stages that name them, so that each is written once. This module imports no stage, so
that stages may ask it for their budgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from quant_core.graph.catalog import Catalog, collect
from quant_core.market.contracts.ingest import Actions, Bars, Raw, ReturnsSchema
from quant_core.market.contracts.split import Contract

Severity = Literal["exclude", "flag", "warn", "block"]
TOXIC_BAR = "toxic_bar"
# Tables whose rows come from outside or from arithmetic on them; the contracts of the others guard our own code.
JUDGED: Mapping[str, Contract] = {
    "ingest.raw": Raw,
    "ingest.actions": Actions,
    "ingest.bars": Bars,
    "ingest.returns": ReturnsSchema,
}
# Share of all rows of a stage, whatever the rules; losing more means that the data are corrupt.
TOTALS: Mapping[str, float] = {"ingest.raw": 0.60, "ingest.actions": 0.60, "ingest.bars": 0.60}
# Ten times the worst seen in eighteen files of real prices (0.5 % of an index whose open leaves its range).
CONTRACT_BUDGET = 0.05
# A missing price is not a wrong price: wide files hold a cell per symbol and date, before a listing too.
ABSENT = "close_not_known"
TICK_COLUMNS = ("symbol", "open", "high", "low", "close", "volume")


_PAGE = """\
<!-- Made by: python -c "from quant_core.ingest.rules import rules_page as p; print(p(), end='')" > docs/rules.md -->
# Rules of ingest

Every row that comes in leaves as a valid row or as an exclusion, with the rule it broke, what was seen, and the row
itself; `quant exclusions` lists them. A rule is named for the defect it finds; rules on values (`close_not_positive`)
are read off the contracts. Tier 1 judges a row by itself or by its key, tier 2 needs the rows around it or the whole
table. Above the share under "at most" a rule fails its stage, from 1,000 rows on: losing that much means the data is
damaged. Rows that are superseded, for example by a later version, count neither as rows nor as lost."""


@dataclass(frozen=True)
class Rule:
    """One rule, found by its type in any module of the room.

    Attributes
    ----------
    rule : str
        As exclusions, flags and warnings name it.
    stage : str
        Which stage applies it.
    doc : str
        One sentence: what it demands.
    tier : 1 or 2
        1: judges a row by itself or by its key; 2: needs the rows around it, or the whole table.
    severity : "exclude", "flag", "warn" or "block"
        The row leaves, or is marked; the table is warned of, or not committed.
    budget : float, optional
        Share of the stage's rows it may exclude before the stage fails; None: bounded by the stage's total only.
    is_defect : bool
        Whether rows it excludes speak against the health of their symbol.
    is_carried : bool
        Whether what it excludes lives on in another row, such as a later version: then nothing is lost by it.
    """

    rule: str
    stage: str
    doc: str
    tier: Literal[1, 2] = 1
    severity: Severity = "exclude"
    budget: float | None = None
    is_defect: bool = False
    is_carried: bool = False

    @property
    def name(self) -> str:
        """Stage and rule, with /table for a rule on the table: one name may mean a row rule and a warning."""
        return f"{self.stage}/{self.rule}" + ("/table" if self.severity in ("warn", "block") else "")


def _unread(column: str, kind: str) -> Rule:
    said = f"The text in {column} is a {kind}, or empty: not known."
    return Rule(f"{column}_not_a_{kind}", "ingest.raw", said, budget=CONTRACT_BUDGET)


# What a source cannot read, or cannot take for a bar of a day.
open_not_a_number = _unread("open", "number")
high_not_a_number = _unread("high", "number")
low_not_a_number = _unread("low", "number")
close_not_a_number = _unread("close", "number")
volume_not_a_number = _unread("volume", "number")
date_not_a_date = _unread("date", "date")
known_at_not_a_time = _unread("known_at", "time")
timestamp_not_a_time = _unread("timestamp", "time")
truncated_line = Rule("truncated_line", "ingest.raw", "The last line of a file has a line end: no digit is missing.")
ragged_row = Rule("ragged_row", "ingest.raw", "A line has as many fields as the header.", budget=CONTRACT_BUDGET)
off_hours = Rule(
    "off_hours", "ingest.raw", "A bar within the day is in a session of the calendar.", tier=2, is_carried=True
)
forming_bar = Rule("forming_bar", "ingest.raw", "The day of a bar within the day is over.", tier=2, is_carried=True)
repeated_stamp = Rule("duplicate_row", "ingest.raw", "No bar within the day arrives twice.", is_carried=True)
restated_stamp = Rule(
    "restated_row", "ingest.raw", "No bar within the day is sent again with other values.", is_carried=True
)

# Corporate actions, as they are used.
factor_missing = Rule("factor_missing", "ingest.actions", "A split or dividend has a factor.")
factor_out_of_bounds = Rule("factor_out_of_bounds", "ingest.actions", "A factor lies between 1e-4 and 1e4.")
dividend_raises_price = Rule("dividend_raises_price", "ingest.actions", "The factor of a dividend is at most 1.")
rename_with_factor = Rule("rename_with_factor", "ingest.actions", "A rename has no factor: it changes no price.")
rename_without_target = Rule("rename_without_target", "ingest.actions", "A rename names another symbol.")
duplicate_action = Rule("duplicate_action", "ingest.actions", "No action is sent twice.", is_carried=True)
restated_action = Rule(
    "restated_action", "ingest.actions", "No action is sent again with another factor or target.", is_carried=True
)

# Rows that are not bars, though each value could be one.
off_session = Rule(
    "off_session",
    "ingest.bars",
    "The calendar is open on the date.",
    budget=0.30,  # currencies of sources whose day begins on Sunday evening: one row in six
)
far_future = Rule(
    "far_future",
    "ingest.bars",
    "No row is dated more than 20 sessions after the date before it, or after it arrived: a mistyped year.",
    tier=2,
    budget=0.05,
)
precedes_rename = Rule(
    "precedes_rename", "ingest.bars", "Before a rename no other asset bears the new symbol.", tier=2, budget=0.20
)
duplicate_row = Rule(
    "duplicate_row",
    "ingest.bars",
    "No row of the same date and symbol arrives later with the same values.",
    is_carried=True,  # files that overlap hold every row twice
)
restated_row = Rule(
    "restated_row",
    "ingest.bars",
    "No row of the same date and symbol arrives later with other values.",
    is_carried=True,  # a vendor that adjusts its prices restates whole histories
)
toxic_bar = Rule(
    TOXIC_BAR,
    "ingest.bars",
    "A price that jumps beyond [-80 %, +500 %] stays on its new level for three bars.",
    tier=2,
    budget=0.05,
    is_defect=True,
)
stalled = Rule("stalled", "ingest.bars", "Fewer than 20 closes in a row are equal.", tier=2, budget=0.25)

# Marks that keep the row.
jump = Rule("jump", "ingest.bars", "The close does not more than double in one bar.", tier=2, severity="flag")
volume_spike = Rule(
    "volume_spike",
    "ingest.bars",
    "The robust z of log volume against the 60 bars before is at most 10.",
    tier=2,
    severity="flag",
)
stall = Rule("stall", "ingest.bars", "Fewer than five closes in a row are equal.", tier=2, severity="flag")
unadjusted_split = Rule(
    "unadjusted_split",
    "ingest.bars",
    "No fall or rise of the price looks like an unreported split.",
    tier=2,
    severity="flag",
)
quarantined = Rule(
    "quarantined",
    "ingest.health",
    "At most a fifth of a symbol's trailing 120 rows (or as the sleeve says) are broken or toxic; else it is out of "
    "the universe until a re-test.",
    tier=2,
    severity="flag",
)


def budgets_of(stage: str) -> Mapping[str, float]:
    """Return the share of a stage's rows each rule may exclude, and under "*" the share of all together.

    Safe at the import of a stage: it reads this module and the contracts only, so a rule that a source declares itself
    is bounded by the total.
    """
    own = {rule.rule: rule.budget for rule in _known_here(stage) if rule.budget is not None}
    return {"*": TOTALS.get(stage, 1.0), **dict(sorted(own.items()))}


def carried_rules(stage: str) -> frozenset[str]:
    """Return the rules of a stage whose rows live on in others, and which therefore count against no budget."""
    return frozenset(rule.rule for rule in _known_here(stage) if rule.is_carried)


def innocent_rules(stage: str) -> tuple[str, ...]:
    """Return the rules of a stage that exclude rows without speaking against their symbol; unknown rules do speak."""
    rules = _known_here(stage)
    return tuple(sorted(rule.rule for rule in rules if rule.severity == "exclude" and not rule.is_defect))


def catalogue() -> Catalog[Rule]:
    """Return every rule of the room by stage and name: those declared in any of its modules, and those derived."""
    from quant_core.graph.stage import StageSpec

    found = dict(collect("quant_core.ingest", Rule))
    derived = [rule for stage in JUDGED for rule in _derive_rules(stage)]
    for spec in collect("quant_core.ingest", StageSpec).values():
        derived += [Rule(rule.name, spec.id, rule.doc, tier=2, severity=rule.severity) for rule in spec.rules]
    return Catalog("rule", found | {rule.name: rule for rule in derived})


def rules_page() -> str:
    """Return docs/rules.md: the catalogue as tables, by stage."""
    said = {"exclude": "the row leaves", "flag": "marked", "warn": "warned of", "block": "nothing is committed"}
    lines = [*_PAGE.splitlines()]
    found = catalogue()
    for stage in sorted({rule.stage for rule in found.values()}):
        total = f" Together the rules may exclude {TOTALS[stage]:.0%} of its rows." if stage in TOTALS else ""
        lines += ["", f"## {stage}", "", f"{_doc_of(stage)}{total}", ""]
        lines += ["| rule | tier | what is broken is | at most | what must hold |", "|---|---|---|---|---|"]
        for rule in (rule for rule in found.values() if rule.stage == stage):
            budget = "" if rule.budget is None else f"{rule.budget:.0%}"
            if rule.is_carried:
                budget = "unlimited: superseded, not lost"
            doc = rule.doc.replace("|", "\\|")
            lines.append(f"| `{rule.rule}` | {rule.tier} | {said[rule.severity]} | {budget} | {doc} |")
    return "\n".join(lines) + "\n"


def _doc_of(stage: str) -> str:
    from quant_core.graph.stage import StageSpec

    return collect("quant_core.ingest", StageSpec)[stage].doc.partition("\n")[0]


def contract_rules(stage: str) -> Iterator[Rule]:
    """Return the rules the contract of a judged table has for its rows and its key."""
    contract = JUDGED[stage]
    for row_rule in contract.row_rules:
        is_absent = row_rule.name == ABSENT
        budget = None if is_absent else CONTRACT_BUDGET
        yield Rule(row_rule.name, stage, row_rule.doc, budget=budget, is_defect=not is_absent)
    if stage != "ingest.bars":  # where a repeated key is a row that came twice or was restated
        key = ", ".join(contract.key)
        yield Rule("duplicate_key", stage, f"Of rows with the same {key} the last is kept.", budget=CONTRACT_BUDGET)


def _tick_rules() -> Iterator[Rule]:
    """Return the rules of Bars that a source holds bars within the day to, before it makes a daily bar of them."""
    known = {rule.rule for rule in contract_rules("ingest.raw")}
    for row_rule in Bars.row_rules:
        if row_rule.name not in known and row_rule.holds.meta.root_names()[0] in TICK_COLUMNS:
            said = f"Within the day: {row_rule.doc}"
            yield Rule(row_rule.name, "ingest.raw", said, budget=CONTRACT_BUDGET)
    yield Rule("timestamp_not_known", "ingest.raw", "Within the day: timestamp is known.", budget=CONTRACT_BUDGET)


def _derive_rules(stage: str) -> list[Rule]:
    return [*contract_rules(stage), *(_tick_rules() if stage == "ingest.raw" else ())] if stage in JUDGED else []


def _known_here(stage: str) -> list[Rule]:
    return [rule for rule in collect(__name__, Rule).values() if rule.stage == stage] + _derive_rules(stage)

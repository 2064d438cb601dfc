"""Faults measured in the system this one replaces, each kept out at the place where it did its damage.

What a room promises of itself is tested beside the room; here stand promises that all stages keep together.
"""

import datetime as dt
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from quant_core.errors import ConfigError, ContractError, GateError, UnknownNameError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.store import Store
from quant_core.graph.commit import Reader, commit_result
from quant_core.graph.compute import SerialCompute
from quant_core.graph.finished import Finished
from quant_core.graph.judge import judge
from quant_core.graph.parameters import resolve_plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import DAGRunner, RunResult
from quant_core.graph.stage import Params, StageSpec
from quant_core.market.contracts.split import Contract
from quant_core.market.panel import panels_of
from quant_core.market.sleeves import SleeveFile, read_sleeve
from quant_core.settings import Settings
from tests.builders import up_to
from tests.markets import SLEEVE, plain_market

from .conftest import Place

Small = tuple[Place, RunResult]
REGISTRY = StageRegistry.load("quant_core")
INGEST = tuple(spec.id for spec in REGISTRY.order_stages() if spec.room == "ingest")
TABLES = ["[sleeve]", 'name = "small"', 'calendar = "24/7"', "[source]", 'kind = "parquet"', 'path = "bars.parquet"']
FIRST = dt.date(2022, 1, 1)


def closes(paths: Mapping[str, Any], first: dt.date = FIRST) -> pl.DataFrame:
    rows = [(first + dt.timedelta(days=k), symbol, float(close)) for symbol, path in paths.items() for k, close in path]
    return pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64}, orient="row")


def walk(bars: int, seed: int) -> list[tuple[int, float]]:
    steps = np.random.default_rng(seed).normal(0.0, 0.01, bars)
    return list(enumerate(np.round(100.0 * np.exp(np.cumsum(steps)), 6)))


def sleeve_text(*lines: str) -> str:
    return "\n".join([*TABLES, *lines, ""])


def with_tables(folder: Path, *lines: str) -> SleeveFile:
    path = folder / "small.toml"
    path.write_text(sleeve_text(*lines))
    return read_sleeve(path)


# Calendars


def test_a_symbol_listed_late_or_gone_early_takes_no_row_from_the_others(tmp_path: Path) -> None:
    whole = {f"SIM:S{j}": walk(60, j) for j in range(3)}
    with_guests = whole | {"SIM:YOUNG": walk(60, 8)[50:], "SIM:DEAD": walk(60, 9)[:10]}
    alone = (
        Place(tmp_path / "a", tmp_path / "home_a").write(closes(whole), sleeve_text()).run(only=up_to("ingest.returns"))
    )
    guests = (
        Place(tmp_path / "b", tmp_path / "home_b")
        .write(closes(with_guests), sleeve_text())
        .run(only=up_to("ingest.returns"))
    )
    for stage in ("ingest.bars", "ingest.returns"):
        kept = guests.frame(stage).filter(pl.col("symbol").is_in(list(whole)))
        assert kept.height == 180
        assert kept.equals(alone.frame(stage))


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def moved(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield moved
    monkeypatch.undo()
    time.tzset()


def test_the_clock_of_the_machine_dates_no_bar_and_no_gap(clock_of: Any, tmp_path: Path) -> None:
    # Hours of a currency: the day is cut where its market cuts it, so Sunday evening is Monday.
    hours = [dt.datetime(2024, 1, 7, 20, tzinfo=dt.UTC) + dt.timedelta(hours=k) for k in range(24 * 4)]
    pairs = ("FX_IDC:EURUSD", "FX_IDC:GBPUSD")
    rows = [(stamp, pair, 1.0 + 0.001 * k) for pair in pairs for k, stamp in enumerate(hours)]
    # One pair lacks the Tuesday: a gap to be dated.
    rows = [row for row in rows if row[1] == pairs[0] or not hours[22] <= row[0] < hours[52]]
    bars = pl.DataFrame(rows, schema=["timestamp", "symbol", "close"], orient="row")
    text = sleeve_text('interval = "1h"').replace("24/7", "24/5")
    told: dict[str, tuple[str, ...]] = {}
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        clock_of(zone)
        run = Place(tmp_path / zone, tmp_path / f"{zone}_home").write(bars, text).run(only=up_to("ingest.gaps"))
        told[zone] = tuple(run.refs[stage].sha256 for stage in ("ingest.bars", "ingest.gaps"))
        assert run.frame("ingest.bars")["date"].min() == dt.date(2024, 1, 8)
        assert run.frame("ingest.gaps")["start"].to_list() == [dt.date(2024, 1, 9)]
    assert len(set(told.values())) == 1


# Keys of a sleeve file

FIELDS = [
    (spec, name) for spec in REGISTRY.order_stages() if spec.id != "ingest.raw" for name in spec.params.model_fields
]
IDS = [f"{spec.id}.{name}" for spec, name in FIELDS]
ROOMS = sorted({spec.room for spec in REGISTRY.values() if spec.params.model_fields})
OTHERS: tuple[Any, ...] = (False, True, 29, 0.375, "other", ["other"], [29], {"other": 0.375})
# Fields whose stage knows the names they may hold.
NAMED: dict[str, Any] = {
    "strict_limits": {"kurtosis": 0.375},
    "relaxed_limits": {"kurtosis": 99.0},
    "required_metadata": ["sector"],
    "logic": "trend",
    "factors": {"KMID": {"map": "rank", "role": "alpha", "directional": True, "is_long_only": False}},
}


def another_value(params: type[Params], name: str) -> Any:
    # A value a sleeve file may hold, the stage takes, and is not the default.
    if name in NAMED:
        return NAMED[name]
    default = params().model_dump(mode="json")[name]
    for value in (*get_args(params.model_fields[name].annotation), *OTHERS):
        try:
            taken = params.model_validate_json(json.dumps({name: value}))
        except (ValidationError, ConfigError, UnknownNameError, TypeError):
            continue
        if taken.model_dump(mode="json")[name] not in (default, None):
            return value
    raise AssertionError(f"no other value known for {params.__name__}.{name}; add one to NAMED")


def holds(found: Any, value: Any) -> bool:
    # Whether a table of the stage holds what was given; what was not given keeps its default.
    return all(found[name] == inner for name, inner in value.items()) if isinstance(value, dict) else found == value


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {as_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(("spec", "name"), FIELDS, ids=IDS)
def test_every_key_set_in_a_sleeve_file_reaches_every_stage_that_owns_it(
    spec: StageSpec, name: str, tmp_path: Path
) -> None:
    # A headline of the allocation must be one of its methods.
    beside = ['methods = ["equal_weight", "hrp"]'] if (spec.room, name) == ("allocation", "headline") else []
    value = "hrp" if beside else another_value(spec.params, name)
    lines = [f"[{spec.room}]", *beside, f"{name} = {as_toml(value)}"]
    plan = resolve_plan(REGISTRY, with_tables(tmp_path, *lines))
    owners = [other.id for other in REGISTRY.values() if other.room == spec.room and name in other.params.model_fields]
    for owner in owners:
        assert holds(plan.dump()[owner][name], value)
        assert plan.origins[owner][name] == "sleeve file"
    for other, field in FIELDS:
        extra = other.params.model_fields[field].json_schema_extra
        if isinstance(extra, dict) and extra.get("from") == f"{spec.id}.{name}" and other.id not in owners:
            assert holds(plan.dump()[other.id][field], value)
    named = resolve_plan(
        REGISTRY, with_tables(tmp_path, *lines[:-1]), environ={f"QUANT__{spec.room}__{name}".upper(): json.dumps(value)}
    )
    assert holds(named.dump()[spec.id][name], value)


@pytest.mark.parametrize("room", ROOMS)
def test_a_key_no_stage_of_the_room_owns_is_refused_and_not_passed_over(room: str, tmp_path: Path) -> None:
    owned = {name for spec, name in FIELDS if spec.room == room}
    elsewhere = {name for _, name in FIELDS} - owned
    once_without_effect = {"top_n", "threshold", "filters", "min_momentum_score", "feat_dynamic_selection", "risk_free"}
    file = with_tables(tmp_path)
    for name in elsewhere | once_without_effect | {f"{name}s" for name in owned} - owned:
        with pytest.raises(UnknownNameError):
            resolve_plan(REGISTRY, replace(file, rooms={room: {name: 1}}))
        with pytest.raises(UnknownNameError):
            resolve_plan(REGISTRY, file, environ={f"QUANT__{room}__{name}".upper(): "1"})


def spied(params: Params, read: set[str]) -> Params:
    # The same parameters, noting which of them are looked at.

    class Spied(type(params)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

        def model_dump(self, **given: Any) -> dict[str, Any]:
            read.update(given["include"])
            return dict(super().model_dump(**given))

    copy = Spied.model_construct(**{name: getattr(params, name) for name in type(params).model_fields})
    read.clear()
    return copy


def idle_fields(result: RunResult, ids: set[str]) -> set[str]:
    # Parameters these stages did not look at when they worked on the tables of a run.
    reader, idle = Reader(Evidence(result.home), "small", result.run_id), set()
    for spec in map(REGISTRY.get, ids):
        read: set[str] = set()
        offered = {
            "params": spied(result.plan.params[spec.id], read),
            "compute": SerialCompute(),
            "sleeve": result.plan.sleeve,
            "contracts": spec.input_contracts,
        }
        spec.function(
            **spec.arguments(reader.frames(spec)), **{name: offered[name] for name in spec.wants & set(offered)}
        )
        idle |= {f"{spec.id}.{name}" for name in spec.params.model_fields if name not in read}
    return idle


def test_every_parameter_is_read_by_the_stage_that_owns_it_or_lent_to_one_that_does(
    small_run: Small, tmp_path: Path
) -> None:
    asked = {spec.id for spec in REGISTRY.values() if "params" in spec.wants and not spec.is_edge}
    # Bad rows and a floor of traded value: without them some parameters of ingest have no say.
    bars = closes({"SIM:A": walk(60, 1), "SIM:B": [(k, -1.0 if k > 30 else close) for k, close in walk(60, 2)]})
    place = Place(tmp_path / "market", tmp_path / "home").write(bars, sleeve_text("[ingest]", "min_traded_value = 1.0"))
    of_ingest = asked & set(INGEST)
    idle = idle_fields(place.run(only=INGEST), of_ingest) | idle_fields(small_run[1], asked - of_ingest)
    extras = [spec.params.model_fields[name].json_schema_extra for spec, name in FIELDS]
    assert idle <= {extra["from"] for extra in extras if isinstance(extra, dict)}


def test_sectors_of_the_sleeve_file_reach_the_universe_and_the_seats_of_the_selection(tmp_path: Path) -> None:
    sectors = {f"SIM:S{j:02d}": "tech" if j < 6 else ("bank", "oil")[j % 2] for j in range(11)}
    policy = SLEEVE.replace("train = 200", "train = 120").replace("top = 2", "top = 12").replace("cap = 8", "cap = 12")
    text = "\n".join([policy, "[sleeve.sectors]", *(f'"{name}" = "{sector}"' for name, sector in sectors.items())])
    place = Place(tmp_path / "market", tmp_path / "home").write(plain_market(12, 200), text)
    result = place.run(only=up_to("synthesis.decisions"))
    told = dict(result.frame("ingest.universe").select("symbol", "sector").unique().iter_rows())
    assert told == sectors | {"SIM:S11": None}
    decisions = result.frame("synthesis.decisions").filter(pl.col("reason") != "not_eligible")
    is_blind = decisions["unknown"].str.contains(r"\bsector\b")
    assert set(decisions.filter(is_blind)["symbol"]) == {"SIM:S11"}
    chosen = decisions.filter("is_selected").with_columns(sector=pl.col("symbol").replace_strict(told))
    assert chosen.height
    for _, seats in chosen.group_by("date"):
        assert seats["sector"].value_counts().drop_nulls()["count"].max() <= max(1, int(0.4 * seats.height))
    assert "over_sector_limit" in set(decisions["reason"])


# Doors that validation stands at

STAGES = [spec.id for spec in REGISTRY.order_stages()]
# Of a sound market these tables are empty; a row of each is made by hand.
ROWS: dict[str, dict[str, Any]] = {
    "ingest.actions": {"row": 0, "date": FIRST, "symbol": "A:X", "kind": "split", "factor": 0.5},
    "ingest.exclusions": {"stage": "ingest.bars", "rule": "toxic_bar", "row": 0, "detail": "", "record": "{}"},
    "ingest.gaps": {"symbol": "A:X", "start": FIRST, "end": FIRST, "sessions": 1, "kind": "gap"},
    "ingest.health": {
        "symbol": "A:X", "date": FIRST, "event": "quarantined", "defects": 1, "rows": 9, "until": FIRST, "reason": "",
        "known_at": dt.datetime(2022, 1, 2, tzinfo=dt.UTC),
    },
}  # fmt: skip


def sound(result: RunResult, spec: StageSpec) -> pl.DataFrame:
    frame = result.frame(spec.id)
    return frame if frame.height else pl.DataFrame([ROWS[spec.id]], schema=dict(spec.output.dtypes))


def lone(spec: StageSpec) -> StageSpec:
    # The stage with its contract and without inputs, so that its table alone is judged.
    return replace(spec, inputs={}, declared=spec.output, conserves=None, publishes=False, rules=(), metrics=None)


def of_a_near_type(name: str, kind: pl.DataType) -> pl.Expr:
    if kind.is_float():
        return pl.col(name).cast(pl.Float32)
    if kind.is_integer():
        return pl.col(name).cast(pl.Float64)
    if kind == pl.Date:
        return pl.col(name).cast(pl.Datetime("us"))
    if isinstance(kind, pl.Datetime):
        return pl.col(name).dt.replace_time_zone(None)
    return pl.col(name).cast(pl.Categorical)


def of_other_types(frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, set[str]]]:
    # Tables and their columns of a wrong type: one alone, and all of them, of which each has to be named.
    near = {name: of_a_near_type(name, kind) for name, kind in frame.schema.items() if kind != pl.Boolean}
    text = [name for name, kind in frame.schema.items() if kind != pl.String]
    last = next(reversed(near))
    yield frame.with_columns(near[last]), {last}
    yield frame.with_columns(near.values()), set(near)
    if text:
        yield frame.with_columns(pl.col(text).cast(pl.String)), set(text)


def named_in(error: BaseException) -> set[str]:
    # Columns an error calls of another type.
    return set(re.findall(r"(\w+) is [^;]*?, not ", str(error)))


@pytest.mark.parametrize("id", STAGES)
def test_no_stage_lets_a_second_row_of_one_key_or_another_type_through(id: str, small_run: Small) -> None:
    spec = REGISTRY[id]
    frame = sound(small_run[1], spec).head(500)
    assert spec.output.key
    alone = lone(spec)
    done = judge(alone, pl.concat([frame, frame.tail(1)]), rows_in={})
    assert done.excluded == {"duplicate_key": 1}
    assert done.valid.height == frame.height
    for wrong, names in of_other_types(frame):
        with pytest.raises(ContractError) as caught:
            judge(alone, wrong, rows_in={})
        assert named_in(caught.value) == names
    for wrong in (frame.drop(frame.columns[-1]), frame.with_columns(more=1)):
        with pytest.raises(ContractError, match=r"lacks|unknown column"):
            judge(alone, wrong, rows_in={})


@pytest.mark.parametrize("id", STAGES)
def test_no_stage_keeps_a_number_that_is_none(id: str, small_run: Small) -> None:
    spec = REGISTRY[id]
    frame = sound(small_run[1], spec)
    floats = [name for name, kind in spec.output.dtypes.items() if kind.is_float()]
    numbers = [(name, number) for name in floats for number in (float("nan"), float("inf"), float("-inf"))]
    # One number a row, as many at once as the table has rows, one row of it left as it is.
    size = max(1, min(len(numbers), frame.height - 1))
    for begin in range(0, len(numbers), size):
        some = numbers[begin : begin + size]
        planted = {name: pl.col(name) for name in floats}
        for row, (name, number) in enumerate(some):
            planted[name] = pl.when(pl.int_range(pl.len()) == row).then(number).otherwise(planted[name])
        few = frame.head(size + 1).with_columns(**planted)
        done = judge(lone(spec), few, rows_in={})
        assert done.valid.equals(frame.head(size + 1).slice(len(some)))
        blamed = done.exclusions.sort("row")
        assert blamed["row"].to_list() == list(range(len(some)))
        assert all(
            f"{name}_not_finite" in told for (name, _), told in zip(some, blamed["detail"].to_list(), strict=True)
        )


@pytest.mark.parametrize("id", STAGES)
def test_what_was_not_judged_is_judged_on_commit_and_stored_in_the_order_of_its_key(
    id: str, small_run: Small, tmp_path: Path
) -> None:
    spec = lone(REGISTRY[id])
    frame = sound(small_run[1], spec).head(500)
    evidence = Evidence(tmp_path)
    evidence.open_run("run", {})
    reader = Reader(evidence, "small", "run")
    none = judge(spec, frame, rows_in={}).exclusions
    with pytest.raises(ContractError):
        commit_result(reader, spec, Finished(pl.concat([frame, frame.tail(1)]), none))
    for wrong, names in of_other_types(frame.head(3)):
        with pytest.raises(ContractError) as caught:
            commit_result(reader, spec, Finished(wrong, none))
        assert named_in(caught.value) == names
    assert evidence.heads() == {}
    kept = commit_result(reader, spec, Finished(frame.reverse(), none)).ref
    assert evidence.store.read(kept).equals(frame)


def lying(result: pl.DataFrame) -> StageRegistry:
    # All stages, of which the one that makes returns hands over this table.

    def returns(bars: pl.DataFrame) -> pl.DataFrame:
        return result

    others = [spec for spec in REGISTRY.values() if spec.id != "ingest.returns"]
    return StageRegistry([*others, replace(REGISTRY["ingest.returns"], function=returns)])


def test_returns_beyond_their_bounds_leave_by_the_script_and_are_told(small_run: Small, tmp_path: Path) -> None:
    place, result = small_run
    true = result.frame("ingest.returns")
    number = pl.int_range(pl.len())
    wild = pl.when(number == 40).then(6.0).when(number == 41).then(-1.01).otherwise("simple_return")
    runner = DAGRunner(Settings(home=tmp_path), registry=lying(true.with_columns(simple_return=wild).reverse()))
    done = runner.run(read_sleeve(place.sleeve), only=up_to("ingest.returns"))
    kept = done.frame("ingest.returns")
    assert kept.equals(true.filter(~number.is_in([40, 41])))
    assert done.excluded["ingest.returns/simple_return_out_of_range"] == 2


def test_a_table_of_the_script_with_a_row_too_many_or_another_type_commits_nothing(
    small_run: Small, tmp_path: Path
) -> None:
    place, result = small_run
    true = result.frame("ingest.returns")
    wrong = {
        "conservation": (GateError, pl.concat([true, true.tail(1)])),
        "not Float64": (ContractError, true.with_columns(pl.col("simple_return").cast(pl.Float32))),
        "not Date": (ContractError, true.with_columns(pl.col("date").cast(pl.Datetime("us")))),
    }
    for said, (error, table) in wrong.items():
        runner = DAGRunner(Settings(home=tmp_path), registry=lying(table))
        with pytest.raises(error, match=said):
            runner.run(read_sleeve(place.sleeve), only=up_to("ingest.returns"))
    assert ("ingest.returns", "small") not in Evidence(tmp_path).heads()


def test_a_price_seven_times_as_high_for_a_day_and_a_price_of_nothing_make_no_return(tmp_path: Path) -> None:
    path = walk(60, 1)
    spiked = [(k, close * (7.0 if k == 30 else 0.0 if k == 40 else 1.0)) for k, close in path]
    bars = closes({"SIM:BAD": spiked, "SIM:GOOD": walk(60, 2)})
    done = Place(tmp_path / "market", tmp_path / "home").write(bars, sleeve_text()).run(only=up_to("ingest.returns"))
    told = done.frame("ingest.returns").filter(pl.col("symbol") == "SIM:BAD")
    assert told.height == 58
    assert told["simple_return"].abs().max() < 0.1  # type: ignore[operator]
    assert done.excluded["ingest.bars/toxic_bar"] == 1
    assert sum(count for rule, count in done.excluded.items() if "close_not_positive" in rule) == 1


def test_bars_clusters_winners_and_atoms_have_contracts_with_bounds_of_their_own() -> None:
    bounded: dict[str, set[str]] = {id: set(_bounds(REGISTRY[id].output)) for id in STAGES}
    assert {"high_below_low", "open_outside_range", "close_outside_range"} <= bounded["ingest.bars"]
    assert "cluster_too_low" in bounded["synthesis.clusters"]
    assert {"direction_not_allowed", "rank_too_low"} <= bounded["synthesis.selection"]
    assert {"direction_not_allowed", "symbol_malformed"} <= bounded["synthesis.atoms"]
    assert "atom_return_out_of_range" in bounded["synthesis.atom_returns"]
    assert "weight_out_of_range" in bounded["allocation.weights"]
    assert all(bounded.values())


def _bounds(contract: Contract) -> list[str]:
    return [rule.name for rule in contract.row_rules]


# Names and histories

ALIKE = ("SIM:A_B", "SIM_A:B", "SIM:A:B", "SIM:A-B", "SIM:a_b", "SIM_A_B:C", "SIM_A:B_C", "SIM:A_B_C")


def test_symbols_that_differ_in_one_mark_never_share_a_column_an_atom_or_a_price(tmp_path: Path) -> None:
    bars = plain_market(len(ALIKE), 200)
    names = dict(zip(sorted(bars["symbol"].unique()), ALIKE, strict=True))
    bars = bars.with_columns(pl.col("symbol").replace_strict(names))
    text = SLEEVE.replace("train = 200", "train = 120")
    place = Place(tmp_path / "market", tmp_path / "home").write(bars, text)
    result = place.run(only=up_to("synthesis.atom_returns"))
    for id in ("ingest.returns", "ingest.universe", "features.trend", "alpha.factors"):
        assert set(result.frame(id)["symbol"]) == set(ALIKE)
    kept = result.frame("ingest.bars").select("date", "symbol", "close")
    assert kept.equals(bars.select("date", "symbol", "close").sort("date", "symbol"))
    panel = panels_of(kept, ["close"])["close"]
    assert list(panel.symbols) == sorted(ALIKE)
    for column, symbol in enumerate(panel.symbols):
        assert panel.values[:, column].tolist() == kept.filter(pl.col("symbol") == symbol)["close"].to_list()
    atoms = result.frame("synthesis.atoms").select("atom", "symbol", "logic", "direction").unique()
    assert atoms["atom"].n_unique() == atoms.height > 3


def test_tables_of_sleeves_that_differ_in_one_mark_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    names = ["a:b", "a_b", "a-b", "a.b", "a b", "A_b", "a%3ab", "a/b"]
    store = Store(tmp_path)
    frame = closes({"SIM:A": walk(3, 0)})
    refs = {name: store.write(frame, stage="ingest.raw", sleeve=name, key=("date",)) for name in names}
    assert len({(tmp_path / ref.path).parent.name.casefold() for ref in refs.values()}) == len(names)
    assert len(list(tmp_path.rglob("*.parquet"))) == len(names)


def test_sleeves_of_like_names_in_one_home_keep_to_their_own_data(tmp_path: Path) -> None:
    names = ["a_b", "a-b", "A_b"]
    for seed, name in enumerate(names):
        place = Place(tmp_path / str(seed), tmp_path / "home")
        text = sleeve_text().replace('"small"', f'"{name}"')
        place.write(closes({"SIM:A": walk(40, seed), "SIM:B": walk(40, seed + 9)}), text).run(only=up_to("ingest.bars"))
    evidence = Evidence(tmp_path / "home")
    for seed, name in enumerate(names):
        table = evidence.store.read(evidence.resolve("ingest.bars", name))
        assert table.filter(pl.col("symbol") == "SIM:A")["close"].to_list() == [close for _, close in walk(40, seed)]


def test_venues_with_a_mark_in_their_name_go_through_ingest_with_their_identity(tmp_path: Path) -> None:
    expected = {
        "CME_MINI:ES1!": "CME:ES",
        "FX_IDC:EURUSD": "EURUSD",
        "COMEX_MINI:MGC1!": "CME:MGC",
        "MINI:ES1!": "ES1!",
    }
    bars = closes({symbol: walk(40, seed) for seed, symbol in enumerate(expected)})
    done = Place(tmp_path / "market", tmp_path / "home").write(bars, sleeve_text()).run(only=up_to("ingest.universe"))
    assert dict(done.frame("ingest.universe").select("symbol", "identity").unique().iter_rows()) == expected


HEALTH = ("[ingest]", "floor = 20", "health_bars = 20", "quarantine_sessions = 10")


def test_a_toxic_last_fetch_destroys_nothing_that_landed_and_the_symbol_comes_back(tmp_path: Path) -> None:
    paths = {f"SIM:S{j}": walk(100, j) for j in range(4)}
    toxic = [(k, close if k < 50 or k % 2 else -1.0) for k, close in paths["SIM:S0"]]
    place = Place(tmp_path / "market", tmp_path / "home")
    evidence = Evidence(place.home)

    def fetched(until: int, first: list[tuple[int, float]]) -> RunResult:
        bars = closes({symbol: path[:until] for symbol, path in (paths | {"SIM:S0": first}).items()})
        return place.write(bars, sleeve_text(*HEALTH)).run(only=up_to("ingest.universe"))

    def last_state(run: RunResult) -> str:
        universe = run.frame("ingest.universe").filter(pl.col("symbol") == "SIM:S0").sort("start")
        return str(universe["reason"][-1])

    good = fetched(50, paths["SIM:S0"])
    before = {id: good.frame(id) for id in good.refs}
    assert last_state(good) == "member"
    bad = fetched(62, toxic)
    assert last_state(bad) == "unhealthy"
    is_old = (pl.col("symbol") == "SIM:S0") & (pl.col("date") < FIRST + dt.timedelta(days=50))
    assert bad.frame("ingest.bars").filter(is_old).equals(before["ingest.bars"].filter(pl.col("symbol") == "SIM:S0"))

    place.write(closes({symbol: [(k, -1.0) for k, _ in path] for symbol, path in paths.items()}), sleeve_text(*HEALTH))
    with pytest.raises(GateError, match="excluded"):
        place.run(only=up_to("ingest.universe"))
    assert evidence.resolve("ingest.bars", "small") == bad.refs["ingest.bars"]
    assert all(good.frame(id).equals(table) for id, table in before.items())
    landed = evidence.landed_batches("ingest.raw", "small")
    assert [evidence.store.read(ref_in(record)).height for record in landed[:2]] == [4 * 50, 4 * 62]

    healed = [*toxic[:62], *paths["SIM:S0"][62:]]
    assert last_state(fetched(100, healed)) == "member"

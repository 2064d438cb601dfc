"""Resolves the parameters of every stage, and where each value came from, before anything runs.

Precedence: flag or run config > QUANT__ROOM__FIELD environment > sleeve file > code default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from quant_core.errors import ConfigError, UnknownKeyError, UsageError
from quant_core.evidence.ledger.canonical import BoundsError, PayloadError, strict_json
from quant_core.graph.registry import StageRegistry
from quant_core.graph.stage import Params, StageSpec
from quant_core.market.sleeves import Sleeve, SleeveFile, first_fault
from quant_core.masking import demand_no_secret

PREFIX = "QUANT__"
Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """The resolved parameters of every stage for one sleeve.

    Attributes
    ----------
    sleeve : Sleeve
    params : mapping of stage id to Params
    origins : mapping of stage id to {field: origin}
        "flag", "environment", "sleeve file", "default" or "from <stage>.<field>".
    sleeve_sha256 : str
    stages : StageRegistry
        The stages as this sleeve runs them.
    """

    sleeve: Sleeve
    params: Mapping[str, Params]
    stages: StageRegistry
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sleeve_sha256: str = ""

    @cached_property
    def switched_off(self) -> tuple[str, ...]:
        """One sentence for each thing that stages name and the sleeve has switched off."""
        return tuple(
            dict.fromkeys(sentence for spec in self.stages.order_stages() for sentence in spec.switched_off.values())
        )

    def dump(self) -> dict[str, dict[str, Any]]:
        """Return all parameters as JSON values."""
        return {id: params.model_dump(mode="json") for id, params in self.params.items()}


def resolve_plan(
    registry: StageRegistry,
    file: SleeveFile,
    *,
    overrides: Overrides | None = None,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """Resolve and validate the parameters of every stage.

    Parameters
    ----------
    registry : StageRegistry
    file : SleeveFile
        Its `[room]` tables feed every stage of the room that has the field; `[source]` feeds the landing.
    overrides : mapping of stage id to {field: value}, optional
        Values the caller gave for this run.
    environ : mapping, optional
        Read for `QUANT__ROOM__FIELD`, values as JSON, or text where it is not JSON.

    Raises
    ------
    UnknownKeyError
        A table or a key no stage has, or a column no table has; lists the near matches.
    ConfigError
        A value a stage refuses.
    """
    given = overrides or {}
    for id in given:
        registry[id]
    from_environment = _room_tables(environ or {})
    _judge_names(registry, file.rooms, "table of the sleeve file")
    _judge_names(registry, from_environment, "environment table")
    params: dict[str, Params] = {}
    origins: dict[str, dict[str, str]] = {}
    for spec in registry.order_stages():
        layers = [
            ("sleeve file", _sleeve_layer(spec, file)),
            ("environment", from_environment.get(spec.room, {})),
            ("flag", given.get(spec.id, {})),
        ]
        for name, layer in layers:
            _demand_no_secret(layer, f"{spec.id}, as given by {name}")
        values: dict[str, Any] = {}
        origin = dict.fromkeys(spec.params.model_fields, "default")
        for name, layer in layers:
            taken = layer if name == "flag" else {k: v for k, v in layer.items() if k in spec.params.model_fields}
            values = _merge_tables(values, taken)
            origin |= dict.fromkeys(taken, name)
        for name, source in _borrowed_fields(spec):
            if name not in values:
                stage_id, _, other = source.rpartition(".")
                values[name], origin[name] = getattr(params[stage_id], other), f"from {source}"
        params[spec.id] = _validate_params(spec, values)
        origins[spec.id] = origin
    return Plan(file.sleeve, params, registry.for_plan(params), origins, file.sha256)


def recorded_plan(
    registry: StageRegistry,
    definition: Mapping[str, Any],
    params: Mapping[str, Mapping[str, Any]],
    stages: Iterable[str],
) -> Plan:
    """Return the plan a manifest recorded for the given stages; environment, sleeve file and defaults are ignored.

    Parameters
    ----------
    registry : StageRegistry
    definition : mapping
        The sleeve, as `Sleeve.model_dump` returned it.
    params : mapping of stage id to {field: value}
        The values that `Plan.dump` returned.
    stages : iterable of stage ids

    Raises
    ------
    ConfigError
        This version of the code knows no such stage or field, or refuses a value.
    """
    try:
        sleeve = Sleeve.model_validate(definition)
    except ValidationError as error:
        raise ConfigError(f"the recorded sleeve: {first_fault(error)}.") from error
    for id in stages:
        if id not in registry:
            raise UnknownKeyError("stage of the manifest", id, registry)
    settled = {id: _validate_params(registry[id], params[id]) for id in stages}
    return Plan(sleeve, settled, registry.for_plan(settled))


def union_of_inputs(registry: StageRegistry, files: Iterable[SleeveFile]) -> dict[str, tuple[str, ...]]:
    """Return the stages that each stage reads in any of the sleeves, by stage id, in order, each once.

    A sleeve whose parameters are not valid adds nothing: its own run reports the error.
    """
    found = {spec.id: dict.fromkeys(spec.parents) for spec in registry.values()}
    for file in files:
        try:
            plan = resolve_plan(registry, file)
        except (ConfigError, UsageError):
            continue
        for spec in plan.stages.values():
            found[spec.id] |= dict.fromkeys(spec.parents)
    return {id: tuple(parents) for id, parents in found.items()}


def _sleeve_layer(spec: StageSpec, file: SleeveFile) -> Mapping[str, Any]:
    if spec.takes is None:
        return file.rooms.get(spec.room, {})
    table = file.source if spec.takes == "source" else file.rooms.get(spec.takes, {})
    return {"kind": table.get("kind", ""), "options": {k: v for k, v in table.items() if k != "kind"}}


def _borrowed_fields(spec: StageSpec) -> Iterator[tuple[str, str]]:
    """Yield (field, "room.table.field") for fields that default to another stage's value."""
    for name, info in spec.params.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and isinstance(extra.get("from"), str):
            yield name, str(extra["from"])


def _judge_names(registry: StageRegistry, tables: Mapping[str, Mapping[str, Any]], kind: str) -> None:
    rooms: dict[str, set[str]] = {}
    for spec in registry.values():
        rooms.setdefault(spec.room, set()).update(spec.params.model_fields)
    for room, table in tables.items():
        if room not in rooms:
            raise UnknownKeyError(kind, room, rooms)
        for name in table:
            if name not in rooms[room]:
                raise UnknownKeyError(f"key of [{room}]", name, rooms[room])


def _room_tables(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        room, _, key = name.removeprefix(PREFIX).lower().partition("__")
        if not key:
            raise ConfigError(f"{name} names no key; write {PREFIX}ROOM__KEY, such as {PREFIX}SYNTHESIS__FLOOR.")
        tables.setdefault(room, {})[key] = _json_or_text(name, environ[name])
    return tables


def _json_or_text(name: str, text: str) -> Any:
    try:
        return strict_json(text.encode("utf-8", errors="surrogateescape"))
    except PayloadError as error:
        if error.kind == "not_json" and not isinstance(error, BoundsError):
            return text
        raise ConfigError(f"{name}: {error.detail}.") from error


def _demand_no_secret(layer: Mapping[str, Any], where: str) -> None:
    """Refuse secrets in values that the manifest would record; the options of a source are a table of their own."""
    demand_no_secret(layer, where)
    options = layer.get("options")
    if isinstance(options, Mapping):
        demand_no_secret(options, where)


def _merge_tables(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `high` over `low`; tables inside tables are merged, not replaced."""
    merged = dict(low)
    for name, value in high.items():
        below = merged.get(name)
        merged[name] = _merge_tables(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _validate_params(spec: StageSpec, values: Mapping[str, Any]) -> Params:
    try:  # JSON mode: a strict model still takes a list for a tuple and text for a date
        return spec.params.model_validate_json(json.dumps(values, default=_as_plain))
    except (ValidationError, TypeError, ValueError, RecursionError) as error:
        sentence = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"parameters of {spec.id}: {sentence}.") from error


def _as_plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)

"""Recomputes stages from pinned tables in a store of their own, for replay and for attribution.

Nothing here commits, lands or publishes. A stage that touches the outside world is not run: its recorded tables are its
result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from quant_core.errors import QuantError
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.store.refs import DataRef, Part
from quant_core.evidence.store.store import Store
from quant_core.graph.commit import Parts, parts_of
from quant_core.graph.compute import Compute
from quant_core.graph.finished import EXCLUSION_KEY
from quant_core.graph.parameters import Plan
from quant_core.graph.registry import StageRegistry
from quant_core.graph.runner import execute_stage
from quant_core.graph.stage import StageSpec
from quant_core.market.contracts.rule_names import with_current_names


@dataclass(frozen=True)
class Recomputed:
    """The result of a recomputed stage.

    Attributes
    ----------
    parts : mapping of part to DataRef
        Empty if the stage failed.
    reason : str, optional
        Why it failed.
    """

    parts: Parts = field(default_factory=dict)
    reason: str | None = None


@dataclass
class Workshop:
    """Computes stages into a scratch store; a stage with equal inputs is computed once.

    A question is a stage, its parameters, the sleeve, the knowledge time and the hashes of its inputs.

    Attributes
    ----------
    store : Store
        The store of the home; pinned versions are read from it.
    scratch : Store
        The store for computed tables; the caller deletes it.
    registry : StageRegistry
    compute : Compute
    """

    store: Store
    scratch: Store
    registry: StageRegistry
    compute: Compute
    _answers: dict[bytes, Recomputed] = field(default_factory=dict, init=False)

    @classmethod
    def at(cls, home: Path, scratch: Path, registry: StageRegistry, compute: Compute) -> Workshop:
        """Return a workshop that reads the home and writes under `scratch`."""
        return cls(Store(home), Store(scratch), registry, compute)

    def holds(self, ref: DataRef) -> bool:
        """Return whether the bytes of a version are in the scratch store or in the home."""
        return self.scratch.exists(ref) or self.store.exists(ref)

    def read(self, ref: DataRef, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return a table, or these columns of it, from the scratch store or from the home."""
        return with_current_names((self.scratch if self.scratch.exists(ref) else self.store).read(ref, columns))

    def remember(
        self, spec: StageSpec, plan: Plan, as_of: str | None, inputs: Mapping[str, DataRef], parts: Parts
    ) -> None:
        """Use the recorded tables of a run as the result of a stage with these inputs."""
        self._answers[self._question(spec, plan, as_of, inputs)] = Recomputed(parts)

    def compute_stage(
        self, spec: StageSpec, plan: Plan, as_of: str | None, inputs: Mapping[str, DataRef]
    ) -> Recomputed:
        """Compute one stage from references to its inputs, by source.

        A refusal by the stage, its gate or the store does not raise: it is the reason of an empty result.
        """
        question = self._question(spec, plan, as_of, inputs)
        known = self._answers.get(question)
        if known is None or not all(map(self.holds, known.parts.values())):
            known = self._answers[question] = self._run_stage(spec, plan, as_of, inputs)
        return known

    def _run_stage(self, spec: StageSpec, plan: Plan, as_of: str | None, inputs: Mapping[str, DataRef]) -> Recomputed:
        try:
            frames = {
                argument: self.read(inputs[source], spec.columns(argument)) for argument, source in spec.inputs.items()
            }
            finished = execute_stage(spec, frames, plan, compute=self.compute, as_of=as_of)
        except QuantError as error:
            return Recomputed(reason=f"{type(error).__name__}: {error}")
        if finished.broken:
            return Recomputed(reason=" ".join(finished.broken))
        whole: dict[Part, tuple[pl.DataFrame, tuple[str, ...]]] = {
            "valid": (finished.valid, spec.output.key),
            "exclusions": (finished.exclusions, EXCLUSION_KEY),
        }
        return Recomputed(
            {
                part: self.scratch.write(frame, stage=spec.id, sleeve=plan.sleeve.name, key=key, part=part)
                for part, (frame, key) in whole.items()
            }
        )

    def _question(self, spec: StageSpec, plan: Plan, as_of: str | None, inputs: Mapping[str, DataRef]) -> bytes:
        asked: dict[str, Any] = {
            "stage": spec.id,
            "params": plan.params[spec.id].model_dump(mode="json"),
            "sleeve": plan.sleeve.model_dump(mode="json") if "sleeve" in spec.wants else None,
            "as_of": as_of if "as_of" in spec.wants else None,
            "switched_off": list(plan.switched_off if "switched_off" in spec.wants else spec.switched_off.values()),
            "inputs": {source: inputs[source].sha256 for source in spec.inputs.values()},
        }
        return canonical_bytes(asked)

    def compute_graph(self, plan: Plan, as_of: str | None, pinned: Mapping[str, Parts]) -> dict[str, Recomputed]:
        """Compute every stage of a plan, each from the new results of those before it.

        Parameters
        ----------
        plan : Plan
        as_of : str, optional
        pinned : mapping of stage id to its parts
            Stages whose recorded tables are used: at least those that touch the outside world.
        """
        found: dict[str, Recomputed] = {}
        for spec in plan.stages.order_stages(plan.params):
            if spec.id in pinned:
                found[spec.id] = Recomputed(pinned[spec.id])
                continue
            inputs, missing = inputs_among(spec, {id: answer.parts for id, answer in found.items()})
            found[spec.id] = (
                Recomputed(reason=f"its input {missing[0]} is not there")
                if missing
                else self.compute_stage(spec, plan, as_of, inputs)
            )
        return found


def inputs_among(spec: StageSpec, tables: Mapping[str, Parts]) -> tuple[dict[str, DataRef], list[str]]:
    """Return the references of a stage's inputs, by source, and the sources that are not among `tables`."""
    found: dict[str, DataRef] = {}
    missing = []
    for source in spec.inputs.values():
        stage, part = parts_of(source)
        ref = tables.get(stage, {}).get(part)
        if ref is None:
            missing.append(source)
        else:
            found[source] = ref
    return found, missing

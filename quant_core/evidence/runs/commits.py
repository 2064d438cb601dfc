"""Writing to a home: the rules for runs and commits. Reading: reader.py; records: ledger/chain.py; bytes: store/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from quant_core.errors import ConflictError, MissingVersionError, UsageError
from quant_core.evidence.files.documents import sweep
from quant_core.evidence.files.kill_points import reach_point
from quant_core.evidence.files.writer import Writer, is_alive, this_process
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.reader import FILE_NAME
from quant_core.evidence.ledger.transaction import Transaction
from quant_core.evidence.runs.index import COLLECTED, COMMIT, GENESIS, LANDED, OUTCOME, REFUSED, Run
from quant_core.evidence.runs.reader import EvidenceReader
from quant_core.evidence.store.refs import DataRef
from quant_core.evidence.store.store import Store

Outcome = Literal["ok", "failed", "cancelled", "abandoned"]


class Evidence(EvidenceReader):
    """A home to write to: keeps its tables and its ledger consistent. Folders are made by the first write."""

    ledger: Ledger
    store: Store

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.store = Store(self.home, advice=self._advice)
        self.ledger = Ledger(self.home / FILE_NAME)

    def open_run(self, run_id: str, payload: Mapping[str, Any], *, owner: Writer | None = None) -> Record:
        """Open a run with its `genesis` record. A run that is open already keeps the record of the first call.

        Parameters
        ----------
        run_id : str
            Unique per run.
        payload : mapping
            Git commit, manifest hash, seed and the like. `pins` (seq, champions, trials) is the state of the
            ledger the run reads; pins that are not given are those of now.
        owner : Writer, optional
            The process that lives as long as the run; default: this one. A step in a process of its own names the
            process that started it; else the run looks abandoned between two steps.
        """
        if not run_id:
            raise UsageError("a run needs an id.")
        with self._locked_ledger() as ledger:
            if self._index.knows(run_id):
                return self._index.run(run_id).genesis
            pins = {"seq": ledger.last_seq, "champions": [], "trials": {}, **payload.get("pins", {})}
            data = {**payload, "pins": pins, "owner": (owner or this_process()).model_dump()}
            return ledger.append(GENESIS, data, run_id=run_id)

    def commit(
        self,
        *,
        run_id: str,
        stage: str,
        sleeve: str,
        valid: DataRef,
        exclusions: DataRef,
        facts: Mapping[str, Any],
        actions: DataRef | None = None,
    ) -> Record:
        """Make a stored version the head of its table, if no other run has committed since this one opened.

        The head must be the one pinned by the run's genesis, or this run's own. If the same run commits the same bytes
        again (a retried step), the existing record is returned.

        Parameters
        ----------
        run_id, stage, sleeve : str
            The run and the table it commits.
        valid, exclusions : DataRef
            Both parts, already in the store.
        facts : mapping
            Rows, excluded per rule, metrics, parents: facts a reader needs besides the bytes.
        actions : DataRef, optional
            Corporate actions that came with the rows.

        Returns
        -------
        Record
            The `commit` record. ConflictError if another run was first or this one is closed.
        """
        with self._locked_ledger() as ledger:
            # Under the lock, so that no collection deletes the version before the record names it.
            version = self._version(stage, sleeve, valid=valid, exclusions=exclusions, actions=actions)
            run = self._index.run(run_id)
            own = run.commit_of(stage, sleeve)
            if own is not None and {name: own.data[name] for name in version} == version:
                return own
            if run.outcome is not None:
                raise ConflictError(f"run {run_id} was closed as {run.outcome.data['outcome']}. Commit from a new run.")
            head = self._index.head(stage, sleeve)
            expected = self._index.head(stage, sleeve, at=run.pinned_seq)
            if head is not None and head.run_id != run_id and head != expected:
                now, then = _describe_commit(head), _describe_commit(expected)
                raise ConflictError(
                    f"{stage} of {sleeve} is now {now}; run {run_id} started from {then}. "
                    "Run again to build on the newer version."
                )
            record = ledger.append(COMMIT, {**version, "facts": facts}, run_id=run_id)
        reach_point("after_ledger")
        return record

    def land(
        self,
        *,
        run_id: str,
        stage: str,
        sleeve: str,
        valid: DataRef,
        exclusions: DataRef,
        actions: DataRef,
        after: int,
        facts: Mapping[str, Any],
    ) -> Record:
        """Record a stored batch as landed. Choosing what to land: graph/landing.py.

        Parameters
        ----------
        run_id, stage, sleeve : str
            The run that landed it, and the table.
        valid, exclusions, actions : DataRef
            Its parts, already in the store.
        after : int
            Seq of the last `landed` record of the table the caller knows, -1 for none.
        facts : mapping
            Source, request, marks, known_from and the like.

        Returns
        -------
        Record
            The `landed` record. ConflictError if another run landed a batch meanwhile.
        """
        with self._locked_ledger() as ledger:
            version = self._version(stage, sleeve, valid=valid, exclusions=exclusions, actions=actions)
            self._index.run(run_id)
            others = self._index.landed_batches(stage, sleeve)
            if others and others[-1].seq != after:
                raise ConflictError(
                    f"run {others[-1].run_id} landed a batch of {sleeve} meanwhile (seq {others[-1].seq}). Run again."
                )
            return ledger.append(LANDED, {**version, **facts}, run_id=run_id)

    def _version(self, stage: str, sleeve: str, **parts: DataRef | None) -> dict[str, Any]:
        """Return the record data of a table's parts; each must be of this table and in the store."""
        data: dict[str, Any] = {"stage": stage, "sleeve": sleeve}
        for part, ref in parts.items():
            if ref is None:
                continue
            if (ref.stage, ref.sleeve, ref.part) != (stage, sleeve, part):
                raise UsageError(f"{ref.stage} of {ref.sleeve} ({ref.part}) was given as {stage} of {sleeve} ({part}).")
            if not self.store.exists(ref):
                raise MissingVersionError(f"{ref.path} is not in {self.home}. Store.write it before it is committed.")
            data[part] = ref.model_dump(include={"sha256", "rows", "path", "form"}, exclude_defaults=True)
        return data

    def refuse(self, run_id: str, stage: str, sleeve: str, reasons: Sequence[Any]) -> Record:
        """Record that a blocking rule refused a result. The head does not change."""
        with self._locked_ledger() as ledger:
            self._index.run(run_id)
            return ledger.append(REFUSED, {"stage": stage, "sleeve": sleeve, "reasons": reasons}, run_id=run_id)

    def close_run(self, run_id: str, outcome: Outcome, steps: Mapping[str, Any]) -> Record:
        """Close a run with its `outcome` record. A closed run keeps its first outcome.

        Parameters
        ----------
        run_id : str
            An opened run.
        outcome : "ok", "failed", "cancelled" or "abandoned"
            How it ended.
        steps : mapping
            Steps by result.
        """
        if outcome not in get_args(Outcome):
            raise UsageError(f"outcome {outcome!r} is not known. Use one of {', '.join(get_args(Outcome))}.")
        with self._locked_ledger() as ledger:
            closed = self._index.run(run_id).outcome
            return closed or ledger.append(OUTCOME, {"outcome": outcome, "steps": steps}, run_id=run_id)

    def note(self, run_id: str, kind: str, data: Mapping[str, Any], *, durable: bool = True) -> Record:
        """Record a note of another kind, such as an `alert`. Kinds with rules of their own have their own methods.

        Without `durable` a power cut may lose it; see `Ledger.append`.
        """
        if kind in {GENESIS, LANDED, COMMIT, REFUSED, OUTCOME, COLLECTED}:
            raise UsageError(f"kind {kind!r} has a method of its own.")
        return self.ledger.append(kind, data, run_id=run_id, durable=durable)

    def abandon_dead(self) -> tuple[Record, ...]:
        """Close every run whose processes have all ended as `abandoned`; return the outcome records."""
        if all(_may_go_on(run) for run in self.runs()):
            return ()
        with self._locked_ledger() as ledger:
            dead = [run for run in self._index.runs() if not _may_go_on(run)]
            data = {"outcome": "abandoned", "steps": {}, "reason": "every process of the run is gone"}
            return tuple(ledger.append(OUTCOME, data, run_id=run.run_id) for run in dead)

    @contextmanager
    def lock_ledger(self) -> Iterator[Transaction]:
        """Lock the ledger, so that nobody commits until the block ends. The index is up to date."""
        with self._locked_ledger() as transaction:
            yield transaction

    def sweep(self) -> tuple[Path, ...]:
        """Remove the temps of killed writers in the store and the folders of runs; return their paths."""
        return self.store.sweep() + sweep(self.home / "runs")

    @contextmanager
    def _locked_ledger(self) -> Iterator[Transaction]:
        """Lock the ledger with the index up to date, so that the index stays valid until the append."""
        with self._gate, self.ledger.lock() as transaction:
            self._index.catch_up(self.ledger)
            yield transaction


def _describe_commit(commit: Record | None) -> str:
    if commit is None:
        return "nothing"
    return f"{commit.data['valid']['sha256'][:12]} (seq {commit.seq}, run {commit.run_id})"


def _may_go_on(run: Run) -> bool:
    """Return whether a run is closed already or any of its processes is alive.

    Writers of notes do not count: an alert may come from a daemon that outlives every run.
    """
    records = (run.genesis, *run.commits, *run.refused)
    writers = {Writer.model_validate(run.genesis.data["owner"]), *(record.writer for record in records)}
    return run.outcome is not None or any(map(is_alive, writers))

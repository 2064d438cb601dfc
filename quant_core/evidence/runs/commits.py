"""Who may commit what, and which version a reader gets. Record form: ledger/chain.py; table bytes: store.py."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from quant_core.errors import ConflictError, EvidenceError, IntegrityError, MissingVersionError, UsageError
from quant_core.evidence.files.documents import sweep
from quant_core.evidence.files.kill_points import reached
from quant_core.evidence.files.writer import Writer, is_alive, this_process
from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.reader import FILE_NAME
from quant_core.evidence.ledger.transaction import Transaction
from quant_core.evidence.runs.index import COLLECTED, COMMIT, GENESIS, LANDED, OUTCOME, REFUSED, Index, Run
from quant_core.evidence.store.store import DataRef, Part, Store

Outcome = Literal["ok", "failed", "cancelled", "abandoned"]


class Evidence:
    """One home: its tables, its ledger, and the rules between them. Folders appear with the first write.

    Safe among threads and processes; each process keeps its own index and catches up before it answers.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        if self.home.exists() and not self.home.is_dir():
            raise EvidenceError(f"{self.home} is not a folder; a home holds the ledger and the store.")
        self.store = Store(self.home, advice=self._advice)
        self.ledger = Ledger(self.home / FILE_NAME)
        self._index = Index()
        self._gate = threading.RLock()

    def open_run(self, run_id: str, payload: Mapping[str, Any], *, owner: Writer | None = None) -> Record:
        """Open a run with its `genesis` record, or return the one it has: the first call's payload stands.

        Parameters
        ----------
        run_id : str
            Unique per run.
        payload : mapping
            Git commit, manifest hash, seed and the like. `pins` (seq, champions, trials) is what the run
            knows of the ledger; what is missing of it is taken as of now.
        owner : Writer, optional
            The process that lives as long as the run, default this one. Steps in processes of their
            own name the process that started them, else the run looks abandoned between two steps.
        """
        if not run_id:
            raise UsageError("a run needs an id.")
        with self._writing() as ledger:
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
        """Make a stored version the head of its table, if nobody else did since this run opened.

        The head must be the one pinned by the run's genesis, or this run's own. The same bytes again
        from the same run (a retried step) return the record there is.

        Parameters
        ----------
        run_id, stage, sleeve : str
            Which run commits which table.
        valid, exclusions : DataRef
            Both parts, already in the store.
        facts : mapping
            Rows, excluded per rule, metrics, parents: what a reader wants to know beside the bytes.
        actions : DataRef, optional
            Corporate actions that came with the rows.

        Returns
        -------
        Record
            Of kind `commit`. ConflictError if another run was first or this one is closed.
        """
        with self._writing() as ledger:
            # Under the lock: what is in the store now is not collected before the record says that it is needed.
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
                raise ConflictError(
                    f"{stage} of {sleeve} is now {_told(head)}; run {run_id} started from {_told(expected)}. "
                    "Run again to build on the newer version."
                )
            record = ledger.append(COMMIT, {**version, "facts": facts}, run_id=run_id)
        reached("after_ledger")
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
        """Record a stored batch as landed. What a landing knows of is decided in graph/landing.py.

        Parameters
        ----------
        run_id, stage, sleeve : str
            Which run landed it, for which table.
        valid, exclusions, actions : DataRef
            Its parts, already in the store.
        after : int
            Seq of the last `landed` record of the table the caller knows, -1 for none.
        facts : mapping
            Source, request, marks, known_from and the like.

        Returns
        -------
        Record
            Of kind `landed`. ConflictError if another run landed something meanwhile.
        """
        with self._writing() as ledger:
            version = self._version(stage, sleeve, valid=valid, exclusions=exclusions, actions=actions)
            self._index.run(run_id)
            others = self._index.landed(stage, sleeve)
            if others and others[-1].seq != after:
                raise ConflictError(
                    f"run {others[-1].run_id} landed a batch of {sleeve} meanwhile (seq {others[-1].seq}). Run again."
                )
            return ledger.append(LANDED, {**version, **facts}, run_id=run_id)

    def landed(self, stage: str, sleeve: str) -> tuple[Record, ...]:
        """Return the batches that were landed for a table, oldest first, whatever became of their runs."""
        with self._reading() as index:
            return index.landed(stage, sleeve)

    def last_commit(self, stage: str, sleeve: str) -> int:
        """Return the seq of the last commit of a table by any run, a look at the past included; -1 for none."""
        with self._reading() as index:
            return index.last_commit(stage, sleeve)

    def _version(self, stage: str, sleeve: str, **parts: DataRef | None) -> dict[str, Any]:
        """Return what a record says of the parts of a table, each of which must be that part and in the store."""
        told: dict[str, Any] = {"stage": stage, "sleeve": sleeve}
        for part, ref in parts.items():
            if ref is None:
                continue
            if (ref.stage, ref.sleeve, ref.part) != (stage, sleeve, part):
                raise UsageError(f"{ref.stage} of {ref.sleeve} ({ref.part}) was given as {stage} of {sleeve} ({part}).")
            if not self.store.exists(ref):
                raise MissingVersionError(f"{ref.path} is not in {self.home}. Store.write it before it is committed.")
            told[part] = ref.model_dump(include={"sha256", "rows", "path", "form"}, exclude_defaults=True)
        return told

    def refuse(self, run_id: str, stage: str, sleeve: str, reasons: Sequence[Any]) -> Record:
        """Record that a blocking rule refused a result. The head stays."""
        with self._writing() as ledger:
            self._index.run(run_id)
            return ledger.append(REFUSED, {"stage": stage, "sleeve": sleeve, "reasons": reasons}, run_id=run_id)

    def close_run(self, run_id: str, outcome: Outcome, steps: Mapping[str, Any]) -> Record:
        """Close a run with its `outcome` record, or return the one it has: the first outcome stands.

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
            raise UsageError(f"outcome {outcome!r} is none of {', '.join(get_args(Outcome))}.")
        with self._writing() as ledger:
            closed = self._index.run(run_id).outcome
            return closed or ledger.append(OUTCOME, {"outcome": outcome, "steps": steps}, run_id=run_id)

    def note(self, run_id: str, kind: str, data: Mapping[str, Any], *, durable: bool = True) -> Record:
        """Record something else, such as an `alert`. The kinds with rules of their own have their own methods.

        Without `durable` it need not outlive a power cut: for progress, see `Ledger.append`.
        """
        if kind in {GENESIS, LANDED, COMMIT, REFUSED, OUTCOME, COLLECTED}:
            raise UsageError(f"kind {kind!r} has a method of its own.")
        return self.ledger.append(kind, data, run_id=run_id, durable=durable)

    def resolve(
        self,
        stage: str,
        sleeve: str,
        *,
        run_id: str | None = None,
        parents: Iterable[str] = (),
        part: Part = "valid",
    ) -> DataRef:
        """Return the version of a table a reader gets.

        In this order: the commit of its own run; of its parent and root runs as given; the head at the
        seq its genesis pinned. Outside a run, the newest head. A run with a knowledge time reads no head, which
        knows more: only what a run with the same one committed.
        """
        with self._reading() as index:
            if run_id is None:
                found = index.head(stage, sleeve)
            else:
                run = index.run(run_id)
                family = [run, *(index.run(parent) for parent in parents if index.knows(parent))]
                own = (commit for member in family if (commit := member.commit_of(stage, sleeve)))
                as_of = run.genesis.data.get("as_of")
                pinned = run.pinned_seq
                found = next(own, None) or (
                    index.head(stage, sleeve, at=pinned)
                    if as_of is None
                    else index.past(stage, sleeve, as_of, at=pinned)
                )
            known = ", ".join(f"{name} of {owner}" for name, owner in index.heads()) or "nothing"
        if found is None:
            seen = "" if run_id is None else f" that run {run_id} may read"
            raise MissingVersionError(f"{stage} of {sleeve} has no committed version{seen}. Committed by now: {known}.")
        return ref_in(found, part)

    def heads(self, *, at: int | None = None) -> dict[tuple[str, str], Record]:
        """Return the newest commit of every table, by stage and sleeve; with `at`, the newest up to that seq.

        What a run with a knowledge time (`as_of` in its genesis) commits is its own and never a head.
        """
        with self._reading() as index:
            return dict(index.heads(at=at))

    def runs(self) -> tuple[Run, ...]:
        """Return all runs in the order they were opened."""
        with self._reading() as index:
            return tuple(index.runs())

    def knows(self, run_id: str) -> bool:
        """Return whether a run of that id was opened."""
        with self._reading() as index:
            return index.knows(run_id)

    def run(self, run_id: str) -> Run:
        """Return one run: genesis, commits, outcome; UnknownNameError if it was never opened."""
        with self._reading() as index:
            return index.run(run_id)

    def last_seq(self) -> int:
        """Return the number of the ledger's last record, -1 if it is empty: what a run that opens now would pin."""
        with self._reading() as index:
            return index.last_seq

    def abandon_dead(self) -> tuple[Record, ...]:
        """Close, as `abandoned`, every run whose processes are all gone; return the outcomes."""
        if all(_may_go_on(run) for run in self.runs()):
            return ()
        with self._writing() as ledger:
            dead = [run for run in self._index.runs() if not _may_go_on(run)]
            data = {"outcome": "abandoned", "steps": {}, "reason": "every process of the run is gone"}
            return tuple(ledger.append(OUTCOME, data, run_id=run.run_id) for run in dead)

    def collected(self, path: str) -> Record | None:
        """Return the record that says a version was deleted on purpose, by the version's path; None if none does."""
        with self._reading() as index:
            return index.collected(path)

    @contextmanager
    def locked(self) -> Iterator[Transaction]:
        """Hold the ledger, so that nobody commits until the block ends. What is committed is in the index."""
        with self._writing() as transaction:
            yield transaction

    def sweep(self) -> tuple[Path, ...]:
        """Remove the temps of killed writers, in the store and beside the manifests; return them."""
        return self.store.sweep() + sweep(self.home / "runs")

    def _advice(self, ref: DataRef) -> str:
        """Say what became of a version that is not there, and how to have it again."""
        with self._reading() as index:
            gone = index.collected(ref.path)
            owner = index.owner(ref.stage, ref.sleeve, ref.sha256)
        run = "the run that made it" if owner is None else f"run {owner}, which committed it"
        if gone is None:
            return f"No record says it was collected: it is lost. Restore it, or replay {run}."
        return f"It was collected (seq {gone.seq}). Replay {run}."

    @contextmanager
    def _reading(self) -> Iterator[Index]:
        with self._gate:
            self._index.catch_up(self.ledger)
            yield self._index

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        """Hold the ledger with the index caught up, so that what it says stays true until the append."""
        with self._gate, self.ledger.locked() as transaction:
            self._index.catch_up(self.ledger)
            yield transaction


def ref_in(commit: Record, part: Part = "valid") -> DataRef:
    """Return the reference a commit record holds for one of its parts."""
    data = commit.data
    if part not in data:
        raise MissingVersionError(f"{data['stage']} of {data['sleeve']} came without {part} (seq {commit.seq}).")
    try:
        return DataRef(stage=data["stage"], sleeve=data["sleeve"], part=part, **data[part])
    except ValidationError as error:
        raise IntegrityError(f"record {commit.seq} names no possible version: {error}") from error


def _told(commit: Record | None) -> str:
    if commit is None:
        return "nothing"
    return f"{commit.data['valid']['sha256'][:12]} (seq {commit.seq}, run {commit.run_id})"


def _may_go_on(run: Run) -> bool:
    """Tell whether a run is closed already, or any of its processes lives.

    Notes do not count: an alert may come from a daemon that outlives every run.
    """
    records = (run.genesis, *run.commits, *run.refused)
    writers = {Writer.model_validate(run.genesis.data["owner"]), *(record.writer for record in records)}
    return run.outcome is not None or any(map(is_alive, writers))

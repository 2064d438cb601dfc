"""The landing: stores what sources sent, batch by batch and unchanged, and returns the view of it at a knowledge time.

A batch is an immutable, content-addressed version with a `landed` record in the ledger. ingest/ decides how a
source is read and which rules its rows must meet; commit.py decides which bytes a reader gets afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args

import polars as pl

from quant_core.evidence.ledger.chain import Record
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.refs import DataRef, Part
from quant_core.graph.landing_view import View
from quant_core.market.calendar import instant_of
from quant_core.market.contracts.rule_names import current_counts, is_equal_under_current_names, with_current_names
from quant_core.market.contracts.split import Split
from quant_core.masking import Mask, mask_secrets, mask_value

PARTS: tuple[Part, ...] = get_args(Part)
Clock = Callable[[], datetime]
Tell = Callable[[str], None]


def utc_now() -> datetime:
    """Return the machine's clock."""
    return datetime.now(UTC)


_mask_addresses: Mask = partial(mask_secrets, environ={})


def ignore_message(message: str) -> None:
    """Report nothing."""


class Landing:
    """The landed batches of one table of one sleeve, as one run may read and extend them.

    Another source, or another `fingerprint` of it, has batches of its own. The batches of the source before stay in the
    store and in the ledger, and are in view again once the sleeve returns to that source.

    Progress messages and recorded requests are masked with `mask` first: a source may put a secret into either.
    """

    def __init__(
        self,
        evidence: Evidence,
        sleeve: str,
        run_id: str,
        *,
        clock: Clock = utc_now,
        tell: Tell = ignore_message,
        mask: Mask = _mask_addresses,
    ) -> None:
        self.clock, self._mask = clock, mask
        self.tell: Tell = lambda message: tell(mask(message))
        self._evidence, self._sleeve, self._run_id = evidence, sleeve, run_id
        self._stage, self._source = "", {"source": "", "fingerprint": ""}
        self._records: tuple[Record, ...] = ()
        self._fresh: dict[int, tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]] = {}

    def begin(self, stage: str, *, source: str, fingerprint: str) -> None:
        """Set which table is landed, and from which source."""
        self._stage, self._source = stage, {"source": source, "fingerprint": fingerprint}
        self._records = self._evidence.landed_batches(stage, self._sleeve)

    @property
    def batches(self) -> tuple[Record, ...]:
        """The `landed` records of this source, oldest first, even if another source was read in between."""
        own = self._source.items()
        return tuple(record for record in self._records if all(record.data[name] == value for name, value in own))

    @property
    def marks(self) -> dict[str, str]:
        """How far the source was read, under names the source chose."""
        return {name: mark for record in self.batches for name, mark in record.data["marks"].items()}

    def has_actions(self, as_of: str | None) -> bool:
        """Whether any batch in view at `as_of` reported corporate actions, even an empty list."""
        return any(record.data["has_actions"] for record in self._visible_batches(as_of))

    @property
    def is_first(self) -> bool:
        """Whether no landing of this source is complete: no commit of the table follows its first batch."""
        batches = self.batches
        return not batches or self._evidence.last_commit(self._stage, self._sleeve) < batches[0].seq

    @property
    def next_row(self) -> int:
        """The first row number no batch of this source has used."""
        return max((int(record.data["next_row"]) for record in self.batches), default=0)

    @property
    def next_action(self) -> int:
        """The first action number no batch of this source has used."""
        return max((int(record.data["next_action"]) for record in self.batches), default=0)

    def land(
        self,
        split: Split,
        actions: pl.DataFrame,
        *,
        replaces: bool,
        known_from: datetime | None,
        marks: Mapping[str, str],
        request: Sequence[Any],
        has_actions: bool = False,
        made_of: int | None = None,
    ) -> None:
        """Store a batch. One that would replace the last batch with the same bytes adds nothing.

        Parameters
        ----------
        split : Split
            Rows and exclusions, each with the column `row`.
        actions : DataFrame
            With the column `row`.
        replaces : bool
            Whether the batch replaces all earlier ones; else it adds to them.
        known_from : datetime, optional
            Instant before which a view does not hold the batch; None: it always does.
        marks, request
            See ingest/sources/source.py.
        has_actions : bool
            Whether the source reported corporate actions, even an empty list.
        made_of : int, optional
            Number of source rows the valid rows were built from; None: one each.

        Raises
        ------
        ConflictError
            Another run landed a batch of the sleeve meanwhile.
        """
        frames = (split.valid, split.exclusions, actions)
        refs = {part: self._write_batch(part, frame) for part, frame in zip(PARTS, frames, strict=True)}
        last = self.batches[-1] if self.batches else None
        if replaces and last is not None and self._is_same(last, refs, split.exclusions):
            self._fresh[last.seq] = frames
            return
        days = split.valid["date"]
        rows, lost, sent = (1 + last_row(frame) for frame in frames)
        facts = {
            **self._source,
            "replaces": replaces,
            "known_from": None if known_from is None else known_from.isoformat(),
            "first": None if days.is_empty() else str(days.min()),
            "last": None if days.is_empty() else str(days.max()),
            "excluded": split.excluded,
            "next_row": max(rows, lost) if replaces else max(rows, lost, self.next_row),
            "next_action": sent if replaces else max(sent, self.next_action),
            "has_actions": has_actions,
            "made_of": split.valid.height if made_of is None else made_of,
            "marks": dict(marks),
            "request": mask_value(list(request), self._mask),
        }
        record = self._evidence.land(
            run_id=self._run_id,
            stage=self._stage,
            sleeve=self._sleeve,
            after=self._records[-1].seq if self._records else -1,
            facts=facts,
            **refs,
        )
        self._records = (*self._records, record)
        self._fresh[record.seq] = frames

    def view(self, as_of: str | None) -> View | None:
        """Return the batches that had landed at `as_of` as one view, None if there are none.

        With `as_of` the view holds all rows, for the caller to cut. Without, it holds the versions of the batches and
        the rows of those batches that no commit has judged.
        """
        seen = self._visible_batches(as_of)
        if not seen:
            return None
        counts = Counter[str]()
        for record in seen:
            counts.update(current_counts(record.data["excluded"]))
        excluded = dict(sorted(counts.items()))
        with_actions = ([record for record in seen if record.data["has_actions"]] or seen)[-1]
        actions = self._frames(with_actions)[2]
        if as_of is not None:
            valid, exclusions = _stack_batches([self._frames(record)[:2] for record in seen])
            return View(valid, exclusions, actions, counts=excluded, until=seen[-1].seq)
        judged = self._last_judged_seq()
        new = [record for record in seen if record.seq > judged] or seen[-1:]
        valid, exclusions = _stack_batches([self._frames(record)[:2] for record in new])
        made_of = sum(int(record.data["made_of"]) for record in new)
        versions = {part: tuple(ref_in(record, part) for record in seen) for part in PARTS}
        versions["actions"] = (ref_in(with_actions, "actions"),)
        return View(valid, exclusions, actions, versions, excluded, made_of, seen[-1].seq)

    def _last_judged_seq(self) -> int:
        """Return the seq of the last batch the current version of the table holds."""
        head = self._evidence.heads().get((self._stage, self._sleeve))
        return -1 if head is None else int(head.data["facts"].get("landed", head.seq))

    def _visible_batches(self, as_of: str | None) -> list[Record]:
        moment = None if as_of is None else instant_of(as_of)
        seen: list[Record] = []
        for record in self.batches:
            known_from = record.data["known_from"]
            if moment is None or known_from is None or datetime.fromisoformat(known_from) <= moment:
                seen = [record] if record.data["replaces"] else [*seen, record]
        return seen

    def _is_same(self, last: Record, refs: Mapping[Part, DataRef], exclusions: pl.DataFrame) -> bool:
        """Whether a batch has the bytes of the last one, or would have if rules had kept their names."""
        changed = [part for part, ref in refs.items() if ref_in(last, part) != ref]
        return not changed or (
            changed == ["exclusions"] and is_equal_under_current_names(self._frames(last)[1], exclusions)
        )

    def _write_batch(self, part: Part, frame: pl.DataFrame) -> DataRef:
        key = ("rule", "row") if part == "exclusions" else ("row",)
        return self._evidence.store.write(frame, stage=self._stage, sleeve=self._sleeve, key=key, part=part)

    def _frames(self, record: Record) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        if record.seq in self._fresh:
            return self._fresh[record.seq]
        valid, exclusions, actions = (self._evidence.store.read(ref_in(record, part)) for part in PARTS)
        return valid, with_current_names(exclusions), actions


def _stack_batches(frames: Sequence[tuple[pl.DataFrame, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    valid, exclusions = (pl.concat(column) for column in zip(*frames, strict=True))
    return valid, exclusions


def last_row(frame: pl.DataFrame) -> int:
    """Return the highest number in the column `row`, -1 of a table without rows."""
    return -1 if frame.is_empty() else int(frame.select(pl.col("row").max()).item())

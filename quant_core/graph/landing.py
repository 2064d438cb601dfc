"""The landing: what sources sent, batch by batch, kept as it came; and the view of it at a knowledge time.

A batch is an immutable, content-addressed version with a `landed` record in the ledger. How a source is asked and what
a row must keep to is decided in ingest/; which bytes a reader gets afterwards, in commit.py.
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
from quant_core.masking import Mask, masked, masked_value

PARTS: tuple[Part, ...] = get_args(Part)
Clock = Callable[[], datetime]
Tell = Callable[[str], None]


def utc_now() -> datetime:
    """Return the machine's clock."""
    return datetime.now(UTC)


_addresses_masked: Mask = partial(masked, environ={})


def silent(said: str) -> None:
    """Tell nobody."""


class Landing:
    """The landed batches of one table of one sleeve, as one run may read and extend them.

    Another source, or another `fingerprint` of what it is anchored to, has batches of its own: what landed of the one
    before stays in the store and in the ledger, and is in view again once the source is that one again.

    What is told, and what a batch says was asked, passes through `mask` first: a source may put a secret into either.
    """

    def __init__(
        self,
        evidence: Evidence,
        sleeve: str,
        run_id: str,
        *,
        clock: Clock = utc_now,
        tell: Tell = silent,
        mask: Mask = _addresses_masked,
    ) -> None:
        self.clock, self._mask = clock, mask
        self.tell: Tell = lambda said: tell(mask(said))
        self._evidence, self._sleeve, self._run_id = evidence, sleeve, run_id
        self._stage, self._source = "", {"source": "", "fingerprint": ""}
        self._records: tuple[Record, ...] = ()
        self._fresh: dict[int, tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]] = {}

    def begin(self, stage: str, *, source: str, fingerprint: str) -> None:
        """Say which table is landed, and from which source."""
        self._stage, self._source = stage, {"source": source, "fingerprint": fingerprint}
        self._records = self._evidence.landed(stage, self._sleeve)

    @property
    def batches(self) -> tuple[Record, ...]:
        """The `landed` records of this source, oldest first, also those from before another one was read meanwhile."""
        own = self._source.items()
        return tuple(record for record in self._records if all(record.data[name] == value for name, value in own))

    @property
    def marks(self) -> dict[str, str]:
        """How far the source was read, by names of its own."""
        return {name: mark for record in self.batches for name, mark in record.data["marks"].items()}

    def has_actions(self, as_of: str | None) -> bool:
        """Whether any batch seen at `as_of` told of corporate actions, be it that there are none."""
        return any(record.data["has_actions"] for record in self._seen(as_of))

    @property
    def is_first(self) -> bool:
        """Whether no landing of this source was completed yet: no commit of the table follows its first batch."""
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
        """Keep a batch. One that replaces the one before with the same bytes is that one.

        Parameters
        ----------
        split : Split
            Rows and exclusions, each with the column `row`.
        actions : DataFrame
            With the column `row`.
        replaces : bool
            Whether the batch is all there is; else it adds to what has landed.
        known_from : datetime, optional
            Instant before which a view does not hold the batch; None: it always does.
        marks, request
            See ingest/sources/source.py.
        has_actions : bool
            Whether the source told of corporate actions, be it that there are none.
        made_of : int, optional
            Rows of the source the valid ones were put together from; None: each is one.

        Raises
        ------
        ConflictError
            Another run landed a batch of the sleeve meanwhile.
        """
        frames = (split.valid, split.exclusions, actions)
        refs = {part: self._written(part, frame) for part, frame in zip(PARTS, frames, strict=True)}
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
            "request": masked_value(list(request), self._mask),
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
        """Return what had landed at `as_of`, None if nothing had.

        With `as_of` the whole view comes as rows, for the caller to cut; without, as the versions it is made of and the
        rows of those no commit has judged.
        """
        seen = self._seen(as_of)
        if not seen:
            return None
        counts = Counter[str]()
        for record in seen:
            counts.update(current_counts(record.data["excluded"]))
        told = dict(sorted(counts.items()))
        telling = ([record for record in seen if record.data["has_actions"]] or seen)[-1]
        actions = self._frames(telling)[2]
        if as_of is not None:
            valid, exclusions = _stacked([self._frames(record)[:2] for record in seen])
            return View(valid, exclusions, actions, counts=told, until=seen[-1].seq)
        judged = self._judged_until()
        new = [record for record in seen if record.seq > judged] or seen[-1:]
        valid, exclusions = _stacked([self._frames(record)[:2] for record in new])
        made_of = sum(int(record.data["made_of"]) for record in new)
        versions = {part: tuple(ref_in(record, part) for record in seen) for part in PARTS}
        versions["actions"] = (ref_in(telling, "actions"),)
        return View(valid, exclusions, actions, versions, told, made_of, seen[-1].seq)

    def _judged_until(self) -> int:
        """Return the seq of the last batch the current version of the table holds."""
        head = self._evidence.heads().get((self._stage, self._sleeve))
        return -1 if head is None else int(head.data["facts"].get("landed", head.seq))

    def _seen(self, as_of: str | None) -> list[Record]:
        moment = None if as_of is None else instant_of(as_of)
        seen: list[Record] = []
        for record in self.batches:
            known_from = record.data["known_from"]
            if moment is None or known_from is None or datetime.fromisoformat(known_from) <= moment:
                seen = [record] if record.data["replaces"] else [*seen, record]
        return seen

    def _is_same(self, last: Record, refs: Mapping[Part, DataRef], exclusions: pl.DataFrame) -> bool:
        """Whether a batch has the bytes of the last one, or would have but for rules named otherwise since."""
        changed = [part for part, ref in refs.items() if ref_in(last, part) != ref]
        return not changed or (
            changed == ["exclusions"] and is_equal_under_current_names(self._frames(last)[1], exclusions)
        )

    def _written(self, part: Part, frame: pl.DataFrame) -> DataRef:
        key = ("rule", "row") if part == "exclusions" else ("row",)
        return self._evidence.store.write(frame, stage=self._stage, sleeve=self._sleeve, key=key, part=part)

    def _frames(self, record: Record) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        if record.seq in self._fresh:
            return self._fresh[record.seq]
        valid, exclusions, actions = (self._evidence.store.read(ref_in(record, part)) for part in PARTS)
        return valid, with_current_names(exclusions), actions


def _stacked(frames: Sequence[tuple[pl.DataFrame, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    valid, exclusions = (pl.concat(column) for column in zip(*frames, strict=True))
    return valid, exclusions


def last_row(frame: pl.DataFrame) -> int:
    """Return the highest number in the column `row`, -1 of a table without rows."""
    return -1 if frame.is_empty() else int(frame.select(pl.col("row").max()).item())

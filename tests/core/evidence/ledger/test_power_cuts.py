"""Every state a power cut can leave, from a recording of what the ledger asked of the file system.

A file has what was flushed, and of what came later any beginning, followed by nothing or by zeros (the length may reach
the device before the bytes). A folder has the names that were flushed, and any beginning of the changes since.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.transaction import Entry
from quant_core.evidence.verification.verify import verify_ledger

SECTOR = 512


@dataclass
class Disk:
    """What was asked for so far, by file number: bytes now and when last flushed; names, and their pending changes."""

    now: dict[int, bytes] = field(default_factory=dict)
    flushed: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[str, int | None]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def copy(self) -> "Disk":
        return Disk(dict(self.now), dict(self.flushed), dict(self.names), list(self.pending), list(self.acknowledged))

    def states(self) -> Iterator[dict[str, bytes]]:
        """Every content of the folder a cut at this moment can leave."""
        for count in range(len(self.pending) + 1):
            names = dict(self.names)
            for name, number in self.pending[:count]:
                if number is None:
                    names.pop(name, None)
                else:
                    names[name] = number
            unsure = [number for number in set(names.values()) if self.now[number] != self.flushed.get(number, b"")]
            settled = {number: self.now[number] for number in names.values() if number not in unsure}
            for content in self._contents(unsure[0]) if unsure else [b""]:
                known = settled | {number: self.flushed.get(number, b"") for number in unsure[1:]}
                known |= {unsure[0]: content} if unsure else {}
                yield {name: known[number] for name, number in names.items()}

    def _contents(self, number: int) -> Iterator[bytes]:
        now, sure = self.now[number], len(self.flushed.get(number, b""))
        ends = {sure, len(now), *range(sure - sure % SECTOR + SECTOR, len(now), SECTOR)}
        ends |= {end + step for end in ends for step in (-1, 1)}
        ends |= {at + step for at in range(sure, len(now)) if now[at : at + 1] == b"\n" for step in (0, 1)}
        for end in sorted(end for end in ends if sure <= end <= len(now)):
            yield now[:end]
            yield now[:end] + b"\0" * (len(now) - end)


class Recorder:
    """Follows a folder through the calls that change it; `moments` holds the disk after each."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.disk = folder, Disk()
        self.moments: list[Disk] = []
        for owner, name, note in (
            (os, "open", self._note_open),
            (os, "write", self._note_write),
            (os, "fsync", self._note_flush),
            (os, "fdatasync", self._note_flush),
            (os, "ftruncate", self._note_write),
            (Path, "hardlink_to", self._note_link),
            (Path, "replace", self._note_rename),
            (Path, "unlink", self._note_removal),
        ):
            self._follow(patch, owner, name, note)

    def _follow(self, patch, owner, name, note) -> None:
        call = getattr(owner, name)

        def follow_call(*args, **more):
            before = self._listing()
            result = call(*args, **more)
            note(before, result, *args)
            self.moments.append(self.disk.copy())
            return result

        patch.setattr(owner, name, follow_call)

    def _listing(self) -> dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(self.folder)}

    def _note_change(self, before: dict[str, int]) -> None:
        after = self._listing()
        self.disk.pending += [(name, number) for name, number in after.items() if before.get(name) != number]
        self.disk.pending += [(name, None) for name in before if name not in after]
        for number in after.values():
            self.disk.now.setdefault(number, b"")

    def _note_open(self, before, descriptor, *_) -> None:
        self._note_change(before)

    def _note_link(self, before, _, *__) -> None:
        self._note_change(before)

    def _note_removal(self, before, _, *__) -> None:
        self._note_change(before)

    def _note_rename(self, before, _, *__) -> None:
        # One change of the folder, not two: the new name and the end of the old one come together.
        after = self._listing()
        self.disk.pending += [(name, number) for name, number in after.items() if before.get(name) != number]
        self.disk.pending += [(name, None) for name in before if name not in after and not name.endswith(".tmp")]

    def _note_write(self, before, _, descriptor, *__) -> None:
        number = os.fstat(descriptor).st_ino
        if number in self.disk.now:
            path = next(self.folder / name for name, each in self._listing().items() if each == number)
            self.disk.now[number] = path.read_bytes()

    def _note_flush(self, before, _, descriptor) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            if status.st_ino == self.folder.stat().st_ino:
                for name, number in self.disk.pending:
                    if number is None:
                        self.disk.names.pop(name, None)
                    else:
                        self.disk.names[name] = number
                self.disk.pending.clear()
        elif status.st_ino in self.disk.now:
            self.disk.flushed[status.st_ino] = self.disk.now[status.st_ino]


def record_disks(folder: Path) -> list[Disk]:
    """Appends of every kind over three segments, and the disk after each call."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(folder, patch)
        ledger, waiting = Ledger(folder / "audit.jsonl", segment_bytes=3_500), []
        for number in range(14):
            data = {"number": number, "text": "x" * (number * 151 % 700)}
            match number % 3:
                case 0:
                    records, is_durable = [ledger.append("step", data, run_id="r")], True
                case 1:
                    records, is_durable = [ledger.append("progress", data, run_id="r", durable=False)], False
                case _:
                    records, is_durable = ledger.append_all([Entry("step", data, "r")] * 2), True
            waiting += [record.hash for record in records]
            if is_durable:  # it takes everything before it along
                recorder.disk.acknowledged += waiting
                waiting = []
                recorder.moments.append(recorder.disk.copy())
    return recorder.moments


def test_no_power_cut_loses_an_acknowledged_record_or_breaks_the_chain(tmp_path):
    moments = record_disks(tmp_path / "recorded")
    seen, after = set(), tmp_path / "after"
    for moment in moments:
        acknowledged = tuple(moment.acknowledged)
        for state in moment.states():
            key = (acknowledged, tuple(sorted(state.items())))
            if key in seen:
                continue
            seen.add(key)
            shutil.rmtree(after, ignore_errors=True)
            after.mkdir()
            for name, content in state.items():
                (after / name).write_bytes(content)
            link_again(after, moment)
            kept = Ledger(after / "audit.jsonl")
            report = verify_ledger(kept)
            assert report.verdict in {"intact", "torn_tail"}, (report.faults, sorted(state))
            hashes = [record.hash for record in kept.records()]
            assert hashes[: len(acknowledged)] == list(acknowledged) or set(acknowledged) <= set(hashes)
            number = Ledger(after / "audit.jsonl", segment_bytes=3_500).append("step", {}, run_id="next").seq
            again = Ledger(after / "audit.jsonl")
            assert verify_ledger(again).ok
            assert [record.hash for record in again.records()][: len(hashes)] == hashes
            assert number >= len(hashes)
    assert len(seen) > 300
    assert sum(len(key[1]) > 2 for key in seen) > 20, "the ledger was rolled"


def link_again(folder: Path, moment: Disk) -> None:
    """Make names of one file names of one file again."""
    numbers = moment.names | {name: number for name, number in moment.pending if number is not None}
    first: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        number = numbers.get(path.name)
        if number in first and first[number].read_bytes() == path.read_bytes():
            path.unlink()
            path.hardlink_to(first[number])
        elif number is not None:
            first[number] = path

"""A forger's tools: ledgers in memory, lines hashed anew, and what a check says of them."""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from quant_core.evidence.ledger.anchors import Anchor
from quant_core.evidence.ledger.canonical import canonical_bytes
from quant_core.evidence.ledger.chain import FIRST_PREV, hash_after
from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.segments import Segment
from quant_core.evidence.verification.report import VerifyReport
from quant_core.evidence.verification.walk import verify_segments


def lines_of(path: Path, count: int = 8) -> list[bytes]:
    """The lines of a new ledger at `path`."""
    ledger = Ledger(path)
    for number in range(count):
        ledger.append("step", {"number": number, "share": number / 7, "text": "plain"}, run_id="r", durable=False)
    return path.read_bytes().splitlines(keepends=True)


def payload_of(line: bytes) -> bytes:
    return line[9 + 64 + 12 : -2]


def line_with(prev: str, payload: bytes) -> bytes:
    return b'{"hash":"' + hash_after(prev, payload).encode() + b'","payload":' + payload + b"}\n"


def rehash_lines(payloads: Iterable[bytes], prev: str = FIRST_PREV) -> list[bytes]:
    """Lines whose hashes fit, each payload told of the hash before it, as a forger with this source would."""
    lines = []
    for payload in payloads:
        at = payload.rindex(b'"prev":"') + len(b'"prev":"')
        line = line_with(prev, payload[:at] + prev.encode() + payload[at + 64 :])
        lines.append(line)
        prev = line[9:73].decode()
    return lines


def edit_payload(payload: bytes, change: Callable[[dict], None]) -> bytes:
    """A payload as this package would have written it."""
    fields = json.loads(payload)
    change(fields)
    return canonical_bytes(fields)


def verify_files(*files: bytes | list[bytes], anchors: Iterable[Anchor] = ()) -> VerifyReport:
    """What a check says of a ledger in memory, the last file being the open one."""
    contents = [file if isinstance(file, bytes) else b"".join(file) for file in files]
    return verify_segments(
        [Segment(Path("a.jsonl"), len(content), io.BytesIO(content)) for content in contents], anchors
    )


def faults_in(report: VerifyReport) -> set[tuple[str, int]]:
    return {(fault.kind, fault.seq) for fault in report.faults}

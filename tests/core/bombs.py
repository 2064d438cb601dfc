"""Texts and archives that cost far more to read than to send, each read here under bounds on memory and time.

Run as a program, by test_bombs.py: says of each, one line of JSON, how it ended. The bound on memory is the kernel's;
reading beyond it ends in MemoryError, which is no typed error.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quant_core.errors import QuantError
from quant_core.evidence.ledger.canonical import strict_object
from quant_core.evidence.runs.manifest import manifest_path, read_manifest
from quant_core.graph.parameters import _room_tables
from quant_core.ingest.corporate_actions.factor_file import read_factors
from quant_core.ingest.reading.delimited import cut_lines
from quant_core.ingest.reading.tabular import TableParams, read_table
from quant_core.ingest.reading.unpacking import only_member
from quant_core.market.sleeves import read_sleeve

MEMORY = 100 << 20
SECONDS = 5.0  # of processor time, and a machine may be busy; most take a tenth of one


def zipped(name: str, content: bytes, *, method: int = zipfile.ZIP_DEFLATED, count: int = 1, mode: int = 0) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for k in range(count):
            member = zipfile.ZipInfo(name if k == 0 else f"{k}")
            member.compress_type, member.external_attr = method, mode << 16
            archive.writestr(member, content)
    return packed.getvalue()


def objects(inner: bytes) -> bytes:
    return b'{"a":' + inner + b"}"


def bombs(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return what reads each bomb. What is larger than its reader takes is written as a file without content."""

    def file(name: str, content: bytes = b"", *, size: int = 0) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            out.write(content)
            out.truncate(max(size, len(content)))
        return path

    zeros = gzip.compress(bytes(1 << 20)) * 2000
    csv = file("zeros.csv.gz", zeros)
    empties = file("empties.csv.gz", gzip.compress(b"") * 300_000)
    endless = file("endless.csv", size=1 << 40)
    factors = file("factors.csv", size=1 << 40)
    manifest = file(str(manifest_path(folder, "r").relative_to(folder)), size=1 << 40)
    toml = {
        "toml size": file("size.toml", size=1 << 40),
        "toml dots": file("dots.toml", b"a." * 500_000 + b"a = 1"),
        "toml quoted dots": file("quoted.toml", b'"a" . ' * 100_000 + b"a = 1"),
        "toml lists": file("lists.toml", b"a = " + b"[" * 1_000_000),
        "toml tables": file("tables.toml", b"a = " + b"{a=" * 300_000),
        "toml values": file("values.toml", b"".join(b"a%d=1\n" % k for k in range(100_000))),
        "toml many tables": file("many.toml", b"[[a]]\n" * 170_000),
        "toml digits": file("digits.toml", b"a = " + b"9" * 1_000_000),
        "toml hexadecimal": file("hexadecimal.toml", b"a = 0x" + b"f" * 1_000_000),
        "toml fraction": file("fraction.toml", b"a = 0." + b"1" * 1_000_000),
    }
    documents = {
        "json size": b" " * (5 << 20),
        "json lists": objects(b"[" * 2_000_000),
        "json nested": objects(b"[" * 200 + b"]" * 200),
        "json tables": b'{"a":' * 200_000,
        "json values": objects(b"[" + b"[]," * 1_300_000 + b"[]]"),
        "json twice": b"{" + b",".join(b'"k%d":1' % k for k in range(100_000)) + b',"k99999":2}',
        "json digits": objects(b"9" * 4_000_000),
        "json infinity": objects(b"1e400"),
    }
    names = b",".join(b"c%d" % k for k in range(200_000))
    tables = {
        "csv names": names + b"\n" + b"1," * 199_999 + b"1\n",
        "csv name twice": names + b",c199999\n" + b"1," * 200_000 + b"1\n",
        "csv one name": b'"' + b"x" * 2_000_000 + b'",close\n1,2\n',
        "csv one line": b"a,b,c\n" + b'"' + b"x," * 2_000_000 + b"\n",
    }
    archives = {
        "zip zeros": zipped("a.csv", bytes(200 << 20)),
        "zip members": zipped("a.csv", b"x", count=20_000),
        "zip parent": zipped("../a.csv", b"x"),
        "zip backslash": zipped("..\\a.csv", b"x"),
        "zip absolute": zipped("/a.csv", b"x"),
        "zip drive": zipped("C:a.csv", b"x"),
        "zip link": zipped("a.csv", b"/etc/passwd", mode=0o120777),
        "zip folder": zipped("a.csv/", b""),
        "zip method": zipped("a.csv", b"x", method=zipfile.ZIP_LZMA),
        "zip other": zipped("b.csv", b"x"),
        "zip none": b"PK",
    }

    def wide(content: bytes) -> Any:
        return read_table(Path("wide.csv"), TableParams(), content=content)

    return {
        "gzip zeros": lambda: read_table(csv, TableParams()),
        "gzip empties": lambda: read_table(empties, TableParams()),
        "csv size": lambda: read_table(endless, TableParams()),
        "factors size": lambda: read_factors(factors),
        "manifest size": lambda: read_manifest(manifest.parent.parent.parent, "r"),
        "variable twice": lambda: _room_tables({"QUANT__A__B": '{"a":1,"a":2}'}),
        "variable nested": lambda: _room_tables({"QUANT__A__B": "[" * 100_000}),
        **{name: lambda path=path: read_sleeve(path) for name, path in toml.items()},
        **{name: lambda raw=raw: strict_object(raw) for name, raw in documents.items()},
        **{name: lambda raw=raw: wide(raw) for name, raw in tables.items()},
        **{
            name: lambda raw=raw: only_member(raw, "a.csv", largest=1 << 20, where="a.zip")
            for name, raw in archives.items()
        },
    }


def outcome_of(read: Callable[[], Any]) -> str:
    try:
        read()
    except QuantError as error:
        return type(error).__name__ if len(str(error)) < 10_000 else "endless message"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is asked for
        return f"untyped {type(error).__name__}: {error}"
    return "read"


def used() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(folder: Path) -> None:
    reads = bombs(folder)
    # What the libraries take for themselves is taken before anything is measured.
    cut_lines(b"a,b\n1,2\n", encoding="utf-8", separator=",", where="").columns({"a": "a"})
    signal.signal(signal.SIGPROF, lambda *_: (_ for _ in ()).throw(TimeoutError("it takes too long")))
    for name, read in reads.items():
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (used() + MEMORY, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        start = time.process_time()
        ended = outcome_of(read)
        spent = time.process_time() - start
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.stdout.write(json.dumps([name, ended, round(spent, 3)]) + "\n")
    sys.stdout.write(json.dumps(["", "over", 0.0]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

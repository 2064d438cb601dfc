"""Write tables.json: the SHA-256 of every table of both demo sleeves, from a home that `make demo` filled.

    python -m tests.golden.make_tables .quant

Each difference in review needs its reason in the commit that brings it. Table bytes depend on the versions of the
libraries that computed and wrote them; the file lists both.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from quant_core.evidence.runs.commits import Evidence

GOLDEN = Path(__file__).with_name("tables.json")
SLEEVES = ("us_equities", "crypto_sim")
LIBRARIES = ("numba", "numpy", "polars", "pyarrow", "scipy", "skfolio")


def made_with() -> dict[str, str]:
    """Return what the bytes of a table depend on, apart from the code."""
    return {name: version(name) for name in LIBRARIES} | {"machine": platform.machine()}


def hashes_of(evidence: Evidence, run_id: str) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each part of each table a run committed, by stage."""
    return {
        record.data["stage"]: {
            part: record.data[part]["sha256"] for part in ("valid", "exclusions", "actions") if part in record.data
        }
        for record in sorted(evidence.run(run_id).commits, key=lambda record: str(record.data["stage"]))
    }


def main(home: Path) -> None:
    """Write the hashes of the newest demo runs of a home."""
    evidence = Evidence(home)
    heads = evidence.heads()
    runs = {sleeve: heads["report.portfolio", sleeve].run_id for sleeve in SLEEVES}
    tables = {sleeve: hashes_of(evidence, run_id) for sleeve, run_id in runs.items()}
    GOLDEN.write_text(json.dumps({"made_with": made_with(), "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.upkeep.scrub import scrub
from quant_core.evidence.verification.verify import verify_ledger

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
WRITERS, COMMITS, READS = 8, 100, 10_000

# Each adds one row to the version it started from: whoever lost a race would lose a row.
WRITER = """
import json, os, sys
from pathlib import Path
import polars as pl
from quant_core.errors import ConflictError, MissingVersionError
from quant_core.evidence.runs.commits import Evidence
home, name, commits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
evidence, done, lost = Evidence(home), 0, 0
table = {"stage": "alpha.factors", "sleeve": "us"}
none = evidence.store.write(pl.DataFrame({"row": [0]}), key=["row"], part="exclusions", **table)
while done < commits:
    run_id = f"{name}-{done}-{lost}"
    evidence.open_run(run_id, {})
    try:
        base = evidence.store.read(evidence.resolve("alpha.factors", "us", run_id=run_id))
    except MissingVersionError:
        base = pl.DataFrame(schema={"row": pl.Int64, "writer": pl.String})
    added = pl.DataFrame({"row": [base.height], "writer": [f"{name}-{done}"]})
    valid = evidence.store.write(pl.concat([base, added]), key=["row"], **table)
    try:
        evidence.commit(run_id=run_id, valid=valid, exclusions=none, facts={}, **table)
        done += 1
        outcome = "ok"
    except ConflictError as error:
        assert error.exit_code == 5
        lost += 1
        outcome = "failed"
    evidence.close_run(run_id, outcome, {})
print(json.dumps({"done": done, "lost": lost}))
"""

READER = """
import json, sys
from pathlib import Path
from quant_core.errors import MissingVersionError
from quant_core.evidence.runs.commits import Evidence
home, least = Path(sys.argv[1]), int(sys.argv[2])
evidence, reads, before = Evidence(home), 0, 0
while reads < least or not (home / "stop").exists():
    try:
        frame = evidence.store.read(evidence.resolve("alpha.factors", "us"))
    except MissingVersionError as error:
        assert "has no committed version" in str(error) and before == 0, error
        continue
    assert frame["row"].to_list() == list(range(frame.height)) and frame.height >= before
    before, reads = frame.height, reads + 1
print(json.dumps({"reads": reads, "last": before}))
"""


def test_eight_writers_of_one_table_lose_nothing_and_readers_see_only_whole_versions(tmp_path: Path) -> None:
    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(tmp_path), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    def read_counts(process: subprocess.Popen[str]) -> dict[str, int]:
        out, err = process.communicate(timeout=800)
        assert process.returncode == 0, err
        return json.loads(out)

    reader = start(READER, str(READS))
    writers = [start(WRITER, f"w{number}", str(COMMITS)) for number in range(WRITERS)]
    outcomes = [read_counts(writer) for writer in writers]
    (tmp_path / "stop").touch()
    read = read_counts(reader)

    evidence = Evidence(tmp_path)
    commits = [record for record in evidence.ledger.records() if record.kind == "commit"]
    assert [outcome["done"] for outcome in outcomes] == [COMMITS] * WRITERS
    assert sum(outcome["lost"] for outcome in outcomes) > 0
    assert [record.data["valid"]["rows"] for record in commits] == list(range(1, WRITERS * COMMITS + 1))
    for before, after in pairwise(commits):
        assert evidence.run(after.run_id).pinned_seq >= before.seq
    last = evidence.store.read(ref_in(commits[-1]))
    assert sorted(last["writer"]) == sorted(f"w{n}-{k}" for n in range(WRITERS) for k in range(COMMITS))
    assert verify_ledger(evidence.ledger).verdict == "intact"
    assert read["reads"] >= READS
    assert read["last"] == WRITERS * COMMITS
    found = scrub(evidence)
    assert found.sound == found.versions
    assert {finding.kind for finding in found.findings} <= {"unreferenced"}

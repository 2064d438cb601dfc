import os
import subprocess
import sys
from pathlib import Path

import pytest

from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.settings import CHECKOUT

pytestmark = pytest.mark.faults
KILLS, SEED = 500, 20_240_601


@pytest.mark.timeout(600)
def test_500_killed_writers_of_8_at_a_time_lose_no_acknowledged_record(tmp_path: Path) -> None:
    path, acks = tmp_path / "audit.jsonl", tmp_path / "acks"
    acks.mkdir()
    rounds = -(-KILLS // 8)
    command = [
        sys.executable,
        str(Path(__file__).with_name("appending.py")),
        str(path),
        str(acks),
        str(rounds),
        str(SEED),
    ]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= KILLS, "every writer ends by being killed, none by an error"
    acknowledged = [line.split()[:2] for file in acks.iterdir() for line in file.read_text().splitlines()]
    ledger = Ledger(path)
    ledger.append("step", {}, run_id="last")
    kept = {str(record.seq): record.hash for record in ledger.records()}
    lost = [seq for seq, digest in acknowledged if kept.get(seq) != digest]
    report = verify_ledger(ledger)
    sys.stdout.write(
        f"kills={done.stdout.strip()} acknowledged={len(acknowledged)} records={len(kept)} segments={report.segments}"
        + "\n"
    )
    assert lost == []
    assert report.ok, report.faults[:3]
    assert len(acknowledged) > KILLS
    assert report.segments > 3

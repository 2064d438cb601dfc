import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from quant_core.evidence.runs.commits import Evidence

pytestmark = pytest.mark.faults

WRITER = """
import sys
from pathlib import Path
from quant_core.evidence.runs.commits import Evidence
from tests.faults.committing import SLEEVE, STAGE, table
evidence = Evidence(Path(sys.argv[1]))
write = evidence.store.write
valid = write(table(1), stage=STAGE, sleeve=SLEEVE, key=["row"])
lost = write(table(2, 3), stage=STAGE, sleeve=SLEEVE, key=["row"], part="exclusions")
evidence.commit(run_id="a", stage=STAGE, sleeve=SLEEVE, valid=valid, exclusions=lost, facts={})
"""
ROOT = Path(__file__).parents[2]
CALLS = "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,ftruncate,flock"
VERSION = [
    "create temp",
    "write temp",
    "fsync temp",
    "rename temp to version",
    "fsync folder",
]
# First the names of new folders. Each table is durable under its name before the record that makes it current is
# written; then that is made durable.
GOLDEN = ["fsync folder", *VERSION, *VERSION, "lock ledger", "write ledger", "fdatasync ledger", "unlock ledger"]


def kind_of(path: str) -> str:
    name = Path(path).name
    if name == "audit.jsonl":
        return "ledger"
    if name.endswith(".tmp"):
        return "temp"
    return "version" if name.endswith(".parquet") else "folder"


def steps_in(trace: str, home: Path) -> list[str]:
    """Return what was done below the home, in order; the same thing done several times running is one step."""
    steps = []
    for line in trace.splitlines():
        if str(home) not in line or "= -1" in line:
            continue
        call = re.search(r"(?:^|\s)(\w+)\(", line)
        paths = re.findall(rf"[\"<]({re.escape(str(home))}[^\">]*)[\">]", line)
        assert call is not None, line
        name = call[1]
        if name == "openat":
            steps += [f"create {kind_of(paths[0])}"] if "O_CREAT" in line and "O_EXCL" in line else []
        elif name == "flock":
            steps += [f"{how} ledger" for flag, how in (("LOCK_EX", "lock"), ("LOCK_UN", "unlock")) if flag in line]
        elif name.startswith("rename"):
            steps.append(f"rename {kind_of(paths[0])} to {kind_of(paths[1])}")
        else:
            steps.append(f"{name} {kind_of(paths[0])}")
    return [step for step, _ in groupby(steps)]


def test_a_commit_asks_the_system_in_the_order_that_survives_a_power_cut(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace: the order of system calls cannot be seen")
    home = tmp_path / "home"
    Evidence(home).open_run("a", {})
    log = tmp_path / "trace"
    command = [strace, "-f", "-y", "-s", "16", "-e", f"trace={CALLS}", "-o", str(log)]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITER, str(home)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert steps_in(log.read_text(), home) == GOLDEN

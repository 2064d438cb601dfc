import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.verification.verify import verify_ledger
from quant_core.settings import CHECKOUT

pytestmark = pytest.mark.faults
CUTS, SEED, WRITERS = 50, 7, 4
SHUT_DOWN, WITHOUT_LOG = 0x8004587D, struct.pack("I", 2)
"""ext4's own test switch: the file system forgets what it has not yet written, journal included."""

TOOLS = ("mkfs.ext4", "mount", "umount")


def tool(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@contextmanager
def mount_image(image: Path, folder: Path) -> Iterator[Path]:
    tool("mount", "-o", "loop,commit=1", image, folder)
    try:
        yield folder
    finally:
        until = time.monotonic() + 20
        while True:  # a killed process lets go of its files a moment later
            try:
                tool("umount", folder)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small ext4 in a file that can be mounted, or the reason why not."""
    if os.geteuid() != 0:
        pytest.skip("power cuts need root: a file system of their own is mounted on a loop device")
    if missing := [name for name in TOOLS if shutil.which(name) is None]:
        pytest.skip(f"power cuts need {', '.join(missing)}")
    path, folder = tmp_path / "disk.img", tmp_path / "disk"
    folder.mkdir()
    with path.open("wb") as stream:
        stream.truncate(128 << 20)
    try:
        tool("mkfs.ext4", "-q", "-F", path)
        with mount_image(path, folder) as mount:
            (mount / "home").mkdir()
    except OSError as error:
        pytest.skip(f"no file system on a loop device here: {error}")
    return path


def cut_power(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUT_DOWN, WITHOUT_LOG)
    finally:
        os.close(descriptor)


@pytest.mark.timeout(900)
def test_50_power_cuts_lose_no_durable_record(image: Path, tmp_path: Path) -> None:
    folder, acks = tmp_path / "disk", tmp_path / "acks"
    acks.mkdir()
    generator, torn = random.Random(SEED), 0
    acknowledged: set[str] = set()
    hashes: list[str] = []
    script = Path(__file__).with_name("appending.py")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    path = folder / "home" / "audit.jsonl"
    for cut in range(CUTS):
        with mount_image(image, folder):
            command = [sys.executable, str(script), str(path), str(acks), "0", str(cut)]
            with subprocess.Popen(command, env=environment, start_new_session=True) as writers:
                began, until = sum(file.stat().st_size for file in acks.iterdir()), time.monotonic() + 60
                while sum(file.stat().st_size for file in acks.iterdir()) == began and time.monotonic() < until:
                    time.sleep(0.01)
                time.sleep(generator.uniform(0.05, 0.5))
                # Before, not after: to a flush under way at that moment the kernel may still say yes, while nobody
                # would be left to hear it.
                acknowledged |= durable(acks, cut)
                cut_power(folder)
                os.killpg(writers.pid, signal.SIGKILL)
        with mount_image(image, folder):
            ledger = Ledger(path)
            report = verify_ledger(ledger)
            assert report.verdict in {"intact", "torn_tail"}, (cut, report.faults[:3])
            torn += report.verdict == "torn_tail"
            kept = [record.hash for record in ledger.records()]
            assert kept[: len(hashes)] == hashes, "what outlived one cut outlives the next"
            lost = acknowledged - {f"{seq} {digest} durable" for seq, digest in enumerate(kept)}
            assert not lost, (cut, sorted(lost)[:3])
            hashes = [*kept, ledger.append("step", {}, run_id=f"after {cut}").hash]
            assert verify_ledger(ledger).ok
    assert len(acknowledged) > CUTS
    sys.stdout.write(
        f"cuts={CUTS} durable={len(acknowledged)} records={len(kept)} segments={report.segments} torn={torn}" + "\n"
    )


def durable(acks: Path, cut: int) -> set[str]:
    """What the writers before that cut were told is durable by now, as `seq hash durable`."""
    lines = (line for file in acks.glob(f"cut {cut}.*") for line in file.read_text().splitlines())
    return {line for line in lines if line.endswith(" durable")}

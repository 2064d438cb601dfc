"""Ends the Ray processes that a killed driver leaves behind, and nothing else. compute.py starts Ray.

Two of Ray's agents outlive a driver that was killed by a minute. A small process of its own outlives it as well: it
reads which processes belong to that Ray, and then only waits for the driver's end of the pipe to close.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

import psutil

# What ends by itself should: workers, raylet and object store need a few seconds.
GRACE_S = 10.0


def ray_descendants() -> set[psutil.Process]:
    """Return the processes of Ray below this one."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            if "ray" in " ".join(process.cmdline()):
                found.add(process)
    return found


def watch(processes: Iterable[psutil.Process]) -> "subprocess.Popen[str]":
    """Start the process that ends `processes` some seconds after this one is gone; close its stdin to dismiss it."""
    listed = json.dumps([[process.pid, process.create_time()] for process in processes])
    watcher = subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # else what kills the driver's group kills it too
    )
    assert watcher.stdin is not None
    watcher.stdin.write(listed + "\n")
    watcher.stdin.flush()
    return watcher


def end(listed: str) -> None:
    """End the listed processes, each only if its pid still means the same process."""
    left = []
    for pid, created in json.loads(listed):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.create_time() == created:
                left.append(process)
    _, left = psutil.wait_procs(left, timeout=GRACE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    listed = sys.stdin.readline()
    sys.stdin.read()
    end(listed)

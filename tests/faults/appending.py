"""Writers that are killed: `python appending.py LEDGER ACKS ROUNDS SEED`. Each process acknowledges what it appended.

Forked from one process, so that a round costs no start of an interpreter. What an append returned stands in a file of
the writer's own before the next append begins. With 0 rounds they write until somebody else ends them.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from quant_core.evidence.ledger.ledger import Ledger
from quant_core.evidence.ledger.transaction import Entry

WRITERS, SEGMENT_BYTES = 8, 200_000


def write(path: Path, acks: Path, name: str) -> None:
    """Append until killed, in all the ways there are."""
    ledger = Ledger(path, segment_bytes=SEGMENT_BYTES)
    file = os.open(acks / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        number += 1
        data = {"number": number, "text": "x" * (number * 37 % 900)}
        match number % 4:
            case 0:
                records = ledger.append_all([Entry("step", data, name)] * 5)
            case 1:
                records = [ledger.append("progress", data, run_id=name, durable=False)]
            case _:
                records = [ledger.append("step", data, run_id=name)]
        kept = "cached" if number % 4 == 1 else "durable"
        os.write(file, "".join(f"{record.seq} {record.hash} {kept}\n" for record in records).encode())


def fork_writer(path: Path, acks: Path, name: str) -> int:
    """Start a writer; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            write(path, acks, name)
        finally:
            os._exit(1)  # an append that failed
    return pid


def main() -> None:
    path, acks, rounds, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    generator, kills = random.Random(seed), 0
    if rounds == 0:
        for pid in [fork_writer(path, acks, f"cut {seed}.{writer}") for writer in range(WRITERS)]:
            os.waitpid(pid, 0)
    for number in range(rounds):
        writers = [fork_writer(path, acks, f"{number}.{writer}") for writer in range(WRITERS)]
        time.sleep(generator.uniform(0.05, 0.3))
        generator.shuffle(writers)
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
            time.sleep(generator.uniform(0, 0.004))
        ends = [os.waitpid(pid, 0)[1] for pid in writers]
        kills += sum(os.WIFSIGNALED(end) for end in ends)
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main()

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.__main__ import main, topics
from benchmarks.contest import (
    LEAST_REPEATS,
    Contest,
    Figure,
    Reading,
    Skipped,
    copies,
    faster,
    lacking,
    measured,
    nanoseconds,
    within,
)
from benchmarks.report import COLUMNS, Row, absent, page, row_of, rows_of, section, wrong
from benchmarks.start import seconds
from quant_core.errors import UnknownNameError
from quant_core.kernels import _jit
from quant_core.settings import CHECKOUT

TINY = 0.01
SMALL = 1 << 16


def contest(theirs: float) -> Contest:
    return Contest("one", "two 1.0", lambda: 1.0, lambda: theirs, np.testing.assert_allclose, moved=8, elements=1)


def every_topic() -> list[object]:
    # What compiling costs is told by compiling; that such a process works is tested with compiled kernels, below.
    slow = {name: [pytest.mark.slow] if found.is_heavy or name == "start" else [] for name, found in topics().items()}
    return [pytest.param(name, marks=marks) for name, marks in slow.items()]


def test_every_module_with_contests_is_found() -> None:
    modules = (CHECKOUT / "benchmarks").glob("*.py")
    assert set(topics()) == {path.stem for path in modules if "\n@topic(" in path.read_text()}
    assert len(topics()) >= 17


@pytest.mark.slow
@pytest.mark.parametrize("name", every_topic())
def test_a_topic_gives_the_peers_answer_and_a_ratio(name: str) -> None:
    reasons, held = [], 0
    for entry in topics()[name](TINY):
        match entry:
            case Skipped():
                assert entry.reason
                reasons.append(f"{entry.peer}: {entry.reason}")
            case Reading():
                assert all(figure.text for figure in entry.take())
                held += 1
            case Contest():
                result = measured(entry, seconds=0.0, size=SMALL)
                assert 0.0 < result.lower <= result.ratio <= result.upper
                assert result.repeats >= 1
                assert entry.moved > 0
                assert any(character.isdigit() for character in entry.peer), "a peer is named with its version"
                held += 1
    assert held or reasons
    if reasons:
        pytest.skip(f"{held} contests held; not held here: {'; '.join(dict.fromkeys(reasons))}")


def test_what_a_start_takes_is_read_from_a_process_of_its_own() -> None:
    [figure] = seconds(str(_jit._root), ["momentum"], 1e9)
    assert figure.is_met
    assert float(figure.text.removesuffix(" s")) > 0.0


def test_a_faster_wrong_answer_is_refused() -> None:
    assert measured(contest(1.0), seconds=0.0, size=SMALL).repeats == LEAST_REPEATS
    with pytest.raises(AssertionError):
        measured(contest(1.001), seconds=0.0, size=SMALL)


def test_targets_judge_the_ratio_the_nanoseconds_and_the_copies() -> None:
    found = measured(contest(1.0), seconds=0.0, size=SMALL)
    found = replace(found, ours=1e-6, theirs=2e-6, ratio=2.0, bandwidth=8e6)
    assert (found.nanoseconds, found.copies) == pytest.approx((1_000.0, 1.0))
    judged = {
        target.text: target.is_met(found)
        for make, limits in (
            (faster, (2, 2.1)),
            (within, (0.5, 0.4)),
            (nanoseconds, (1_001, 999)),
            (copies, (1.1, 0.9)),
        )
        for target in map(make, limits)
    }
    assert list(judged.values()) == [True, False] * 4


def test_a_peer_that_is_not_installed_is_named_with_the_reason() -> None:
    assert lacking("numpy") == ""
    assert lacking("numpy", "no_such_peer") == "no_such_peer not installed here; `make bench` brings it"


def test_the_page_keeps_other_topics_and_lists_every_target_missed() -> None:
    slow = replace(contest(1.0), name="work", targets=(faster(1e9), nanoseconds(1e9)))
    missed = row_of(measured(slow, seconds=0.0, size=SMALL), load=1.0)
    limits = rows_of(Reading("memory", list, 2), [Figure("9 GiB", "8 GiB", is_met=False)], 1e9, 1.0)
    skipped, differs = absent(Skipped("a", "b 2", "not here")), wrong("c", "d 3", AssertionError("1 | 2\n3"))
    before = page("", {"first": section("first", "One.", "machine", [missed, *limits])})
    after = page(before, {"second": section("second", "Two.", "machine", [skipped, differs])})
    assert after.index("## Targets") < after.index("## first") < after.index("## second")
    assert "1 met, 2 missed, 1 skipped, 1 wrong." in after
    assert f"- first: work, two 1.0 (1 : 1 threads): 1e+09x as fast asked, {missed.faster} times faster" in after
    assert "- first: memory: 8 GiB asked, 9 GiB" in after
    assert page(after, {"second": section("second", "Two.", "machine", [])}).count("## first") == 1
    assert "1 wrong" not in page(after, {"second": section("second", "Two.", "machine", [])})


@pytest.mark.slow
def test_the_command_of_the_makefile_prints_one_line_per_contest_beside_the_bandwidth_of_the_machine() -> None:
    command = [sys.executable, "-m", "benchmarks", "ranking", "simulation", f"--share={TINY}", "--seconds=0"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    machine, table = done.stdout.split("\n\n")
    assert "Python" in machine
    first, *lines = table.splitlines()
    assert first.split() == " ".join(COLUMNS).split()
    assert [line.partition(":")[0] for line in lines] == ["ranking", "simulation"]
    assert all(float(line.split()[-2]) > 0.0 for line in lines), "GB/s of a copy, before the load"
    assert Row("work").peer == ""


def test_an_unknown_topic_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="moving"):
        main(["movin", f"--share={TINY}"])


def test_the_page_is_what_the_command_writes() -> None:
    written = (CHECKOUT / "docs" / "benchmarks.md").read_text()
    assert page(written, {}) == written
    assert {row for row in topics() if f"\n## {row}\n" not in written} == set()

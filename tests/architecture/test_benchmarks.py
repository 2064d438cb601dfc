import subprocess
import sys

import numpy as np
import pytest

from benchmarks.__main__ import COLUMNS, main, topics
from benchmarks.contest import LEAST_REPEATS, Contest, measured
from quant_core.errors import UnknownNameError
from quant_core.settings import CHECKOUT

TINY = 0.01


def contest(theirs: float) -> Contest:
    return Contest("one", "two", lambda: 1.0, lambda: theirs, np.testing.assert_allclose, moved=8)


def test_every_module_with_contests_is_found() -> None:
    modules = (CHECKOUT / "benchmarks").glob("*.py")
    assert set(topics()) == {path.stem for path in modules if "\n@topic(" in path.read_text()}
    assert len(topics()) >= 6


@pytest.mark.parametrize("name", list(topics()))
def test_a_topic_gives_the_peers_answer_and_a_ratio(name: str) -> None:
    results = [measured(contest, seconds=0.0) for contest in topics()[name](TINY)]
    assert results
    for result in results:
        assert 0.0 < result.lower <= result.ratio <= result.upper
        assert result.repeats == LEAST_REPEATS
        assert result.contest.moved > 0
        assert any(character.isdigit() for character in result.contest.peer), "a peer is named with its version"


def test_a_faster_wrong_answer_is_refused() -> None:
    assert measured(contest(1.0), seconds=0.0).repeats == LEAST_REPEATS
    with pytest.raises(AssertionError):
        measured(contest(1.001), seconds=0.0)


def test_the_table_has_one_line_per_contest_beside_the_bandwidth_of_the_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["ranking", "simulation", f"--share={TINY}", "--seconds=0"])
    head, table = capsys.readouterr().out.split("\n\n")
    assert "GB/s read and written" in head
    first, *lines = table.splitlines()
    assert first.split() == " ".join(COLUMNS).split()
    assert [line.partition(":")[0] for line in lines] == ["ranking", "simulation"]
    assert len({len(line) for line in table.splitlines()}) == 1, "columns stand under each other"


def test_an_unknown_topic_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="moving"):
        main(["movin", f"--share={TINY}"])


def test_the_command_of_the_makefile_works() -> None:
    command = [sys.executable, "-m", "benchmarks", "simulation", f"--share={TINY}", "--seconds=0"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "simulation: simulate" in done.stdout

"""What tests of every room share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from quant_core import cli
from quant_core.settings import CHECKOUT

Call = Callable[..., tuple[int, str, str]]

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def call_quant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs `quant` in this process: its exit code, stdout and stderr."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["quant", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return called


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Find a file of real prices that the repository may not carry."""

    def found(name: str) -> Path:
        folder = Path(os.environ.get("QUANT_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
        path = folder / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"no {path}; set QUANT_SHARED_DATA to the folder of real prices")
        return path

    return found

"""What tests of every room share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT


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

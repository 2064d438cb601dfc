"""All that a source sends, read at once; each test file has its own `stream` of batches."""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from quant_core.ingest.sources.source import Batch


@pytest.fixture
def read(stream: Callable[..., Generator[Batch, None, None]]) -> Callable[..., list[Batch]]:
    def done(*given: Any, **more: Any) -> list[Batch]:
        return list(stream(*given, **more))

    return done

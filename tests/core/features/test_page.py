from __future__ import annotations

import numpy as np
import pytest

from quant_core.features import catalogue
from quant_core.features.catalogue import feature
from quant_core.features.page import _line, features_page
from quant_core.features.steps import FeatureCatalog
from quant_core.settings import CHECKOUT


def test_the_page_of_features_is_current() -> None:
    page = CHECKOUT / "docs" / "features.md"
    command = page.read_text().partition("\n")[0]
    assert page.read_text() == features_page(), f"make it anew: {command}"


def test_every_feature_and_ingredient_stands_on_the_page() -> None:
    page = features_page()
    for entry in (*catalogue().values(), *catalogue().ingredients.values()):
        assert f"| `{entry.function.__name__}`" in page


@feature(family="f", unit="share", warmup=lambda w: w - 1, windows=(5, 20), lower=-1.0, memory=lambda w: 2 * w + 3)
def some(close: np.ndarray, *, window: int) -> np.ndarray:
    """Share of {window} in `a_b`, a_b.

    {window} * [a | b] / 2

    Source: Anyone (1900).
    """
    return close / window


@feature(family="f", unit="price", warmup=3, has_infinite_memory=True)
def other(close: np.ndarray) -> np.ndarray:
    """Price."""
    return close


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            some.entries,
            r"| `some` w, w = 5, 20 | Share of w in `a_b`, a\_b. | w \* \[a \| b] / 2 | share | w - 1 | 2 w + 3 "
            "| -1 to inf | Anyone (1900). |",
        ),
        ([other], "| `other` | Price. |  | price | 3 | all |  |  |"),
    ],
)
def test_a_feature_is_a_line_and_so_is_a_grid(entries: list, line: str) -> None:  # type: ignore[type-arg]
    assert _line(entries, FeatureCatalog([*some.entries, other])) == line

"""The README's picture of the tear sheet shows the figures of today's demo: `make screenshots` renews it."""

import json

from quant_core.settings import CHECKOUT
from tests.golden.make_tables import GOLDEN

PICTURE = json.loads((CHECKOUT / "docs" / "images" / "tear_sheet.json").read_text())


def test_the_picture_shows_the_figures_of_the_golden_demo() -> None:
    golden = json.loads(GOLDEN.read_text())["tables"]["us_equities"]["backtest.metrics"]["valid"]
    assert PICTURE["backtest.metrics"] == golden, "the demo's figures moved; renew the pictures with `make screenshots`"

from __future__ import annotations

import numpy as np
import pytest

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features import catalogue
from quant_core.features.catalogue import Feature, feature, in_order
from quant_core.graph.catalog import Catalog

FIVE = {
    "trend": {"momentum", "momentum_12_1", "distance_to_mean"},
    "volatility": {"volatility", "volatility_20", "drawdown", "max_drawdown"},
    "predictability": {"efficiency", "autocorrelation"},
    "liquidity": {"zero_return_share", "amihud", "liquidity", "log_traded_value"},
    "tail": {"skew", "kurtosis", "cvar"},
}
add = feature(family="f", unit="none", warmup=0)


@add
def a(close: np.ndarray, b: np.ndarray, *, window: int = 3) -> np.ndarray:
    """First. And more
    about it.
    """
    return close + b + window


@add
def b(returns: np.ndarray) -> np.ndarray:
    """Wraps in the
    middle. Then goes on.
    """
    return returns


@add
def strange(clsoe: np.ndarray) -> np.ndarray:
    """Has a typo."""
    return clsoe


@add
def hen(egg: np.ndarray) -> np.ndarray:
    """Come first."""
    return egg


@add
def egg(hen: np.ndarray) -> np.ndarray:
    """Come first."""
    return hen


def among(*entries: Feature) -> Catalog[Feature]:
    return Catalog("feature", {entry.name: entry for entry in entries})


def test_the_catalogue_holds_the_features_of_every_family() -> None:
    for family, names in FIVE.items():
        assert names <= {entry.name for entry in catalogue().values() if entry.family == family}


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_feature_describes_itself(name: str) -> None:
    entry = catalogue()[name]
    assert 20 < len(entry.description) < 130
    assert entry.unit
    assert entry.column.description == f"{entry.description} Unit: {entry.unit}."
    assert entry.family in entry.function.__module__


def test_a_signature_is_read_once_as_inputs_and_parameters() -> None:
    assert (a.name, a.inputs, dict(a.parameters)) == ("a", ("close", "b"), {"window": 3})
    assert (a.description, b.description) == ("First.", "Wraps in the middle.")
    assert a(1, 2) == 6


def test_features_follow_their_inputs_and_come_once() -> None:
    assert [step.name for step in in_order(["a", "b", "a"], among(a, b))] == ["b", "a"]


def test_an_unknown_input_is_an_error_that_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"input of feature 'strange': 'clsoe'\. Did you mean close"):
        in_order(["strange"], among(strange))


def test_an_unknown_feature_is_an_error_that_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature 'momentun'\. Did you mean momentum"):
        in_order(["momentun"], catalogue())


def test_a_circle_is_an_error_that_shows_it() -> None:
    with pytest.raises(UsageError, match="circle: hen -> egg -> hen"):
        in_order(["hen"], among(hen, egg))


def without_input(*, window: int = 3) -> np.ndarray:
    """Nothing to read."""
    return np.zeros(window)


def without_default(close: np.ndarray, *, window: int) -> np.ndarray:
    """No default."""
    return close * window


def any_inputs(*panels: np.ndarray) -> np.ndarray:
    """Read what comes."""
    return panels[0]


def mute(close: np.ndarray) -> np.ndarray:
    return close


def returns(close: np.ndarray) -> np.ndarray:
    """Shadow an input."""
    return close


@pytest.mark.parametrize("function", [without_input, without_default, any_inputs, mute, returns])
def test_a_function_that_cannot_be_a_feature_is_refused(function: object) -> None:
    with pytest.raises(UsageError, match="feature"):
        add(function)  # type: ignore[arg-type] - that is the point

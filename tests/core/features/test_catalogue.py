from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from quant_core.errors import UnknownNameError, UsageError
from quant_core.features import catalogue
from quant_core.features.catalogue import feature, ingredient
from quant_core.features.step_order import inputs_of, memory_of, order_steps
from quant_core.features.steps import Feature, FeatureCatalog, Ingredient

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


def among(*entries: Feature, ingredients: Sequence[Ingredient] = ()) -> FeatureCatalog:
    return FeatureCatalog(entries, ingredients)


def test_the_catalogue_holds_the_features_of_every_family() -> None:
    for family, names in FIVE.items():
        assert names <= {entry.name for entry in catalogue().values() if entry.family == family}


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_feature_describes_itself(name: str) -> None:
    entry = catalogue()[name]
    assert 10 < len(entry.description) < 240
    assert entry.unit
    assert entry.column.description == f"{entry.description} Unit: {entry.unit}."
    assert entry.function.__module__.rpartition(".")[2].startswith(entry.family)
    assert "{window}" not in entry.doc


def test_a_signature_is_read_once_as_inputs_and_parameters() -> None:
    assert (a.name, a.inputs, dict(a.parameters)) == ("a", ("close", "b"), {"window": 3})
    assert (a.description, b.description) == ("First.", "Wraps in the middle.")
    assert a(1, 2) == 6


def test_features_follow_their_inputs_and_come_once() -> None:
    assert [step.name for step in order_steps(["a", "b", "a"], among(a, b))] == ["b", "a"]


def test_an_unknown_input_is_an_error_that_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"input of feature 'strange': 'clsoe'\. Did you mean close"):
        order_steps(["strange"], among(strange))


def test_an_unknown_feature_is_an_error_that_lists_the_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature 'momentun'\. Did you mean momentum"):
        order_steps(["momentun"], catalogue())


def test_a_circle_is_an_error_that_shows_it() -> None:
    with pytest.raises(UsageError, match="circle: hen -> egg -> hen"):
        order_steps(["hen"], among(hen, egg))


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


grid = {"family": "f", "unit": "none", "warmup": lambda window: window - 1, "windows": (5, 20)}


@feature(**grid, lower=-1.0, upper=lambda window: 2.0 * window)
def level(close: np.ndarray, *, window: int, scale: float = 1.0) -> np.ndarray:
    """Mean of the last {window} closes. It is
    a mean.

        level = sum(close, {window}) / {window}

    Source: Anyone (1900), page
    {window}.
    """
    return close * window * scale


@ingredient
def double(close: np.ndarray) -> np.ndarray:
    """Twice the close."""
    return close * 2.0


@ingredient(windows=(5, 20), memory=lambda window: window + 3)
def base(double: np.ndarray, *, window: int) -> np.ndarray:
    """Something of {window} bars."""
    return double * window


@feature(**grid)
def on_base(base: np.ndarray, level: np.ndarray, double: np.ndarray, *, window: int) -> np.ndarray:
    """Something of the same {window} bars."""
    return base + level + double


BASED = among(*level.entries, *on_base.entries, ingredients=[double, *base.entries])


def test_a_grid_makes_one_feature_per_window() -> None:
    five, twenty = level.entries
    assert (five.name, twenty.name, level.name) == ("level5", "level20", "level")
    assert (five.warmup, five.lower, five.upper, twenty.warmup, twenty.upper) == (4, -1.0, 10.0, 19, 40.0)
    assert dict(twenty.parameters) == {"window": 20, "scale": 1.0}
    assert (five(1.0), twenty(1.0, scale=2.0), level(1.0, window=3)) == (5.0, 40.0, 3.0)


def test_a_docstring_is_description_formula_and_source() -> None:
    entry = level.entries[1]
    assert entry.description == "Mean of the last 20 closes."
    assert entry.formula == "It is a mean.\n\nlevel = sum(close, 20) / 20"
    assert entry.source == "Anyone (1900), page 20."
    assert (b.formula, b.source) == ("Then goes on.", "")


def test_in_a_grid_the_name_of_a_grid_is_its_entry_of_that_window() -> None:
    assert inputs_of(BASED["on_base20"], BASED) == ("base20", "level20", "double")
    assert [step.name for step in order_steps(["on_base5"], BASED)] == ["double", "base5", "level5", "on_base5"]


def test_a_name_that_may_mean_two_things_is_an_error() -> None:
    @add
    def level(close: np.ndarray) -> np.ndarray:
        """Be a feature beside the grid of that name."""
        return close

    with pytest.raises(UsageError, match="'level' of 'on_base5' may also mean 'level5'"):
        order_steps(["on_base5"], among(level, *BASED.values(), ingredients=list(BASED.ingredients.values())))


def test_ingredients_are_inputs_and_no_columns() -> None:
    assert list(BASED) == ["level20", "level5", "on_base20", "on_base5"]
    assert not set(catalogue()) & set(catalogue().ingredients)
    with pytest.raises(UnknownNameError, match="unknown feature 'double'"):
        BASED["double"]


def test_memory_is_declared_or_what_parameters_and_warm_up_say() -> None:
    found = {name: memory_of(name, BASED) for name in ("close", "double", "base20", "level20", "on_base20")}
    assert found == {"close": 1, "double": 1, "base20": 23, "level20": 21, "on_base20": 43}

    @feature(family="f", unit="none", warmup=9, memory=3)
    def short(level5: np.ndarray) -> np.ndarray:
        """Declares less than its input reads."""
        return level5

    @feature(family="f", unit="none", warmup=9, has_infinite_memory=True)
    def endless(close: np.ndarray) -> np.ndarray:
        """Go on for ever."""
        return close

    @feature(family="f", unit="none", warmup=9, memory=3)
    def upon(endless: np.ndarray) -> np.ndarray:
        """Read what goes on for ever."""
        return endless

    @feature(family="f", unit="none", warmup=9)
    def literal(close: np.ndarray) -> np.ndarray:
        """Have no parameter to tell its window."""
        return close

    known = among(*level.entries, short, endless, upon, literal)
    assert [memory_of(name, known) for name in ("short", "endless", "upon", "literal")] == [6, None, None, 10]


@pytest.mark.parametrize(
    ("settings", "doc"),
    [
        ({}, "No window in sight."),
        ({"windows": ()}, "{window}."),
        ({"windows": (5, 5)}, "{window}."),
        ({"windows": (0, 5)}, "{window}."),
    ],
)
def test_a_grid_that_is_none_is_refused(settings: dict[str, object], doc: str) -> None:
    def made(close: np.ndarray, *, window: int) -> np.ndarray:
        return close * window

    made.__doc__ = doc
    with pytest.raises(UsageError, match="feature 'made'"):
        feature(**{**grid, **settings})(made)
    with pytest.raises(UsageError, match="keyword-only parameter `window`"):
        feature(**grid)(b.function)


def test_one_name_in_two_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "twice_named"
    package.mkdir()
    (package / "__init__.py").touch()
    text = """from quant_core.features.catalogue import feature, ingredient

{}
def {}(close, *, window=1):
    "Be {{window}}."
"""
    one = '@feature(family="one", unit="none", warmup=0, windows=(2,))'
    (package / "one.py").write_text(text.format(one, "twin"))
    (package / "two.py").write_text(text.format("@ingredient", "twin2"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    with pytest.raises(UsageError, match="of twice_named are named 'twin2'"):
        catalogue("twice_named")

import sys
import textwrap

import numpy as np
import pytest

from quant_core import features
from quant_core.alpha.catalogue import catalogue, factor
from quant_core.alpha.factors import Factors
from quant_core.errors import UnknownNameError, UsageError


def test_every_factor_reads_features_that_exist():
    known = features.catalogue()
    for entry in catalogue().values():
        for name in entry.inputs:
            assert name in known, f"{entry.name} reads {name}"


def test_every_factor_has_its_column_with_description_and_bounds():
    assert list(Factors.dtypes) == ["date", "symbol", *catalogue()]
    for entry in catalogue().values():
        column = Factors.schema.columns[entry.name]
        assert entry.description in column.description
        assert column.nullable
        assert {rule.name for rule in Factors.row_rules} >= {
            f"{entry.name}_negative",
            f"{entry.name}_too_high",
        }


def test_the_contract_tells_readers_what_a_short_does():
    told = {name: Factors.schema.columns[name].metadata for name in catalogue()}
    assert {"momentum", "momentum_12_1", "skew"} <= {name for name, facts in told.items() if facts["directional"]}
    assert {"cvar", "drawdown"} <= {name for name, facts in told.items() if facts["is_long_only"]}
    assert not any(facts["directional"] and facts["is_long_only"] for facts in told.values())


def test_a_new_factor_is_one_function_in_one_file(tmp_path, monkeypatch):
    package = tmp_path / "some_alpha"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "size.py").write_text(
        textwrap.dedent(
            '''
            from quant_core.alpha.catalogue import factor

            @factor(map="rank_desc", directional=False)
            def smallness(market_value, close):
                """Smaller is better. Not larger."""
                return market_value / close
            '''
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = catalogue("some_alpha")
    for name in ("some_alpha", "some_alpha.size"):
        monkeypatch.delitem(sys.modules, name)
    entry = found["smallness"]
    assert (entry.inputs, entry.map.name, entry.directional) == (("market_value", "close"), "rank_desc", False)
    assert entry.column().description == "Smaller is better. Probability across members, map rank_desc."
    np.testing.assert_array_equal(entry(np.array([6.0]), np.array([2.0])), [3.0])


def test_an_unknown_factor_or_map_is_an_error_with_the_near_matches():
    with pytest.raises(UnknownNameError, match="momentum"):
        catalogue()["momentun"]
    with pytest.raises(UnknownNameError, match="rank_desc"):
        factor(map="rank_dsc", directional=True)(lambda x: x)


def nothing():
    """Read nothing."""


def undocumented(volatility):
    return volatility


def documented(volatility):
    """Read volatility."""
    return volatility


@pytest.mark.parametrize(
    ("function", "settings", "said"),
    [
        (nothing, {"directional": False}, "feature as parameter"),
        (undocumented, {"directional": False}, "docstring"),
        (documented, {"directional": True, "is_long_only": True}, "not long only"),
        (documented, {"directional": True, "role": "tradability"}, "same for both sides"),
    ],
)
def test_a_factor_that_cannot_be_is_refused(function, settings, said):
    with pytest.raises(UsageError, match=said):
        factor(map="rank", **settings)(function)

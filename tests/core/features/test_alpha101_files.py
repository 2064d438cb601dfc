"""Each alpha is in the file whose card says what it reads."""

from __future__ import annotations

import inspect

import pytest

from quant_core.features import catalogue
from quant_core.features.steps import Feature

ALPHAS = [entry for entry in catalogue().values() if entry.family == "alpha101"]


def file_for(alpha: Feature) -> str:
    source = inspect.getsource(inspect.unwrap(alpha.function))
    is_correlated = "correlation(" in source or "covariance(" in source
    reads_value = any(name.startswith("adv") for name in alpha.inputs)
    reads_volume = reads_value or any("volume" in name for name in alpha.inputs)
    if not reads_volume:
        return "average_price" if any("vwap" in name for name in alpha.inputs) else "prices"
    if not is_correlated:
        return "volume"
    if not reads_value:
        return "volume_correlation"
    return "correlation_flags" if alpha.unit == "flag" else "value_correlation"


@pytest.mark.parametrize("alpha", ALPHAS, ids=lambda alpha: alpha.name)
def test_an_alpha_is_in_the_file_named_after_what_it_reads(alpha: Feature) -> None:
    assert alpha.function.__module__ == f"quant_core.features.alpha101_{file_for(alpha)}"

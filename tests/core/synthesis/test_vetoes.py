from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from quant_core.errors import UnknownNameError
from quant_core.features import catalogue, compute_features
from quant_core.synthesis.ladder import LadderParams
from quant_core.synthesis.vetoes import judge_candidates, vetoes


def candidates(**columns):
    size = len(next(iter(columns.values())))
    return pl.DataFrame(
        {
            "symbol": [f"X:S{j}" for j in range(size)],
            "is_eligible": [True] * size,
            "is_benchmark": [False] * size,
            **columns,
        }
    )


def judgement(frame, **params):
    policy = LadderParams(**params)
    return judge_candidates(
        frame,
        policy.strict_limits,
        policy.relaxed_limits,
        hardening_median=policy.hardening_median,
        hardening_step=policy.hardening_step,
    )


def strict(frame, **params):
    found = judgement(frame, **params)
    return found.names("vetoes", found.strict).to_list()


def relaxed(frame, **params):
    found = judgement(frame, **params)
    return found.names("vetoes", found.relaxed).to_list()


@pytest.mark.parametrize(
    ("name", "column", "passes", "passes_relaxed", "fails"),
    [
        ("entropy", "entropy_z", 1.0, 1.5, 1.51),
        ("efficiency", "efficiency", 0.2, 0.1, 0.09),
        ("hurst", "hurst_z", -0.25, 0.1, -0.09),
        ("zero_returns", "zero_return_share", 0.30, 0.30, 0.31),
        ("kurtosis", "kurtosis", 20.0, 20.0, 20.1),
        ("volatility", "volatility", 2.5, 2.5, 2.6),
        ("metadata", "missing_metadata", 0.0, 0.0, 1.0),
    ],
)
def test_each_veto_fires_beyond_its_limits_and_not_at_them(name, column, passes, passes_relaxed, fails):
    frame = candidates(**{column: [passes, passes_relaxed, fails]})
    no_hardening = {"hardening_step": 0.0}
    between = "" if passes == passes_relaxed else name
    assert strict(frame, **no_hardening) == ["", between, name]
    assert relaxed(frame, **no_hardening) == ["", "", name]


def test_an_unknown_statistic_does_not_veto_and_is_told():
    frame = candidates(efficiency=[None, 0.5], kurtosis=[None, 30.0], missing_metadata=[0, 0])
    found = judgement(frame)
    assert strict(frame) == ["", "kurtosis"]
    assert found.names("unknown", found.unknown).to_list() == [
        "efficiency,entropy,hurst,kurtosis,volatility,zero_returns",
        "entropy,hurst,volatility,zero_returns",
    ]


def test_the_benchmark_is_spared_the_hurst_band_only():
    frame = candidates(hurst_z=[0.0, 0.0], efficiency=[0.0, 0.0]).with_columns(is_benchmark=pl.Series([True, False]))
    assert strict(frame) == ["efficiency", "efficiency,hurst"]


@pytest.mark.parametrize(
    ("entropy", "is_hardened"), [([0.4, 0.5, 0.9, None], False), ([0.5, 0.51, 0.9], True), ([None, None, None], False)]
)
def test_hardening_lowers_both_entropy_limits_once_when_the_median_is_high(entropy, is_hardened):
    probes = [0.76, 1.26] if is_hardened else [1.01, 1.51]
    step = 0.25 if is_hardened else 0.0
    frame = candidates(entropy_z=pl.Series([*entropy, *probes], dtype=pl.Float64)).with_columns(
        is_eligible=pl.Series([True] * len(entropy) + [False] * 2)
    )
    assert strict(frame)[-2:] == ["entropy", "entropy"]
    assert relaxed(frame)[-2:] == ["", "entropy"]
    at_limit = frame.with_columns(entropy_z=pl.Series([*entropy, 1.0 - step, 1.5 - step], dtype=pl.Float64))
    assert strict(at_limit)[-2:] == ["", "entropy"]
    assert relaxed(at_limit)[-2:] == ["", ""]


def test_hardening_counts_each_symbol_once_and_only_the_eligible():
    frame = pl.DataFrame(
        {
            "symbol": ["X:A", "X:A", "X:A", "X:B", "X:C", "X:D"],
            "is_eligible": [True, True, True, True, True, False],
            "is_benchmark": [False] * 6,
            "entropy_z": [0.8, 0.8, 0.8, 0.1, 0.2, 2.0],
        }
    )
    assert strict(frame) == ["", "", "", "", "", "entropy"]


def test_every_limit_stands_in_the_params_and_one_can_be_set_alone():
    default = LadderParams()
    assert default.strict_limits == {name: veto.strict for name, veto in vetoes().items()}
    own = LadderParams(strict_limits={"kurtosis": 30.0, "entropy": 2.0})
    assert own.strict_limits == default.strict_limits | {"kurtosis": 30.0, "entropy": 2.0}
    assert own.relaxed_limits == default.relaxed_limits | {"kurtosis": 30.0, "entropy": 2.0}
    assert LadderParams.model_validate(own.model_dump()) == own


def test_a_relaxed_limit_stricter_than_the_strict_one_is_refused():
    with pytest.raises(ValueError, match="efficiency is stricter"):
        LadderParams(relaxed_limits={"efficiency": 0.3})


@pytest.mark.parametrize("table", ["strict_limits", "relaxed_limits"])
def test_an_unknown_veto_lists_the_near_matches(table):
    with pytest.raises(UnknownNameError, match="efficiency"):
        LadderParams(**{table: {"eficiency": 0.1}})


def test_a_cap_below_the_floor_is_refused():
    with pytest.raises(ValueError, match="cap=3 is below floor=4"):
        LadderParams(floor=4, cap=3)


def test_every_statistical_veto_reads_a_feature():
    columns = {veto.column for veto in vetoes().values() if veto.is_statistical}
    assert columns <= set(catalogue())
    assert {"entropy_z", "efficiency", "hurst_z"} <= columns


def test_half_to_two_thirds_of_iid_noise_pass_the_vetoes_of_predictability():
    rng = np.random.default_rng(3)
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(253)]
    tables = []
    for j in range(2_000):
        close = 100.0 * np.exp(np.cumsum(rng.standard_t(4, 253) * 0.02))
        tables.append(pl.DataFrame({"date": days, "symbol": [f"X:{j:04d}"] * 253, "close": close}))
    names = ["entropy_z", "efficiency", "hurst_z"]
    last = compute_features(pl.concat(tables), names, calendar="24/7").filter(pl.col("date") == days[-1])
    assert last.null_count().row(0) == (0,) * 5
    frame = last.with_columns(is_eligible=pl.lit(value=True), is_benchmark=pl.lit(value=False))
    assert 0.50 <= sum(name == "" for name in strict(frame)) / 2_000 <= 0.65
    assert 0.65 <= sum(name == "" for name in relaxed(frame)) / 2_000 <= 0.85


def test_on_iid_noise_efficiency_alone_passes_what_the_half_normal_says():
    noise = np.random.default_rng(1).normal(size=(120, 20_000))
    efficiency = np.abs(noise.sum(axis=0)) / np.sqrt(np.square(noise).sum(axis=0))
    passed = sum(name == "" for name in strict(candidates(efficiency=efficiency)))
    assert passed / 20_000 == pytest.approx(0.8415, abs=0.01)

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quant_core.alpha.evaluation import evaluation
from quant_core.market.contracts.alpha import Evaluation, InformationCoefficients
from quant_core.market.contracts.split import validate
from quant_core.statistics.hac import mean_test


def coefficients(rank_ic, factor="momentum", horizon=1):
    count = len(rank_ic)
    return pl.DataFrame(
        {
            "date": [date(2024, 1, 1) + timedelta(days=i) for i in range(count)],
            "factor": [factor] * count,
            "horizon": [horizon] * count,
            "ic": [None if x is None else x / 2 for x in rank_ic],
            "rank_ic": rank_ic,
            "pairs": [0 if x is None else 10 for x in rank_ic],
            "coverage": [0.5] * count,
            "turnover": [None, *[0.25] * (count - 1)],
        },
        schema=InformationCoefficients.dtypes,
    )


def only_row(frame):
    [row] = validate(frame, Evaluation).rows(named=True)
    return row


def test_the_figures_of_four_dates_worked_out_by_hand():
    row = only_row(evaluation(coefficients([0.1, None, 0.3, 0.1, 0.3])))
    assert row["dates"] == 4
    assert row["rank_ic"] == pytest.approx(0.2, rel=1e-14)
    assert row["ic"] == pytest.approx(0.1, rel=1e-14)
    assert row["rank_ic_std"] == pytest.approx(np.sqrt(0.04 / 3), rel=1e-13)
    assert row["icir"] == pytest.approx(0.2 / np.sqrt(0.04 / 3), rel=1e-13)
    assert (row["turnover"], row["coverage"]) == (0.25, 0.5)
    # one cosine, cos(pi/8), cos(3 pi/8), -cos(3 pi/8), -cos(pi/8), on -.1, .1, -.1, .1
    projection = np.sqrt(0.5) * 0.1 * 2 * (np.cos(3 * np.pi / 8) - np.cos(np.pi / 8))
    assert row["t_statistic"] == pytest.approx(0.2 / np.sqrt(projection**2 / 4), rel=1e-12)


def test_t_and_p_are_those_of_the_cosine_test_in_order_of_dates():
    rank_ic = np.clip(0.02 + 0.1 * np.cumsum(np.random.default_rng(1).standard_normal(300)) / 10, -1, 1)
    frame = coefficients(rank_ic.tolist())
    row = only_row(evaluation(frame.sample(fraction=1.0, shuffle=True, seed=4)))
    expected = mean_test(rank_ic)
    assert row["t_statistic"] == expected.t_statistic
    assert row["p_value"] == expected.p_value


def test_factors_and_horizons_are_kept_apart_and_sorted():
    frames = [
        coefficients([0.3, 0.2, 0.4, 0.1], "stability", 20),
        coefficients([-0.3, -0.2, 0.1, -0.4], "momentum", 20),
        coefficients([0.1, 0.0, 0.1, 0.2], "momentum", 1),
    ]
    found = validate(evaluation(pl.concat(frames)), Evaluation)
    assert found.select("factor", "horizon").rows() == [("momentum", 1), ("momentum", 20), ("stability", 20)]
    assert found["rank_ic"].to_list() == pytest.approx([0.1, -0.2, 0.25])
    alone = [evaluation(frame) for frame in reversed(frames)]
    assert_frame_equal(found, pl.concat(alone))


def test_a_factor_without_a_coefficient_keeps_its_row_without_figures():
    row = only_row(evaluation(coefficients([None, None, None])))
    assert row["dates"] == 0
    assert [row[name] for name in ("ic", "rank_ic", "rank_ic_std", "icir", "t_statistic", "p_value")] == [None] * 6
    assert row["coverage"] == 0.5


@pytest.mark.parametrize("rank_ic", [[0.2], [0.1] * 30])
def test_one_or_constant_coefficients_have_a_mean_and_no_significance(rank_ic):
    row = only_row(evaluation(coefficients(rank_ic)))
    assert row["rank_ic"] == pytest.approx(rank_ic[0])
    assert (row["t_statistic"], row["p_value"], row["icir"]) == (None, None, None)


def test_without_coefficients_there_is_nothing():
    found = evaluation(InformationCoefficients.empty())
    assert found.is_empty()
    validate(found, Evaluation)


def test_the_ledger_gets_the_mean_and_its_t_where_known():
    frames = [coefficients([0.3, 0.2, 0.4, 0.1], "momentum", 20), coefficients([None], "skew", 1)]
    told = evaluation.metrics(evaluation(pl.concat(frames)))
    assert set(told) == {"alpha.rank_ic.momentum.h20", "alpha.rank_ic_t.momentum.h20"}
    assert told["alpha.rank_ic.momentum.h20"] == pytest.approx(0.25)

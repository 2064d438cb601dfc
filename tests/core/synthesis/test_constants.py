import pytest

from quant_core.inference import log_mps
from quant_core.synthesis.clusters import ClusterParams, default_clusters
from quant_core.synthesis.ladder import LadderParams
from quant_core.synthesis.quotas import size_of

CONSTANTS = {
    "cluster lookbacks": (ClusterParams().lookbacks, (60, 120, 200)),
    "cluster overlap": (ClusterParams().min_overlap, 20),
    "cluster number": (ClusterParams().clusters, None),
    "fewest and most clusters": ([default_clusters(n) for n in (4, 10, 100, 10_000)], [4, 4, 12, 25]),
    "ladder keys": ((LadderParams().floor, LadderParams().cap), (None, None)),
    "floor and cap": (size_of(10_000), (15, 25)),
    "floor and cap of twenty": (size_of(20), (7, 10)),
    "top": (LadderParams().top, 3),
    "sector limit": (LadderParams().sector_limit, 0.40),
    "strict limits": (
        LadderParams().strict_limits,
        {
            "efficiency": 0.2,
            "entropy": 1.0,
            "hurst": 0.25,
            "kurtosis": 20.0,
            "metadata": 0.0,
            "volatility": 2.5,
            "zero_returns": 0.30,
        },
    ),
    "relaxed limits": (
        LadderParams().relaxed_limits,
        {
            "efficiency": 0.1,
            "entropy": 1.5,
            "hurst": 0.10,
            "kurtosis": 20.0,
            "metadata": 0.0,
            "volatility": 2.5,
            "zero_returns": 0.30,
        },
    ),
    "hardening": ((LadderParams().hardening_median, LadderParams().hardening_step), (0.5, 0.25)),
    "probability floor": (log_mps.PROBABILITY_FLOOR, 0.001),
    "missing penalty": (log_mps.MISSING_PENALTY, 0.5),
    "least coverage": (log_mps.MIN_COVERAGE, 0.5),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_default_is_the_number_decided(name):
    found, decided = CONSTANTS[name]
    assert found == decided

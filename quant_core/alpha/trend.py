"""Trend factors: they point somewhere, and a short wants the other end. How steadily is in quality.py."""

from __future__ import annotations

from quant_core.alpha.catalogue import factor
from quant_core.market.panel import Matrix


@factor(map="rank", directional=True)
def momentum(momentum: Matrix) -> Matrix:
    """Higher mean return is better.

    Source: Jegadeesh & Titman (1993), Journal of Finance 48(1).
    """
    return momentum


@factor(map="rank", directional=True)
def momentum_12_1(momentum_12_1: Matrix) -> Matrix:
    """Higher return over the last year but its last month is better.

    Source: Jegadeesh & Titman (1993), Journal of Finance 48(1), with the month skipped.
    """
    return momentum_12_1

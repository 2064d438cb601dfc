"""Tail factors, seen from the long side: what can go badly wrong.

A short's tail is the other end of the distribution, the same statistics on minus the returns. Skewness then changes its
sign and kurtosis stays; expected shortfall and drawdown would be other numbers, so those two are not known for a short.
"""

from __future__ import annotations

from quant_core.alpha.catalogue import factor
from quant_core.market.panel import Matrix


@factor(map="rank_desc", directional=True)
def skew(skew: Matrix) -> Matrix:
    """Lower skewness is better: lottery tickets are dear.

    Source: Amaya, Christoffersen, Jacobs & Vasquez (2015), Journal of Financial Economics 118(1).
    """
    return skew


@factor(map="rank_desc", directional=False)
def kurtosis(kurtosis: Matrix) -> Matrix:
    """Fewer extreme returns are better."""
    return kurtosis


@factor(map="rank", directional=False, is_long_only=True)
def cvar(cvar: Matrix) -> Matrix:
    """Milder losses in the worst bars are better.

    Source: Rockafellar & Uryasev (2000), Journal of Risk 2(3).
    """
    return cvar


@factor(map="rank", directional=False, is_long_only=True)
def drawdown(drawdown: Matrix) -> Matrix:
    """Less distance below the last peak is better."""
    return drawdown

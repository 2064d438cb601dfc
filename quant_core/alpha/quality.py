"""Quality factors: how calmly, steadily and cheaply a symbol trades. A short wants the same end as a long."""

from __future__ import annotations

from quant_core.alpha.catalogue import factor
from quant_core.market.panel import Matrix


@factor(map="rank_desc", directional=False)
def stability(volatility: Matrix) -> Matrix:
    """Lower volatility is better.

    Source: Ang, Hodrick, Xing & Zhang (2006), Journal of Finance 61(1).
    """
    return volatility


@factor(map="rank", directional=False)
def efficiency(efficiency: Matrix) -> Matrix:
    """More net move for the path travelled is better.

    Source: Kaufman (1995), Smarter Trading, efficiency ratio.
    """
    return efficiency


@factor(map="rank", directional=False)
def autocorrelation(autocorrelation: Matrix) -> Matrix:
    """More persistence from bar to bar is better."""
    return autocorrelation


@factor(map="rank", directional=False)
def liquidity(liquidity: Matrix) -> Matrix:
    """More traded value is better."""
    return liquidity


@factor(map="rank_desc", directional=False)
def amihud(amihud: Matrix) -> Matrix:
    """Less price impact per traded value is better.

    Source: Amihud (2002), Journal of Financial Markets 5(1); the sign is that of tradability, not of his premium.
    """
    return amihud


@factor(map="rank_desc", directional=False)
def zero_return_share(zero_return_share: Matrix) -> Matrix:
    """Fewer bars without a price change are better.

    Source: Lesmond, Ogden & Trzcinka (1999), Review of Financial Studies 12(5).
    """
    return zero_return_share

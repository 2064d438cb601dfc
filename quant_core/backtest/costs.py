"""Costs of trading and holding, and assumptions on holdings that die. kernels/accounting.py charges them.

Market impact is not modelled: weights reach the simulator without traded volume. The tear sheet states it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from quant_core.graph.stage import Params
from quant_core.market.calendar import Calendar

DAYS_PER_YEAR = 365.25
_BASIS_POINT = 1e-4
_FUNDINGS_PER_DAY = 3


class Costs(BaseModel):
    """Costs one way on traded notional, of holding a short, and of holding a perpetual. `Costs()` is free.

    A perpetual pays no borrow fee: longs pay funding, shorts receive none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slippage_bps: float = Field(default=0.0, ge=0.0, description="Distance from the close to the fill, basis points.")
    fee_bps: float = Field(default=0.0, ge=0.0, description="Commission, basis points of traded notional.")
    borrow_per_year: float = Field(default=0.0, ge=0.0, description="Fee on short exposure, fraction a year.")
    funding_per_8h: float = Field(default=0.0, ge=0.0, description="Paid by longs of perpetuals, fraction per 8 hours.")

    @property
    def rate(self) -> float:
        """Cost of trading one unit of notional, as a fraction."""
        return (self.slippage_bps + self.fee_bps) * _BASIS_POINT

    @property
    def funding_per_year(self) -> float:
        """Funding of a long perpetual, as a fraction of its exposure a year: three times a day."""
        return self.funding_per_8h * _FUNDINGS_PER_DAY * DAYS_PER_YEAR


class CostParams(Params):
    """Costs that a sleeve may set; the others come from its calendar."""

    slippage_bps: float | None = Field(
        default=None, ge=0.0, description="Slippage one way, basis points. Default: 5 for sessions, 10 round the clock."
    )
    fee_bps: float | None = Field(
        default=None, ge=0.0, description="Fee one way, basis points. Default: 1 for sessions, 4 round the clock."
    )
    borrow_per_year: float = Field(default=0.02, ge=0.0, description="Fee on short exposure, by calendar days.")
    funding_per_8h: float = Field(
        default=0.0001, ge=0.0, description="Paid by longs of perpetuals (tickers ending in .P), by calendar time."
    )
    delisting_return: float | None = Field(
        default=None,
        ge=-1.0,
        description="Return on the last close of a dead holding. Default: -0.30 for sessions, 0 round the clock.",
    )

    def costs(self, calendar: Calendar) -> Costs:
        """Return the costs on that calendar."""
        slippage, fee = (10.0, 4.0) if calendar.is_always_open else (5.0, 1.0)
        return Costs(
            slippage_bps=slippage if self.slippage_bps is None else self.slippage_bps,
            fee_bps=fee if self.fee_bps is None else self.fee_bps,
            borrow_per_year=self.borrow_per_year,
            funding_per_8h=self.funding_per_8h,
        )

    def exit_return(self, calendar: Calendar) -> float:
        """Return the return of a dead holding on its last close, on that calendar."""
        if self.delisting_return is not None:
            return self.delisting_return
        return 0.0 if calendar.is_always_open else -0.30

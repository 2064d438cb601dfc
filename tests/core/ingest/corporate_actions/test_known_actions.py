import pytest

from quant_core.errors import ConfigError
from quant_core.ingest.corporate_actions.known_actions import demand_factors
from quant_core.market.contracts.ingest import Actions
from quant_core.market.sleeves import Sleeve


def test_a_sleeve_of_raw_prices_needs_a_source_that_tells_of_splits() -> None:
    mine = Sleeve(name="mine", calendar="XNYS", adjustment="raw")
    with pytest.raises(ConfigError, match=r"\[source\] factors"):
        demand_factors(mine, None)
    demand_factors(mine, Actions.empty())
    demand_factors(mine.model_copy(update={"adjustment": "total"}), None)

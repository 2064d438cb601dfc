import numpy as np
import pytest

from quant_core.market.arrays import run_starts


@pytest.mark.parametrize(
    ("columns", "starts"),
    [
        (([],), []),
        (([3],), [True]),
        (([1, 1, 2, 2, 1],), [True, False, True, False, True]),
        (([1, 1, 1, 2], [5, 5, 6, 6]), [True, False, True, True]),
        (([1.0, np.nan, np.nan],), [True, True, True]),
    ],
)
def test_a_run_starts_where_any_column_differs_from_the_row_before(columns, starts):
    assert run_starts(*(np.asarray(column) for column in columns)).tolist() == starts

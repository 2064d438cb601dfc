import pytest

from quant_core.errors import UnknownNameError
from quant_core.report.headline import HeadlineParams, headline_of


@pytest.mark.parametrize(
    ("params", "present", "name"),
    [
        (HeadlineParams(headline="hrp", methods=("equal_weight", "hrp")), ["equal_weight", "hrp"], "hrp"),
        (HeadlineParams(methods=("hrp", "equal_weight")), ["equal_weight", "hrp"], "hrp"),
        (HeadlineParams(), ["hrp", "equal_weight"], "equal_weight"),
        (HeadlineParams(headline="hrp", methods=("hrp", "equal_weight")), ["equal_weight"], "hrp"),
        (HeadlineParams(headline="hrp"), [], "hrp"),
        (HeadlineParams(), [], ""),
    ],
)
def test_the_headline_is_what_was_asked_for_else_the_first_method(params, present, name):
    assert headline_of(params, present) == name


def test_an_unknown_headline_is_an_error_with_the_near_matches():
    with pytest.raises(UnknownNameError, match="Did you mean hrp"):
        headline_of(HeadlineParams(headline="hpr"), ["hrp", "equal_weight"])


@pytest.mark.parametrize("field", ["headline", "methods"])
def test_the_headline_is_decided_by_allocation(field):
    extra = HeadlineParams.model_fields[field].json_schema_extra
    assert extra == {"from": f"allocation.weights.{field}"}

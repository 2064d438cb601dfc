import pytest

from quant_core.report.figures import FIGURES, figure, format_figure, order_metrics


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0981, "percent", "9.8\N{NO-BREAK SPACE}%"),
        (-0.0981, "percent", "\N{MINUS SIGN}9.8\N{NO-BREAK SPACE}%"),
        (-0.0001, "percent", "0.0\N{NO-BREAK SPACE}%"),
        (12.3456, "percent", "1,234.6\N{NO-BREAK SPACE}%"),
        (0.714, "ratio", "0.71"),
        (1234.0, "count", "1,234"),
        (0.0, "yes_no", "no"),
        (1.0, "yes_no", "yes"),
        (None, "ratio", "\N{EN DASH}"),
    ],
)
def test_a_number_is_written_for_people(value, unit, text):
    assert format_figure(value, unit) == text


def test_a_metric_nobody_described_is_shown_under_its_own_name():
    assert figure("new_thing").label == "New thing"
    assert order_metrics(["zeta", "sharpe", "annual_return", "alpha"]) == ["annual_return", "sharpe", "alpha", "zeta"]


def test_every_figure_is_explained():
    assert all(entry.label and entry.gloss.endswith(".") for entry in FIGURES.values())

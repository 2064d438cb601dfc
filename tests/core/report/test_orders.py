import json
from datetime import UTC, date, datetime

import polars as pl
import pytest

from quant_core.errors import SourceError, UnknownNameError
from quant_core.market.contracts import ingest
from quant_core.market.contracts import portfolio as contracts
from quant_core.market.contracts.split import validate
from quant_core.report.orders import OrdersParams, orders
from tests.builders import intervals

START, FRIDAY, MONDAY = date(2019, 1, 1), date(2020, 2, 28), date(2020, 3, 2)


def bars(*rows):
    known = datetime(2020, 3, 2, 21, tzinfo=UTC)
    made = [(day, s, None, None, None, close, None, known, 0, jump, 1.0, "") for day, s, close, jump in rows]
    return pl.DataFrame(made, schema=ingest.Bars.dtypes, orient="row")


BARS = bars(
    (FRIDAY, "US:A", 9.0, False),
    (MONDAY, "US:A", 10.0, False),
    (FRIDAY, "US:B", 20.0, False),
    (MONDAY, "US:B", 25.0, False),
    (FRIDAY, "US:C", 4.0, False),
)


def held_portfolio(*rows):
    made = [
        (method, s, f"{s}_{logic}_{side}", side, FRIDAY, weight, 0.5, 1, "selected_strict")
        for method, s, logic, side, weight in rows
    ]
    return pl.DataFrame(made, schema=contracts.TodaysPortfolio.dtypes, orient="row")


HALVES = held_portfolio(
    ("hrp", "US:A", "trend", "LONG", 0.5), ("hrp", "US:B", "trend", "LONG", 0.3), ("ew", "US:C", "trend", "LONG", 1.0)
)


def universe(**states):
    made = [(f"US:{name}", START, None, reason == "member", reason) for name, reason in states.items()]
    return intervals(made)


MEMBERS = universe(A="member", B="member", C="member")


def parted(portfolio=HALVES, market=BARS, members=MEMBERS, **params):
    found = orders(portfolio, market, members, params=OrdersParams(**{"headline": "hrp", "cash": 1000.0} | params))
    validate(found.valid, contracts.Orders)
    return found


def ordered(*args, **params):
    return parted(*args, **params).valid


@pytest.fixture
def holdings(tmp_path):
    def write(text):
        path = tmp_path / "holdings.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_cash_buys_the_headline_at_the_last_closes():
    assert ordered().rows() == [
        ("US:A", "BUY", 50.0, 10.0, 500.0, 0.0, 50.0, MONDAY),
        ("US:B", "BUY", 12.0, 25.0, 300.0, 0.0, 12.0, MONDAY),
    ]


def test_the_order_of_rows_changes_nothing():
    assert ordered(HALVES.reverse(), BARS.reverse()).equals(ordered())


def test_holdings_are_moved_to_the_target_and_strangers_are_sold(holdings):
    path = holdings("symbol,quantity\nUS:A,80\nUS:C,25\nCASH,100\n")  # worth 800 + 100 + 100 = 1000
    assert ordered(holdings=path).rows() == [
        ("US:A", "SELL", 30.0, 10.0, 300.0, 80.0, 50.0, MONDAY),
        ("US:B", "BUY", 12.0, 25.0, 300.0, 0.0, 12.0, MONDAY),
        ("US:C", "SELL", 25.0, 4.0, 100.0, 25.0, 0.0, FRIDAY),
    ]


def test_a_short_holding_is_bought_back(holdings):
    path = holdings("symbol,quantity\nUS:C,-50\nCASH,1200\n")  # worth 1200 - 200 = 1000
    assert ordered(holdings=path).filter(pl.col("symbol") == "US:C").rows() == [
        ("US:C", "BUY", 50.0, 4.0, 200.0, -50.0, 0.0, FRIDAY)
    ]


def test_holdings_without_a_cash_row_hold_no_cash(holdings):
    found = ordered(holdings=holdings("symbol,quantity\nUS:A,100\n"), cash=5.0)
    assert found["target"].to_list() == [50.0, 12.0]


def test_holdings_at_the_target_need_no_order(holdings):
    path = holdings("symbol,quantity\nUS:A,50\nUS:B,12\nCASH,200\n")
    assert ordered(holdings=path, min_notional=0.0).is_empty()


def test_a_short_atom_is_sold_and_atoms_of_one_symbol_are_netted():
    portfolio = held_portfolio(
        ("hrp", "US:A", "trend", "SHORT", 0.5),
        ("hrp", "US:A", "mean", "LONG", 0.2),
        ("hrp", "US:B", "trend", "LONG", 0.5),
    )
    assert ordered(portfolio)["side"].to_list() == ["SELL", "BUY"]
    assert ordered(portfolio)["target"].to_list() == pytest.approx([-30.0, 20.0])


def test_an_empty_portfolio_sells_everything(holdings):
    found = ordered(HALVES.clear(), holdings=holdings("symbol,quantity\nUS:A,3\n"))
    assert found.select("symbol", "side", "quantity").rows() == [("US:A", "SELL", 3.0)]


def test_an_empty_portfolio_and_cash_need_no_order():
    assert ordered(HALVES.clear()).is_empty()


def test_a_headline_that_holds_nothing_today_sells_everything(holdings):
    others = HALVES.filter(pl.col("method") == "ew")
    found = ordered(others, methods=("hrp", "ew"), holdings=holdings("symbol,quantity\nUS:A,3\n"))
    assert found.select("symbol", "side").rows() == [("US:A", "SELL")]


@pytest.mark.parametrize(("lot", "target"), [(0.0, 12.0), (5.0, 10.0), (1.0, 12.0), (0.1, 12.0), (100.0, None)])
def test_targets_are_rounded_towards_zero_to_the_lot(lot, target):
    rows = ordered(lot=lot).filter(pl.col("symbol") == "US:B")["target"].to_list()
    assert rows == ([] if target is None else pytest.approx([target]))


def test_a_short_target_is_rounded_towards_zero():
    portfolio = held_portfolio(("hrp", "US:A", "trend", "SHORT", 0.55))
    assert ordered(portfolio, lot=10.0)["target"].to_list() == [-50.0]


def test_what_is_bought_never_exceeds_cash_when_lots_round():
    found = ordered(held_portfolio(("hrp", "US:A", "t", "LONG", 0.5), ("hrp", "US:B", "t", "LONG", 0.5)), lot=7.0)
    assert found["notional"].sum() <= 1000.0


def test_orders_below_the_smallest_notional_are_left_out():
    assert ordered(min_notional=301.0)["symbol"].to_list() == ["US:A"]


def test_a_provisional_close_sizes_no_order():
    jump = pl.concat([BARS, bars((date(2020, 3, 3), "US:A", 1000.0, True))])
    assert ordered(market=jump).equals(ordered())


def judged(found):
    return found.exclusions.select("rule", "date", "symbol", "detail").rows()


@pytest.mark.parametrize("reason", ["halted", "dead", "on_trial", "short_history"])
def test_what_is_not_eligible_at_the_last_date_is_not_bought_and_told(reason):
    found = parted(members=universe(A="member", B=reason, C="member"))
    assert found.valid["symbol"].to_list() == ["US:A"]
    assert judged(found) == [("not_eligible", MONDAY, "US:B", f"{reason} since 2019-01-01")]
    told = json.loads(found.exclusions["record"][0])
    assert (told["wanted"], told["held"], told["price"], told["priced_on"]) == (12.0, 0.0, 25.0, "2020-03-02")


def test_what_the_universe_does_not_know_is_not_bought():
    found = parted(members=universe(A="member"))
    assert found.valid["symbol"].to_list() == ["US:A"]
    assert judged(found) == [("not_eligible", MONDAY, "US:B", "not in the universe")]


def test_eligibility_is_that_of_the_last_date_of_bars():
    made = [
        ("US:A", START, FRIDAY, True, "member"),
        ("US:A", MONDAY, None, False, "halted"),
        ("US:B", START, FRIDAY, False, "on_trial"),
        ("US:B", MONDAY, None, True, "member"),
    ]
    members = intervals(made)
    found = parted(members=members)
    assert found.valid["symbol"].to_list() == ["US:B"]
    assert judged(found) == [("not_eligible", MONDAY, "US:A", "halted since 2020-03-02")]


def test_the_target_of_what_cannot_be_bought_is_what_is_held(holdings):
    path = holdings("symbol,quantity\nUS:A,20\nUS:B,5\nCASH,675\n")  # worth 200 + 125 + 675 = 1000
    found = parted(holdings=path, members=universe(A="halted", B="member", C="member"))
    assert found.valid.select("symbol", "target").rows() == [("US:B", 12.0)]
    told = json.loads(found.exclusions["record"][0])
    assert (told["wanted"], told["held"]) == (50.0, 20.0)


def test_the_dead_and_the_halted_are_still_sold_at_their_last_close(holdings):
    path = holdings("symbol,quantity\nUS:A,80\nUS:C,25\nCASH,100\n")
    found = parted(holdings=path, members=universe(A="halted", B="member", C="dead"))
    assert found.valid.filter(pl.col("side") == "SELL").select("symbol", "quantity", "target", "priced_on").rows() == [
        ("US:A", 30.0, 50.0, MONDAY),
        ("US:C", 25.0, 0.0, FRIDAY),
    ]
    assert found.exclusions.is_empty()


def test_a_short_that_is_not_eligible_can_be_closed_but_not_opened(holdings):
    path = holdings("symbol,quantity\nUS:A,20\nUS:C,-50\nCASH,1000\n")  # worth 200 - 200 + 1000 = 1000
    short = held_portfolio(("hrp", "US:A", "trend", "SHORT", 0.5), ("hrp", "US:C", "trend", "LONG", 0.2))
    found = parted(short, holdings=path, members=universe(A="halted", C="halted"))
    assert found.valid.select("symbol", "side", "quantity", "target").rows() == [
        ("US:A", "SELL", 20.0, 0.0),
        ("US:C", "BUY", 50.0, 0.0),
    ]
    assert [json.loads(record)["wanted"] for record in found.exclusions["record"]] == [-50.0, 50.0]


def test_an_unfilled_target_below_the_smallest_notional_is_not_told():
    assert parted(members=universe(A="member", B="dead"), min_notional=301.0).exclusions.is_empty()


def test_an_unknown_headline_is_an_error_with_the_near_matches():
    with pytest.raises(UnknownNameError, match="Did you mean hrp"):
        ordered(headline="hpr")


def test_a_target_without_bars_is_an_error():
    with pytest.raises(SourceError, match="US:B"):
        ordered(market=BARS.filter(pl.col("symbol") != "US:B"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,units\nUS:A,1\n", "lacks the column 'quantity'; found symbol, units"),
        ("ticker,quantity\nUS:A,1\n", "lacks the column 'symbol'"),
        ("symbol,quantity\nUS:A,ten\n", "quantity of 'US:A' is 'ten'"),
        ('symbol,quantity\nUS:A,"1,5"\n', "quantity of 'US:A' is '1,5'"),
        ("symbol,quantity\nUS:A,\n", "quantity of 'US:A' is None"),
        ("symbol,quantity\nUS:A,nan\n", "not a finite number"),
        ("symbol,quantity\nUS:A,inf\n", "not a finite number"),
        ("symbol,quantity\nUS:AA,1\n", "'US:AA' has no bars and cannot be priced. Did you mean US:A"),
        ("symbol,quantity\nLSE:ZZZZ,1\nLSE:YYYY,1\n", r"'LSE:YYYY' \(and 1 more\) has no bars"),
        ("symbol,quantity\n,1\n", "'' has no bars"),
        ("symbol,quantity\nUS:A,1\nUS:A,2\n", "'US:A' is listed 2 times"),
        ("symbol,quantity\nUS:A,-100\n", r"worth -1,000\.00"),
        ("symbol,quantity\n", r"worth 0\.00"),
        ("", "is not a CSV file"),
        ("symbol,quantity\nUS:A,1,2,3\n", "is not a CSV file"),
        (b"symbol,quantity\n\xff\xfe,1\n", "is not a CSV file"),
    ],
)
def test_bad_holdings_are_an_error_that_says_what_is_wrong(holdings, text, said):
    with pytest.raises(SourceError, match=said):
        ordered(holdings=holdings(text))


def test_missing_holdings_are_an_error(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        ordered(holdings=str(tmp_path / "none.csv"))


def test_a_folder_for_holdings_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="holdings"):
        ordered(holdings=str(tmp_path))


def test_other_columns_spaces_and_a_byte_order_mark_do_no_harm(holdings):
    path = holdings(b"\xef\xbb\xbfsymbol,name,quantity\n US:A ,Alpha, 100 \n")
    assert ordered(holdings=path)["held"].to_list() == [100.0, 0.0]

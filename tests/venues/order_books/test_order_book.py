"""Order books of several venues become one quote table: best after fees, depth, disagreements, every row told."""

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.weights import weights_from
from jaxcal.venues.deribit_stream.market import DeribitMarket

TIME = pd.Timestamp("2025-06-14T21:58:19Z")


def book(name="BTC-27JUN25-100000-C", bids=((0.050, 1.0), (0.049, 5.0)), asks=((0.052, 3.0), (0.0535, 2.0)), **columns):
    rows = [
        {"instrument_name": name, "side": side, "level": i, "price": price, "amount": amount}
        for side, levels in (("bid", bids), ("ask", asks))
        for i, (price, amount) in enumerate(levels)
    ]
    return pd.DataFrame(rows).assign(quote_time=TIME, **columns)


def one(levels, **settings):
    merged = jc.merge_books(levels, **settings)
    assert len(merged.quotes) == 1
    return merged.quotes.iloc[0]


def reasons(levels):
    merged = jc.merge_books(levels)
    return {row: fault for row, fault in enumerate(merged.levels["fault"]) if fault}


def two_venues(**columns):
    second = book(bids=((0.0505, 4.0),), asks=((0.0525, 1.0), (0.053, 9.0)), venue="B", **columns)
    return pd.concat([book(venue="A", **columns), second], ignore_index=True)


def test_best_of_one_venue():
    quote = one(book())
    assert (quote["bid"], quote["ask"], quote["bid_size"], quote["ask_size"]) == (0.050, 0.052, 1.0, 3.0)
    assert quote["micro_price"] == pytest.approx((0.050 * 3.0 + 0.052 * 1.0) / 4.0)
    assert quote["currency_of_price"] == "coin"
    assert (quote["underlying"], quote["strike"], quote["option_type"]) == ("BTC", 100000.0, "C")


def test_best_across_venues_and_their_sizes():
    quote = one(two_venues())
    assert (quote["bid"], quote["ask"], quote["bid_venue"], quote["ask_venue"]) == (0.0505, 0.052, "B", "A")
    same = pd.concat([book(venue="A"), book(venue="B")], ignore_index=True)
    assert one(same)["bid_size"] == 2.0
    assert one(same)["num_venues"] == 2


def test_fees_decide_which_venue_is_best():
    # B's bid is 0.0005 better, and its fee takes 0.0006 of it.
    quote = one(two_venues(), fees={"B": jc.TakerFee(0.0006)})
    assert (quote["bid"], quote["bid_venue"], quote["bid_gross"]) == (0.050, "A", 0.050)
    both = one(two_venues(), fees=jc.TakerFee.deribit())
    assert both["bid"] == pytest.approx(0.0505 - 0.0003)
    assert both["ask"] == pytest.approx(0.052 + 0.0003)


def test_the_cap_of_a_fee_in_the_coin_and_in_dollars():
    cheap = one(book(bids=((0.0008, 1.0),), asks=((0.0010, 1.0),)), fees=jc.TakerFee.deribit())
    assert cheap["bid"] == pytest.approx(0.0008 * 0.875)
    assert cheap["ask"] == pytest.approx(0.0010 * 1.125)
    linear = book("BTC_USDC-27JUN25-100000-C", bids=((5000.0, 1.0),), asks=((5100.0, 1.0),), index_price=105000.0)
    quote = one(linear, fees=jc.TakerFee.deribit())
    assert quote["bid"] == pytest.approx(5000.0 - 31.5)
    assert quote["underlying"] == "BTC_USDC"
    with pytest.raises(jc.QuoteError, match=r"fee of venue .* row 0: add a column forward, index_price or spot"):
        jc.merge_books(linear.drop(columns="index_price"), fees=jc.TakerFee.deribit())


@pytest.mark.parametrize("settings", [(-0.1, 0.1), (0.1, 1.0), (np.nan, 0.1)])
def test_absurd_fees_are_refused(settings):
    with pytest.raises(ValueError, match="of a fee is"):
        jc.TakerFee(*settings)


def test_depth_counts_what_is_near_the_mid():
    # mid 0.051; within 3 % are 0.0495 to 0.0525
    quote = one(book(), within=0.03)
    assert (quote["bid_depth"], quote["ask_depth"]) == (1.0, 3.0)
    quote = one(book(), within=0.06)
    assert (quote["bid_depth"], quote["ask_depth"]) == (6.0, 5.0)
    with pytest.raises(ValueError, match="within is 0"):
        jc.merge_books(book(), within=0.0)


def test_depth_weight_is_never_zero():
    empty = book("BTC-27JUN25-110000-C", bids=((0.01, 1e6),), asks=((0.02, 1.0),))  # nothing near the mid
    one_sided = book("BTC-27JUN25-120000-C", asks=((0.01, 4.0),), bids=())
    quotes = jc.merge_books(pd.concat([book(), empty, one_sided], ignore_index=True)).quotes
    assert quotes["depth_weight"].between(0.1, 10.0).all()
    assert quotes["depth_weight"][1] == 0.1
    assert np.isnan(quotes["bid"][2])
    assert jc.merge_books(empty).quotes["depth_weight"].tolist() == [1.0]


def test_venues_that_cross_are_reported_in_price():
    high = book(bids=((0.0535, 4.0),), asks=((0.0545, 1.0),), venue="B")
    merged = jc.merge_books(pd.concat([book(venue="A"), high], ignore_index=True), fees=jc.TakerFee.deribit())
    found = merged.disagreements.iloc[0]
    assert (found["bid_venue"], found["ask_venue"]) == ("B", "A")
    assert found["crossed_by"] == pytest.approx(0.0535 - 0.052)
    assert found["crossed_net_by"] == pytest.approx(0.0535 - 0.052 - 0.0006)
    assert found["mids_apart"] == pytest.approx(0.054 - 0.051)
    assert merged.summary().endswith("1 of several venues, 1 of them in disagreement, 1 crossed")
    # and the quote itself is not used, with a reason
    report = jc.inspect_quotes(merged.quotes.assign(forward=105000.0))
    assert report.counts().to_dict() == {"crossed": 1}


def test_mids_that_are_apart_are_reported_and_agreement_is_not():
    assert not len(jc.merge_books(two_venues()).disagreements)
    wide = book(bids=((0.0440, 4.0),), asks=((0.0525, 1.0),), venue="B")
    found = jc.merge_books(pd.concat([book(venue="A"), wide], ignore_index=True)).disagreements.iloc[0]
    assert found["crossed_by"] == 0.0
    assert found["mids_apart"] == pytest.approx(0.051 - 0.04825)
    assert found["narrowest_spread"] == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("amount", -1.0, "row 1: amount -1 must be positive"),
        ("amount", 0.0, "row 1: amount 0 must be positive"),
        ("amount", np.inf, "row 1: amount inf is not finite"),
        ("amount", "many", "row 1: amount 'many' is not a number"),
        ("amount", True, "row 1: amount 'True' is not a number"),
        ("amount", None, "row 1: amount is missing"),
        ("price", np.nan, "row 1: price is missing"),
        ("price", -0.05, "row 1: price -0.05 must be positive"),
        ("side", "both", "row 1: side 'both' is neither bid nor ask"),
        ("level", -1, "row 1: level -1.0 must not be negative"),
        ("level", 0, "row 1: the level of row 0 once more, which is kept"),
        ("price", 0.050, "row 1: the price of row 0 once more, which is kept"),
        ("price", 0.051, "row 1: price 0.051 at level 1 is out of order"),
        ("price", 0.060, "row 1: price 0.06 at level 1 is out of order"),
        ("instrument_name", "BTC-27JUN25", "row 1: instrument 'BTC-27JUN25' is a future, no option"),
        ("instrument_name", "nonsense", "row 1: instrument 'nonsense' is no name"),
        ("quote_time", "soon", "row 1: quote_time 'soon' is not an ISO 8601 time"),
    ],
)
def test_a_bad_row_is_named_and_nothing_else_is_lost(column, value, sentence):
    good = book()
    bad = good.astype({column: object})
    bad.loc[1, column] = value
    merged = jc.merge_books(bad)
    faults = {row: fault for row, fault in enumerate(merged.levels["fault"]) if fault}
    assert list(faults) == [1]
    assert faults[1].startswith(sentence)
    assert merged.quotes[["bid", "ask", "bid_size", "ask_size"]].iloc[0].tolist() == [0.050, 0.052, 1.0, 3.0]


def test_the_fewest_levels_out_of_order_are_left_out():
    bids = ((0.0501, 1.0), (0.050, 1.0), (0.0502, 1.0), (0.048, 1.0), (0.047, 1.0))
    assert list(reasons(book(bids=bids))) == [2]
    typo = ((0.0005, 1.0), (0.050, 1.0), (0.049, 1.0), (0.048, 1.0))  # the first of them is the wrong one
    assert list(reasons(book(bids=typo))) == [0]
    unnumbered = book(bids=bids).drop(columns="level")
    assert reasons(unnumbered) == {}
    assert one(unnumbered)["bid"] == 0.0502


def test_a_book_crossed_in_itself_loses_its_wrong_side():
    typo = reasons(book(bids=((0.50, 1.0), (0.050, 1.0))))  # ten times too high
    assert typo == {0: "row 0: price 0.5 crosses the other side of its own book"}
    tie = reasons(book(bids=((0.0521, 1.0), (0.050, 1.0))))  # nobody knows which is wrong
    assert list(tie) == [0, 2]


def test_currencies_are_not_mixed():
    levels = pd.concat([book(), book(venue="B", bids=((5000.0, 1.0),), asks=())], ignore_index=True)
    levels["currency_of_price"] = ["coin"] * 4 + ["quote"]
    merged = jc.merge_books(levels.assign(venue=levels["venue"].fillna("A")))
    assert merged.levels["fault"][4] == "row 4: its price is in the quote, those of its contract in the coin"
    assert merged.quotes["bid"].tolist() == [0.050]


def test_venues_that_name_a_contract_by_columns():
    names = {"instrument_name": None, "expiry": "2025-06-27T08:00:00Z", "strike": 100000.0, "option_type": "call"}
    own = book(venue="B", bids=((0.0505, 2.0),), underlying="BTC", currency_of_price="coin").assign(**names)
    merged = jc.merge_books(pd.concat([book(venue="A"), own], ignore_index=True))
    assert merged.quotes["bid"].tolist() == [0.0505]
    assert merged.quotes["num_venues"].tolist() == [2]


def test_of_two_books_in_one_poll_the_later_counts():
    late = book(bids=((0.040, 7.0),)).assign(quote_time=TIME + pd.Timedelta(seconds=30))
    merged = jc.merge_books(pd.concat([book(), late], ignore_index=True))
    assert merged.quotes["bid"].tolist() == [0.040]
    assert merged.quotes["quote_time"].tolist() == [TIME]
    assert merged.levels["fault"].ne("").tolist() == [True] * 4 + [False] * 3


def test_the_order_of_the_rows_does_not_matter():
    levels = pd.concat([two_venues(), book("BTC-27JUN25-110000-P", venue="A")], ignore_index=True)
    expected = jc.merge_books(levels).quotes
    shuffled = jc.merge_books(levels.sample(frac=1.0, random_state=3)).quotes
    pd.testing.assert_frame_equal(shuffled, expected)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pd.DataFrame(), "no rows"),
        (book().drop(columns="side"), "need the column side"),
        (book().drop(columns="instrument_name"), "levels need instrument_name, or expiry, strike and option_type"),
        (book().assign(amount=-1.0), "no level of the order books can be used; the first: row 0: amount -1"),
    ],
)
def test_a_table_that_cannot_be_used(table, sentence):
    with pytest.raises(jc.QuoteError, match=sentence):
        jc.merge_books(table)


def test_books_of_the_feed():
    market, name = DeribitMarket(), "BTC-27JUN25-100000-C"
    market.follow([name])
    now = TIME.value // 1_000_000
    data = {"type": "snapshot", "change_id": 7, "timestamp": now, "instrument_name": name}
    levels = {"bids": [["new", 0.049, 5.0], ["new", 0.050, 1.0]], "asks": [["new", 0.052, 3.0]]}
    ticker = {"instrument_name": name, "timestamp": now, "mark_price": 0.051, "underlying_price": 105500.0}
    for message in (data | levels, ticker):
        market.receive({"method": "subscription", "params": {"channel": "x", "data": message}}, now)
    table = market.view(now).levels()
    assert table[["side", "level", "price"]].values.tolist() == [["bid", 0, 0.05], ["bid", 1, 0.049], ["ask", 0, 0.052]]
    quote = one(table)
    assert (quote["bid"], quote["ask"], quote["forward"]) == (0.050, 0.052, 105500.0)
    assert not len(market.view(now + 120_000).levels())  # stale


def test_a_merged_chain_calibrates_with_depth_as_weights():
    strikes = np.arange(80.0, 125.0, 5.0)
    names = [f"BTC-27JUN25-{strike:.0f}-{'C' if strike >= 100 else 'P'}" for strike in strikes]
    vol = np.where(strikes == 110.0, 0.9, 0.6)  # one bad quote, without depth
    years = (pd.Timestamp("2025-06-27T08:00Z") - TIME) / pd.Timedelta(days=365)
    value = np.asarray(jc.black_price(vol, strikes, years, forward=100.0, is_call=strikes >= 100.0)) / 100.0
    books = []
    for name, strike, price in zip(names, strikes, value, strict=True):
        far = strike == 110.0
        half = price * (0.2 if far else 0.01)
        books.append(book(name, bids=((price - half, 1.0),), asks=((price + half, 1.0),), forward=100.0))
        books.append(books[-1].assign(venue="B", amount=3.0))
    levels = pd.concat(books, ignore_index=True)
    levels["venue"] = levels["venue"].fillna("A")
    merged = jc.merge_books(levels)
    # the weights are to deal with the bad quote, so no rule may
    [surface] = jc.surfaces_from_quotes(merged.quotes, rules=jc.CleaningRules()).values()
    assert surface.num_quotes == len(strikes)
    weights = weights_from(merged.quotes, surface, "depth_weight")
    plain, weighted = (jc.calibrate(jc.BlackScholes, surface, weights=w).model.sigma for w in (None, weights))
    assert abs(weighted - 0.6) < 0.2 * abs(plain - 0.6)


@pytest.mark.market_data
def test_recorded_levels_give_the_best_quotes_of_the_same_snapshot(market_data):
    levels = pd.read_csv(market_data / "deribit/depth/btc_2020-05-21_levels.csv")
    recorded = pd.read_csv(market_data / "deribit/single/btc_2020-05-21.csv").set_index("instrument_name")
    merged = jc.merge_books(levels)
    assert merged.levels["fault"].eq("").all()
    assert len(merged.quotes) == 311
    best = merged.quotes.set_index("instrument_name")
    recorded = recorded.loc[best.index]
    for name in ("bid", "ask"):
        np.testing.assert_array_equal(best[name], recorded[name])
        np.testing.assert_array_equal(best[f"{name}_size"].fillna(0.0), recorded[f"{name}_size"])
    # a second venue with the same books, half a tick better on one side, changes what it should and nothing else
    second = levels.assign(venue="B")
    second.loc[second["side"].eq("bid"), "price"] += 1e-4
    both = jc.merge_books(pd.concat([levels.assign(venue="A"), second], ignore_index=True))
    assert both.quotes["bid"].sub(merged.quotes["bid"]).dropna().to_numpy() == pytest.approx(1e-4, abs=1e-12)
    assert both.quotes["ask"].equals(merged.quotes["ask"])
    assert both.quotes["bid_venue"].dropna().eq("B").all()
    found = jc.inspect_quotes(both.quotes)
    assert (
        sum(surface.num_quotes for surface in jc.surfaces_from_quotes(found).values()) == found.counts()["used"] > 100
    )

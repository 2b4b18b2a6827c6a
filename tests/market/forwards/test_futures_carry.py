"""Forwards from futures: what they are, what they are made of, and when they are used."""

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.market.forwards.futures_carry import Carry

TIME = pd.Timestamp("2026-03-27T08:00Z")


def futures(**columns):
    days = columns.pop("days", [30, 90])
    expiry = [pd.NaT if day is None else TIME + pd.Timedelta(days=day) for day in days]
    table = {"quote_time": TIME, "expiry": pd.to_datetime(pd.Series(expiry), utc=True), "index_price": 100.0}
    return pd.DataFrame(table | columns)


def test_the_basis_is_linear_between_futures():
    carry = Carry.from_futures(futures(mark=[101.0, 104.0]))
    assert carry is not None
    years = np.array([15.0, 30.0, 60.0, 90.0, 180.0]) / 365.0
    basis = np.log([1.01, 1.04])
    expected = [0.5 * basis[0], basis[0], basis.mean(), basis[1], 2.0 * basis[1]]
    np.testing.assert_allclose(np.log(carry.forward(years) / 100.0), expected, rtol=1e-12)
    np.testing.assert_allclose(carry.forward(years, 50.0), 0.5 * carry.forward(years), rtol=1e-15)


@pytest.mark.parametrize(
    ("bid", "ask", "mark", "price"),
    [
        (100.9, 101.3, 101.0, 101.1),  # the mid
        (np.nan, 101.3, 101.0, 101.0),  # one side is missing
        (0.0, 101.3, 101.0, 101.0),
        (102.0, 101.3, 101.0, 101.0),  # crossed
        (90.0, 120.0, 101.0, 101.0),  # a mid far from the mark
        (100.9, 101.3, np.nan, 101.1),
    ],
)
def test_the_price_of_a_future(bid, ask, mark, price):
    carry = Carry.from_futures(futures(days=[73], bid=[bid], ask=[ask], mark=[mark]))
    assert carry is not None
    np.testing.assert_allclose(carry.forward(0.2), price, rtol=1e-12)


def test_funding_of_a_perpetual_is_the_short_end():
    only = Carry.from_futures(futures(days=[None], mark=[100.2], funding_8h=[1e-4]))
    assert only is not None
    np.testing.assert_allclose(only.forward(1.0), 100.0 * np.exp(1e-4 * 3 * 365), rtol=1e-12)
    both = Carry.from_futures(futures(days=[None, 73], mark=[100.2, 102.0], funding_8h=[1e-4, np.nan]))
    assert both is not None
    np.testing.assert_allclose(both.forward([8 / 8760, 0.2]), [100.0 * np.exp(1e-4), 102.0], rtol=1e-12)


def test_what_is_absurd_is_left_out():
    table = futures(days=[-1, 0, 30, 30, 90], mark=[99.0, 100.0, 101.0, 101000.0, 104.0])
    carry = Carry.from_futures(table)
    assert carry is not None
    assert len(carry.years) == 2
    assert Carry.from_futures(table.assign(mark=np.nan)) is None
    assert Carry.from_futures(table.assign(index_price=0.0)) is None
    assert Carry.from_futures(table[:0]) is None
    assert Carry.from_futures(futures(days=[None], mark=[100.0], funding_8h=[0.5])) is None  # in percent, or worse
    with pytest.raises(ValueError, match="no column mark"):
        Carry.from_futures(table.drop(columns="mark"))


def chain(**columns):
    return pd.DataFrame(
        {
            "underlying": "BTC", "quote_time": TIME, "expiry": TIME + pd.Timedelta(days=73), "index_price": 100.0,
            "currency_of_price": "coin", "strike": [90.0, 110.0], "option_type": ["P", "C"], "bid": 0.02, "ask": 0.021,
        } | columns
    )  # fmt: skip


def test_a_carry_is_used_after_forward_and_parity_and_before_spot():
    known = futures(days=[73], mark=[102.0]).assign(underlying="BTC")

    def source(quotes):
        return jc.inspect_quotes(jc.with_carry(quotes, known)).forwards[["forward_source", "forward"]].to_numpy()[0]

    assert source(chain())[0] == "carry"
    np.testing.assert_allclose(source(chain())[1], 102.0)
    np.testing.assert_allclose(source(chain(index_price=[101.0, 101.0]))[1], 103.02)  # moves with the index
    assert source(chain(spot=100.0))[0] == "carry"
    assert source(chain(forward=103.0))[0] == "given"
    assert source(chain(strike=100.0))[0] == "parity"
    assert source(chain(spot=100.0, quote_time=TIME + pd.Timedelta(hours=1)))[0] == "spot"  # the futures are old


def test_futures_of_the_nearest_time_and_of_the_same_coin():
    known = pd.concat(
        [
            futures(days=[73], mark=[mark]).assign(underlying=name, quote_time=TIME + pd.Timedelta(minutes=at))
            for name, at, mark in [("BTC", -9, 101.0), ("BTC", 3, 102.0), ("BTC", -4, 103.0), ("ETH", 0, 90.0)]
        ]
    )
    quotes = pd.concat([chain(), chain(underlying="BTC_USDC"), chain(underlying="SOL")])
    forward = jc.with_carry(quotes, known)["carry_forward"].to_numpy()
    np.testing.assert_allclose(forward, np.repeat([102.0, 102.0, np.nan], 2), rtol=1e-4)


@pytest.mark.market_data
def test_recorded_futures_and_options(market_data):
    future, option = (
        market_data / f"deribit/raw/deribit_book_summary_btc_{x}_2026-05-22.json" for x in ("future", "option")
    )
    if not future.exists() or not option.exists():
        pytest.skip("the answers of 2026-05-22 are not in this set")
    carry = Carry.from_futures(jc.read_deribit(future).futures)
    assert carry is not None
    assert len(carry.years) >= 10
    assert (np.diff(carry.basis) > 0).mean() > 0.7
    rate = carry.basis[-3:] / carry.years[-3:]
    assert ((rate > 0.0) & (rate < 0.15)).all()
    quotes = jc.read_quotes(option)
    assert jc.with_carry(quotes, jc.read_deribit(future).futures)["carry_forward"].between(76_000, 77_500).all()


@pytest.mark.market_data
def test_synthetic_forwards_lie_between_the_futures(market_data):
    """The exchange makes forwards for expiries without a future as we do: from the futures beside them."""
    paths = sorted(market_data.glob("deribit/snapshots/*.parquet"))[:2]
    gaps = []
    for path in paths:
        table = pd.read_parquet(path)
        for _, chain in table[table["underlying"] == "BTC"].groupby("snapshot_ts"):
            one = chain.groupby("expiry").agg(
                {"underlying_price": "median", "underlying_index": "first", "index_price": "median"}
            )
            listed = one["underlying_index"].str.startswith("BTC-")
            if listed.sum() < 3:
                continue
            rows = one[listed].reset_index().rename(columns={"underlying_price": "mark"})
            carry = Carry.from_futures(rows.assign(quote_time=chain["snapshot_ts"].iloc[0]))
            assert carry is not None
            made = one[one["underlying_index"].str.startswith("SYN.")]
            years = (pd.DatetimeIndex(made.index) - chain["snapshot_ts"].iloc[0]).total_seconds().to_numpy() / (
                365 * 86400
            )
            gaps += (1e4 * (carry.forward(years) / made["underlying_price"].to_numpy() - 1.0)).tolist()
    gaps = np.abs(np.array(gaps))
    assert len(gaps) > 50
    assert np.median(gaps) <= 2.0  # basis points

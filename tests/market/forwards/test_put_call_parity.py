"""Parity of few and of noisy pairs: how well the discount is known, and what is made of it."""

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.market.forwards.put_call_parity import fit_parity

NOISE = {  # of call minus put, in spreads
    "uniform": lambda rng, n: rng.uniform(-0.5, 0.5, n),
    "normal": lambda rng, n: 0.5 * rng.standard_normal(n),
    "heavy tails": lambda rng, n: 0.25 * rng.standard_t(3, n),
    "rogues": lambda rng, n: np.where(
        rng.uniform(size=n) < 0.1, 5.0 * rng.standard_normal(n), rng.uniform(-0.5, 0.5, n)
    ),
}
FORWARD, DISCOUNT = 100.3, 0.99


def noisy_pairs(rng, n, noise):
    strike = np.sort(rng.uniform(90.0, 110.0, n))
    spread = 0.1 * np.exp(0.4 * rng.standard_normal(n))
    put = np.maximum(strike - 100.0, 0.0) + 5.0
    return strike, put + DISCOUNT * (FORWARD - strike) + spread * NOISE[noise](rng, n), put, spread


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("n", [3, 4, 6, 10, 30])
def test_two_standard_errors_hold_the_truth_19_times_of_20(n, noise):
    rng = np.random.default_rng(5)
    fits = [fit_parity(*noisy_pairs(rng, n, noise)) for _ in range(100)]
    for name, truth in (("forward", FORWARD), ("discount", DISCOUNT)):
        inside = [abs(getattr(fit, name) - truth) <= 2.0 * getattr(fit, f"{name}_error") for fit in fits]
        assert np.mean(inside) >= 0.89, name  # three binomial deviations below 95 %


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_errors_of_the_forward_where_the_discount_is_given(n):
    rng = np.random.default_rng(6)
    fits = [fit_parity(*noisy_pairs(rng, n, "uniform"), discount=DISCOUNT) for _ in range(100)]
    assert np.mean([abs(fit.forward - FORWARD) <= 2.0 * fit.forward_error for fit in fits]) >= 0.89
    assert np.mean([fit.forward_error for fit in fits]) < 0.15  # no more than the spread of one pair and a half


def test_pairs_that_lie_on_a_line_by_chance_are_not_exact():
    strike, put = np.array([95.0, 100.0, 105.0]), np.full(3, 5.0)
    slanted = 0.9277 * (100.0 - strike)  # 0.36 from a discount of 1, within a spread of 0.8
    fit = fit_parity(strike, put + slanted, put, np.full(3, 0.8))
    assert fit.discount == pytest.approx(0.9277, rel=1e-9)
    assert abs(fit.discount - 1.0) < 2.0 * fit.discount_error


def test_without_a_spread_two_points_say_nothing_of_the_noise_and_three_little():
    two = fit_parity(np.array([95.0, 105.0]), np.array([7.0, 2.0]), np.array([2.0, 7.0]), np.full(2, np.nan))
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(200):
        strike, call, put, spread = noisy_pairs(rng, 3, "uniform")
        fit = fit_parity(strike, call, put, np.full_like(spread, np.nan))
        inside.append(abs(fit.discount - DISCOUNT) <= 2.0 * fit.discount_error)
    assert two.forward_error > 0.0
    assert np.mean(inside) >= 0.89


def test_the_error_of_a_discount_is_part_of_that_of_a_forward_beside_the_pairs():
    strike = np.linspace(80.0, 90.0, 11)
    put = np.full(11, 3.0)
    pairs = strike, put + 0.97 * (100.0 - strike), put, np.full(11, 0.1)
    known = fit_parity(*pairs, discount=0.97)
    doubtful = fit_parity(*pairs, discount=0.97, discount_error=0.01)
    assert doubtful.forward == known.forward
    # F - mean strike = 15 = difference / discount
    assert doubtful.forward_error == pytest.approx(np.hypot(known.forward_error, 15.0 * 0.01 / 0.97), rel=1e-9)


def chain(expiry=0.25, forward=100.0, discount=1.0, strikes=(90.0, 95.0, 100.0, 105.0, 110.0), spread=0.02, **columns):
    strike = np.repeat(np.array(strikes), 2)
    side = np.tile(["C", "P"], len(strikes))
    price = np.asarray(jc.black_price(0.2, strike, expiry, forward=forward, discount=discount, is_call=side == "C"))
    table = {
        "expiry": expiry,
        "strike": strike,
        "option_type": side,
        "bid": price - spread / 2,
        "ask": price + spread / 2,
    }
    return pd.DataFrame({**table, **columns})


def test_a_rate_that_is_not_known_is_drawn_to_0_and_says_so():
    wide = chain(spread=0.8, strikes=(97.0, 100.0, 103.0))
    wide.loc[wide["option_type"].eq("C") & wide["strike"].eq(97.0), ["bid", "ask"]] -= 0.3
    forwards = jc.inspect_quotes(wide).forwards
    assert forwards["discount_source"].tolist() == ["parity, drawn to 1"]
    assert forwards["parity_discount"][0] < 0.96
    assert abs(forwards["discount"][0] - 1.0) < 0.002
    assert 0.25 * 0.03 < forwards["discount_error"][0] < 0.25 * 0.05  # a rate of 0 give or take 4 %
    assert abs(forwards["forward"][0] - 100.0) < 2.0 * forwards["forward_error"][0]


def test_what_parity_says_is_told_beside_a_rate_that_is_given():
    forwards = jc.inspect_quotes(chain(discount=0.98), rate=0.03).forwards
    assert forwards["discount_source"].tolist() == ["rate"]
    assert forwards["parity_discount"][0] == pytest.approx(0.98, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (
            lambda table: table.assign(bid=table["bid"] * 100.0, ask=table["ask"] * 100.0),
            "100 times too large for the strikes",
        ),
        (lambda table: table.assign(strike=table["strike"] * 1000.0), "strikes are about 1000 times too large"),
        (lambda table: table.assign(bid=table["bid"] / 100.0, ask=table["ask"] / 100.0), "prices in the coin"),
    ],
)
def test_units_that_parity_gives_away_are_refused_with_their_cause(change, cause):
    with pytest.raises(jc.QuoteError, match=cause):
        jc.inspect_quotes(change(chain()))


def test_over_a_day_no_rate_can_be_told_and_none_matters():
    report = jc.inspect_quotes(chain().assign(expiry=1.0 / 365.0))
    assert report.forwards["discount"][0] == pytest.approx(1.0, abs=1e-4)


def test_a_rate_beyond_any_is_an_error_with_its_cause():
    exchanged = chain()["option_type"].map({"C": "P", "P": "C"})
    report = jc.inspect_quotes(chain().assign(option_type=exchanged))
    assert report.table["verdict"].eq("bad carry").all()
    assert report.table["reason"].str.contains("look exchanged").all()
    assert report.table["reason"].str.contains("give it").all()
    assert report.table["reason"].str.len().max() < 500
    assert np.isnan(report.forwards["discount"][0])


def test_the_other_expiries_are_kept_and_a_rate_that_is_given_is_believed():
    good, bad = chain(0.25), chain(0.5)
    bad[["bid", "ask"]] *= 100.0
    report = jc.inspect_quotes(pd.concat([good, bad], ignore_index=True))
    verdicts = report.table.groupby("expiry")["verdict"].agg(set)
    assert "used" in verdicts[0.25]
    assert verdicts[0.5] == {"bad carry"}
    high = chain(1.0, discount=np.exp(-0.45))  # lira
    assert jc.inspect_quotes(high).table["verdict"].eq("bad carry").all()
    assert jc.inspect_quotes(high, rate=0.45).table["verdict"].eq("used").sum() == 5

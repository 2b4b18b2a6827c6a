"""Forward and discount: given, from rates, from put-call parity, from spot."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.forwards.put_call_parity import fit_parity

STRIKE = np.linspace(80.0, 120.0, 17)
PUT = np.exp(-((100.0 - STRIKE) ** 2) / 400.0) * 8.0


def noisy_pairs(seed=0):
    """Pairs of forward 101, discount 0.97, whose difference has a normal error of 0.02."""
    error = 0.02 * np.random.default_rng(seed).standard_normal(len(STRIKE))
    return STRIKE, PUT + 0.97 * (101.0 - STRIKE) + error + 30.0, PUT + 30.0, np.full(len(STRIKE), 0.08)


def test_exact_pairs_give_the_exact_answer():
    fit = fit_parity(STRIKE, PUT + 0.97 * (101.0 - STRIKE), PUT, np.full(len(STRIKE), 0.1))
    assert (fit.forward, fit.discount) == pytest.approx((101.0, 0.97), rel=1e-12)


@pytest.mark.parametrize("position", [0, 7, 8, 16])
@pytest.mark.parametrize("error", [5.0, -40.0, 0.5])
def test_one_rogue_pair_does_not_move_the_fit(position, error):
    strike, call, put, spread = noisy_pairs()
    clean = fit_parity(np.delete(strike, position), *(np.delete(x, position) for x in (call, put, spread)))
    call = call.copy()
    call[position] += error
    spread = spread.copy()
    spread[position] = 0.01  # and it looks like the best quote of all
    rogue = fit_parity(strike, call, put, spread)
    assert rogue.forward == pytest.approx(clean.forward, abs=0.1 * clean.forward_error)
    assert rogue.discount == pytest.approx(clean.discount, abs=0.1 * clean.discount_error)


def test_standard_errors_are_those_of_repeated_samples():
    fits = [fit_parity(*noisy_pairs(seed)) for seed in range(200)]
    for name, truth in (("forward", 101.0), ("discount", 0.97)):
        values = np.array([getattr(fit, name) for fit in fits])
        claimed = np.median([getattr(fit, f"{name}_error") for fit in fits])
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(200))
        assert 0.7 < claimed / values.std() < 1.4


@given(st.permutations(list(range(len(STRIKE)))))
def test_parity_does_not_depend_on_the_order_of_the_pairs(order):
    pairs = noisy_pairs()
    assert fit_parity(*(x[np.array(order)] for x in pairs)) == fit_parity(*pairs)


def test_coin_pairs():
    forward = 91000.0
    strike = np.linspace(70000.0, 120000.0, 11)
    put = np.full(11, 0.1)
    fit = fit_parity(strike, put + 1.0 - strike / forward, put, np.full(11, 0.001), in_coin=True)
    assert fit.forward == pytest.approx(forward, rel=1e-12)
    assert fit.discount == 1.0


def test_few_pairs():
    none, spread = np.zeros(0), np.full(2, 0.1)
    assert np.isnan(fit_parity(none, none, none, none).forward)
    two = fit_parity(np.array([90.0, 110.0]), np.array([14.0, 4.0]), np.array([4.0, 14.0]), spread)
    assert two.forward == 100.0
    assert np.isnan(two.discount)
    assert two.num_pairs == 2


def test_from_parity(make_chain):
    chain = make_chain()
    report = inspect_quotes(chain)
    truth = chain.groupby("expiry").first()
    forwards = report.forwards
    assert forwards["forward_source"].eq("parity").all()
    assert forwards["discount_source"].eq("parity").all()
    assert forwards["forward"].to_numpy() == pytest.approx(truth["true_forward"].to_numpy(), rel=1e-9)
    assert forwards["discount"].to_numpy() == pytest.approx(truth["true_discount"].to_numpy(), rel=1e-7)
    assert (forwards["forward_error"] < 0.01).all()
    assert (forwards["num_pairs"] == 10).all()


def test_the_rate_of_a_short_expiry_is_taken_from_its_neighbours(make_chain):
    chain = make_chain(expiries=(2 / 365, 0.5, 1.0), strikes=tuple(np.linspace(95.0, 105.0, 21)))
    rng = np.random.default_rng(1)
    noise = 0.01 * rng.standard_normal(len(chain))
    forwards = inspect_quotes(chain.assign(bid=chain["bid"] + noise, ask=chain["ask"] + noise)).forwards
    rate = -np.log(forwards["discount"].to_numpy()) / forwards["years"].to_numpy()
    assert rate == pytest.approx(0.03, abs=0.01)
    short = chain[chain["expiry"] < 0.1].pivot_table(index="strike", columns="option_type", values="bid")
    alone = fit_parity(short.index.to_numpy(), short["C"].to_numpy(), short["P"].to_numpy(), np.full(21, 0.04))
    assert alone.discount_error / (2 / 365) > 0.05  # what it knows by itself: nothing


def test_given_carry_comes_first(make_chain):
    chain = make_chain()
    given_forward = inspect_quotes(chain.assign(forward=chain["true_forward"] + 0.01, rate=0.03)).forwards
    assert given_forward["forward_source"].eq("given").all()
    assert given_forward["discount_source"].eq("rate").all()
    assert given_forward["discount"].to_numpy() == pytest.approx(np.exp(-0.03 * given_forward["years"]), rel=1e-15)
    given_discount = inspect_quotes(chain.assign(discount=0.9, rate=0.03)).forwards
    assert given_discount["discount_source"].eq("given").all()
    assert given_discount["discount"].eq(0.9).all()
    assert given_discount["forward_source"].eq("parity").all()


def test_forward_from_spot():
    quotes = pd.DataFrame(
        {"expiry": [0.5, 1.0], "strike": 100.0, "iv": 0.2, "spot": 100.0, "rate": 0.04, "dividend_yield": 0.01}
    )
    forwards = inspect_quotes(quotes).forwards
    assert forwards["forward"].to_numpy() == pytest.approx(100.0 * np.exp(0.03 * np.array([0.5, 1.0])), rel=1e-14)
    assert forwards["forward_source"].eq("spot").all()
    assert forwards["discount_source"].eq("rate").all()
    bare = inspect_quotes(quotes.drop(columns=["rate", "dividend_yield"])).forwards
    assert bare["forward"].eq(100.0).all()
    assert bare["discount"].eq(1.0).all()
    assert bare["discount_source"].eq("").all()


def test_no_forward():
    table = inspect_quotes(pd.DataFrame({"expiry": [0.5], "strike": 100.0, "iv": 0.2})).table
    assert table["verdict"].tolist() == ["no forward"]
    assert "add forward, or spot" in table["reason"][0]


def test_a_drifting_forward_is_the_median():
    quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": 0.2, "forward": [100.0, 100.1, 190.0]})
    assert inspect_quotes(quotes).forwards["forward"].tolist() == [100.1]

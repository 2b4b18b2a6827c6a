"""Greeks against derivatives in 50 digits from elsewhere, closed forms, and the rules between conventions."""

# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportArgumentType=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
# (fields of models are declared as numbers too, and Greeks beyond the order asked for as None)
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.formulas.black import black_vega

GOLDENS = Path(__file__).parents[1] / "goldens"
TABLE = pd.read_csv(GOLDENS / "greeks.csv", dtype={"value": str, "parameters": str})
# every model is another program to compile: two of each kind by default
FAST = {"BlackScholes", "Heston", "Merton", "NIG"}
CASES = [
    pytest.param(key, rows, id=f"{key[0]}-{key[4]}", marks=() if key[0] in FAST else pytest.mark.slow)
    for key, rows in TABLE.groupby(["model", "parameters", "F", "K", "T", "kind"], sort=False)
]
HESTON = pd.read_csv(GOLDENS / "heston_gradients.csv", dtype=str)
FULL = jc.Merton(0.2, 0.6, -0.1, 0.15)  # compiled in less time than Heston
FLAT = jc.BlackScholes(0.2)  # in less still: for what does not depend on the model
STRIKES = np.asarray([80.0, 95.0, 100.0, 105.0, 125.0])


@pytest.mark.parametrize(("key", "rows"), CASES)
def test_every_model_to_third_order(key, rows):
    name, parameters, forward, strike, expiry, kind = key
    model = getattr(jc, name)(*map(float, parameters.split(";")))
    found = jc.greeks(model, strike, expiry, forward=forward, is_call=kind == "call", order=3)
    names = [field.name for field in dataclasses.fields(model)]
    for row in rows.itertuples():
        value = getattr(found, row.field)
        value = value if np.isnan(row.parameter) else getattr(value, names[int(row.parameter)])
        assert float(value) == pytest.approx(float(row.value), rel=1e-8, abs=1e-12), (row.field, row.parameter)


@pytest.mark.parametrize("row", list(HESTON.itertuples()), ids=lambda row: row.id)
def test_gradients_of_heston(row):
    model = jc.Heston(*(float(getattr(row, name)) for name in jc.Heston.bounds))
    found = jc.greeks(model, float(row.K), float(row.T), forward=float(row.F), is_call=row.kind == "call", order=3)
    pairs = {"price": found.price, "d_F": found.delta, "d2_FF": found.gamma, "d_T": -found.theta}
    pairs |= {f"d_{name}": getattr(found.vega, name) for name in model.bounds}
    for name, value in pairs.items():
        assert float(value) == pytest.approx(float(getattr(row, name)), rel=1e-8), name


QUOTED = {"forward": 100.0, "discount": 0.97, "is_call": STRIKES > 96.0, "order": 3}


def test_a_coin_settled_option_by_the_rule_of_quotients():
    q, f = jc.greeks(FLAT, STRIKES, 0.5, **QUOTED), 100.0
    coin = jc.greeks(FLAT, STRIKES, 0.5, **QUOTED, settlement="coin")
    np.testing.assert_allclose(coin.price, q.price / f, rtol=1e-14)
    np.testing.assert_allclose(coin.delta, (q.delta - coin.price) / f, rtol=1e-11)
    np.testing.assert_allclose(coin.gamma, (q.gamma - 2.0 * coin.delta) / f, rtol=1e-10)
    np.testing.assert_allclose(coin.speed, (q.speed - 3.0 * coin.gamma) / f, rtol=1e-9)
    np.testing.assert_allclose(coin.theta, q.theta / f, rtol=1e-12)
    np.testing.assert_allclose(coin.rho, q.rho / f, rtol=1e-12)
    np.testing.assert_allclose(coin.black_vega, q.black_vega / f, rtol=1e-12)
    np.testing.assert_allclose(coin.charm, (q.charm - coin.theta) / f, rtol=1e-10)
    np.testing.assert_allclose(coin.volga.sigma, q.volga.sigma / f, rtol=1e-12)
    np.testing.assert_allclose(coin.vanna.sigma, (q.vanna.sigma - coin.vega.sigma) / f, rtol=1e-10)


def test_parity_and_the_discount():
    """Call minus put is D (F - K), at the strike of the forward too; theta earns the rate on it."""
    found = jc.greeks(FLAT, STRIKES, 0.5, **QUOTED)
    put = jc.greeks(FLAT, STRIKES, 0.5, **QUOTED | {"is_call": STRIKES <= 96.0})
    sign = np.where(STRIKES > 96.0, 1.0, -1.0)
    gap = 0.97 * (100.0 - STRIKES)
    np.testing.assert_allclose(sign * (found.price - put.price), gap, atol=1e-12)
    np.testing.assert_allclose(sign * (found.delta - put.delta), 0.97, rtol=1e-12)
    np.testing.assert_allclose(found.gamma, put.gamma, rtol=1e-11)
    np.testing.assert_allclose(sign * (found.theta - put.theta), -np.log(0.97) / 0.5 * gap, atol=1e-11)
    np.testing.assert_allclose(found.rho, -0.5 * found.price, rtol=1e-14)
    np.testing.assert_allclose(found.vol, 0.2, rtol=1e-9)


def test_with_the_smile_at_its_strikes_delta_gamma_and_theta_are_those_of_black():
    quoted, found = (jc.greeks(FULL, STRIKES, 0.5, **QUOTED, smile=smile) for smile in ("model", "strike"))
    black = [
        jc.greeks(jc.BlackScholes(float(v)), k, 0.5, forward=100.0, discount=0.97, is_call=bool(k > 96.0), order=3)
        for v, k in zip(found.vol, STRIKES, strict=True)
    ]
    for name in ("price", "delta", "gamma", "speed", "theta", "charm", "color", "black_vega"):
        expected = [float(getattr(one, name)) for one in black]
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-7, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found.vega.sigma, quoted.vega.sigma, rtol=1e-8)
    np.testing.assert_allclose(found.volga.jump_mean, quoted.volga.jump_mean, rtol=1e-6)
    assert np.max(np.abs(found.delta - quoted.delta)) > 0.005


def differences(fn, x, h):
    """Central, with Richardson's step: fourth order."""
    return (8.0 * (fn(x + h) - fn(x - h)) - (fn(x + 2 * h) - fn(x - 2 * h))) / (12.0 * h)


class Backbone(jc.AbstractVolModel):
    """A volatility that falls with forward and strike alike, as SABR's without a volatility of its own does."""

    alpha: Float[Array, "..."] | float
    bounds = {"alpha": jc.Interval(0.01, 10.0, "log")}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.alpha * (forward * strike) ** -0.25 + 0.0 * expiry


@pytest.mark.parametrize(
    "model",
    [Backbone(2.0), pytest.param(jc.SABR(alpha=2.0, beta=0.5, rho=-0.3, nu=0.8), marks=pytest.mark.slow)],
    ids=["backbone", "SABR"],
)
def test_a_smile_model_moves_as_it_says(model):
    """With a backbone, parameters held, moneyness held and strike held are three deltas."""
    k = np.asarray([85.0, 100.0, 120.0])
    found = {
        s: jc.greeks(model, k, 0.7, forward=100.0, order=1, smile=s).delta for s in ("model", "moneyness", "strike")
    }
    exact = {
        "model": lambda f: jc.price(model, k, 0.7, forward=f),
        "moneyness": lambda f: f / 100.0 * jc.price(model, k * 100.0 / f, 0.7, forward=100.0),
        "strike": lambda f: jc.black_price(model.vol(k, 0.7, 100.0), k, 0.7, forward=f),
    }
    for smile, fn in exact.items():
        np.testing.assert_allclose(found[smile], differences(jax.jit(fn), 100.0, 0.05), atol=1e-9, err_msg=smile)
    assert np.all(np.abs(found["model"] - found["moneyness"]) > 1e-3)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Backbone(2.0), "alpha"),
        pytest.param(jc.SVI(a=0.02, b=0.1, rho=-0.4, m=0.02, sigma=0.15), "b", marks=pytest.mark.slow),
    ],
    ids=["backbone", "SVI"],
)
def test_second_derivatives_of_a_smile_model(model, name):
    k, there = np.asarray([85.0, 100.0, 120.0]), float(getattr(model, name))
    found = jc.greeks(model, k, 0.7, forward=100.0, order=2)

    @jax.jit
    def prices(forward=100.0, parameter=there):
        return jc.price(dataclasses.replace(model, **{name: parameter}), k, 0.7, forward=forward)

    slope = lambda forward: differences(lambda x: prices(forward, x), there, 1e-2 * there)  # noqa: E731
    np.testing.assert_allclose(getattr(found.vega, name), slope(100.0), atol=1e-8)
    np.testing.assert_allclose(getattr(found.vanna, name), differences(slope, 100.0, 0.1), atol=1e-8)
    np.testing.assert_allclose(found.gamma, differences(lambda f: differences(prices, f, 0.1), 100.0, 0.1), atol=1e-8)


def test_many_models_inside_jit_and_nan_where_an_input_breaks_a_rule():
    batch = jc.BlackScholes(jnp.asarray([0.2, 0.3]))
    strike = np.asarray([90.0, np.nan, -1.0, 110.0])

    @jax.jit
    def inside(batch, strike):
        return jc.greeks(batch, strike, 0.5, forward=100.0, order=1)

    found, one = inside(batch, strike), jc.greeks(FLAT, 110.0, 0.5, forward=100.0, order=3)  # a program of other tests
    assert found.delta.shape == found.vega.sigma.shape == (2, 4)
    assert np.isnan(np.asarray(found.vega.sigma)[:, 1:3]).all()
    assert np.isfinite(np.asarray(found.vega.sigma)[:, [0, 3]]).all()
    np.testing.assert_allclose(found.vega.sigma[0, 3], one.vega.sigma, rtol=1e-12)


def test_vector_parameters_come_first():
    model = jc.PiecewiseHeston(0.04, 1.5, [0.05, 0.06], [0.7, 0.5], [-0.6, -0.5], knots=[0.5])
    found = jc.greeks(model, STRIKES, 0.4, forward=100.0, order=1)
    assert found.vega.sigma.shape == (2, 5)
    np.testing.assert_array_equal(found.vega.sigma[1], 0.0)  # later than the expiry
    assert np.isnan(found.vega.knots).all()


def test_what_cannot_be_asked_for():
    for wrong, sentence in (
        ({"order": 4}, "order is 4"),
        ({"settlement": "cash"}, "settlement"),
        ({"smile": "x"}, "smile"),
    ):
        with pytest.raises(Exception, match=sentence):
            jc.greeks(FULL, 100.0, 1.0, forward=100.0, **wrong)


@pytest.mark.slow
def test_a_rough_density_has_no_wrong_third_derivative():
    """Variance gamma with T / nu below 1/2 has an infinite density at its drift: right or NaN."""
    model, k = jc.VarianceGamma(0.2, 0.5, -0.1), jnp.linspace(95.0, 105.0, 11)
    found = jc.greeks(model, k, 0.05, forward=100.0, order=3)
    assert np.isfinite(found.price).all()
    by_forward = differences(lambda f: jc.greeks(model, k, 0.05, forward=f, order=3).gamma, 100.0, 1e-3)
    known = np.isfinite(found.speed) & np.isfinite(by_forward)
    np.testing.assert_allclose(found.speed[known], by_forward[known], rtol=1e-4)


@pytest.mark.parametrize("years", [0.1, *(pytest.param(years, marks=pytest.mark.slow) for years in (0.05, 1.0))])
def test_jumps_whose_phi_revives_are_known_beside_their_prices(years):
    """Peaks that a rule might step over are bounded from beside the contour, for derivatives as for prices."""
    model, strikes = jc.Merton(0.15, 0.5, -0.1, 0.1), np.asarray([70.0, 80.0, 100.0, 120.0, 150.0])
    found = jc.greeks(model, strikes, years, forward=100.0, order=3)  # a program of other tests
    np.testing.assert_allclose(found.price, jc.price(model, strikes, years, forward=100.0), rtol=1e-12)
    np.testing.assert_allclose(found.vol, jc.model_vol(model, strikes, years, forward=100.0), rtol=1e-10)
    assert not np.isnan(np.asarray(found.delta)).any()
    np.testing.assert_allclose(found.black_vega, black_vega(found.vol, strikes, years, forward=100.0), rtol=1e-12)

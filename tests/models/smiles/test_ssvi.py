"""SSVI against 50-digit values, its derivatives, and the absence of arbitrage everywhere within its bounds."""

from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.models.parameters import from_vector
from jaxcal.models.smiles.ssvi import SSVIHeston, ssvi_smile

GOLDENS = Path(__file__).resolve().parents[2] / "goldens"
KNOTS = (0.1, 0.5, 1.0)
VARIANCE = (0.03, 0.05, 0.04)
POWER = jc.SSVI(jnp.asarray(KNOTS), jnp.asarray(VARIANCE), rho=-0.6, eta=1.1, gamma=0.4)
HESTON = SSVIHeston(jnp.asarray(KNOTS), jnp.asarray(VARIANCE), rho=-0.6, lam=3.0)
# strike, expiry, forward
QUOTES = [
    (20.0, 0.02, 100.0),
    (100.0, 0.3, 100.0),
    (100.0 + 1e-9, 0.3, 100.0),
    (140.0, 0.7, 100.0),
    (900.0, 3.0, 100.0),
]


def _vol(model, strike, expiry, forward):
    return model.vol(strike, expiry, forward)


vol = jax.jit(_vol)
slopes = jax.jit(jax.vmap(jax.grad(_vol, (0, 1, 2, 3)), (None, 0, 0, 0)))


def exact(model, strike, expiry, forward):
    """The volatility as printed in the paper; the fields of `model` are numbers or lists of them."""
    strike, expiry, forward, rho = (mp.mpf(x) for x in (strike, expiry, forward, model["rho"]))
    theta, start = mp.mpf(0), mp.mpf(0)
    for i, variance in enumerate(model["variance"]):
        end = mp.inf if i == len(KNOTS) - 1 else mp.mpf(model["knots"][i])
        theta += variance * max(min(expiry, end) - start, 0)
        start = end
    if "eta" in model:
        phi = model["eta"] / (theta ** model["gamma"] * (1 + theta) ** (1 - mp.mpf(model["gamma"])))
    else:
        x = mp.mpf(model["lam"]) * theta
        phi = (1 - (1 - mp.exp(-x)) / x) / x
    k = mp.log(strike / forward)
    w = theta / 2 * (1 + rho * phi * k + mp.sqrt((phi * k + rho) ** 2 + 1 - rho**2))
    return mp.sqrt(w / expiry)


def fields(model):
    leaves = {name: getattr(model, name) for name in ("knots", *type(model).bounds)}
    return {name: [mp.mpf(float(x)) for x in leaf] if np.ndim(leaf) else mp.mpf(leaf) for name, leaf in leaves.items()}


def bumped(value, i, step):
    return [x + step * (j == i) for j, x in enumerate(value)] if isinstance(value, list) else value + step


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(60):
        yield


@pytest.fixture(scope="module")
def columns():
    return tuple(jnp.asarray(x) for x in zip(*QUOTES, strict=True))


def test_goldens():
    """Total variance, its two derivatives and Durrleman's g, each to 1e-12 relative."""
    rows = pd.read_csv(GOLDENS / "svi.csv")
    rows = rows[rows["form"] == "ssvi"]
    k, theta, phi, rho = (jnp.asarray(rows[name].to_numpy()) for name in ("k", "theta", "phi", "rho"))
    smile = ssvi_smile(k, theta, phi, rho)
    found = (*smile, smile.durrleman(k))
    for value, name in zip(found, ("w", "dw_dk", "d2w_dk2", "durrleman_g"), strict=True):
        np.testing.assert_allclose(value, rows[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("model", [POWER, HESTON], ids=["power", "heston"])
def test_vols_and_derivatives(model, columns):
    """Volatility to 1e-13, and reverse mode against differences in 60 digits, in every field and argument."""
    numbers = fields(model)
    np.testing.assert_allclose(vol(model, *columns), [float(exact(numbers, *row)) for row in QUOTES], rtol=1e-13)
    by_model, *by_market = slopes(model, *columns)
    h = mp.mpf("1e-20")

    def difference(row, change):
        up, down = (exact(change(numbers, sign * h), *row) for sign in (1, -1))
        return float((up - down) / (2 * h))

    for name in numbers:
        found = np.asarray(getattr(by_model, name)).reshape(len(QUOTES), -1)
        for q, row in enumerate(QUOTES):
            for i, slope in enumerate(found[q]):
                expected = difference(row, lambda n, e, name=name, i=i: n | {name: bumped(n[name], i, e)})
                assert slope == pytest.approx(expected, rel=1e-10, abs=1e-13)
    for j, found in enumerate(by_market):
        for q, row in enumerate(QUOTES):
            up, down = (
                exact(numbers, *(mp.mpf(x) + sign * h * (i == j) for i, x in enumerate(row))) for sign in (1, -1)
            )
            assert float(found[q]) == pytest.approx(float((up - down) / (2 * h)), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("model", [POWER, HESTON], ids=["power", "heston"])
def test_forward_mode_is_reverse_mode(model, columns):
    direction = jax.tree.map(lambda leaf: 0.3 * jnp.ones_like(leaf), model)
    pushed = jax.jit(lambda m, d: jax.jvp(lambda x: x.vol(*columns), (m,), (d,))[1])(
        jax.tree.map(jnp.asarray, model), direction
    )
    pulled = sum(
        (0.3 * jnp.sum(leaf.reshape(len(QUOTES), -1), axis=1) for leaf in jax.tree.leaves(slopes(model, *columns)[0])),
        jnp.zeros(len(QUOTES)),
    )
    np.testing.assert_allclose(pushed, pulled, rtol=1e-12)


@pytest.mark.parametrize("x", [1e-12, 1e-4, 0.05, 0.2999, 0.3001, 2.0, 800.0])
def test_heston_phi(x):
    model = SSVIHeston(jnp.asarray([1.0]), jnp.asarray([0.04]), rho=0.0, lam=1.0)
    big = mp.mpf(x)
    assert float(model.phi(jnp.asarray(x))) == pytest.approx(float((1 - (1 - mp.exp(-big)) / big) / big), rel=1e-14)


def test_theta_integrates_the_forward_variance():
    t = jnp.asarray([[0.05, 0.1, 0.3], [0.5, 1.0, 4.0]])
    found = POWER.theta(t)
    expected = [[0.0015, 0.003, 0.013], [0.023, 0.043, 0.163]]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    # broadcasting of a matrix of strikes against a column of expiries, and of numbers
    vols = POWER.vol(jnp.full((2, 3), 100.0), t[:, :1], jnp.full((2, 1), 100.0))
    np.testing.assert_allclose(vols**2 * t[:, :1], POWER.theta(t[:, :1]) * jnp.ones((1, 3)), rtol=1e-13)
    assert float(POWER.theta(0.3)) == pytest.approx(0.013, rel=1e-14)


def _boxed(template, names, y):
    """A model from numbers in [0, 1]: places in its box, on the search scales."""

    def place(name, u):
        interval = template.bounds[name]
        low, high = (interval.to_search(jnp.asarray(x)) for x in (interval.lower, interval.upper))
        return low + u * (high - low)

    parts = [place("variance", y[:3]), *(place(name, y[3 + i : 4 + i]) for i, name in enumerate(names[1:]))]
    return from_vector(template, names, jnp.concatenate(parts))


@pytest.mark.parametrize("model", [POWER, HESTON], ids=["power", "heston"])
def test_no_static_arbitrage_within_the_bounds(model):
    """Random points of the box, with most of its corners: g >= 0 in k, and w nondecreasing in t."""
    names = tuple(model.bounds)
    rng = np.random.default_rng(5)
    y = np.clip(rng.uniform(-0.3, 1.3, (300, len(names) + 2)), 0.0, 1.0)
    k = jnp.sinh(jnp.linspace(-9.0, 9.0, 181)) * 0.01
    t = jnp.asarray([1 / 365, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 2.0, 10.0])

    @jax.jit
    @jax.vmap
    def lowest(y):
        found = _boxed(model, names, y)
        smile = found.smile(k[None, :], t[:, None])
        g = smile.durrleman(jnp.broadcast_to(k, smile.w.shape))
        return jnp.min(g), jnp.min(jnp.diff(smile.w, axis=0) / smile.w[1:]), jnp.min(smile.w)

    g, rise, w = (np.asarray(x) for x in lowest(jnp.asarray(y)))
    assert g.min() > -1e-10
    assert rise.min() > -1e-13
    assert w.min() > 0


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.5])
@pytest.mark.parametrize("gamma", [0.0, 0.2, 0.45, 0.5])
def test_bound_of_eta_is_that_of_the_theorem(rho, gamma):
    """At the bound, one of the two conditions of theorem 4.2 is met with equality."""
    template = jc.SSVI(jnp.asarray([1.0]), jnp.asarray([0.04]), rho=rho, eta=1.0, gamma=gamma)
    model = from_vector(template, ("eta",), jnp.zeros(1))
    theta = jnp.exp(jnp.linspace(-40.0, 40.0, 80001))
    phi = model.phi(theta)
    worst = (float(jnp.max(theta * phi)) / 4 * (1 + abs(rho)), float(jnp.max(theta * phi**2)) / 4 * (1 + abs(rho)))
    assert max(worst) == pytest.approx(1.0, rel=1e-6)


def test_beyond_the_bounds_there_is_arbitrage():
    """The test above can fail: at twice the greatest steepness g is negative."""
    steep = jc.SSVI(jnp.asarray([1.0]), jnp.asarray([0.04]), rho=-0.9, eta=3.0, gamma=0.5)
    assert float(jnp.min(steep.durrleman(jnp.linspace(-2.0, 2.0, 401), 1.0))) < -1e-3


def test_domain():
    knots, variance = jnp.asarray(KNOTS), jnp.asarray(VARIANCE)
    good = {"knots": knots, "variance": variance, "rho": -0.5, "eta": 1.0, "gamma": 0.5}
    broken = {
        "knots must rise from above 0": {"knots": knots[::-1]},
        "variance must not be negative": {"variance": -variance},
        r"rho must lie in \(-1, 1\)": {"rho": 1.0},
        "eta must not be negative": {"eta": -1.0},
        r"gamma must lie in \[0, 1\]": {"gamma": 1.2},
    }
    for sentence, change in broken.items():
        with pytest.raises(ValueError, match=sentence):
            jc.SSVI(**(good | change))
    with pytest.raises(ValueError, match="lam must be positive"):
        SSVIHeston(knots, variance, rho=-0.5, lam=0.0)


def test_bad_market_input_is_nan(columns):
    found = vol(POWER, jnp.asarray([-1.0, 100.0, 100.0]), jnp.asarray([1.0, 0.0, 1.0]), jnp.asarray([1.0, 1.0, -5.0]))
    assert np.isnan(found).all()


def test_float32(columns):
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), POWER)
    found = vol(model, *(x.astype(jnp.float32) for x in columns))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, vol(POWER, *columns), rtol=3e-6)

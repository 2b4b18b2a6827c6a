"""Raw SVI against 50-digit values, its derivatives, published parameters, and the edge of butterfly arbitrage."""

from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.models.smiles.svi import hyperbola

GOLDENS = Path(__file__).resolve().parents[2] / "goldens"
FIELDS = ("a", "b", "rho", "m", "sigma")
# J. Gatheral and A. Jacquier, Quantitative Finance 14 (2014), example 3.1 (A. Vogt): it has butterfly arbitrage
VOGT = {"a": -0.0410, "b": 0.1331, "rho": 0.3060, "m": 0.3586, "sigma": 0.4153}
MODELS = {
    "equity": (0.01, 0.1, -0.4, 0.05, 0.2),
    "low a": (-0.001, 0.03, -0.3, 0.03, 0.08),
    "rho -0.999": (0.002, 0.2, -0.999, 0.1, 0.01),
    "rho 0.999": (0.002, 0.2, 0.999, -0.1, 0.01),
    "no skew": (0.04, 0.3, 0.0, 0.0, 0.5),
    "flat": (0.04, 1e-6, -0.5, 0.1, 0.2),
}
STRIKES = (1.0, 60.0, 99.9999, 100.0, 100.0 + 1e-9, 140.0, 5000.0)


def _vol(*row):
    *fields, strike, expiry, forward = row
    return jc.SVI(*fields).vol(strike, expiry, forward)


vol = jax.jit(_vol)
slopes = jax.jit(jax.vmap(lambda *row: jnp.stack(jax.grad(_vol, tuple(range(8)))(*row))))
pushed = jax.jit(
    lambda *row: jnp.stack(
        [
            jax.jvp(_vol, row, tuple(jnp.ones_like(x) if i == j else jnp.zeros_like(x) for j, x in enumerate(row)))[1]
            for i in range(8)
        ],
        axis=-1,
    )
)


def exact(a, b, rho, m, sigma, strike, expiry, forward):
    x = mp.log(mp.mpf(strike) / mp.mpf(forward)) - m
    return mp.sqrt((a + b * (rho * x + mp.sqrt(x * x + mp.mpf(sigma) ** 2))) / expiry)


def exact_slope(row, i):
    h = mp.mpf("1e-20")
    up, down = (exact(*(mp.mpf(x) + sign * h * (j == i) for j, x in enumerate(row))) for sign in (1, -1))
    return float((up - down) / (2 * h))


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(60):
        yield


@pytest.fixture(scope="module")
def golden():
    rows = pd.read_csv(GOLDENS / "svi.csv")
    return rows[rows["form"] == "svi_raw"]


def test_goldens(golden):
    """Total variance, its two derivatives and Durrleman's g, each to 1e-12 relative."""
    model = jc.SVI(*(jnp.asarray(golden[name].to_numpy()) for name in FIELDS))
    k = jnp.asarray(golden["k"].to_numpy())
    found = (*model.smile(k), model.durrleman(k))
    for value, name in zip(found, ("w", "dw_dk", "d2w_dk2", "durrleman_g"), strict=True):
        np.testing.assert_allclose(value, golden[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("rho", [-0.999999, -0.7, 0.0, 1e-9, 0.3, 0.999999])
def test_hyperbola_keeps_its_digits(rho):
    """Far out on the flat side, and next to the vertex, where the naive formula cancels."""
    x = np.array([-1e6, -30.0, -0.5, -1e-3, -1e-9, 0.0, 1e-12, 0.02, 1.0, 400.0, 1e5])
    found = hyperbola(jnp.asarray(x), jnp.asarray(rho), jnp.asarray(0.01**2))
    for i, point in enumerate(x):
        point, tilt = mp.mpf(point), mp.mpf(rho)
        root = mp.sqrt(point**2 + mp.mpf(0.01**2))
        expected = (tilt * point + root, tilt + point / root, mp.mpf(0.01**2) / root**3)
        for value, wanted in zip(found, expected, strict=True):
            assert float(value[i]) == pytest.approx(float(wanted), rel=4e-14, abs=1e-16 * abs(rho))


@pytest.mark.parametrize("name", MODELS)
def test_vols_and_derivatives(name):
    """Volatility to 1e-13; reverse mode against differences in 60 digits and forward mode, at the money too."""
    rows = [(*MODELS[name], strike, 0.5, 100.0) for strike in STRIKES]
    columns = tuple(jnp.asarray(x) for x in zip(*rows, strict=True))
    np.testing.assert_allclose(vol(*columns), [float(exact(*row)) for row in rows], rtol=1e-13)
    found = np.asarray(slopes(*columns))
    expected = np.array([[exact_slope(row, i) for i in range(8)] for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max(initial=1.0))
    np.testing.assert_allclose(pushed(*columns), found, rtol=1e-12, atol=1e-14)


def test_published_jump_wings():
    """Gatheral and Jacquier 2014, example 5.1: the SVI-JW parameters of Vogt's smile, as printed."""
    found = jc.SVI(**VOGT).jump_wings(1.0)
    np.testing.assert_allclose(found, (0.01742625, -0.1752111, 0.6997381, 1.316798, 0.0116249), rtol=5e-7)


@pytest.mark.parametrize("name", ["equity", "low a", "rho 0.999"])
def test_jump_wings_round_trip(name):
    model = jc.SVI(*MODELS[name])
    back = jc.SVI.from_jump_wings(*model.jump_wings(0.3), 0.3)
    np.testing.assert_allclose([getattr(back, x) for x in FIELDS], MODELS[name], rtol=1e-9, atol=1e-12)


def _lawful(seed, count):
    """Random shapes over the whole box, slopes up to Lee's bound."""
    rng = np.random.default_rng(seed)
    rho = rng.uniform(-0.999, 0.999, count)
    b = 1.999 / (1 + np.abs(rho)) * 10 ** rng.uniform(-4, 0, count)
    m = rng.choice([-1, 1], count) * 10 ** rng.uniform(-3, 0.4, count)
    return rho, b, m, 10 ** rng.uniform(-3, 0.7, count)


def test_least_a_is_the_edge_of_butterfly_arbitrage():
    """Above it g is positive on a wide fine grid; a little below, somewhere negative."""
    count = 200
    rho, b, m, sigma = (jnp.asarray(x)[:, None] for x in _lawful(3, count))
    wide = jnp.sinh(jnp.linspace(-15.0, 15.0, 2001))[None, :]
    k = jnp.concatenate([m + sigma * wide, 0.1 * b * wide], axis=1)
    # a placeholder for a: only the shape counts
    least = jax.jit(lambda *x: jc.SVI(jnp.zeros_like(x[0]), *x).least_a())(b, rho, m, sigma)
    depth = least + b * sigma * jnp.sqrt(1.0 - rho**2)
    assert bool(jnp.all(depth > 0))  # a smile whose variance touches zero always has arbitrage

    def lowest(a):
        return np.asarray(jnp.min(jc.SVI(a, b, rho, m, sigma).durrleman(k), axis=1))

    assert lowest(least + 1e-9 * depth).min() > -1e-7
    assert lowest(least + 0.3 * depth).min() > 0
    below = lowest(least - 1e-2 * depth)
    assert np.mean(below < 0) > 0.97  # in the others g dips between the points of the grid, or by less than rounding
    assert below.max() < 1e-5


def test_least_a_of_published_smiles():
    """Vogt's smile is below its edge; the repair printed in example 5.1 of the paper is not."""
    vogt = jc.SVI(**VOGT)
    assert float(vogt.least_a()) > VOGT["a"] + 0.005
    repaired = jc.SVI.from_jump_wings(0.01742625, -0.1752111, 0.6997381, 0.8564763, 0.0116249, 1.0)
    assert float(repaired.least_a()) < float(repaired.a)


def test_least_a_derivatives():
    """Against central differences of itself."""
    least = jax.jit(jax.vmap(lambda b, rho, m, sigma: jc.SVI(b, b, rho, m, sigma).least_a()))
    slope = jax.jit(jax.vmap(jax.grad(lambda x: jc.SVI(x[0], *x).least_a())))
    point = jnp.stack([jnp.asarray(MODELS[name][1:]) for name in ("equity", "low a", "rho 0.999", "no skew")])
    found = np.asarray(slope(point))
    for j in range(4):
        h = 1e-6 * jnp.abs(point[:, j]) + (1e-8 if j == 2 else 0.0)
        h = jnp.where(jnp.abs(point[:, j]) == 0, 1e-7, h)
        step = jnp.zeros((4, 4)).at[:, j].set(h)
        expected = (least(*(point + step).T) - least(*(point - step).T)) / (2 * h)
        kink = (np.asarray(point[:, 1]) == 0) & (j in (1, 2))  # a symmetric smile: two strikes are equally low
        np.testing.assert_allclose(found[~kink, j], expected[~kink], rtol=1e-5, atol=1e-7)


def test_search_has_no_kink():
    """Where two log-strikes bind, as in a symmetric smile, the bound of a search is smooth and just above the exact
    one; elsewhere it is the exact one.
    """
    origin = jc.SVI.bounds["a"].origin
    smooth = jax.jit(jax.vmap(lambda x: jnp.stack([origin(jc.SVI(x[0], *x)), jc.SVI(x[0], *x).least_a()])))  # type: ignore[misc]
    slope = jax.jit(jax.vmap(jax.grad(lambda x: origin(jc.SVI(x[0], *x)))))  # type: ignore[misc]
    points = jnp.asarray([MODELS["no skew"][1:], MODELS["equity"][1:]])
    (rounded, exact), (same, least) = np.asarray(smooth(points))
    assert 0 < rounded - exact <= 0.3 * 0.5 / 3999
    assert same == least
    np.testing.assert_allclose(np.asarray(slope(points))[0, 1:3], 0.0, atol=1e-6)  # by symmetry
    near = points[:1] + jnp.asarray([[0.0, 0.0, 2e-5, 0.0], [0.0, 0.0, -2e-5, 0.0]])
    left, right = np.asarray(slope(near))[:, 2]
    assert abs(left - right) < 0.5 * abs(np.asarray(slope(points.at[:, 2].add(0.05)))[0, 2])


def test_domain():
    good = dict(zip(FIELDS, MODELS["equity"], strict=True))
    broken = {
        "b must not be negative": {"b": -0.1},
        r"rho must lie in \(-1, 1\)": {"rho": -1.0},
        "sigma must be positive": {"sigma": 0.0},
        r"a \+ b sigma sqrt\(1 - rho\^2\) must not be negative": {"a": -0.02},
    }
    for sentence, change in broken.items():
        with pytest.raises(ValueError, match=sentence):
            jc.SVI(**(good | change))
    jc.SVI(a=0.04, b=0.0, rho=0.0, m=0.0, sigma=0.1)  # flat is lawful
    jc.SVI(a=-0.3, b=1.0, rho=0.0, m=0.0, sigma=0.3)  # so is touching zero


def test_bad_market_input_is_nan():
    found = vol(*MODELS["equity"], jnp.asarray([-1.0, 0.0, 100.0]), jnp.asarray([0.5, 0.5, -1.0]), 100.0)
    assert np.isnan(found).all()
    assert np.isnan(vol(-1.0, 0.1, 0.0, 0.0, 0.1, 100.0, 1.0, 100.0))  # negative variance


def test_float32():
    row = [jnp.asarray(x, jnp.float32) for x in (*MODELS["equity"], 120.0, 0.5, 100.0)]
    found = vol(*row)
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(float(vol(*MODELS["equity"], 120.0, 0.5, 100.0)), rel=1e-6)
    assert jc.SVI(*row[:5]).least_a().dtype == jnp.float32

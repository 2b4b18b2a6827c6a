"""ArbitrageFreeSVI: no static arbitrage for any parameters, at, between and beyond the knots; fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.law import check_model

KNOTS = jnp.asarray([0.02, 0.1, 0.5])
A, B, RHO, M, SIGMA = (
    jnp.asarray(x)
    for x in ([0.0008, 0.004, 0.02], [0.02, 0.05, 0.1], [-0.3, -0.4, -0.5], [0.0, 0.01, 0.03], [0.03, 0.08, 0.2])
)
MODEL = jc.ArbitrageFreeSVI.of_slices(KNOTS, jc.SVI(A, B, RHO, M, SIGMA))
K = jnp.unique(jnp.concatenate([jnp.sinh(jnp.linspace(-7.0, 7.0, 300)) * 0.01, jnp.linspace(-1.0, 1.0, 201)]))
TIMES = jnp.sort(jnp.concatenate([jnp.asarray([0.005, 0.019, 0.021, 0.05, 0.09, 0.11, 0.3, 0.45, 0.6, 2.0]), KNOTS]))


def drawn(seed):
    """A model anywhere within the bounds: some wings no steeper than before, some slices that rest on others."""
    random = np.random.default_rng(seed)

    def steps(scale):
        return random.uniform(0.0, 1.0, 3) ** 3 * scale * (random.uniform(size=3) < 0.7)

    right, left = steps(10.0 ** random.uniform(-2.0, 0.5)), steps(10.0 ** random.uniform(-2.0, 0.5))
    right[0], left[0] = right[0] + 1e-4, left[0] + 1e-4
    m, sigma = random.uniform(-0.3, 0.3, 3), 10.0 ** random.uniform(-2.5, 0.0, 3)
    return jc.ArbitrageFreeSVI(KNOTS, *(jnp.asarray(x) for x in (right, left, m, sigma, steps(0.02))))


@pytest.fixture(scope="module")
def looked_at():
    def look(model):
        slices = jax.vmap(lambda at: at.durrleman(K))(model.at_knots())
        return slices, jax.vmap(lambda t: model.total_variance(K, t))(TIMES)

    return jax.jit(look)


def calls(w):
    """Undiscounted calls over the forward, from total variance."""
    return np.asarray(jc.black_price(np.sqrt(w), np.exp(np.asarray(K)), 1.0, forward=1.0))


@pytest.mark.parametrize("seed", range(40))
def test_no_arbitrage_for_any_parameters(seed, looked_at):
    g, w = (np.asarray(x) for x in looked_at(drawn(seed)))
    assert (w > 0).all()
    assert g.min() > -1e-9
    assert (np.diff(w, axis=0) > -1e-9 * w[1:] - 1e-14).all()
    price, strike = calls(w), np.exp(np.asarray(K))
    slope = np.diff(price, axis=1) / np.diff(strike)
    rounding = 1e-13 / np.diff(strike)
    assert (np.diff(slope, axis=1) > -rounding[1:] - rounding[:-1] - 1e-12).all()  # convex at every time


def test_slices_come_back():
    at = MODEL.at_knots()
    for value, given in zip((at.a, at.b, at.rho, at.m, at.sigma), (A, B, RHO, M, SIGMA), strict=True):
        np.testing.assert_allclose(value, given, rtol=1e-10)
    alone = jc.SVI(*(float(x[1]) for x in (A, B, RHO, M, SIGMA)))
    strikes = jnp.asarray([70.0, 100.0, 140.0])
    np.testing.assert_allclose(MODEL.vol(strikes, 0.1, 100.0), alone.vol(strikes, 0.1, 100.0), rtol=1e-10)


def test_slices_that_cross_are_parted():
    """The last below the others, with flatter wings: then it rests on the one before."""
    crossing = jc.SVI(A.at[2].set(0.0), B.at[2].set(0.03), RHO, M, SIGMA)
    at = jc.ArbitrageFreeSVI.of_slices(KNOTS, crossing).at_knots()
    gap = np.asarray(jax.vmap(lambda s: s.total_variance(K))(at))
    assert (np.diff(gap, axis=0) > -1e-12).all()
    assert float(jnp.asarray(at.b)[2]) > 0.99 * float(B[1])


def test_slices_that_are_nearly_the_same_do_not_cross():
    """Two log-strikes bind within a vertex that is wide: a coarse search took one for the other."""
    sigma = jnp.asarray([2.846418755, 2.918996207])
    b, rho, m = (jnp.asarray(x) for x in ([0.0918615, 0.09416346], [-0.0244342, -0.0258324], [0.11927386, 0.11344307]))
    at = jc.ArbitrageFreeSVI.of_slices(KNOTS[:2], jc.SVI(jnp.asarray([-0.2068, -0.2299]), b, rho, m, sigma)).at_knots()
    k = jnp.linspace(-4.0, 4.0, 4001)
    w = np.asarray(jax.vmap(lambda one: one.total_variance(k))(at))
    assert np.diff(w, axis=0).min() > -1e-10


def test_linear_at_the_money_and_beyond():
    w = np.asarray(MODEL.total_variance(0.0, jnp.asarray([0.01, 0.02, 0.06, 0.1, 0.5, 0.9])))
    np.testing.assert_allclose(w[0], 0.5 * w[1], rtol=1e-12)
    np.testing.assert_allclose(w[2], 0.5 * (w[1] + w[3]), rtol=1e-9)
    np.testing.assert_allclose(w[5] - w[4], w[4] - w[3], rtol=1e-9)


def test_derivatives():
    names = tuple(MODEL.bounds)

    def vol(x):
        model = jc.ArbitrageFreeSVI(KNOTS, *x)
        return model.vol(jnp.asarray([80.0, 100.0, 130.0]), jnp.asarray([0.01, 0.3, 0.5]), 100.0)

    fields = tuple(getattr(MODEL, name) for name in names)
    given, value = jax.jit(jax.jacfwd(vol))(fields), jax.jit(vol)
    for i, one in enumerate(given):
        for j in range(3):
            up, down = (
                value(tuple(x.at[j].add(side * 1e-6) if n == i else x for n, x in enumerate(fields)))
                for side in (1.0, -1.0)
            )
            np.testing.assert_allclose(one[:, j], (up - down) / 2e-6, rtol=1e-5, atol=1e-6)


def test_check_model_finds_nothing():
    assert list(check_model(MODEL)) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"lift": -SIGMA}, "lift must not be negative"),
        ({"sigma": 0.0 * SIGMA}, "sigma must be positive"),
        ({"right": 0.0 * SIGMA}, "right must not be negative, nor its first 0"),
        ({"left": -SIGMA}, "left must not be negative, nor its first 0"),
        ({"knots": KNOTS[::-1]}, "knots must rise from above 0"),
    ],
)
def test_what_is_no_model(change, rule):
    given = {"knots": KNOTS, "right": SIGMA, "left": SIGMA, "m": M, "sigma": SIGMA, "lift": A}
    with pytest.raises(ValueError, match=rule):
        jc.ArbitrageFreeSVI(**given | change)


def surface_of(model):
    strike = 100.0 * np.exp(np.linspace(-3.0, 2.5, 11) * 0.25 * np.sqrt(np.asarray(KNOTS))[:, None])
    vol = model.vol(jnp.asarray(strike), KNOTS[:, None], 100.0)
    return jc.Surface.from_vols(KNOTS, strike, np.asarray(vol), forward=100.0)


def test_a_fit_finds_the_slices_and_says_where_it_cannot_start():
    surface = surface_of(MODEL)
    fit = jc.calibrate(jc.ArbitrageFreeSVI, surface)
    assert fit.converged
    assert float(fit.rmse_vol) < 1e-6
    assert jc.model_arbitrage(fit, num_between=1).num_violations == 0
    with pytest.raises(ValueError, match=r"has no knot at 0\.02 years"):
        jc.calibrate(
            jc.ArbitrageFreeSVI(2.0 * KNOTS, *(getattr(fit.model, name) for name in fit.model.bounds)), surface
        )
    sparse = jc.Surface.from_vols([0.1, 0.5], [90.0, 110.0], [[0.2, 0.2], [0.2, 0.2]], forward=100.0)
    assert "fewer quotes" in str(jc.calibrate(jc.ArbitrageFreeSVI, sparse).status)


@pytest.mark.market_data
@pytest.mark.slow
def test_a_recorded_chain(market_data):
    path = market_data / "deribit" / "single" / "btc_2025-12-05.csv"
    (surface,) = jc.surfaces_from_quotes(jc.read_quotes(path), rules=jc.CleaningRules()).values()
    fit = jc.calibrate(jc.ArbitrageFreeSVI, surface, residual=jc.HalfSpreadResidual(), loss=jc.Cauchy(1.0))
    assert fit.converged
    assert float(fit.inside) >= 0.98
    assert jc.model_arbitrage(fit, deviations=8.0, num_between=2).num_violations == 0

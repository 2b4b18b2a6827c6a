"""eSSVI: no static arbitrage for any parameters, at, between and beyond the knots; its formula; fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.law import check_model

KNOTS = jnp.asarray([0.02, 0.1, 0.5, 1.5])
THETA, RHO, PSI = (jnp.asarray(x) for x in ([0.002, 0.01, 0.04, 0.09], [-0.3, -0.5, -0.6, -0.4], [0.04, 0.1, 0.2, 0.3]))
MODEL = jc.ESSVI.of_slices(KNOTS, THETA, RHO, PSI)
K = jnp.sort(jnp.concatenate([jnp.sinh(jnp.linspace(-7.0, 7.0, 401)) * 0.01, jnp.linspace(-1.0, 1.0, 201)]))
TIMES = jnp.sort(jnp.concatenate([jnp.linspace(1e-3, 2.5, 60), KNOTS]))


def drawn(seed):
    """A model anywhere within the bounds: increments of all sizes, some of them 0."""
    random = np.random.default_rng(seed)

    def steps():
        return random.uniform(0.0, 1.0, 4) ** 3 * 10.0 ** random.uniform(-3.0, 1.0) * (random.uniform(size=4) < 0.8)

    right, left, width = steps(), steps(), steps()
    right[0], left[0] = right[0] + 1e-6, left[0] + 1e-6
    return jc.ESSVI(KNOTS, *(jnp.asarray(x) for x in (right, left, width)))


@pytest.fixture(scope="module")
def looked_at():
    def look(model):
        return model.durrleman(K[None, :], TIMES[:, None]), model.total_variance(K[None, :], TIMES[:, None])

    return jax.jit(look)


@pytest.mark.parametrize("seed", range(40))
def test_no_arbitrage_for_any_parameters(seed, looked_at):
    g, w = (np.asarray(x) for x in looked_at(drawn(seed)))
    assert (w > 0).all()
    assert g.min() > -1e-9
    assert (np.diff(w, axis=0) > -1e-12 * w[1:]).all()


def test_slices_with_arbitrage_are_taken_back(looked_at):
    """Wings steeper than theorem 4.2 allows, and a total variance that falls."""
    steep = jc.ESSVI.of_slices(KNOTS, THETA, RHO, 10.0 * PSI)
    falling = jc.ESSVI.of_slices(KNOTS, THETA[::-1], RHO, PSI)
    assert float(steep.slices(KNOTS).theta[0]) > 2.0 * float(THETA[0])
    for model in (steep, falling):
        g, w = (np.asarray(x) for x in looked_at(model))
        assert g.min() > -1e-9
        assert np.diff(w, axis=0).min() > -1e-12


def test_slices_come_back():
    found = MODEL.slices(KNOTS)
    for value, given in zip((found.theta, found.rho, found.psi), (THETA, RHO, PSI), strict=True):
        np.testing.assert_allclose(value, given, rtol=1e-12)


def test_ssvi_is_a_part():
    """With one rho, and the psi that SSVI has at its theta."""
    one = jc.SSVI(KNOTS, jnp.asarray([0.1, 0.1, 0.08, 0.06]), rho=-0.4, eta=0.9, gamma=0.4)
    theta = one.theta(KNOTS)
    model = jc.ESSVI.of_slices(KNOTS, theta, jnp.full(4, -0.4), theta * one.phi(theta))
    k = jnp.linspace(-1.0, 1.0, 11)
    np.testing.assert_allclose(
        model.total_variance(k, KNOTS[:, None]), one.total_variance(k, KNOTS[:, None]), rtol=1e-12
    )


def test_linear_between_knots_and_beyond():
    t = jnp.asarray([0.01, 0.3, 3.0])
    found = MODEL.slices(t)
    np.testing.assert_allclose(found.theta, [0.001, 0.025, 0.09 + 0.05 * 1.5], rtol=1e-12)
    np.testing.assert_allclose(found.psi, [0.02, 0.15, 0.3], rtol=1e-12)
    np.testing.assert_allclose(found.rho * found.psi, [-0.006, -0.085, -0.12], rtol=1e-12)


def test_derivatives():
    def vol(x):
        return jc.ESSVI(KNOTS, *x).vol(jnp.asarray([60.0, 100.0, 130.0]), jnp.asarray([0.01, 0.3, 0.5]), 100.0)

    fields = (MODEL.right, MODEL.left, MODEL.width)
    given = jax.jacfwd(vol)(fields)
    for i, one in enumerate(given):
        for j in range(4):
            up, down = (
                vol(tuple(x.at[j].add(side * 1e-6) if n == i else x for n, x in enumerate(fields)))
                for side in (1.0, -1.0)
            )
            np.testing.assert_allclose(one[:, j], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


def test_check_model_finds_nothing():
    assert list(check_model(MODEL)) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"width": -PSI}, "width must not be negative"),
        ({"right": jnp.zeros(4)}, "right must not be negative, nor its first 0"),
        ({"left": -PSI}, "left must not be negative, nor its first 0"),
        ({"knots": jnp.asarray([0.1, 0.1, 0.2, 0.3])}, "knots must rise from above 0"),
    ],
)
def test_what_is_no_model(change, rule):
    with pytest.raises(ValueError, match=rule):
        jc.ESSVI(**{"knots": KNOTS, "right": PSI, "left": PSI, "width": THETA} | change)


def surface_of(model, expiry=KNOTS):
    strike = 100.0 * np.exp(np.linspace(-2.5, 2.0, 9) * 0.25 * np.sqrt(np.asarray(expiry))[:, None])
    vol = model.vol(jnp.asarray(strike), jnp.asarray(expiry)[:, None], 100.0)
    return jc.Surface.from_vols(expiry, strike, np.asarray(vol), forward=100.0)


def test_fits_alone_and_side_by_side():
    surfaces = [surface_of(MODEL), surface_of(MODEL, KNOTS[1:])]
    found = jc.calibrate_many(jc.ESSVI, surfaces)
    for i, surface in enumerate(surfaces):
        fit = jc.calibrate(jc.ESSVI, surface)
        assert fit.converged
        assert float(fit.rmse_vol) < 1e-7
        assert float(found[i].rmse_vol) < 1e-7
        assert fit.model.knots.shape == (4 - i,)


def test_a_fit_from_the_class_goes_on_at_the_limit_of_steps():
    few = jc.LevenbergMarquardt(max_steps=3)
    surface = surface_of(MODEL)
    fit = jc.calibrate(jc.ESSVI, surface, solver=few)
    assert fit.converged
    assert int(fit.num_steps) > 3
    assert not jc.calibrate(jc.ESSVI(KNOTS, PSI, PSI, PSI), surface, solver=few).converged  # an instance does not


@pytest.mark.market_data
def test_a_recorded_chain(market_data):
    path = market_data / "deribit" / "single" / "btc_2025-12-05.csv"
    (surface,) = jc.surfaces_from_quotes(jc.read_quotes(path), rules=jc.CleaningRules()).values()
    fit = jc.calibrate(jc.ESSVI, surface, residual=jc.HalfSpreadResidual(), loss=jc.Cauchy(1.0))
    assert fit.converged
    assert float(fit.inside) >= 0.73
    assert jc.model_arbitrage(fit, deviations=8.0, num_between=2).num_violations == 0

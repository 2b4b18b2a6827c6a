"""Losses: exact in cost and gradient, the same optimum as scipy's, one or many; bad quotes decide little."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportIndexIssue=false
# (which loss a fit has, and that its numbers are arrays, is what the tests are about)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

import jaxcal as jc
from jaxcal.calibration.objective.calibration_problem import build_problem
from jaxcal.calibration.objective.loss import at_scale, curvature, influence, losses, make_loss
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.calibration.robust_scale import UNBOUNDED
from jaxcal.models.parameters import search_bounds, to_vector
from tests.small_models import Line

FREE = tuple(Line.bounds)
KINDS = {"huber": jc.Huber, "soft_l1": jc.SoftL1, "cauchy": jc.Cauchy}
# rho of z = (r / scale)^2, in units of scale^2 / 2: scipy's definitions
SCIPY = {
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(z) - 1),
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "cauchy": np.log1p,
}
RESIDUALS = np.asarray([-0.2, -0.011, -0.003, -1e-5, 0.0, 1e-9, 2e-4, 0.0099, 0.0101, 0.05, 3.0])


@pytest.fixture(scope="module")
def spoiled(dax):
    """One quote in twenty is 10 vol points too high."""
    bad = np.random.default_rng(3).uniform(size=dax.vol.shape) < 0.05
    return eqx.tree_at(lambda s: s.vol, dax, dax.vol + jnp.asarray(0.1 * bad))


@pytest.mark.parametrize("name", KINDS)
def test_values_and_derivatives(name):
    loss = KINDS[name](0.01)

    @jax.jit
    def values(r):
        return losses(loss, r), influence(loss, r), curvature(loss, r)

    expected = 0.5 * 0.01**2 * SCIPY[name]((np.asarray(RESIDUALS) / 0.01) ** 2)
    value, first, second = map(np.asarray, values(RESIDUALS))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-18)
    step = 1e-7 * np.maximum(np.abs(RESIDUALS), 1e-3)
    up, down = RESIDUALS + step, RESIDUALS - step
    above, below = (list(map(np.asarray, values(r))) for r in (up, down))
    np.testing.assert_allclose(first, (above[0] - below[0]) / (up - down), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(second, (above[1] - below[1]) / (up - down), rtol=1e-6, atol=1e-7)
    slopes = jax.jit(jax.vmap(jax.grad(loss.root)))(RESIDUALS)  # in reverse mode
    assert (np.asarray(slopes) > 0).all()
    root = jax.jit(lambda loss, r: loss.root(r))
    np.testing.assert_allclose(np.asarray(root(loss, -RESIDUALS)), -np.asarray(root(loss, RESIDUALS)), rtol=1e-15)
    wide = root(at_scale(loss, UNBOUNDED), RESIDUALS)
    np.testing.assert_allclose(np.asarray(wide), RESIDUALS, rtol=1e-15)
    assert root(loss, RESIDUALS.astype(np.float32)).dtype == jnp.float32


RESIDUALS_OF = jax.jit(lambda problem, y: problem.residuals(y))  # one program for all losses
JACOBIAN_OF = jax.jit(lambda problem, y: jax.jacfwd(problem.residuals)(y))


@pytest.mark.parametrize("name", KINDS)
def test_the_optimum_is_that_of_scipy(spoiled, name):
    start = jax.tree.map(jnp.asarray, Line(0.3, -0.1))
    fit = jc.calibrate(start, spoiled, loss=KINDS[name](0.01))
    market = eqx.filter_jit(MarketValues.of_surface)(spoiled)
    plain = build_problem(fit.model, FREE, market, spoiled.weight, jc.ImpliedVolResidual(), jc.Sinh(54))
    lower, upper = search_bounds(start, Line.bounds, FREE, np.dtype(np.float64))
    found = least_squares(
        lambda y: np.asarray(RESIDUALS_OF(plain, y)), np.asarray(to_vector(start, FREE)),
        lambda y: np.asarray(JACOBIAN_OF(plain, y)),
        bounds=(lower, upper), loss=name, f_scale=0.01, xtol=1e-14, ftol=1e-15, gtol=1e-15, max_nfev=2000,
    )  # fmt: skip
    assert fit.converged
    np.testing.assert_allclose(float(fit.cost), found.cost, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(to_vector(fit.model, FREE)), found.x, atol=2e-5)
    # the problem says the same cost, and its gradient is zero there
    problem = eqx.tree_at(lambda p: p.loss, plain, KINDS[name](0.01), is_leaf=lambda x: x is None)
    y = to_vector(fit.model, FREE)
    cost, gradient = jax.jit(jax.value_and_grad(lambda y: problem.cost(y)))(y)
    np.testing.assert_allclose(float(cost), float(fit.cost), rtol=1e-9)
    scale = np.sqrt(2 * float(fit.cost) * np.diagonal(fit.information))
    assert np.max(np.abs(gradient) / scale) < 1e-5


def test_information_and_standard_errors(dax, spoiled):
    linear = jc.calibrate(Line, dax)
    plain = linear.standard_errors
    wide = jc.calibrate(linear.model, dax, loss=jc.Huber(UNBOUNDED))
    np.testing.assert_allclose(np.asarray(wide.information), np.asarray(linear.information), rtol=1e-5)
    for name in FREE:
        np.testing.assert_allclose(getattr(wide.standard_errors, name), getattr(plain, name), rtol=1e-5)
    # Huber's formula, written out
    fit = jc.calibrate(linear.model, spoiled, loss=jc.Huber(0.02))
    used = np.asarray(dax.weight) > 0
    r, n, p = np.asarray(fit.residuals)[used], used.sum(), len(FREE)
    psi, inside = np.clip(r, -0.02, 0.02), (np.abs(r) < 0.02).mean()
    assert 0.1 < inside < 0.9
    s2 = (1 + p / n * (1 - inside) / inside) ** 2 * np.sum(psi**2) / (n - p) / inside**2
    errors = np.sqrt(s2 * np.diagonal(np.linalg.inv(np.asarray(fit.information))))
    np.testing.assert_allclose(float(fit.standard_errors.level), errors[0] * float(fit.model.level), rtol=1e-8)
    np.testing.assert_allclose(float(fit.standard_errors.slope), errors[1], rtol=1e-8)


def test_bad_quotes_decide_little(truth, options):
    noise = np.random.default_rng(1).normal(scale=0.003, size=options.vol.shape)
    bad = 0.1 * (np.random.default_rng(2).uniform(size=options.vol.shape) < 0.05)
    noisy = eqx.tree_at(lambda s: s.vol, options, options.vol + noise)
    worse = eqx.tree_at(lambda s: s.vol, options, options.vol + noise + bad)

    def error(surface, **settings):
        fit = jc.calibrate(jc.Heston, surface, **settings)
        assert fit.converged
        return max(abs(float(getattr(fit.model, n)) / getattr(truth, n) - 1.0) for n in jc.Heston.bounds), fit

    clean, _ = error(noisy)
    linear, _ = error(worse)
    robust, fit = error(worse, loss="huber")
    assert robust < 2.0 * clean
    assert linear > 3.0 * robust
    # 1.345 standard deviations of the noise, which the bad quotes and the fit itself hardly change
    assert pytest.approx(float(fit.loss.scale), rel=0.25) == 1.345 * 0.003
    mad = 1.4826 * np.nanmedian(np.abs(np.asarray(fit.residuals)))
    assert 1.345 * mad == pytest.approx(float(fit.loss.scale), rel=0.02)


def test_many_as_one(dax, spoiled, options):
    surfaces = [dax, spoiled, options]
    for loss in (jc.Huber(0.005), "huber"):
        many = jc.calibrate_many(Line, surfaces, loss=loss)
        for fit, surface in zip(many, surfaces, strict=True):
            one = jc.calibrate(Line, surface, loss=loss)
            np.testing.assert_allclose(np.asarray(fit.model_vol), np.asarray(one.model_vol), atol=1e-6)
            np.testing.assert_allclose(float(fit.cost), float(one.cost), rtol=1e-5, atol=1e-14)
            np.testing.assert_allclose(float(fit.loss.scale), float(one.loss.scale), rtol=1e-4)
            assert fit.status == one.status
            np.testing.assert_allclose(
                float(fit.standard_errors.slope), float(one.standard_errors.slope), rtol=1e-3, atol=1e-9
            )
    np.testing.assert_allclose(many.standard_errors.slope[1], float(many[1].standard_errors.slope), rtol=1e-10)


@pytest.mark.slow
def test_expiries_by_themselves_share_a_scale(spoiled):
    one = jc.calibrate(jc.SVI, spoiled, loss="huber")
    many = jc.calibrate_many(jc.SVI, [spoiled], loss="huber")[0]
    np.testing.assert_allclose(np.asarray(one.model_vol), np.asarray(many.model_vol), atol=1e-6)
    np.testing.assert_allclose(float(one.loss.scale), float(many.loss.scale), rtol=1e-4)
    assert np.ndim(one.loss.scale) == 0


def test_an_exact_fit_needs_no_robustness(options):
    fit = jc.calibrate(jc.Heston, options, loss="huber")
    assert fit.converged
    assert float(fit.rmse_vol) < 1e-8


def test_bad_input(dax):
    with pytest.raises(ValueError, match="there is no loss 'hubber'; there are linear, huber"):
        jc.calibrate(Line, dax, loss="hubber")
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="must be positive, or"):
            jc.Huber(scale)
    assert make_loss(jc.Linear()) is None
    assert isinstance(make_loss("soft-l1"), jc.SoftL1)

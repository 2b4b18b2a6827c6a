"""Priors, Feller's condition, ties, and strengths by rule."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# (which prior a fit has is what the tests are about)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.parameters import to_vector
from tests.small_models import Parabola

FREE = tuple(jc.Heston.bounds)


@pytest.fixture(scope="module")
def flat():
    """Ten quotes at a volatility of 0.2, so that a fit of Black-Scholes with a prior is known in closed form."""
    strike = np.linspace(80.0, 120.0, 5)
    return jc.Surface.from_vols([0.5, 1.0], strike, np.full((2, 5), 0.2), forward=100.0)


@pytest.fixture(scope="module")
def curved():
    """A parabola in log-moneyness that breaks Feller's condition, by the names of its parameters, 25-fold."""
    strike = np.linspace(80.0, 120.0, 5)
    x = np.log(strike / 100.0)
    return jc.Surface.from_vols([0.5, 1.0], strike, np.stack([0.2 - 0.1 * x + x * x] * 2), forward=100.0)


def sigma_of(surface, prior, **settings):
    fit = jc.calibrate(jc.BlackScholes, surface, prior=prior, **settings)
    assert fit.converged
    return float(fit.model.sigma)


def test_a_gaussian_is_the_posterior_mode(flat):
    # noise 0.01 of ten quotes at 0.2, prior 0.3 +- 0.005: the mean weighted by precision
    quotes, prior = 10 / 0.01**2, 1 / 0.005**2
    expected = (quotes * 0.2 + prior * 0.3) / (quotes + prior)
    belief = jc.Gaussian({"sigma": 0.3}, std=0.005, strength=0.01)
    assert sigma_of(flat, belief) == pytest.approx(expected, rel=1e-6)
    # as one of several, and as the covariance
    both = [jc.Gaussian({"sigma": 0.3}, std=0.005 * 2**0.5), jc.Gaussian({"sigma": 0.3}, covariance=[[2 * 0.005**2]])]
    assert sigma_of(flat, both) == pytest.approx(expected, rel=1e-6)
    log = jc.Gaussian({"sigma": 0.3}, std=1e-6, on="search")
    assert sigma_of(flat, log) == pytest.approx(0.3, rel=1e-5)


def test_residuals_of_a_covariance():
    covariance = np.array([[0.25, 0.02, 0.0], [0.02, 0.01, 0.001], [0.0, 0.001, 0.04]])
    mean = {"kappa": 2.0, "rho": -0.7, "v0": 0.05}
    model = jax.tree.map(jnp.asarray, jc.Heston(0.06, 2.5, 0.04, 0.5, -0.6))
    off = np.array([0.5, 0.1, 0.01])
    residuals = np.asarray(jc.Gaussian(mean, covariance=covariance, strength=0.3)(model))
    assert residuals @ residuals == pytest.approx(0.09 * off @ np.linalg.solve(covariance, off))
    residuals = np.asarray(jc.Gaussian(mean, covariance=covariance, on="search", strength=1.0)(model))
    off = np.array([np.log(2.5 / 2.0), 0.1, np.log(0.06 / 0.05)])
    assert residuals @ residuals == pytest.approx(off @ np.linalg.solve(covariance, off))


@pytest.mark.slow
def test_toward_a_fit_is_as_if_its_quotes_were_there_again(dax, dax_fit):
    lifted = eqx.tree_at(lambda s: s.vol, dax, dax.vol + 0.002)
    fit = jc.calibrate(dax_fit.model, lifted, prior=jc.toward(dax_fit, 1.0))
    alone = jc.calibrate(dax_fit.model, lifted)
    y, before, after = (np.asarray(to_vector(m, FREE)) for m in (fit.model, dax_fit.model, alone.model))
    # half way between, in the metric of the information, for a small change of the quotes
    np.testing.assert_allclose(y, 0.5 * (before + after), atol=0.1 * np.max(np.abs(after - before)))
    near = jc.calibrate(dax_fit.model, lifted, prior=jc.toward(dax_fit, 1e4))
    assert (
        np.max(np.abs(np.asarray(to_vector(near.model, FREE)) - before)) < 1e-3 * np.max(np.abs(after - before)) + 1e-6
    )
    many = jc.calibrate_many(jc.Heston, {"a": dax, "b": dax})
    again = jc.calibrate_many(many["a"].model, {"a": lifted, "b": lifted}, prior=jc.toward(many, 1.0))
    np.testing.assert_allclose(np.asarray(again["b"].model_vol), np.asarray(fit.model_vol), atol=1e-6)
    only = jc.calibrate_many(many["a"].model, {"a": lifted, "b": lifted}, prior={"b": jc.toward(many["b"], 1.0)})
    np.testing.assert_allclose(np.asarray(only["a"].model_vol), np.asarray(alone.model_vol), atol=1e-6)
    np.testing.assert_allclose(np.asarray(only["b"].model_vol), np.asarray(fit.model_vol), atol=1e-6)


def excess(model):
    return float(model.sigma**2 / (2.0 * model.kappa * model.theta))


def test_feller_of_heston(dax, dax_fit):
    assert excess(dax_fit.model) > 3.0  # the market breaks it
    hard = jc.calibrate(jc.Heston, dax, bounds=jc.feller_bounds(jc.Heston))
    assert hard.converged
    assert excess(hard.model) == pytest.approx(1.0, abs=1e-9)
    assert excess(hard.model) <= 1.0
    assert hard.status.at_bounds == ("sigma",)
    assert np.isnan(hard.standard_errors.sigma)


def test_feller_hard_and_soft(curved):
    fit = jc.calibrate(Parabola, curved)
    assert excess(fit.model) == pytest.approx(25.0, rel=1e-4)
    hard = jc.calibrate(Parabola, curved, bounds=jc.feller_bounds(Parabola))
    assert excess(hard.model) == pytest.approx(1.0, abs=1e-9)
    soft = jc.calibrate(fit.model, curved, prior=jc.Feller(100.0))
    assert excess(soft.model) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(float(soft.rmse_vol), float(hard.rmse_vol), rtol=1e-3)
    light = jc.calibrate(fit.model, curved, prior=jc.Feller(0.01))
    assert excess(hard.model) < excess(light.model) < excess(fit.model)
    many = jc.calibrate_many(Parabola, [curved, curved], bounds=jc.feller_bounds(Parabola))
    used = np.asarray(curved.weight) > 0
    np.testing.assert_allclose(np.asarray(many[1].model_vol)[used], np.asarray(hard.model_vol)[used], atol=1e-6)
    assert many[0].status.at_bounds == ("sigma",)


def test_models_without_a_feller_condition(flat):
    with pytest.raises(ValueError, match="BlackScholes has no kappa, theta and sigma"):
        jc.calibrate(jc.BlackScholes, flat, prior=jc.Feller())
    with pytest.raises(ValueError, match="no Feller condition"):
        jc.feller_bounds(jc.SVI)


def test_ties_of_heston(dax, dax_fit):
    tied = jc.calibrate(jc.Heston, dax, bounds={"theta": "v0"})
    assert tied.converged
    assert float(tied.model.theta) == float(tied.model.v0)
    assert tied.free == ("v0", "kappa", "sigma", "rho")
    assert float(tied.standard_errors.theta) == float(tied.standard_errors.v0) > 0
    assert ("theta", float(tied.model.v0), "as v0") in tied.table()
    assert float(tied.cost) > float(dax_fit.cost)


def test_ties(curved):
    tied = jc.calibrate(Parabola, curved, bounds={"theta": "kappa"})
    assert tied.converged
    assert float(tied.model.theta) == float(tied.model.kappa)
    assert tied.free == ("kappa", "sigma")
    # linear least squares in the two that are left
    used = np.asarray(curved.weight) > 0
    x, vol = np.log(np.asarray(curved.strike)[used] / 100.0), np.asarray(curved.vol)[used]
    best, squares, *_ = np.linalg.lstsq(np.stack([1.0 - x, x * x], axis=1), vol, rcond=None)
    np.testing.assert_allclose([float(tied.model.kappa), float(tied.model.sigma)], best, rtol=1e-6)
    assert float(tied.cost) == pytest.approx(0.5 * squares[0], rel=1e-6)
    many = jc.calibrate_many(Parabola, [curved], bounds={"theta": "kappa"})
    np.testing.assert_allclose(np.asarray(many[0].model_vol)[used], np.asarray(tied.model_vol)[used], atol=1e-6)
    np.testing.assert_allclose(many.standard_errors.theta, float(tied.standard_errors.kappa), rtol=1e-3)


def test_strength_by_discrepancy(flat):
    belief = jc.Gaussian({"sigma": 0.3}, std=0.01)
    fit = jc.calibrate(jc.BlackScholes, flat, prior=jc.Scaled(belief, "discrepancy", noise=0.004))
    assert fit.converged
    # every quote is missed by the noise, no more
    assert float(fit.model.sigma) == pytest.approx(0.204, abs=3e-5)
    assert float(fit.prior.strength) > 0
    again = sigma_of(flat, jc.Scaled(belief, float(fit.prior.strength)))
    assert again == pytest.approx(float(fit.model.sigma), rel=1e-6)
    many = jc.calibrate_many(jc.BlackScholes, [flat, flat], prior=jc.Scaled(belief, "discrepancy", noise=0.004))
    np.testing.assert_allclose(many.model.sigma, float(fit.model.sigma), rtol=1e-9)


def test_strengths_of_many_are_those_of_each(flat):
    """By two rules, beside a prior of a given strength, a surface without a prior and one that no rule applies to."""
    belief = jc.Gaussian({"sigma": 0.3}, std=0.01)
    priors = {
        "noise": jc.Scaled(belief, "discrepancy", noise=0.004),
        "less": jc.Scaled(belief, "discrepancy", noise=0.001),
        "corner": jc.Scaled(belief, "l_curve"),
        "given": jc.Scaled(belief, 0.5),
        "spread": jc.Scaled(belief, "discrepancy"),  # the half-spreads, which the quotes do not have
    }
    surfaces = dict.fromkeys([*priors, "none"], flat)
    many = jc.calibrate_many(jc.BlackScholes, surfaces, prior=priors)
    for key in ("noise", "less", "corner", "given"):
        alone = jc.calibrate(jc.BlackScholes, flat, prior=priors[key])
        np.testing.assert_allclose(many[key].model.sigma, alone.model.sigma, rtol=1e-12)
        used = many[key].prior
        assert used is not None
        assert alone.prior is not None
        np.testing.assert_allclose(used(many[key].model), alone.prior(alone.model), rtol=1e-9)
        assert int(many[key].num_steps) == int(alone.num_steps)
    np.testing.assert_allclose(many["none"].model.sigma, 0.2, rtol=1e-6)
    assert np.isnan(many["spread"].model.sigma)
    assert "no spread that says how noisy they are: give noise" in str(many.to_frame()["status"]["spread"])


def test_strength_by_the_misfit_and_by_the_corner(curved):
    flat = jc.calibrate(jc.BlackScholes, curved)
    far = jc.Gaussian({"sigma": 0.4}, std=0.5)
    fit = jc.calibrate(flat.model, curved, prior=jc.Scaled(far, "discrepancy", noise=0.001))
    squares = float(np.nansum(np.asarray(fit.residuals) ** 2)) / float(np.nansum(np.asarray(flat.residuals) ** 2))
    assert 1.03 < squares <= 1.0501  # the model misses by more than the noise: 5 % is what the prior may cost
    corner = jc.calibrate(flat.model, curved, prior=jc.Scaled(far, "l_curve"))
    assert corner.converged
    assert float(flat.model.sigma) < float(corner.model.sigma) < 0.4


def test_bad_input(dax, flat, dax_fit):
    with pytest.raises(ValueError, match=r"positive definite: its smallest eigenvalue is -0\.5"):
        jc.Gaussian({"kappa": 1.0, "rho": 0.0}, covariance=[[1.0, 1.5], [1.5, 1.0]])
    with pytest.raises(ValueError, match="finite and symmetric"):
        jc.Gaussian({"kappa": 1.0, "rho": 0.0}, covariance=[[1.0, 0.5], [0.2, 1.0]])
    with pytest.raises(ValueError, match=r"has shape \(1, 1\), and the means are 2"):
        jc.Gaussian({"kappa": 1.0, "rho": 0.0}, covariance=[[1.0]])
    with pytest.raises(ValueError, match="either std or covariance"):
        jc.Gaussian({"kappa": 1.0})
    with pytest.raises(ValueError, match="must be positive and finite"):
        jc.Gaussian({"kappa": 1.0}, std=0.0)
    with pytest.raises(ValueError, match="std is given for rho, and mean for kappa"):
        jc.Gaussian({"kappa": 1.0}, std={"rho": 1.0})
    with pytest.raises(ValueError, match="the prior names 'nu': Heston has v0, kappa"):
        jc.calibrate(jc.Heston, dax, prior=jc.Gaussian({"nu": 1.0}, std=1.0))
    with pytest.raises(ValueError, match="on the search scale it must be positive"):
        jc.calibrate(jc.Heston, dax, prior=jc.Gaussian({"kappa": -1.0}, std=1.0, on="search"))
    with pytest.raises(ValueError, match="that has no v0"):
        jc.calibrate(jc.BlackScholes, flat, prior=jc.toward(dax_fit))
    with pytest.raises(ValueError, match="finite and not negative"):
        jc.toward(dax_fit, -1.0)
    with pytest.raises(ValueError, match="no spread that says how noisy"):
        jc.calibrate(jc.BlackScholes, flat, prior=jc.Scaled(jc.Gaussian({"sigma": 0.3}, std=1.0), "discrepancy"))
    with pytest.raises(ValueError, match="a number that is not negative"):
        jc.Scaled(jc.Feller(), -1.0)
    for ties, sentence in (
        ({"theta": "vega"}, "it takes another parameter of Heston"),
        ({"theta": "theta"}, "it takes another parameter of Heston"),
        ({"theta": "v0", "v0": "sigma"}, "which is itself tied to sigma"),
    ):
        with pytest.raises(ValueError, match=sentence):
            jc.calibrate(jc.Heston, dax, bounds=ties)
    with pytest.raises(ValueError, match="it cannot be both"):
        jc.calibrate(jc.Heston, dax, free=["theta"], bounds={"theta": "v0"})
    with pytest.raises(ValueError, match="lower < upper"):
        jc.calibrate(jc.Heston, dax, bounds={"rho": (0.5, -0.5)})


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_smoothness_of_no_weight(weight):
    with pytest.raises(ValueError, match="the weight of Smoothness is"):
        jc.Smoothness(weight)

"""How a fit ends when the data or the settings are poor: a sentence, never a crash and never a false success."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from tests.small_models import Line


def only(surface, lines, places):
    """Weights that leave the quotes of some expiries and strikes."""
    weights = np.zeros(surface.weight.shape)
    for line in np.atleast_1d(lines):
        weights[line, places] = 1.0
    return weights


def standard_errors(fit):
    return {name: float(getattr(fit.standard_errors, name)) for name in fit.parameters}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_step_limit(dax, dax_fit, steps):
    fit = jc.calibrate(jc.Heston, dax, solver=jc.LevenbergMarquardt(max_steps=steps))
    assert fit.status == jc.Outcome.STEP_LIMIT
    assert not fit.converged
    assert "step limit" in str(fit.status)
    assert fit.num_steps == steps
    assert float(fit.cost) > float(dax_fit.cost)
    assert float(fit.gradient) > 1e-5


def test_throw(dax):
    with pytest.raises(jc.CalibrationError, match=r"^Not converged: the step limit was reached"):
        jc.calibrate(jc.Heston, dax, solver=jc.LevenbergMarquardt(max_steps=2), throw=True)
    assert jc.calibrate(jc.Heston, dax, throw=True).converged


@pytest.mark.parametrize("quotes", [0, 1, 4])
def test_fewer_quotes_than_parameters(dax, quotes):
    fit = jc.calibrate(jc.Heston, dax, weights=only(dax, 3, slice(quotes)))
    assert fit.status == jc.Outcome.TOO_FEW_QUOTES
    assert not fit.converged
    assert "fewer quotes than free parameters" in str(fit.status)
    assert fit.surface.num_quotes == quotes
    assert np.isnan(list(standard_errors(fit).values())).all()


def test_surface_without_a_quote(dax):
    fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.weight, dax, 0.0 * dax.weight))
    assert fit.status == jc.Outcome.TOO_FEW_QUOTES
    assert fit.surface.num_quotes == len(fit.to_frame()) == 0
    assert "0 quotes" in fit.summary()


def test_one_quote_is_enough_for_one_parameter():
    surface = jc.Surface.from_vols([0.5], [100.0], [[0.31]], forward=100.0)
    fit = jc.calibrate(jc.BlackScholes, surface)
    assert fit.converged
    assert float(fit.model.sigma) == pytest.approx(0.31, rel=1e-9)
    assert np.isnan(float(fit.standard_errors.sigma))  # nothing is left to estimate the noise from


def test_as_many_quotes_as_parameters_have_no_standard_errors(dax):
    five = only(dax, [1, 7], [4, 8])
    five[4, 6] = 1.0
    fit = jc.calibrate(jc.Heston, dax, weights=five)
    assert fit.surface.num_quotes == 5
    assert np.isfinite(float(fit.rmse_vol))
    if not fit.status.at_bounds:
        assert np.isnan(list(standard_errors(fit).values())).all()


@pytest.mark.parametrize(
    ("lines", "places"), [(3, slice(13)), (range(8), 5), (0, slice(5))], ids=["one expiry", "one strike", "five quotes"]
)
def test_data_that_do_not_determine_the_parameters(dax, lines, places):
    """The fit is good; what is called converged is stationary, and starting again from there gains nothing."""
    weights = only(dax, lines, places)
    fit = jc.calibrate(jc.Heston, dax, weights=weights)
    assert float(fit.rmse_vol) < 0.02
    again = jc.calibrate(fit.model, dax, weights=weights, solver=jc.LevenbergMarquardt(max_steps=1000))
    assert float(again.cost) <= float(fit.cost) * (1 + 1e-9)
    if fit.converged:
        assert float(fit.gradient) < 1e-5
        assert float(again.cost) == pytest.approx(float(fit.cost), rel=1e-4)


def test_one_expiry_of_its_own():
    """Without padding by other expiries; Black volatilities of a skewed smile."""
    strike = np.linspace(80.0, 120.0, 12)
    vol = 0.2 - 0.15 * np.log(strike / 100.0) + 0.2 * np.log(strike / 100.0) ** 2
    fit = jc.calibrate(jc.Heston, jc.Surface.from_vols([0.25], strike, vol[None, :], forward=100.0))
    assert float(fit.rmse_vol) < 1e-3
    assert fit.model.rho < 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.2])
def test_bad_volatility_in_the_surface(dax, value):
    fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, dax, dax.vol.at[2, 3].set(value)))
    assert not fit.converged
    assert fit.status == jc.Outcome.NOT_FINITE
    assert str(fit.status).startswith("Not fitted")
    assert np.isnan(list(standard_errors(fit).values())).all()
    assert "Not fitted" in fit.summary()
    assert len(fit.to_frame()) == 104


def test_start_that_is_not_a_number(dax):
    fit = jc.calibrate(eqx.tree_at(lambda m: m.slope, Line(0.2, 0.0), float("nan")), dax)
    assert fit.status == jc.Outcome.NOT_FINITE
    assert np.isnan(list(standard_errors(fit).values())).all()


def test_start_outside_the_bounds_is_moved_inside(dax, dax_fit):
    fit = jc.calibrate(jc.Heston(0.1, 300.0, 0.1, 100.0, -0.9999), dax)
    assert fit.converged
    assert float(fit.cost) == pytest.approx(float(dax_fit.cost), rel=1e-8)


@pytest.mark.parametrize(
    ("bounds", "name"),
    [({"kappa": (0.5, 5.0)}, "kappa"), ({"rho": (-0.4, 0.9)}, "rho"), ({"v0": (0.3, 1.0)}, "v0")],
    ids=["kappa", "rho", "v0"],
)
def test_parameter_at_its_bound(dax, dax_fit, bounds, name):
    fit = jc.calibrate(jc.Heston, dax, bounds=bounds)
    assert fit.converged
    assert fit.status.at_bounds == (name,)
    assert str(fit.status).endswith(f"At its bound: {name}.")
    (lower, upper), value = bounds[name], float(getattr(fit.model, name))
    assert lower <= value <= upper
    assert value == pytest.approx(upper if float(getattr(dax_fit.model, name)) > upper else lower, rel=1e-12)
    errors = standard_errors(fit)
    assert np.isnan(errors.pop(name))
    assert all(error > 0 for error in errors.values())
    assert float(fit.cost) > float(dax_fit.cost)
    assert "at its bound" in fit.summary()
    # the same as having fixed it there
    fixed = jc.calibrate(jc.Heston(**{**fit.parameters, "theta": 0.2}), dax, bounds={name: (value, value + 1e-9)})
    assert float(fixed.cost) == pytest.approx(float(fit.cost), rel=1e-6)


def test_bounds_hold_exactly(dax):
    """Not only up to the rounding of the search scale."""
    for upper in (0.7, 3.0, 4.9, 5.0, 7.7, 9.1):
        fit = jc.calibrate(jc.Heston, dax, bounds={"kappa": (0.1, upper)})
        assert float(fit.model.kappa) <= upper


def test_bounds_that_do_not_bind_change_nothing(dax, dax_fit):
    fit = jc.calibrate(jc.Heston, dax, bounds={"kappa": jc.Interval(0.01, 50.0, "log"), "rho": (-0.9, 0.9)})
    assert fit.status == jc.Outcome.CONVERGED
    assert fit.status.at_bounds == ()
    for name, value in dax_fit.parameters.items():
        assert getattr(fit.model, name) == pytest.approx(value, rel=1e-6)


def test_converged_means_stationary(dax):
    """Over weights of all kinds: a fit called converged has residuals at right angles to its Jacobian."""
    random = np.random.default_rng(2)
    outcomes = []
    for _ in range(40):
        weights = random.exponential(size=dax.weight.shape) * (random.random(dax.weight.shape) < random.uniform(0.1, 1))
        fit = jc.calibrate(jc.Heston, dax, weights=weights)
        outcomes.append(fit.status.outcome)
        assert np.isfinite(float(fit.rmse_vol))
        if fit.converged:
            assert float(fit.gradient) < 1e-5 or float(fit.cost) < 1e-16
            again = jc.calibrate(fit.model, dax, weights=weights)
            assert float(again.cost) >= (1 - 1e-4) * float(fit.cost) - 1e-14
    assert outcomes.count(jc.Outcome.CONVERGED) >= 38


@pytest.mark.slow
def test_coarse_grid_never_fakes_a_fit(options, truth):
    """Four nodes cannot price these options; three of them are even fitted better on the coarse grid than the truth."""
    fit = jc.calibrate(jc.Heston, options, pricer=jc.Laguerre(4))
    on_fine = jc.model_vol(fit.model, options.strike, options.expiry[:, None], forward=options.forward[:, None])
    used = np.asarray(options.weight) > 0
    np.testing.assert_allclose(np.asarray(fit.model_vol)[used], np.asarray(on_fine)[used], atol=1e-6)
    if fit.converged:
        np.testing.assert_allclose(np.asarray(on_fine)[used], np.asarray(options.vol)[used], atol=1e-6)
    else:
        assert fit.status == jc.Outcome.UNRESOLVED


def test_sentences():
    assert {outcome.sentence for outcome in jc.Outcome} == {str(jc.Status(outcome)) for outcome in jc.Outcome}
    assert [jc.Status(outcome).converged for outcome in jc.Outcome].count(True) == 1
    assert str(jc.Status(jc.Outcome.STALLED, ("v0", "rho"))).endswith("At their bounds: v0, rho.")
    assert jc.Status(jc.Outcome.CONVERGED) == jc.Outcome.CONVERGED != jc.Status(jc.Outcome.STALLED)
    assert jc.Status(jc.Outcome.CONVERGED, ("rho",)) != jc.Status(jc.Outcome.CONVERGED)


def test_worthless_quote_does_not_rule_the_fit(dax):
    """A quote that is worth nothing (a strike at a tenth of the forward, two weeks) neither stops nor rules the fit."""
    deep = eqx.tree_at(lambda s: s.strike, dax, dax.strike.at[0, 0].set(500.0))
    fit = jc.calibrate(jc.Heston, deep)
    assert fit.converged
    assert float(jnp.nanmedian(jnp.abs(fit.residuals))) < 0.01
    assert float(fit.rmse_vol) < 0.1

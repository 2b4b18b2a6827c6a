"""Arguments of calibrate: what is fixed stays, what is wrong is refused with a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

START = jc.Heston(v0=0.1, kappa=5.0, theta=0.1, sigma=1.0, rho=-0.5)


def test_fixed_fields_stay(dax, dax_fit):
    fit = jc.calibrate(START, dax, free=["rho", "v0", "theta", "sigma"])
    assert fit.converged
    assert float(fit.model.kappa) == 5.0
    assert fit.free == ("v0", "theta", "sigma", "rho")  # the order of the model, whatever was asked
    assert np.isnan(float(fit.standard_errors.kappa))
    assert float(fit.standard_errors.rho) > 0
    assert fit.information.shape == (4, 4)
    assert "fixed" in fit.summary()
    assert float(fit.cost) > float(dax_fit.cost)
    # fixing a parameter is bounding it tightly
    bounded = jc.calibrate(START, dax, bounds={"kappa": (5.0 * (1 - 1e-9), 5.0 * (1 + 1e-9))})
    assert float(fit.cost) == pytest.approx(float(bounded.cost), rel=1e-7)


@pytest.mark.slow
def test_one_free_parameter_at_the_optimum_of_the_others(dax, dax_fit):
    model = jc.Heston(**{**dax_fit.parameters, "sigma": 1.0})
    fit = jc.calibrate(model, dax, free=("sigma",))
    assert fit.converged
    assert float(fit.model.sigma) == pytest.approx(float(dax_fit.model.sigma), rel=1e-5)
    # the others are known now, so this one is known better
    assert float(fit.standard_errors.sigma) < float(dax_fit.standard_errors.sigma)


@pytest.mark.parametrize(
    "number", [float, jnp.asarray, lambda x: jnp.asarray(x, jnp.float32)], ids=["float", "array", "float32"]
)
def test_parameters_may_be_any_kind_of_number(dax, dax_fit, number):
    start = jax.tree.map(lambda leaf: number(leaf), START)
    fit = jc.calibrate(start, dax)
    assert float(fit.cost) == pytest.approx(float(dax_fit.cost), rel=1e-8)
    assert fit.model.v0.dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"free": ["vol"]}, r"free must name parameters of Heston \(v0, kappa, theta, sigma, rho\), not \['vol'\]"),
        ({"free": []}, r"free must name parameters"),
        ({"free": "rho"}, r"free must name parameters"),
        ({"bounds": {"vol": (0.0, 1.0)}}, r"bounds name 'vol', which is not a parameter of Heston"),
        ({"bounds": {"rho": (0.5, -0.5)}}, r"bounds of rho are \(0.5, -0.5\): they must be finite with lower < upper"),
        ({"bounds": {"rho": (0.5, 0.5)}}, r"bounds of rho"),
        ({"bounds": {"rho": (float("nan"), 0.5)}}, r"bounds of rho"),
        ({"bounds": {"rho": (float("-inf"), 0.5)}}, r"bounds of rho"),
        ({"bounds": {"v0": (0.0, 1.0)}}, r"bounds of v0 are \(0.0, 1.0\): they must be finite with 0 < lower < upper"),
        ({"bounds": {"v0": (-1.0, 1.0)}}, r"bounds of v0"),
        ({"weights": np.ones(3)}, r"weights have shape \(3,\), the surface has \(8, 16\)"),
        ({"weights": -np.ones((8, 16))}, r"weights must be finite and not negative"),
        ({"weights": np.full((8, 16), np.nan)}, r"weights must be finite and not negative"),
        ({"weights": np.full((8, 16), np.inf)}, r"weights must be finite and not negative"),
    ],
    ids=str,
)
def test_wrong_arguments(dax, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        jc.calibrate(jc.Heston, dax, **arguments)


def test_a_model_without_bounds_has_nothing_to_fit(dax):
    class Flat(jc.AbstractFourierModel):
        sigma: float

        def log_cf(self, z, t):
            return jnp.asarray(-0.5 * self.sigma**2 * t).astype(z.dtype) * (z * z + 1j * z)

    assert np.isfinite(np.asarray(jc.price(Flat(0.2), 100.0, 1.0, forward=100.0)))
    with pytest.raises(ValueError, match="Flat has no bounds, so nothing to fit"):
        jc.calibrate(Flat, dax)


def test_a_batch_of_models_is_refused(dax):
    """One surface has one start; the sentence names the parameter."""
    with pytest.raises(ValueError, match="kappa"):
        jc.calibrate(jc.Heston(0.1, jnp.asarray([1.0, 2.0]), 0.1, 1.0, -0.5), dax)

"""Starting points read off a surface."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxcal as jc
from jaxcal.calibration.engine import many_surfaces
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.starting_values import make_starts, starting_models, starting_models_on_device
from jaxcal.models.smiles.sabr import NormalSABR


def start(model, surface):
    return make_starts(model, surface)[0]


def within(model):
    return all(
        interval.lower <= float(getattr(model, name)) <= interval.upper for name, interval in model.bounds.items()
    )


def test_heston_start_is_near(options, truth, dax, dax_fit):
    for surface, end in ((options, truth), (dax, dax_fit.model)):
        model = start(jc.Heston, surface)
        assert within(model)
        assert float(model.v0) == pytest.approx(float(end.v0), rel=0.4)
        assert float(model.theta) == pytest.approx(float(end.theta), rel=0.4)
        assert float(model.rho) < -0.3


def test_black_scholes_start_is_between_the_volatilities(dax):
    model = start(jc.BlackScholes, dax)
    assert float(jnp.min(dax.vol)) < float(model.sigma) < float(jnp.max(dax.vol))


def test_model_without_a_rule_starts_in_the_middle(dax):
    class Other(jc.AbstractFourierModel):
        level: float
        skew: float
        bounds = {"level": jc.Interval(0.01, 1.0, "log"), "skew": jc.Interval(-1.0, 3.0)}  # noqa: RUF012

        def log_cf(self, z, t):
            return -0.5 * self.level**2 * t * (z * z + 1j * z)

    model = start(Other, dax)
    assert float(model.level) == pytest.approx(0.1)
    assert float(model.skew) == 1.0


@settings(max_examples=30)
@given(st.data())
def test_start_is_finite_and_within_bounds(dax, data):
    """Whatever the volatilities and whichever quotes are there."""
    vol = data.draw(st.lists(st.floats(0.01, 5.0), min_size=8, max_size=8))
    skew = data.draw(st.floats(-2.0, 2.0))
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=128, max_size=128))).reshape(8, 16)
    keep[data.draw(st.integers(0, 7)), 6] = True  # without any quote there is nothing to read a start off
    smile = np.clip(np.array(vol)[:, None] + skew * np.log(dax.strike / dax.forward[:, None]), 0.01, 5.0)
    surface = jc.Surface(
        dax.expiry, dax.forward, dax.discount, dax.strike, dax.is_call, jnp.asarray(smile), dax.bid_vol, dax.ask_vol,
        dax.weight * keep.astype(float), dax.row,
    )  # fmt: skip
    model = start(jc.Heston, surface)
    assert within(model)


def test_normal_sabr_starts_from_the_surface():
    """In the units of the forward, near enough to find the truth."""
    expiry, forward = jnp.asarray([0.1, 0.5, 2.0]), jnp.asarray([2000.0, 2010.0, 2050.0])
    truth = NormalSABR(jnp.asarray([400.0, 380.0, 350.0]), jnp.asarray([-0.5, -0.3, 0.2]), jnp.asarray([2.0, 1.0, 0.5]))
    strike = forward[:, None] * jnp.exp(jnp.linspace(-1.0, 1.0, 11)[None, :] * 0.3 * jnp.sqrt(expiry)[:, None])
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], truth) for i in range(3)]
    vol = [model.vol(k, t, f) for model, k, t, f in zip(each, strike, expiry, forward, strict=True)]
    surface = jc.Surface.from_vols(expiry, strike, vol, forward=forward)
    begin = start(NormalSABR, surface)
    np.testing.assert_allclose(np.asarray(begin.alpha), np.asarray(truth.alpha), rtol=0.2)
    fit = jc.calibrate(NormalSABR, surface)
    assert fit.converged
    assert float(jnp.nanmax(jnp.abs(fit.residuals))) < 1e-6
    assert int(fit.num_steps) < 30
    np.testing.assert_allclose(np.asarray(fit.model.nu), np.asarray(truth.nu), rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "simpler"),
    [
        (jc.SVCJ, jc.Bates(0.04, 1.5, 0.06, 0.7, -0.65, 0.5, -0.1, 0.1)), (jc.DoubleHeston, None), (jc.Kou, None),
        (jc.NIG, None), (jc.SABR, None), (jc.SVI, None),
    ],
)  # fmt: skip
def test_starts_inside_jit_are_those_of_the_host(dax, model, simpler):
    """Many surfaces, one of them without quotes."""
    one = jax.tree.map(np.asarray, Target.of(dax))
    many = jax.tree.map(lambda x: np.stack([x, x, 0.9 * x]), one)
    many = many._replace(weight=many.weight * np.asarray([1.0, 0.0, 1.0])[:, None, None])
    simpler = None if simpler is None else jax.tree.map(lambda x: np.full(3, x), simpler)
    host = starting_models(model, many, np.dtype(float), simpler)
    for mine, other in zip(host, starting_models_on_device(model, many, simpler), strict=True):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


class Tied(jc.AbstractVolModel):
    """A model of a user's own, with no rule for its starts and a bound that follows another parameter."""

    level: float
    convexity: float
    bounds: ClassVar = {
        "level": jc.Interval(0.01, 3.0, "log"), "convexity": jc.Interval(0.0, 0.9, unit=lambda model: model.level)
    }  # fmt: skip

    def vol(self, strike, expiry, forward):
        return self.level + self.convexity * jnp.log(strike / forward) ** 2


def test_starts_inside_jit_of_ones_own_model(dax):
    one = jax.tree.map(np.asarray, Target.of(dax))
    many = jax.tree.map(lambda x: np.stack([x, x, x]), one)
    (host,), (device,) = starting_models(Tied, many, np.dtype(float)), starting_models_on_device(Tied, many, None)
    middle = Tied.bounds["level"].middle
    np.testing.assert_allclose(device.level, np.full(3, middle), rtol=1e-15)
    np.testing.assert_array_equal(device.convexity, host.convexity)


def test_fits_start_where_they_run(monkeypatch, dax):
    """On a device, by one program for all; here the device is a processor."""
    surfaces = jax.tree.map(lambda x: jnp.stack([x, x]), dax)
    plain = jc.calibrate_many(jc.BlackScholes, surfaces)
    monkeypatch.setattr(many_surfaces, "on_processors", lambda devices: False)
    monkeypatch.setattr(many_surfaces, "starting_models", None)
    fits = jc.calibrate_many(jc.BlackScholes, surfaces)
    np.testing.assert_allclose(fits.model.sigma, plain.model.sigma, rtol=1e-12)

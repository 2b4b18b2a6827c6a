"""calibrate_many: each surface as by `calibrate`, in the caller's order, whatever its neighbours are."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.calibration.engine.shape_buckets import few_shapes
from tests.small_models import Line, Lines, Parabola

YEARS = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.5])  # one fit is then the program of the documentation's surfaces
PLACES = np.linspace(-1.5, 1.5, 7)
RNG = np.random.default_rng(9)


def surface_of(model, expiries=6, strikes=7):
    """A part of the same 6 x 7 quotes, so that one program prices all of them."""
    strike = 100.0 * np.exp(PLACES * 0.25 * np.sqrt(YEARS)[:, None])
    if isinstance(model, jc.AbstractVolModel):
        vol = [[float(model.vol(k, t, 100.0)) for k in row] for row, t in zip(strike, YEARS, strict=True)]
    else:
        vol = jc.model_vol(model, strike, YEARS[:, None], forward=100.0)
    part = slice(expiries), slice(strikes)
    return jc.Surface.from_vols(YEARS[:expiries], strike[part], np.asarray(vol)[part], forward=100.0)


def heston(**changes):
    values = {"v0": 0.05, "kappa": 2.0, "theta": 0.06, "sigma": 0.6, "rho": -0.6} | changes
    return jax.tree.map(jnp.asarray, jc.Heston(**values))


TRUTHS = [
    heston(v0=v0, rho=rho) for v0, rho in zip(RNG.uniform(0.03, 0.09, 12), RNG.uniform(-0.8, 0.2, 12), strict=True)
]


@pytest.fixture(scope="module")
def surfaces():
    return [surface_of(truth) for truth in TRUTHS]


@pytest.fixture(scope="module")
def fits(surfaces):
    return jc.calibrate_many(jc.Heston, surfaces)


def fields(model):
    return np.stack([np.asarray(getattr(model, name)) for name in model.bounds], axis=-1)


def same(fit, other):
    np.testing.assert_allclose(fit.model_vol, other.model_vol, rtol=0, atol=1e-9)
    np.testing.assert_allclose(float(fit.cost), float(other.cost), rtol=1e-10, atol=1e-18)
    assert fit.status == other.status
    assert fit.surface.num_quotes == other.surface.num_quotes
    assert {f: np.shape(getattr(fit.model, f)) for f in fit.free} == {
        f: np.shape(getattr(other.model, f)) for f in fit.free
    }


def test_each_as_by_itself(surfaces, fits):
    assert len(fits) == len(surfaces)
    for i in (0, 5, 11):
        same(fits[i], jc.calibrate(jc.Heston, surfaces[i]))
    np.testing.assert_allclose(fields(fits.model), [fields(truth) for truth in TRUTHS], rtol=1e-6)
    assert fits.converged.all()


def test_fields_have_a_leading_axis(surfaces, fits):
    shape = surfaces[0].vol.shape
    assert np.shape(fits.model.v0) == fits.cost.shape == fits.outcome.shape == (12,)
    assert fits.residuals.shape == fits.model_vol.shape == (12, *shape)
    for i, fit in enumerate(fits):
        assert float(fit.cost) == fits.cost[i]
        assert float(fit.rmse_vol) == fits.rmse_vol[i]
        assert int(fit.num_steps) == fits.num_steps[i]
        np.testing.assert_array_equal(fit.residuals, fits.residuals[i])
        np.testing.assert_allclose(fields(fit.standard_errors), fields(fits.standard_errors)[i], rtol=1e-10)


def test_keys(surfaces):
    time = pd.Timestamp("2026-01-02", tz="UTC")
    named = {("BTC", time): surfaces[0], ("ETH", time): surfaces[1]}
    found = jc.calibrate_many(jc.Heston, named)
    assert found.keys == tuple(named)
    assert float(found["ETH", time].model.v0) == fields(found.model)[1, 0]
    frame = found.to_frame()
    assert list(frame.index.names) == ["underlying", "quote_time"]
    assert frame.loc[("ETH", time), "v0"] == fields(found.model)[1, 0]
    assert frame["outcome"].tolist() == ["CONVERGED"] * 2
    assert frame["num_quotes"].tolist() == [42, 42]
    assert frame["rho_error"].notna().all()
    with pytest.raises(KeyError):
        found["XRP"]


def test_surfaces_of_many_sizes(surfaces):
    ragged = [surfaces[0], surface_of(TRUTHS[1], expiries=2), surface_of(TRUTHS[2], strikes=6), surfaces[3]]
    found = jc.calibrate_many(Line(0.2, 0.0), ragged)
    for i, surface in enumerate(ragged):
        assert found[i].residuals.shape == surface.vol.shape
        same(found[i], jc.calibrate(Line(0.2, 0.0), surface))
    assert np.isnan(found.residuals[1, 2:]).all()


def test_few_shapes():
    shapes = [(e, k) for e in (1, 3, 8, 12, 20) for k in (8, 16, 48, 96)]
    groups = few_shapes(shapes)
    assert len(groups) <= 6
    assert sorted(np.concatenate([place for place, _ in groups]).tolist()) == list(range(len(shapes)))
    for place, (e, k) in groups:
        assert all(shapes[i][0] <= e and shapes[i][1] <= k for i in place)


def test_bad_surfaces_have_a_status_and_change_nothing(surfaces, fits):
    nothing = eqx.tree_at(lambda s: s.weight, surfaces[1], jnp.zeros_like(surfaces[1].weight))
    unknown = eqx.tree_at(lambda s: s.vol, surfaces[2], surfaces[2].vol * jnp.nan)
    found = jc.calibrate_many(jc.Heston, [surfaces[0], nothing, unknown, "not a surface", *surfaces[4:]])
    assert found[1].status == jc.Outcome.TOO_FEW_QUOTES
    assert found[2].status == jc.Outcome.NOT_FINITE
    assert found.outcome[3] == jc.Outcome.INVALID
    assert "not str" in found.to_frame()["status"][3]
    others = [0, *range(4, 12)]
    np.testing.assert_array_equal(fields(found.model)[others], fields(fits.model)[others])
    np.testing.assert_array_equal(found.residuals[others], fits.residuals[others])
    np.testing.assert_array_equal(found.cost[others], fits.cost[others])


def test_weights(surfaces):
    half = np.where(np.arange(surfaces[0].vol.shape[1]) % 2, 1.0, 0.25)[None, :] * np.ones(surfaces[0].vol.shape)
    found = jc.calibrate_many(jc.Heston, surfaces[:3], weights=[None, half, -half])
    same(found[1], jc.calibrate(jc.Heston, surfaces[1], weights=half))
    assert found.outcome[2] == jc.Outcome.INVALID
    assert found.reasons[2] == "Not fitted: weights must be finite and not negative."
    with pytest.raises(ValueError, match="3 surfaces, but weights for 2"):
        jc.calibrate_many(jc.Heston, surfaces[:3], weights=[half, half])
    with pytest.raises(ValueError, match="weights are given for 'x'"):
        jc.calibrate_many(jc.Heston, {"a": surfaces[0]}, weights={"x": half})


PARABOLAS = [Parabola(slope, 0.2, bend) for slope, bend in ((0.05, 0.3), (0.1, 0.5), (0.15, 0.8))]


def test_starts_and_fixed_fields():
    surfaces = [surface_of(truth) for truth in PARABOLAS]
    kappas = np.asarray([truth.kappa for truth in PARABOLAS])
    one = jc.calibrate_many(Parabola(0.1, 0.3, 0.4), surfaces, free=["theta", "sigma"])
    np.testing.assert_array_equal(one.model.kappa, 0.1)
    each = [Parabola(kappa, 0.3, 0.4) for kappa in kappas]
    batch = Parabola(jnp.asarray(kappas), 0.3, 0.4)
    for start in (each, batch):
        found = jc.calibrate_many(start, surfaces, free=["theta", "sigma"])
        np.testing.assert_array_equal(found.model.kappa, kappas)
        np.testing.assert_allclose(found.model.sigma, [0.3, 0.5, 0.8], rtol=1e-6)
        same(found[2], jc.calibrate(each[2], surfaces[2], free=["theta", "sigma"]))
        assert np.isnan(found.standard_errors.kappa).all()
    with pytest.raises(ValueError, match="3 surfaces, but starts for 2"):
        jc.calibrate_many(each[:2], surfaces)
    with pytest.raises(ValueError, match="4 surfaces, but 3 starts"):
        jc.calibrate_many(batch, [*surfaces, surfaces[0]])


def test_stacked_surface(surfaces, fits):
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *surfaces)
    found = jc.calibrate_many(jc.Heston, stack)
    np.testing.assert_array_equal(found.model.v0, fits.model.v0)
    with pytest.raises(ValueError, match="several surfaces"):
        jc.calibrate_many(jc.Heston, surfaces[0])
    with pytest.raises(ValueError, match="no surfaces"):
        jc.calibrate_many(jc.Heston, [])
    with pytest.raises(ValueError, match="no surfaces"):
        jc.calibrate_many(jc.Heston, jax.tree.map(lambda leaf: leaf[:0], stack))


def test_a_stacked_surface_is_the_list_of_its_rows():
    """Bits, figures and statuses; with a surface that has too few quotes, one without numbers, and sides of quotes."""
    each = [surface_of(truth) for truth in (*PARABOLAS, *PARABOLAS)]
    each = [eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), s, (s.vol - 0.01, s.vol + 0.01 * s.weight)) for s in each]
    each[1] = eqx.tree_at(lambda s: s.weight, each[1], jnp.zeros_like(each[1].weight).at[0, 0].set(1.0))
    each[4] = eqx.tree_at(lambda s: s.vol, each[4], each[4].vol * jnp.nan)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    asked: dict[str, Any]
    for asked in ({}, {"weights": "vega"}, {"prior": jc.Gaussian({"kappa": 0.2}, std=0.1, strength=0.01)}):
        rows, listed = jc.calibrate_many(Parabola, stack, **asked), jc.calibrate_many(Parabola, each, **asked)
        pd.testing.assert_frame_equal(rows.to_frame(), listed.to_frame(), rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(rows.model.kappa, listed.model.kappa)
        np.testing.assert_array_equal(rows.residuals, listed.residuals)
        assert rows.keys == listed.keys
        assert str(rows[4]) == str(listed[4])
        assert len(rows.surfaces) == 6
        assert rows.surfaces[-1].num_quotes == each[-1].num_quotes


def test_unknown_precision(surfaces):
    # jaxtyping's hook refuses it first in these tests; a caller without the hook gets the sentence
    with pytest.raises(Exception, match="float16"):
        jc.calibrate_many(jc.Heston, surfaces[:1], precision="float16")  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_precision(precision):
    surfaces = [surface_of(truth) for truth in PARABOLAS]
    fits = jc.calibrate_many(Parabola, surfaces)
    found = jc.calibrate_many(Parabola, surfaces, precision=precision)
    dtype, tolerance = (np.float32, 3e-4) if precision == "float32" else (np.float64, 1e-9)
    assert np.asarray(found.model.kappa).dtype == dtype
    np.testing.assert_allclose(found.model_vol, fits.model_vol, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_precision_of_heston(surfaces, fits, precision):
    found = jc.calibrate_many(jc.Heston, surfaces, precision=precision)
    tolerance = 3e-4 if precision == "float32" else 1e-9
    np.testing.assert_allclose(found.model_vol, fits.model_vol, rtol=0, atol=tolerance)


def test_models_with_parameters_of_each_expiry(surfaces):
    ragged = [surfaces[0], surface_of(TRUTHS[1], expiries=2)]
    found = jc.calibrate_many(Lines, ragged)  # a class without starting rules of its own, as a user's is
    alone = jc.calibrate(Lines, ragged[1])
    same(found[1], alone)
    np.testing.assert_allclose(fields(found.standard_errors)[1, :2], fields(alone.standard_errors), rtol=1e-5)
    x = np.log(np.asarray(ragged[0].strike)[:, :7] / 100.0)
    for i, vol in enumerate(np.asarray(ragged[0].vol)[:, :7]):  # linear least squares, an expiry at a time
        (slope, level), covariance = np.polyfit(x[i], vol, 1, cov=True)
        np.testing.assert_allclose(fields(found[0].model)[i], [level, slope], rtol=1e-6)
        errors = fields(found.standard_errors)[0, i]
        np.testing.assert_allclose(errors, np.sqrt(np.diagonal(covariance))[::-1], rtol=1e-5)
    assert np.shape(found.model.level)[0] == 2


def test_models_with_vectors():
    model = jc.SSVI(jnp.asarray(YEARS), jnp.asarray([0.04, 0.045, 0.05, 0.054, 0.057, 0.06]), -0.5, 0.8, 0.3)
    surfaces = [surface_of(model), surface_of(TRUTHS[0], expiries=2)]
    found = jc.calibrate_many(jc.SSVI, surfaces)
    assert np.shape(found.model.variance) == (2, 6)
    for i, surface in enumerate(surfaces):
        same(found[i], jc.calibrate(jc.SSVI, surface))


@pytest.mark.slow
@pytest.mark.parametrize("model", [jc.Bates, jc.SVCJ, jc.VarianceGamma, jc.SVI, jc.PiecewiseHeston])
def test_every_kind_of_model(model, surfaces):
    found = jc.calibrate_many(model, surfaces[:3])
    for i in range(3):
        alone = jc.calibrate(model, surfaces[i])
        assert float(found[i].rmse_vol) <= 1.0001 * float(alone.rmse_vol) + 1e-8


def test_devices():
    """On three virtual devices, each with surfaces of its own: the same as on one."""
    code = """
        import jax; jax.config.update("jax_enable_x64", True)
        import numpy as np, jaxcal as jc
        vols = np.linspace(0.1, 0.5, 7)
        surfaces = [jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[v, v, v]], forward=100.0) for v in vols]
        assert jax.local_device_count() == 3
        fits = jc.calibrate_many(jc.BlackScholes, surfaces)
        alone = jc.calibrate_many(jc.BlackScholes, surfaces, devices=jax.local_devices()[:1])
        np.testing.assert_allclose(fits.model.sigma, vols, rtol=1e-9)
        np.testing.assert_array_equal(fits.model.sigma, alone.model.sigma)
    """
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    subprocess.run([sys.executable, "-c", lines], check=True, env=environment, cwd=root, timeout=300)

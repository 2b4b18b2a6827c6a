"""The kernel that values many grids at once, in JAX's interpreter, against XLA's own operations."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.base import LogCFBasis
from jaxcal.models.complex_math import Cartesian
from jaxcal.pricing import fourier, fourier_kernel
from jaxcal.pricing.fourier_kernel import linearised_lanes
from tests.small_models import BlackByBasis

HESTON = (0.09, 3.0, 0.08, 0.4, -0.3)
JUMPS = (0.5, -0.1, 0.2)
MODELS = (
    jc.Heston(*HESTON),
    pytest.param(jc.Bates(*HESTON, *JUMPS), marks=pytest.mark.slow),
    pytest.param(jc.SVCJ(*HESTON, *JUMPS, 0.05, -0.5), marks=pytest.mark.slow),
    pytest.param(jc.DoubleHeston(*HESTON, 0.02, 0.5, 0.03, 0.3, -0.4), marks=pytest.mark.slow),
    pytest.param(
        jc.ClockedDoubleHeston(*HESTON, 0.02, 0.5, 0.03, 0.3, -0.4, pace=[0.7], knots=[0.4]), marks=pytest.mark.slow
    ),
    pytest.param(jc.ClockedHestonJumps.of(jc.Bates(*HESTON, *JUMPS), [0.4], [0.7], factors=2), marks=pytest.mark.slow),
    pytest.param(jc.HestonHullWhite(*HESTON, 0.05, 0.015), marks=pytest.mark.slow),
    pytest.param(jc.Merton(0.2, *JUMPS), marks=pytest.mark.slow),
)
EXPIRY = jnp.asarray([0.1, 1.5])
LOG_STRIKE = jnp.asarray([[-0.2, -0.05, 0.0, 0.04, 0.1], [-0.6, -0.2, 0.0, 0.3, 0.5]])


def grids_of(model, size, pricer, dtype):
    """Lanes of models about one, each with a grid of its own."""
    rng = np.random.default_rng(4)
    models = jax.tree.map(
        lambda x: jnp.asarray(np.multiply.outer(rng.uniform(0.9, 1.1, size), np.asarray(x)), dtype), model
    )
    vol = (0.3 * jnp.sqrt(EXPIRY)).astype(dtype)
    expiry, log_strike = EXPIRY.astype(dtype), LOG_STRIKE.astype(dtype)
    return models, jax.vmap(lambda one: pricer.grid(one, expiry, log_strike, vol))(models)


def both(models, grids, **how):
    laws, years = jax.vmap(lambda model, t: model.still(t))(models, grids.expiry)
    parts = (years, grids.z, grids.log_factor, grids.weights, grids.side)
    return linearised_lanes(laws, *parts, interpret=True, **how), jax.vmap(lambda g, m: g._columns(m))(grids, models)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_kernel_has_the_values_of_xla(model):
    """Lanes, strikes and nodes that fill no whole tile; two sets of nodes."""
    models, grids = grids_of(model, 6, jc.Sinh(18), jnp.float64)
    kernel, plain = jax.jit(partial(both, lanes=4))(models, grids)
    assert kernel.shape == (6, 1 + model.basis_size, 2, 5)
    np.testing.assert_allclose(kernel, plain, rtol=0, atol=1e-13 * float(jnp.max(jnp.abs(plain))))


def test_one_set_of_nodes_in_single_precision():
    models, grids = grids_of(jc.Heston(*HESTON), 3, jc.Cos(16), jnp.float32)
    assert grids.z.re.shape[2] == 1
    kernel, plain = jax.jit(partial(both, lanes=2))(models, grids)
    assert kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel, plain, rtol=0, atol=2e-6 * float(jnp.max(jnp.abs(plain))))


class FewMoments(BlackByBasis):
    """Which is no number off the strip on which every martingale has one."""

    def basis(self, z, t):
        found = super().basis(z, t)
        known = jnp.where((z.im > 0.0) | (z.im < -1.0), jnp.nan, 1.0)
        return LogCFBasis(known * found.log_cf, found.rows)


def test_places_without_a_node_ask_a_law_for_nothing_that_it_has_not():
    models, grids = grids_of(FewMoments(0.3), 3, jc.Cos(18), jnp.float64)
    kernel, plain = jax.jit(partial(both, lanes=4))(models, grids)
    assert bool(jnp.all(jnp.isfinite(plain)))
    np.testing.assert_allclose(kernel, plain, rtol=0, atol=1e-13 * float(jnp.max(jnp.abs(plain))))


def test_a_lane_without_numbers_changes_no_other():
    models, grids = grids_of(jc.Heston(*HESTON), 4, jc.Sinh(18), jnp.float64)
    broken = eqx.tree_at(lambda m: m.kappa, models, models.kappa.at[1].set(jnp.nan))
    run = jax.jit(partial(both, lanes=4))
    (whole, _), (kernel, _) = run(models, grids), run(broken, grids)
    assert bool(jnp.all(jnp.isnan(kernel[1, 1:])))
    np.testing.assert_array_equal(np.delete(kernel, 1, axis=0), np.delete(whole, 1, axis=0))


@pytest.fixture
def interpreted(monkeypatch):
    """An accelerator whose kernels JAX interprets."""
    jax.clear_caches()
    monkeypatch.setattr(fourier, "on_gpu", lambda: True)
    used: list[int] = []

    def noted(model, *args):
        found = linearised_lanes(model, *args, interpret=True, lanes=8)
        used.append(len(args[0]))
        return found

    monkeypatch.setattr(fourier_kernel, "linearised_lanes", noted)
    yield used
    jax.clear_caches()


@pytest.mark.parametrize("size", [20, pytest.param(1024, marks=pytest.mark.slow)])
def test_batches_fitted_through_the_kernel(request, size):
    """Order, statuses, steps and a surface without numbers, as on a processor."""
    rng = np.random.default_rng(8)
    truths = [jc.Heston(*(x * rng.uniform(0.8, 1.25) for x in HESTON)) for _ in range(size)]
    strikes = np.asarray([85.0, 95.0, 100.0, 106.0])
    surfaces = [
        jc.Surface.from_vols(
            [0.2, 1.0], strikes, [jc.model_vol(truth, strikes, t, forward=100.0) for t in (0.2, 1.0)], forward=100.0
        )
        for truth in truths
    ]
    surfaces[7] = eqx.tree_at(lambda s: s.vol, surfaces[7], surfaces[7].vol * jnp.nan)
    plain = jc.calibrate_many(jc.Heston, surfaces)
    used = request.getfixturevalue("interpreted")
    fits = jc.calibrate_many(jc.Heston, surfaces)
    assert used, "fitted without the kernel"
    assert not fits.converged[7]
    np.testing.assert_array_equal(fits.outcome, plain.outcome)
    np.testing.assert_array_equal(fits.num_steps, plain.num_steps)
    np.testing.assert_allclose(fits.cost, plain.cost, rtol=1e-9, atol=1e-20)
    np.testing.assert_allclose(fits.model_vol, plain.model_vol, rtol=1e-9)


class ByQuadrature(BlackByBasis):
    """Whose basis is a sum with weights: an array that is no argument."""

    def basis(self, z, t):
        quadratic, weights = z * z + 1j * z, jnp.asarray([0.25, 0.5, 0.25], z.re.dtype)
        row = Cartesian(*(jnp.tensordot(x, weights, 0).sum(axis=-1) for x in (quadratic.re, quadratic.im)))
        return LogCFBasis((-0.5 * self.sigma**2 * t) * quadratic, (row,))


def test_a_basis_with_arrays_of_its_own_runs_without_the_kernel(interpreted):
    sigma = np.linspace(0.15, 0.4, 20)
    surfaces = [jc.Surface.from_vols([0.2], [90.0, 100.0, 110.0], [[vol] * 3], forward=100.0) for vol in sigma]
    fits = jc.calibrate_many(ByQuadrature, surfaces)
    assert not interpreted
    np.testing.assert_allclose(fits.model.sigma, sigma, rtol=1e-8)


class ByGamma(BlackByBasis):
    """Whose basis has a function that Triton has not."""

    def basis(self, z, t):
        row = jnp.exp(jax.lax.lgamma(2.0 + 0.0 * t)) * (z * z + 1j * z)
        return LogCFBasis((-0.5 * self.sigma**2 * t) * row, (row,))


@pytest.mark.parametrize(("model", "takes"), [(jc.Merton(0.2, *JUMPS), True), (ByGamma(0.2), False)])
def test_whether_triton_takes_a_basis(model, takes):
    """Compiled down to Triton's language, which needs no GPU."""
    models, grids = grids_of(model, 4, jc.Sinh(18), jnp.float64)
    parts = grids.expiry, grids.z, grids.log_factor, grids.weights, grids.side
    assert fourier._lowers(linearised_lanes, models, *parts) is takes


def test_the_kernel_is_for_gpus_and_not_for_a_processor_beside_one(monkeypatch):
    assert not fourier.on_gpu()
    for platform, expected in (("gpu", True), ("tpu", False)):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert fourier.on_gpu() is expected
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.default_device(jax.devices("cpu")[0]):
        assert not fourier.on_gpu()

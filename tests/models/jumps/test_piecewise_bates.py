"""Bates with piecewise-constant parameters: its jumps against Bates, an integral over time, and itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

KNOTS = (0.5, 1.5)
FIELDS = ("v0", "kappa", "theta", "sigma", "rho", "jump_intensity", "jump_mean", "jump_std")
BATES = (0.04, 1.5, 0.06, 0.7, -0.65, 0.8, -0.1, 0.12)
VARIANCE = (0.04, (1.5, 3.0, 0.8), (0.06, 0.03, 0.09), (0.7, 0.4, 0.9), (-0.65, -0.3, -0.8))
JUMPS = ((2.0, 0.5, 0.1), (-0.05, -0.1, 0.2), (0.05, 0.1, 0.2))
POINTS = np.array([0.7, 12.0, 3.0 - 0.5j, -0.3j, 5 * np.exp(0.2j) - 0.5j, 0.0, -1j])
YEARS = [0.3, 0.9, 6.0]


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


@jax.jit
def moments(model, t):
    return model.moment_bounds(t)


def arrays(model):
    return jax.tree.map(jnp.asarray, model)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("vary", [FIELDS[1:], ("theta", "jump_intensity")])
def test_equal_buckets_are_bates(size, vary):
    knots = np.asarray(KNOTS[: size - 1], float)
    model = arrays(jc.PiecewiseBates.of(jc.Bates(*BATES), knots, vary))
    z, t = jnp.asarray(np.tile(POINTS, (3, 1))), jnp.asarray(YEARS)[:, None]
    expected = np.asarray(log_cf(arrays(jc.Bates(*BATES)), z, t))
    np.testing.assert_allclose(np.asarray(log_cf(model, z, t)), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("jumps", [JUMPS, (JUMPS[0], -0.1, 0.12), (0.8, JUMPS[1], 0.12)])
def test_jumps_add_up_over_the_buckets(jumps):
    """What jumps add to ln phi is their compensated exponent, times intensity, integrated over time."""
    model = arrays(jc.PiecewiseBates(*[*VARIANCE, *jumps, KNOTS]))
    without = arrays(jc.PiecewiseHeston(*VARIANCE, KNOTS))
    for years in YEARS:
        t = jnp.asarray(years)
        found = np.asarray(log_cf(model, jnp.asarray(POINTS), t)) - np.asarray(log_cf(without, jnp.asarray(POINTS), t))
        expected = np.zeros(POINTS.shape, complex)
        for i, (start, end) in enumerate(zip((0.0, *KNOTS), (*KNOTS, math.inf), strict=True)):
            intensity, mean, std = (np.broadcast_to(x, 3)[i] for x in jumps)
            law = np.exp(1j * POINTS * mean - 0.5 * std**2 * POINTS**2) - 1
            drift = 1j * POINTS * math.expm1(mean + 0.5 * std**2)
            expected += max(min(years, end) - start, 0.0) * intensity * (law - drift)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
        assert np.abs(np.asarray(log_cf(model, jnp.asarray(POINTS), t)))[-2:].max() < 1e-15  # E[1] = E[exp X] = 1


def test_without_jumps():
    model = arrays(jc.PiecewiseBates(*VARIANCE, 0.0, JUMPS[1], JUMPS[2], KNOTS))
    heston = arrays(jc.PiecewiseHeston(*VARIANCE, KNOTS))
    for years in YEARS:
        with_, without = (log_cf(m, jnp.asarray(POINTS), jnp.asarray(years)) for m in (model, heston))
        np.testing.assert_allclose(np.asarray(with_), np.asarray(without), rtol=1e-14)


VECTOR = jnp.asarray(np.concatenate([np.atleast_1d(x) for x in (*VARIANCE, *JUMPS)]))


def split(vector):
    buckets = [vector[1 + 3 * i : 4 + 3 * i] for i in range(7)]
    return jc.PiecewiseBates(vector[0], *buckets, knots=jnp.asarray(KNOTS))


def test_forward_is_reverse():
    def parts(vector):
        found = split(vector).log_cf(jnp.asarray(POINTS), jnp.asarray(2.0))
        return jnp.concatenate([jnp.real(found), jnp.imag(found)])

    forward, reverse = (np.asarray(jax.jit(d(parts))(VECTOR)) for d in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(forward, reverse, rtol=1e-11, atol=1e-13)


@jax.jit
def value(vector, t):
    """Out-of-the-money prices on both sides."""
    return jc.price(split(vector), jnp.asarray([85.0, 115.0]), t, forward=100.0, is_call=jnp.asarray([False, True]))


slopes = jax.jit(jax.jacfwd(value))


@pytest.mark.slow
@pytest.mark.parametrize("years", [0.3, 2.5])
def test_gradients_of_prices(years):
    """Forward = finite difference in every entry; exactly zero for buckets after the expiry."""
    t = jnp.asarray(years)
    forward = np.asarray(slopes(VECTOR, t))
    for i, x in enumerate(np.asarray(VECTOR)):
        h = 1e-3 * abs(x)
        ahead = [np.asarray(value(VECTOR + n * h * jnp.eye(VECTOR.size)[i], t)) for n in (-2, -1, 1, 2)]
        difference = (ahead[0] - ahead[3] - 8 * (ahead[1] - ahead[2])) / (12 * h)
        np.testing.assert_allclose(forward[:, i], difference, rtol=1e-6, atol=1e-8)
    later = [1 + 3 * field + bucket for field in range(7) for bucket in range(3) if years <= (0.0, *KNOTS)[bucket]]
    assert (forward[:, later] == 0).all()
    assert (forward[:, [i for i in range(VECTOR.size) if i not in later]] != 0).all()


def test_moments_and_cone():
    """The narrowest of the variance's and of every bucket's jumps."""
    t = jnp.asarray([0.3, 2.5])
    model = arrays(jc.PiecewiseBates(*VARIANCE, 0.5, -0.1, (0.05, 3.0, 0.1), KNOTS))
    variance = arrays(jc.PiecewiseHeston(*VARIANCE, KNOTS))
    found, widest = moments(model, t), moments(variance, t)
    for i in range(2):
        lower, upper = (float(bound[i]) for bound in found)
        for q, edge in ((lower, widest[0][i]), (upper, widest[1][i])):
            # the wide jumps of the second bucket: ln E[exp(q J)] = 60 there
            assert q == float(edge) or -0.1 * q + 0.5 * (3.0 * q) ** 2 == pytest.approx(60.0, rel=1e-9)
        assert float(widest[0][i]) <= lower < 0 < 1 < upper <= float(widest[1][i])
    lower, upper = map(float, model.decay_cone())
    assert -math.pi / 4 <= lower < 0 < upper < math.pi / 4
    laws = [(rho, std) for rho in VARIANCE[4] for std in (0.05, 3.0, 0.1)]
    alone = [arrays(jc.Bates(0.04, 1.0, 0.1, 0.5, rho, 0.5, -0.1, std)) for rho, std in laws]
    cones = [tuple(map(float, one.decay_cone())) for one in alone]
    assert (lower, upper) == (max(c[0] for c in cones), min(c[1] for c in cones))


def test_float32():
    z, t = jnp.asarray(POINTS, jnp.complex64), jnp.asarray(2.0, jnp.float32)
    model = jc.PiecewiseBates(*VARIANCE, *JUMPS, KNOTS)
    exact = np.asarray(log_cf(arrays(model), jnp.asarray(POINTS), jnp.asarray(2.0)))
    found = log_cf(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), model), z, t)
    assert found.dtype == jnp.complex64
    np.testing.assert_allclose(np.asarray(found), exact, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sigma": (0.0, 1.0, 1.0)}, "sigma must be positive"),
        ({"jump_intensity": (0.0, 0.0, -1.0)}, "jump_intensity must not be negative"),
        ({"jump_std": -0.1}, "jump_std must not be negative"),
        ({"knots": (0.5, 0.5)}, "knots must be positive and increase"),
        ({"jump_mean": (0.1, 0.1)}, r"2 knots make 3 buckets, so jump_mean must be a number or a vector of 3"),
    ],
)
def test_bad_input(changed, sentence):
    fields = dict(zip((*FIELDS, "knots"), (*VARIANCE, *JUMPS, KNOTS), strict=True)) | changed
    with pytest.raises(ValueError, match=sentence):
        jc.PiecewiseBates(**fields)


def test_prices_outside_the_domain_are_nan():
    assert np.isnan(np.asarray(value(VECTOR.at[7].set(-0.1), jnp.asarray(0.3)))).all()
    assert np.isfinite(np.asarray(value(VECTOR.at[16:19].set(0.0), jnp.asarray(0.3)))).all()  # no jumps: lawful

"""Heston with piecewise-constant parameters: against the differential equation, QuantLib, and Heston itself."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import jaxcal as jc

KNOTS = (0.5, 1.5)
MODEL = (0.04, (1.5, 3.0, 0.8), (0.06, 0.03, 0.09), (0.7, 0.4, 0.9), (-0.65, -0.3, -0.8), KNOTS)
FIELDS = ("v0", "kappa", "theta", "sigma", "rho")
POINTS = np.array([0.7, 12.0, 300.0, 3.0 - 0.5j, -0.3j, 1e-7, 5 * np.exp(0.2j) - 0.5j, 40 * np.exp(-0.2j) - 0.5j])
HESTON = {
    "equity": (0.04, 1.5, 0.06, 0.7, -0.65),
    "crypto": (0.5, 8.0, 0.6, 3.0, -0.3),
    "sigma 1e-3": (0.04, 2.0, 0.05, 1e-3, 0.4),
    "sigma 30": (0.3, 50.0, 0.5, 30.0, -0.5),
    "rho 0.999": (0.04, 1.0, 0.06, 0.8, 0.999),
    "kappa = rho sigma": (0.09, 0.375, 0.06, 0.75, 0.5),  # d = 0 at z = -i
    "kappa < rho sigma": (0.09, 0.1, 0.06, 1.5, 0.8),
}


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


@jax.jit
def moments(model, t):
    return model.moment_bounds(t)


def arrays(model):
    return jax.tree.map(jnp.asarray, model)


def integrated(model, z, t):
    """ln phi by integrating the Riccati equation through the buckets, from maturity to today."""
    _, *varying, knots = (np.asarray(getattr(model, name)) for name in (*FIELDS, "knots"))
    size = len(knots) + 1
    edges = [0.0, *knots, math.inf]
    state = np.zeros(2, complex)
    q = z * z + 1j * z
    for i in reversed(range(size)):
        kappa, theta, sigma, rho = (np.broadcast_to(x, size)[i] for x in varying)
        beta = kappa - 1j * rho * sigma * z

        def rate(_, y, b=beta, level=kappa * theta, half=sigma**2 / 2):
            return [-q / 2 - b * y[0] + half * y[0] ** 2, level * y[0]]

        if t > edges[i]:
            years = min(t, edges[i + 1]) - edges[i]
            state = solve_ivp(rate, (0, years), state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return state[1] + float(model.v0) * state[0]


def drawn(rng, size):
    """A model from the whole domain: vol of variance to 600 %, correlations to 0.98, slow and fast reversion."""

    def uniform(low, high):
        return np.exp(rng.uniform(math.log(low), math.log(high), size))

    knots = np.cumsum(rng.exponential(0.7, size - 1))
    fields = (uniform(0.01, 20), uniform(0.005, 1), uniform(0.01, 6), rng.uniform(-0.98, 0.98, size))
    return arrays(jc.PiecewiseHeston(float(np.exp(rng.uniform(-7, 0))), *fields, knots))


@pytest.mark.parametrize("seed", range(12))
def test_against_the_differential_equation(seed):
    """On the contours that prices use: tilted lines, and hyperbolas that cross between the poles and beyond them."""
    rng = np.random.default_rng(seed)
    model, t = drawn(rng, 4), rng.uniform(0.05, 10)
    lower, upper = (float(x) for x in moments(model, jnp.asarray(t)))
    left, right = (float(x) for x in model.decay_cone())
    z = [x * np.exp(1j * w) - 0.5j for w in np.clip([0.2, -0.2], left, right) for x in (0.01, 0.3, 2.0, 10.0, 60.0)]
    for q in (0.5, 1 + 0.5 * (min(upper, 60) - 1), 0.5 * max(lower, -60)):
        width = min(abs(q), abs(q - 1), upper - q, q - lower)
        if width > 0.005:
            for w in np.clip([0.4, -0.4], left, right):
                z += [-1j * q - 1j * width * np.sin(w) + width * np.sinh(u + 1j * w) for u in (0.0, 1.5, 3.0)]
    z += [1.0] * (22 - len(z))  # one shape, so that it compiles once
    found = np.asarray(log_cf(model, jnp.asarray(z, jnp.complex128), jnp.asarray(t)))
    for point, value in zip(z, found, strict=True):
        if value.real > -60:
            expected = integrated(model, point, t)
            assert abs(value - expected) < 1e-9 * (1 + abs(expected)), point


# QuantLib 1.44, AnalyticPTDHestonEngine (adaptive integration, 1e-12): calls on a spot of 100, flat rates 3 % and
# dividends 1 %, maturity in days / 365
@pytest.mark.parametrize(
    ("days", "strike", "expected"),
    [(100, 95.0, 7.652090918463699), (365, 110.0, 3.7661440557781063), (1095, 80.0, 28.279861255076952)],
)
def test_prices_of_quantlib(days, strike, expected):
    t = days / 365
    forward, discount = 100 * math.exp(0.02 * t), math.exp(-0.03 * t)
    found = jc.price(jc.PiecewiseHeston(*MODEL), strike, t, forward=forward, discount=discount)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", HESTON)
@pytest.mark.parametrize("size", [1, 3])
def test_equal_buckets_are_heston(name, size):
    heston, knots = jc.Heston(*HESTON[name]), np.asarray(KNOTS[: size - 1], float)
    model = arrays(jc.PiecewiseHeston.of(heston, knots, FIELDS[1:]))
    t = jnp.asarray([[1 / 365], [0.5], [1.0], [8.0]])
    z = jnp.asarray(np.tile(POINTS, (4, 1)))
    expected = np.asarray(log_cf(arrays(heston), z, t))
    np.testing.assert_allclose(np.asarray(log_cf(model, z, t)), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", HESTON)
def test_martingale(name):
    model = arrays(jc.PiecewiseHeston.of(jc.Heston(*HESTON[name]), KNOTS))
    t = jnp.asarray([[1e-3], [0.7], [30.0]])
    for changed in (model, eqx.tree_at(lambda m: m.sigma, model, model.sigma * jnp.asarray([1.0, 2.0, 0.5]))):
        assert (np.asarray(log_cf(changed, jnp.asarray([[0.0, -1j]] * 3), t)) == 0).all()


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (-1j + 1e-3, -0.2230734324880173 + 0.008211172704305643j),
        (-0.9999999j, -0.17395154757590203 + 0.0j),
        (-1j + 1e-5, -0.19851248016722295 + 0.008375916415284533j),
    ],
)
def test_next_to_the_pole(z, expected):
    """kappa < rho sigma for thirty years: all but a millionth of the divisor cancels. Expected from 70 digits."""
    model = arrays(jc.PiecewiseHeston(*HESTON["kappa < rho sigma"], knots=[]))
    assert complex(log_cf(model, jnp.asarray(z), jnp.asarray(30.0))) == pytest.approx(expected, rel=5e-10)


def test_without_vol_of_variance():
    """Black with the variance integrated through the buckets."""
    v0, kappa, theta, _, rho, knots = MODEL
    model = jc.PiecewiseHeston(v0, kappa, theta, 1e-12, rho, knots)
    for years in (0.3, 1.2, 4.0):
        variance, total, edges = v0, 0.0, (0.0, *knots, math.inf)
        for i, start in enumerate(edges[:-1]):
            length = max(min(years, edges[i + 1]) - start, 0.0)
            fallen = -math.expm1(-kappa[i] * length)
            total += theta[i] * length + (variance - theta[i]) * fallen / kappa[i]
            variance += (theta[i] - variance) * fallen
        black = jc.BlackScholes(math.sqrt(total / years)).log_cf(jnp.asarray(POINTS), jnp.asarray(years))
        found = log_cf(arrays(model), jnp.asarray(POINTS), jnp.asarray(years))
        np.testing.assert_allclose(np.asarray(found), np.asarray(black), rtol=2e-10)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(-50.0, 50.0), st.floats(0.01, 30.0))
def test_characteristic_function_of_a_law(seed, u, t):
    model = drawn(np.random.default_rng(seed), 4)
    there, back = np.asarray(log_cf(model, jnp.asarray([u, -u], jnp.complex128), jnp.asarray(t)))
    assert there.real <= 1e-12
    assert abs(np.exp(there) - np.conj(np.exp(back))) < 1e-12


def infinite(model, q, t):
    """Whether D reaches infinity, by integrating its equation until it is beyond all bounds."""
    _, *varying, knots = (np.asarray(getattr(model, name)) for name in (*FIELDS, "knots"))
    edges, level = [0.0, *knots, math.inf], 0.0

    def beyond(_, y):
        return y[0] - 1e9

    beyond.terminal = True
    for i in reversed(range(len(knots) + 1)):
        kappa, _, sigma, rho = (x[i] for x in varying)
        beta, pull = kappa - rho * sigma * q, q * q - q

        def rate(_, y, b=beta, c=pull, half=sigma**2 / 2):
            return [c / 2 - b * y[0] + half * y[0] ** 2]

        if t > edges[i]:
            years = min(t, edges[i + 1]) - edges[i]
            run = solve_ivp(rate, (0, years), [level], method="LSODA", rtol=1e-10, atol=1e-12, events=beyond)
            if run.status == 1 or not np.isfinite(run.y[0, -1]):
                return True
            level = run.y[0, -1]
    return False


@pytest.mark.parametrize("seed", range(12))
def test_moment_bounds(seed):
    rng = np.random.default_rng(100 + seed)
    model, t = drawn(rng, 3), rng.uniform(0.05, 6)
    lower, upper = (float(x) for x in moments(model, jnp.asarray(t)))
    assert lower < 0 < 1 < upper
    for edge, origin in ((lower, 0.0), (upper, 1.0)):
        if 1e-5 < abs(edge - origin) < 1e5:  # outside these the search stops
            assert not infinite(model, origin + (edge - origin) * 0.999, t)
            assert infinite(model, origin + (edge - origin) * 1.001, t)


@pytest.mark.parametrize("name", HESTON)
def test_moment_bounds_of_equal_buckets(name):
    heston = jc.Heston(*HESTON[name])
    t = jnp.asarray([0.1, 0.9, 5.0])
    found = moments(arrays(jc.PiecewiseHeston.of(heston, KNOTS)), t)
    for bound, expected in zip(found, moments(arrays(heston), t), strict=True):
        np.testing.assert_allclose(np.asarray(bound), np.asarray(expected), rtol=1e-9)


def test_decay_cone():
    """What all buckets have in common."""
    lower, upper = map(float, jc.PiecewiseHeston(0.04, 1.5, 0.06, 0.7, [-0.9, 0.6], [1.0]).decay_cone())
    assert lower == pytest.approx(-math.pi / 2 + math.asin(0.9))
    assert upper == pytest.approx(math.pi / 2 - math.asin(0.6))


def test_single_numbers_and_vectors():
    """A field is one number or one a bucket: lists, numpy and JAX arrays alike."""
    t, z = jnp.asarray(2.0), jnp.asarray(POINTS)
    mixed = arrays(jc.PiecewiseHeston(0.04, 1.5, [0.06, 0.06, 0.06], 0.7, np.full(3, -0.65), list(KNOTS)))
    heston = arrays(jc.Heston(*HESTON["equity"]))
    np.testing.assert_allclose(np.asarray(log_cf(mixed, z, t)), np.asarray(log_cf(heston, z, t)), rtol=1e-13)
    slopes = jax.jit(jax.grad(lambda m: jnp.real(m.log_cf(z[:1], t))[0]))
    gradient, whole = slopes(mixed), slopes(heston)
    assert (gradient.kappa.shape, gradient.theta.shape) == ((), (3,))
    assert float(gradient.kappa) == pytest.approx(float(whole.kappa), rel=1e-12)
    assert float(gradient.theta.sum()) == pytest.approx(float(whole.theta), rel=1e-12)


def test_float32():
    z, t = jnp.asarray([1.0, 5.0 - 0.5j], jnp.complex64), jnp.asarray(2.0, jnp.float32)
    exact = np.asarray(log_cf(jc.PiecewiseHeston(*MODEL), z.astype(jnp.complex128), jnp.asarray(2.0)))
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), jc.PiecewiseHeston(*MODEL))
    for model in (jc.PiecewiseHeston(*MODEL), narrow):
        found = log_cf(model, z, t)
        assert found.dtype == jnp.complex64
        np.testing.assert_allclose(np.asarray(found), exact, rtol=2e-5)
    assert {x.dtype for x in moments(narrow, t)} == {jnp.dtype(jnp.float32)}
    tangent = jax.jvp(lambda z: log_cf(narrow, z, t), (z,), (z,))[1]
    assert tangent.dtype == jnp.complex64


def test_model_of_a_heston():
    lifted = jc.PiecewiseHeston.of(jc.Heston(*HESTON["equity"]), KNOTS, vary=("sigma",))
    assert (np.ndim(lifted.kappa), np.shape(lifted.sigma)) == (0, (3,))
    with pytest.raises(ValueError, match="v0 cannot vary in time: choose from kappa, theta, sigma, rho"):
        jc.PiecewiseHeston.of(jc.Heston(*HESTON["equity"]), KNOTS, vary=("v0", "rho"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"v0": -0.1}, "v0 must not be negative"),
        ({"kappa": (1.0, -1.0, 1.0)}, "kappa must not be negative"),
        ({"theta": (0.1, 0.1, -0.1)}, "theta must not be negative"),
        ({"sigma": (0.0, 1.0, 1.0)}, "sigma must be positive"),
        ({"rho": (0.0, 0.5, -1.0)}, r"rho must lie in \(-1, 1\)"),
        ({"knots": (1.5, 0.5)}, "knots must be positive and increase"),
        ({"knots": (0.0, 0.5)}, "knots must be positive and increase"),
    ],
)
def test_violations(changed, sentence):
    fields = dict(zip((*FIELDS, "knots"), MODEL, strict=True)) | changed
    with pytest.raises(ValueError, match=sentence):
        jc.PiecewiseHeston(**fields)
    broken = jax.jit(lambda x: [jnp.any(rule) for rule in jc.PiecewiseHeston(**x).violations().values()])
    assert sum(map(bool, broken({name: jnp.asarray(x) for name, x in fields.items()}))) == 1


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"theta": (0.1, 0.1)},
            r"2 knots make 3 buckets, so theta must be .* a vector of 3, not of shape \(2,\)",
        ),
        ({"knots": 0.5}, r"knots must be a vector of times, not of shape \(\)"),
    ],
)
def test_shapes(changed, sentence):
    fields = dict(zip((*FIELDS, "knots"), MODEL, strict=True)) | changed
    with pytest.raises(ValueError, match=sentence):
        jc.PiecewiseHeston(**fields)
    with pytest.raises(ValueError, match=sentence):
        jax.jit(lambda v0: jc.PiecewiseHeston(**(fields | {"v0": v0})).v0)(0.04)

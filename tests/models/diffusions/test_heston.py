"""The Heston log-characteristic function and its gradient against 60-digit arithmetic, at its awkward places too."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxcal as jc

HOUR = 1 / 8760
DERIVATIVES = ("v0", "kappa", "theta", "sigma", "rho", "z", "t")
# v0, kappa, theta, sigma, rho
MODELS = {
    "equity": (0.04, 1.5, 0.06, 0.7, -0.65),
    "crypto": (0.5, 8.0, 0.6, 3.0, -0.3),
    "sigma 1e-3": (0.04, 2.0, 0.05, 1e-3, 0.4),
    "sigma 30": (0.3, 50.0, 0.5, 30.0, -0.5),
    "kappa 100": (0.04, 100.0, 0.09, 2.0, -0.7),
    "kappa 1e-3": (0.04, 1e-3, 0.2, 0.5, -0.7),
    "rho 0.999": (0.04, 1.0, 0.06, 0.8, 0.999),
    "rho -0.999": (0.04, 1.0, 0.06, 0.8, -0.999),
    "rho 0": (0.04, 1.0, 0.06, 0.8, 0.0),
    "kappa = rho sigma": (0.09, 0.375, 0.06, 0.75, 0.5),  # exact in binary
    "kappa < rho sigma": (0.09, 0.1, 0.06, 1.5, 0.8),
    "tiny v0": (1e-6, 2.0, 0.05, 0.6, -0.5),
}
POINTS = [
    0.0,
    0.7,
    12.0,
    300.0,
    -0.5j,
    3.0 - 0.5j,
    -40.0 + 0.2j,
    -1j,
    1e-7,
    -1j + 1e-7,
    1.0 + 1j * 0.5,
    5 * np.exp(0.2j) - 0.5j,
]
YEARS = [HOUR, 1 / 365, 0.5, 30.0]


def exact(v0, kappa, theta, sigma, rho, z, t):
    """ln phi as printed in textbooks (little trap), in the working precision; arguments may be mpf."""
    v0, kappa, theta, sigma, rho, t = (mp.mpf(x) for x in (v0, kappa, theta, sigma, rho, t))
    z = mp.mpmathify(z)
    if z == 0 or z == -1j:
        z += mp.mpf("1e-35")
    beta = kappa - 1j * rho * sigma * z
    d = mp.sqrt(beta * beta + sigma**2 * (z * z + 1j * z))
    g = (beta - d) / (beta + d)
    decay = mp.exp(-d * t)
    c = kappa * theta / sigma**2 * ((beta - d) * t - 2 * mp.log((1 - g * decay) / (1 - g)))
    return c + v0 * (beta - d) / sigma**2 * (1 - decay) / (1 - g * decay)


def _log_cf(v0, kappa, theta, sigma, rho, z, t):
    return jc.Heston(v0, kappa, theta, sigma, rho).log_cf(z, t)


value = jax.jit(_log_cf)


# all seven derivatives at once, along real directions: z moves along the real axis, where ln phi is analytic
def _slopes(*x):
    basis = tuple(jnp.zeros(7, a.dtype).at[j].set(1.0) for j, a in enumerate(x))
    return jax.vmap(lambda *direction: jax.jvp(_log_cf, x, direction)[1])(*basis)


slopes = jax.jit(jax.vmap(_slopes, out_axes=1))


def columns(rows):
    *real, z, t = zip(*rows, strict=True)
    return (*(jnp.asarray(x) for x in real), jnp.asarray(z, jnp.complex128), jnp.asarray(t))


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(70):
        yield


@pytest.mark.parametrize("name", MODELS)
def test_value(name):
    # next to -i, where kappa < rho sigma, 1 + y is of the size of exp(-d t): lost to rounding after thirty years
    years = YEARS[:-1] if name == "kappa < rho sigma" else YEARS
    rows = [(*MODELS[name], z, t) for z in POINTS for t in years]
    found = np.asarray(value(*columns(rows)))
    expected = np.array([complex(exact(*row)) for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=2e-15)


def derivative(row, i):
    h = mp.mpf("1e-18")
    up, down = (
        exact(*(mp.mpmathify(x) + sign * h * (abs(x) or 1) if j == i else x for j, x in enumerate(row)))
        for sign in (1, -1)
    )
    return (up - down) / (2 * h * (abs(row[i]) or 1))


@pytest.mark.parametrize("name", MODELS)
def test_derivatives(name):
    """In the five parameters, z and t, against central differences in 70 digits."""
    years = YEARS[:-1] if name == "kappa < rho sigma" else YEARS
    rows = [(*MODELS[name], z, t) for z in POINTS for t in years]
    size = np.abs([complex(exact(*row)) for row in rows])
    missed = []
    for i, found in enumerate(np.asarray(slopes(*columns(rows)))):
        expected = np.array([complex(derivative(row, i)) for row in rows])
        # a derivative that is small beside ln phi over the parameter is known to the rounding of ln phi only
        scale = np.abs(expected) + 1e-3 * size / np.maximum(np.abs([complex(row[i]) for row in rows]), 1e-3) + 1e-5
        error = np.where(np.isfinite(found), np.abs(found - expected), np.inf) / scale
        # where beta - d and exp(-d t) both vanish the value is known, not its slopes
        at_minus_i = [row[5] == -1j for row in rows]
        if DERIVATIVES[i] == "z" or name == "kappa < rho sigma":
            error = np.where(at_minus_i, 0.0, error)
        corner = name in ("kappa < rho sigma", "tiny v0")
        missed += [
            (DERIVATIVES[i], rows[n][5:], found[n], expected[n])
            for n in np.flatnonzero(error > (1e-6 if corner else 1e-9))
        ]
    assert not missed


@pytest.mark.parametrize("name", MODELS)
def test_martingale(name):
    """phi(0) = phi(-i) = 1, whatever the model; also where kappa = rho sigma and d vanishes there."""
    rows = [(*MODELS[name], z, t) for z in (0.0, -1j) for t in YEARS]
    assert np.abs(np.asarray(value(*columns(rows)))).max() < 1e-15


@given(
    st.floats(1e-4, 2.0), st.floats(0.01, 100.0), st.floats(1e-4, 2.0), st.floats(1e-3, 30.0),
    st.floats(-0.999, 0.999), st.floats(-50.0, 50.0), st.floats(HOUR, 30.0),
)  # fmt: skip
def test_characteristic_function_of_a_law(v0, kappa, theta, sigma, rho, u, t):
    """|phi| <= 1 on the real line, and phi(-u) is the conjugate of phi(u)."""
    row = (v0, kappa, theta, sigma, rho, u, t)
    mirrored = (v0, kappa, theta, sigma, rho, -u, t)
    there, back = np.asarray(value(*columns([row, mirrored])))
    assert there.real <= 1e-12
    assert abs(np.exp(there) - np.conj(np.exp(back))) < 1e-12


def test_forward_reverse_and_finite_difference():
    row = tuple(x[0] for x in columns([(*MODELS["equity"], 3.0 - 0.5j, 0.7)]))
    five = jnp.stack(row[:5])

    def parts(five):
        result = _log_cf(five[0], five[1], five[2], five[3], five[4], row[5], row[6])
        return jnp.stack([jnp.real(result), jnp.imag(result)])

    forward, reverse = (np.asarray(jax.jit(d(parts))(five)) for d in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    for i in range(5):
        e = 1e-6 * jnp.eye(5)[i]
        difference = (np.asarray(parts(five + e)) - np.asarray(parts(five - e))) / 2e-6
        np.testing.assert_allclose(forward[:, i], difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["equity", "sigma 1e-3", "kappa = rho sigma", "rho -0.999"])
@pytest.mark.parametrize("z", [0.7, 3.0 - 0.5j])
def test_second_derivatives(name, z):
    """The derivative rule is differentiable itself."""
    row = (*MODELS[name], z, 0.5)
    arguments = tuple(x[0] for x in columns([row]))
    found = np.asarray(hessian(jnp.stack(arguments[:5]), *arguments[5:]))
    h = mp.mpf("1e-15")
    for i in range(5):
        up, down = ([mp.mpmathify(x) + (sign * h if j == i else 0) for j, x in enumerate(row)] for sign in (1, -1))
        for j in range(5):
            expected = complex((derivative(up, j) - derivative(down, j)) / (2 * h))
            got = found[0, i, j] + 1j * found[1, i, j]
            assert abs(got - expected) <= 1e-6 * abs(expected) + 1e-9, (i, j)


@jax.jit
def hessian(five, z, t):
    def parts(five):
        result = _log_cf(five[0], five[1], five[2], five[3], five[4], z, t)
        return jnp.stack([jnp.real(result), jnp.imag(result)])

    return jax.hessian(parts)(five)


def test_vmap_over_models():
    five = jnp.asarray(list(MODELS.values()))
    z, t = jnp.asarray([1.0, 2.0 - 0.5j, 30.0]), jnp.asarray(0.5)
    batch = jax.jit(jax.vmap(lambda five: _log_cf(five[0], five[1], five[2], five[3], five[4], z, t)))(five)
    for row, found in zip(MODELS.values(), np.asarray(batch), strict=True):
        alone = value(*columns([(*row, complex(point), 0.5) for point in z]))
        np.testing.assert_allclose(found, np.asarray(alone), rtol=1e-13)


def test_expiries_broadcast():
    model = jax.tree.map(jnp.asarray, jc.Heston(*MODELS["equity"]))
    z, t = jnp.asarray([[1.0 + 0j, 2.0, 3.0]] * 2), jnp.asarray([[0.5], [1.0]])
    found = model.log_cf(z, t)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(np.asarray(found[1]), np.asarray(model.log_cf(z[1], jnp.asarray(1.0))), rtol=1e-14)


def test_float32():
    z, t = jnp.asarray([1.0, 5.0 - 0.5j], jnp.complex64), jnp.asarray(0.5, jnp.float32)
    for number in (float, lambda x: jnp.asarray(x, jnp.float32)):
        model = jc.Heston(*map(number, MODELS["equity"]))
        found = model.log_cf(z, t)
        assert found.dtype == jnp.complex64
        expected = [complex(exact(*MODELS["equity"], complex(point), 0.5)) for point in z]
        np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-5)
    assert {x.dtype for x in model.moment_bounds(t)} == {jnp.dtype(jnp.float32)}
    tangent = jax.jvp(lambda v: jc.Heston(v, *map(float, MODELS["equity"][1:])).log_cf(z, t), (t,), (t,))[1]
    assert tangent.dtype == jnp.complex64


def explosion_time(q, kappa, sigma, rho):
    """When E[exp(q X)] becomes infinite: Andersen and Piterbarg (2007), proposition 3.1, in mpmath."""
    kappa, sigma, rho = map(mp.mpf, (kappa, sigma, rho))
    b, c = kappa - rho * sigma * q, q * (q - 1)
    square = b * b - sigma**2 * c
    if square >= 0:
        return mp.inf if b > 0 else mp.log((b - mp.sqrt(square)) / (b + mp.sqrt(square))) / mp.sqrt(square)
    gamma = mp.sqrt(-square)
    return 2 / gamma * (mp.atan2(gamma, -b))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("t", [1 / 365, 0.5, 10.0])
def test_moment_bounds(name, t):
    model = jax.tree.map(jnp.asarray, jc.Heston(*MODELS[name]))
    lower, upper = (float(x) for x in moments(model, jnp.asarray(t)))
    assert lower < 0 < 1 < upper
    _, kappa, _, sigma, rho = MODELS[name]
    for edge, inside in ((lower, lower * (1 - 1e-6)), (upper, 1 + (upper - 1) * (1 - 1e-6))):
        assert explosion_time(mp.mpf(inside), kappa, sigma, rho) > t
        beyond = edge * (1 + 1e-6) if edge < 0 else 1 + (edge - 1) * (1 + 1e-6)
        if min(abs(edge), abs(edge - 1)) < 1e6:  # past that the search stops
            assert explosion_time(mp.mpf(beyond), kappa, sigma, rho) <= t


moments = jax.jit(lambda model, t: model.moment_bounds(t))


@pytest.mark.parametrize("name", MODELS)
def test_decay_cone(name):
    """Inside it |phi| falls along a ray, outside it grows."""
    model = jax.tree.map(jnp.asarray, jc.Heston(*MODELS[name]))
    lower, upper = map(float, model.decay_cone())
    assert -np.pi <= lower < 0 < upper <= np.pi
    rho = MODELS[name][4]
    assert upper - lower == pytest.approx(np.pi)
    assert lower == pytest.approx(-np.pi / 2 - np.arcsin(rho), rel=1e-12)
    radius = 1e5
    for angle, sign in ((lower + 0.1, -1), (upper - 0.1, -1), (lower - 0.1, 1), (upper + 0.1, 1)):
        if abs(angle) > np.pi / 2 - 0.01:
            continue
        row = (*MODELS[name], radius * np.exp(1j * angle), 0.5)
        assert sign * float(np.real(np.asarray(value(*columns([row])))[0])) > 0

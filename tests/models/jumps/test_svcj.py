"""SVCJ: the jump integral against quadrature, derivatives against 50 digits, and where it must equal Bates."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jaxcal as jc

NAMES = tuple(jc.SVCJ.bounds)
DERIVATIVES = (*NAMES, "z", "t")
MODELS = {
    "equity": (0.04, 3.0, 0.03, 0.4, -0.7, 1.0, -0.05, 0.05, 0.05, -0.5),
    "crypto": (0.5, 8.0, 0.6, 3.0, -0.3, 20.0, -0.02, 0.07, 0.3, -0.2),
    "large variance jumps": (0.3, 4.0, 0.3, 1.5, 0.3, 3.0, 0.0, 0.1, 4.0, 0.15),
    "no price jumps": (0.04, 1.5, 0.06, 0.7, -0.65, 2.0, 0.0, 0.0, 0.1, 0.0),
    "sigma 1e-3": (0.04, 2.0, 0.05, 1e-3, 0.4, 0.7, 0.1, 0.2, 0.05, 0.5),
    "tiny variance jumps": (0.04, 2.0, 0.05, 0.5, -0.4, 0.7, -0.1, 0.2, 1e-9, -1.0),
    "kappa 1e-3": (0.04, 1e-3, 0.2, 0.5, -0.7, 1.0, -0.05, 0.1, 0.1, -0.5),
    "rho 0.999": (0.04, 1.0, 0.06, 0.8, 0.999, 1.0, -0.05, 0.1, 0.1, -0.5),
}
POINTS = [0.7, 12.0, 300.0, -0.5j, 3.0 - 0.5j, -40.0 + 0.2j, 1e-7, -1j + 1e-7, 5 * np.exp(0.2j) - 0.5j]
YEARS = [1 / 365, 0.5, 30.0]


def heston_d(kappa, sigma, rho, z, t):
    """The coefficient of v(0), as printed in textbooks (little trap)."""
    beta = kappa - 1j * rho * sigma * z
    d = mp.sqrt(beta * beta + sigma**2 * (z * z + 1j * z))
    g, decay = (beta - d) / (beta + d), mp.exp(-d * t)
    return (beta - d) / sigma**2 * (1 - decay) / (1 - g * decay), g, d, beta, decay


def with_integral(integral, *row):
    v0, kappa, theta, sigma, rho, intensity, mean, std, variance_mean, correlation, z, t = row
    big_d, g, d, beta, decay = heston_d(kappa, sigma, rho, z, t)
    c = kappa * theta / sigma**2 * ((beta - d) * t - 2 * mp.log((1 - g * decay) / (1 - g)))
    jumped = mp.exp(1j * z * mean - std**2 * z * z / 2)
    growth = mp.exp(mean + std**2 / 2) / (1 - variance_mean * correlation)
    a = 1 - 1j * z * correlation * variance_mean
    rest = jumped * integral(kappa, sigma, rho, variance_mean, a, z, t) - t - 1j * z * t * (growth - 1)
    return c + v0 * big_d + intensity * rest


def by_quadrature(kappa, sigma, rho, variance_mean, a, z, t):
    ends = [0, *(t * mp.mpf(2) ** -n for n in range(14, -1, -2))]
    return mp.quad(lambda s: 1 / (a - variance_mean * heston_d(kappa, sigma, rho, z, s)[0]), ends)


def in_closed_form(kappa, sigma, rho, variance_mean, a, z, t):
    """Partial fractions in exp(-d s): 1 / (a - mu D) = (1 - g e) / (p - w e), so no square root of a difference."""
    _, g, d, beta, decay = heston_d(kappa, sigma, rho, z, t)
    r = (beta - d) / sigma**2
    p, w = a - variance_mean * r, a * g - variance_mean * r
    return t / p + (1 / p - g / w) / d * mp.log((p - w * decay) / (p - w))


def exact(*row):
    return with_integral(in_closed_form, *(mp.mpf(x) for x in row[:10]), mp.mpmathify(row[10]), mp.mpf(row[11]))


def _log_cf(*x):
    return jc.SVCJ(*x[:10]).log_cf(x[10], x[11])


value = jax.jit(_log_cf)


def _slopes(*x):
    """All twelve derivatives; z moves along the real axis, where ln phi is analytic."""
    basis = [tuple(jnp.ones_like(a) if i == j else jnp.zeros_like(a) for j, a in enumerate(x)) for i in range(12)]
    return jnp.stack([jax.jvp(_log_cf, x, direction)[1] for direction in basis])


slopes = jax.jit(jax.vmap(_slopes, out_axes=1))


def columns(rows):
    *real, z, t = zip(*rows, strict=True)
    return (*(jnp.asarray(x) for x in real), jnp.asarray(z, jnp.complex128), jnp.asarray(t))


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(50):
        yield


@pytest.mark.parametrize("name", MODELS)
def test_value(name):
    rows = [(*MODELS[name], z, t) for z in POINTS for t in YEARS]
    expected = np.array([complex(exact(*row)) for row in rows])
    # next to z = -i jumps and their compensator cancel, to a rounding of intensity * t
    rounding = np.array([1e-15 * (1.0 + row[5] * row[11]) for row in rows])
    assert (np.abs(np.asarray(value(*columns(rows))) - expected) <= 1e-10 * np.abs(expected) + rounding).all()


@pytest.mark.parametrize("name", ["equity", "crypto", "large variance jumps", "rho 0.999"])
def test_integral_is_the_integral(name):
    """By quadrature: thirty years turn the logarithm's argument many times, where its branch would show."""
    rows = [(*MODELS[name], z, t) for z in (0.7, 40.0 - 0.5j, 5 * np.exp(0.2j) - 0.5j) for t in (0.5, 30.0)]
    with mp.workdps(20):
        expected = [
            complex(with_integral(by_quadrature, *map(mp.mpf, row[:10]), mp.mpmathify(row[10]), mp.mpf(row[11])))
            for row in rows
        ]
    np.testing.assert_allclose(np.asarray(value(*columns(rows))), expected, rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_derivatives(name):
    """In the ten parameters, z and t, against central differences in 50 digits."""
    rows = [(*MODELS[name], z, t) for z in POINTS for t in YEARS]
    size = np.abs([complex(exact(*row)) for row in rows])
    found = np.asarray(slopes(*columns(rows)))
    missed = []
    for i in range(12):
        for n, row in enumerate(rows):
            h = mp.mpf("1e-15") * (abs(mp.mpmathify(row[i])) or 1)
            up, down = ([mp.mpmathify(x) + sign * h * (j == i) for j, x in enumerate(row)] for sign in (1, -1))
            expected = complex((exact(*up) - exact(*down)) / (2 * h))
            # one that is small beside ln phi over the parameter is known to the rounding of ln phi only
            scale = abs(expected) + 1e-3 * size[n] / max(abs(row[i]), 1e-3) + 1e-4
            if not abs(found[i, n] - expected) <= 1e-9 * scale:
                missed.append((DERIVATIVES[i], row[10:], found[i, n], expected))
    assert not missed

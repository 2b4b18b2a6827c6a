"""Complex functions of few operations, against mpmath over the range where they are used."""

import jax
import mpmath as mp
import numpy as np
import pytest

from jaxcal.models import complex_math

RANDOM = np.random.default_rng(0)
SIZES = 10.0 ** RANDOM.uniform(-12, 12, 400)
POINTS = np.concatenate(
    [SIZES * np.exp(1j * RANDOM.uniform(-np.pi, np.pi, 400)), [1.0, -1.0 + 1e-9j, 1j, -1j, 4.0 + 0j, 1e-8 - 1e-8j]]
)


@pytest.mark.parametrize(
    ("name", "exact"), [("sqrt", mp.sqrt), ("reciprocal", lambda z: 1 / z), ("log", mp.log)], ids=["sqrt", "1/z", "log"]
)
def test_over_the_plane(name, exact):
    found = np.asarray(jax.jit(getattr(complex_math, name))(POINTS))
    with mp.workdps(40):
        expected = np.array([complex(exact(mp.mpmathify(complex(z)))) for z in POINTS])
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15 if name == "log" else 0)


def test_log1p_near_zero():
    """Relative accuracy for small arguments, and absolute elsewhere."""
    points = np.where((np.abs(POINTS) < 1e6) & (np.abs(1 + POINTS) > 0.1), POINTS, 0.5)
    found = np.asarray(jax.jit(complex_math.log1p)(points))
    with mp.workdps(40):
        expected = np.array([complex(mp.log(1 + mp.mpmathify(complex(z)))) for z in points])
    assert (np.abs(found - expected) <= 4e-16 * np.maximum(np.abs(points), 1.0) * 10).all()
    small = np.abs(points) < 1e-3
    assert (np.abs(found - expected)[small] <= 4e-16 * np.abs(expected)[small]).all()


def test_sqrt_is_principal_and_safe_at_zero():
    found = np.asarray(jax.jit(complex_math.sqrt)(np.array([0j, -4.0 + 0j, -4.0 - 1e-12j, -4.0 + 1e-12j])))
    assert found[0] == 0
    assert (np.real(found) >= 0).all()
    np.testing.assert_allclose(found[1:], [2j, -2j, 2j], atol=1e-12)

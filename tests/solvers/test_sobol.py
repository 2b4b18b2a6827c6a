"""Sobol points against scipy's, and what scrambling keeps."""

import numpy as np
import pytest
from scipy.stats import qmc

from jaxcal.solvers.sobol import DIMENSIONS, sobol_points


def test_unscrambled_points_are_scipys() -> None:
    expected = qmc.Sobol(DIMENSIONS, scramble=False).random(1024)
    np.testing.assert_array_equal(sobol_points(1024, DIMENSIONS, seed=None), expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scrambled_points_have_one_in_every_slice(seed: int) -> None:
    points = sobol_points(64, DIMENSIONS + 4, seed)
    slices = np.sort((64 * points).astype(int), axis=0)
    np.testing.assert_array_equal(slices, np.broadcast_to(np.arange(64)[:, None], slices.shape))
    assert ((points > 0) & (points < 1)).all()


def test_scrambled_points_of_two_coordinates_have_one_in_every_box() -> None:
    # the first two dimensions are a (0, m, 2)-net, which scrambling keeps: a Latin hypercube is none
    points = sobol_points(256, 2, seed=5)
    for power in range(9):
        cells = np.floor(points * [2**power, 2 ** (8 - power)]).astype(int)
        assert len(np.unique(cells, axis=0)) == 256


def test_the_seed_decides() -> None:
    np.testing.assert_array_equal(sobol_points(16, 3, seed=4), sobol_points(16, 3, seed=4))
    assert np.abs(sobol_points(16, 3, seed=4) - sobol_points(16, 3, seed=5)).max() > 0.1


def test_scrambled_points_are_uniform() -> None:
    means = np.mean([sobol_points(2, 3, seed) for seed in range(400)], axis=(0, 1))
    np.testing.assert_allclose(means, 0.5, atol=0.03)
    firsts = np.asarray([sobol_points(1, 1, seed)[0, 0] for seed in range(400)])
    np.testing.assert_allclose([firsts.mean(), firsts.var()], [0.5, 1 / 12], atol=0.05)


@pytest.mark.parametrize(("num", "dimensions"), [(0, 2), (-1, 2), (4, 0)])
def test_no_points(num: int, dimensions: int) -> None:
    with pytest.raises(ValueError, match="both must be positive"):
        sobol_points(num, dimensions)

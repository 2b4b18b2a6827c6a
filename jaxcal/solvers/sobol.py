"""Sobol points: starts that fill a box more evenly than random ones."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

_BITS = 32

# Primitive polynomials (their degree, and their inner coefficients as a number) and first direction numbers of the
# dimensions from the second on: S. Joe, F. Kuo, "Constructing Sobol sequences with better two-dimensional projections",
# SIAM J. Sci. Comput. 30 (2008) 2635-2654, the set they call new-joe-kuo-6.
_DIRECTIONS = (
    (1, 0, (1,)), (2, 1, (1, 3)), (3, 1, (1, 3, 1)), (3, 2, (1, 1, 1)), (4, 1, (1, 1, 3, 3)), (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)), (5, 4, (1, 1, 5, 5, 5)), (5, 7, (1, 1, 7, 11, 19)), (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)), (5, 14, (1, 3, 5, 5, 31)), (6, 1, (1, 3, 3, 9, 7, 49)), (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)), (6, 19, (1, 1, 1, 15, 7, 5)), (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)), (7, 1, (1, 3, 7, 11, 23, 15, 103)), (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)  # fmt: skip
DIMENSIONS = len(_DIRECTIONS) + 1


def sobol_points(num: int, dimensions: int, seed: int | None = 0) -> Float[np.ndarray, "n p"]:
    """The first `num` points of a Sobol sequence in the unit cube, scrambled by `seed`.

    Owen's scrambling (A. Owen, "Randomly permuted (t, m, s)-nets", 1995) keeps what the sequence is for (any power of
    two of first points has one in each of that many slices of every coordinate) and makes each point uniform.
    Dimensions beyond the 21st are those of a Latin hypercube, which keeps the slices only.

    Args:
        num: of points; powers of two are the most even.
        dimensions: of the cube.
        seed: of the scrambling; the same seed gives the same points. None leaves the sequence as it is, its first
            point in the corner.

    Returns:
        `[n, p]` in [0, 1), and with scrambling in (0, 1).

    Raises:
        ValueError: `num` or `dimensions` is not positive, or `num` above 2^31.

    Example:
        >>> sobol_points(4, 2, seed=None).tolist()
        [[0.0, 0.0], [0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]
        >>> sorted((4 * sobol_points(4, 2, seed=7)[:, 1]).astype(int).tolist())
        [0, 1, 2, 3]
    """
    if not 0 < num <= 2**31 or dimensions <= 0:
        raise ValueError(f"sobol_points of num={num}, dimensions={dimensions}: both must be positive, num at most 2^31")
    count = np.arange(num, dtype=np.uint64)
    gray = count ^ (count >> np.uint64(1))
    rng = np.random.default_rng(seed)
    columns = []
    for dimension in range(dimensions):
        if dimension >= DIMENSIONS:
            columns.append((rng.permutation(num) + rng.uniform(size=num)) / num)
            continue
        digits = np.zeros(num, np.uint64)
        for bit, direction in enumerate(_direction_numbers(dimension)):
            digits ^= np.where((gray >> np.uint64(bit)) & np.uint64(1), np.uint64(direction), np.uint64(0))
        offset = 0.0
        if seed is not None:
            digits, offset = _scrambled(digits, rng), 0.5  # from the middle of the last cell: never 0
        columns.append((digits + offset) / 2.0**_BITS)
    return np.stack(columns, axis=1)


def _direction_numbers(dimension: int) -> list[int]:
    """Direction numbers of one dimension, the first in the highest bit."""
    if dimension == 0:
        return [1 << (_BITS - k) for k in range(1, _BITS + 1)]
    degree, polynomial, first = _DIRECTIONS[dimension - 1]
    numbers = list(first)
    for k in range(degree, _BITS):
        number = numbers[k - degree] ^ (numbers[k - degree] << degree)
        for j in range(1, degree):
            if polynomial >> (degree - 1 - j) & 1:
                number ^= numbers[k - j] << j
        numbers.append(number)
    return [number << (_BITS - k) for k, number in enumerate(numbers, start=1)]


def _scrambled(digits: NDArray[np.uint64], rng: np.random.Generator) -> NDArray[np.uint64]:
    """Each binary digit kept or flipped by a coin of its own for all the digits before it."""
    found = digits.copy()
    for place in range(_BITS):
        prefixes, which = np.unique(digits >> np.uint64(_BITS - place), return_inverse=True)
        flips = rng.integers(0, 2, size=len(prefixes), dtype=np.uint64)
        found ^= flips[which] << np.uint64(_BITS - 1 - place)
    return found

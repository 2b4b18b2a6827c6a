"""Backoff: how long to wait before the next try to connect."""

import random
from collections.abc import Iterator


def backoff(first: float, most: float, rng: random.Random) -> Iterator[float]:
    """Seconds before each try: drawn between 0 and a bound that doubles from `first` to `most` ("full jitter").

    Clients that lost the same server do not all come back at the same moments.

    Source: M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog (2015).

    Example:
        >>> waits = backoff(0.5, 8.0, random.Random(0))
        >>> [round(next(waits), 2) for _ in range(6)]
        [0.42, 0.76, 0.84, 1.04, 4.09, 3.24]
    """
    bound = first
    while True:
        yield rng.uniform(0.0, bound)
        bound = min(2.0 * bound, most)

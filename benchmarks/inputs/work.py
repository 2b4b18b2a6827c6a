"""One surface to fit, in plain numpy, so that a runner imports nothing but what it measures."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARAMETERS = ("v0", "kappa", "theta", "sigma", "rho")


@dataclass(frozen=True)
class Work:
    """The quotes, the start and the answer.

    `days` whole days to expiry `[E]`, `expiry` years `[E]`, `zero_rate` continuously compounded `[E]`, `forward` and
    `discount` `[E]`, `strike` and `vol` `[E, K]`, `start` and `truth` `[5]` in the order of `PARAMETERS`. `truth` is
    what a fit should find: the parameters behind the targets, or the optimum of the unweighted implied-vol misfit.
    """

    name: str
    spot: float
    days: NDArray[np.int64]
    expiry: Array
    zero_rate: Array
    forward: Array
    discount: Array
    strike: Array
    vol: Array
    start: Array
    truth: Array

    def save(self, path: Path) -> None:
        """Write to an `.npz` file: a cold process reads it without importing what made it."""
        arrays: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read back what `save` wrote."""
        with np.load(path) as data:
            kept = {f.name: data[f.name] for f in fields(cls)}
        return cls(**{**kept, "name": str(kept["name"]), "spot": float(kept["spot"])})

"""SurfaceRows: the surfaces of a batch of one shape, without an object for each."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxcal.market.surface import Surface


class SurfaceRows(Sequence[Surface]):
    """The surfaces of one `Surface` with a leading axis; each is cut out when it is asked for.

    Attributes:
        stacked: all of them, on the host.

    Example:
        >>> import jaxcal as jc
        >>> flat = jc.Surface.from_vols([0.5], [90.0, 100.0], [[0.2, 0.2]], forward=100.0)
        >>> rows = SurfaceRows(jax.tree.map(lambda x: np.stack([x, x, x]), flat))
        >>> len(rows), rows[-1].expiry.tolist()
        (3, [0.5])
    """

    def __init__(self, stacked: Surface) -> None:
        """From arrays of any kind, which must have the axis."""
        self.stacked: Surface = jax.tree.map(np.asarray, stacked)

    def __len__(self) -> int:
        """How many."""
        return len(self.stacked.vol)

    def __getitem__(self, i: Any) -> Any:
        """One surface, or several."""
        if isinstance(i, slice):
            return SurfaceRows(jax.tree.map(lambda x: x[i], self.stacked))
        place = range(len(self))[i]
        return jax.tree.map(lambda x: x[place], self.stacked)

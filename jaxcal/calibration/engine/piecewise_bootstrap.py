"""Bootstrap of time-dependent parameters, interval by interval."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcal.calibration.engine.grid_fit import Round
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.models.base import Model
from jaxcal.models.parameters import with_fields


def bootstrapped(
    run: Callable[[Target, Model], Round[Model]], start: Model, names: Sequence[str], target: Target
) -> Model:
    """`start` fitted to the expiries up to its first knot, then up to its second, and so on but for the last interval.

    An option's price depends only on the intervals before its expiry, so each fit adds the parameters of one interval,
    starting from the interval before. `run` fits to a target from a given start.
    """
    knots = np.asarray(getattr(start, "knots"))  # noqa: B009
    varying = [name for name in names if np.ndim(getattr(start, name)) == 1]
    model: Any = start
    for i, knot in enumerate(knots):
        weight = jnp.where((target.expiry <= knot * (1.0 + 1e-9))[:, None], target.weight, 0.0)
        model = run(target._replace(weight=weight), model).model
        ahead = {name: getattr(model, name) for name in varying}
        model = with_fields(model, {n: jnp.where(jnp.arange(len(knots) + 1) > i, v[i], v) for n, v in ahead.items()})
    return model

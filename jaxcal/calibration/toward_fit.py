"""toward: a prior that holds a fit near a previous one."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal.calibration.objective.prior import AbstractPrior, Scaled
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.fits import Fits
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import Scales, search_value, to_vector


class Toward(AbstractPrior):
    """Parameters stay near those of a previous fit, in the directions that its quotes determined; `toward` makes it.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)
        >>> fit = jc.calibrate(jc.BlackScholes, surface)
        >>> print(f"{Toward(fit)(jc.BlackScholes(0.22))[0]:.4f}")
        0.0330
    """

    free: tuple[str, ...] = eqx.field(static=True)
    scales: Scales = eqx.field(static=True)
    y: Float[Array | np.ndarray, "*b p"]
    root: Float[Array | np.ndarray, "*b p p"]

    def __init__(self, fit: Fit) -> None:
        """Of a fit of one model to a whole surface."""
        if fit.by_expiry:
            raise ValueError(f"{type(fit.model).__name__} was fitted expiry by expiry: toward takes a fit of one model")
        information = np.asarray(fit.information, float)
        if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves((information, fit.model))):
            raise ValueError(f"there is nothing to stay near to: {fit.status}")
        self.free, self.scales = fit.free, fit.objective.scales
        self.y = np.asarray(to_vector(fit.model, fit.free, fit.objective.scales), float)
        values, directions = np.linalg.eigh(information)
        self.root = np.sqrt(np.maximum(values, 0.0))[:, None] * directions.T

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        y = jnp.concatenate([jnp.ravel(search_value(model, name, self.scales)) for name in self.free])
        return jnp.asarray(self.root, y.dtype) @ (y - jnp.asarray(self.y, y.dtype))

    def complaint(self, template: type[AbstractModel]) -> str | None:
        missing = [name for name in self.free if name not in template.bounds]
        return f"the previous fit is not one of {template.__name__}: that has no {missing[0]}" if missing else None


def toward(
    fit: Fit | Fits, strength: float | Literal["discrepancy", "l_curve"] = 0.1, *, noise: float | None = None
) -> Any:
    """A prior that holds a fit near a previous one (Tikhonov), in the metric of that one's information.

    It adds `strength / 2 (y - y0)' J'J (y - y0)` to the cost, with y on the search scales: to second order the cost of
    fitting the previous quotes too, each with `strength` times its weight. Directions that they did not determine are
    held by nothing.

    Args:
        fit: the previous fit; or `Fits`, for `calibrate_many` of surfaces with the same keys.
        strength: 1 is as much as all the previous quotes; or a rule, see `Scaled`.
        noise: of a quote, for "discrepancy".

    Returns:
        A prior; of `Fits`, a dict of them by key, without those that did not converge.

    Raises:
        ValueError: a negative strength; a fit without numbers, or of every expiry by itself.

    Example:
        >>> import jaxcal as jc
        >>> def flat(vol):
        ...     return jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[vol] * 3], forward=100.0)
        >>> before = jc.calibrate(jc.BlackScholes, flat(0.2))
        >>> print(f"{jc.calibrate(jc.BlackScholes, flat(0.24), prior=toward(before, 1.0)).model.sigma:.3f}")
        0.222
    """
    if isinstance(fit, Fits):
        good = [key for key, fine in zip(fit.keys, fit.converged, strict=True) if fine]
        return {key: toward(fit[key], strength, noise=noise) for key in good}
    if not isinstance(strength, str):
        if not 0.0 <= strength < np.inf:
            raise ValueError(f"strength is {strength}: it must be finite and not negative")
        strength = float(strength) ** 0.5
    return Scaled(Toward(fit), strength, noise)

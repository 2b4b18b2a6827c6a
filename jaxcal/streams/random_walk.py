"""The random walk of parameters between two surfaces, and the tests of their innovations; on the host, p x p."""

import math
from statistics import NormalDist

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales, search_value

Vector = Float[np.ndarray, " p"]
Matrix = Float[np.ndarray, "p p"]

_LEAST_INFORMATION = 1e-2  # of the prior's: what the quotes are taken to say of a direction that they do not see
_HALVINGS = 20
_LOG_SPREAD, _LINEAR_SPREAD = 1.0, 0.075  # stationary: a factor of e; a share of the width of the bounds


class Predicted(AbstractPrior):
    """The predictive prior: `root (y - mean)`, y on the search scales.

    With `root' root = s^2 covariance^-1`, s the noise of a quote, a fit of quotes and prior is the update of an
    extended Kalman filter, iterated until it is the mode of the posterior (B. Bell, F. Cathey, "The iterated Kalman
    filter update as a Gauss-Newton method", IEEE Trans. Autom. Control 38, 1993).

    Example:
        >>> import jaxcal as jc
        >>> prior = Predicted(("sigma",), np.log([0.2]), np.asarray([[0.5]]))
        >>> print(f"{prior(jc.BlackScholes(0.4))[0]:.4f}")
        0.3466
    """

    free: tuple[str, ...] = eqx.field(static=True)
    mean: Float[Array | np.ndarray, " p"]
    root: Float[Array | np.ndarray, "p p"]
    scales: Scales = eqx.field(static=True, default=Scales())

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        y = jnp.concatenate([jnp.ravel(search_value(model, name, self.scales)) for name in self.free])
        return jnp.asarray(self.root, y.dtype) @ (y - jnp.asarray(self.mean, y.dtype))


def stationary_spread(interval: Interval) -> float:
    """Stationary standard deviation of a parameter on its search scale.

    Example:
        >>> import jaxcal as jc
        >>> stationary_spread(jc.Heston.bounds["kappa"])
        1.0
    """
    return _LOG_SPREAD if interval.scale == "log" else _LINEAR_SPREAD * (interval.upper - interval.lower)


def process_share(years: float, memory: float) -> float:
    """The process noise of `years` as a share of the stationary covariance, `1 - exp(-2 years / memory)`.

    Example:
        >>> round(process_share(0.1, 2.0), 6)
        0.095163
    """
    return -math.expm1(-2.0 * max(years, 0.0) / memory)


def predict(covariance: Matrix, stationary: Matrix, share: float) -> Matrix:
    """The predicted covariance: that of an Ornstein-Uhlenbeck process, but with the mean unchanged.

    For short times it grows as for a random walk, `covariance + share stationary`; after long times it is `stationary`.

    Example:
        >>> predict(np.asarray([[0.01]]), np.asarray([[1.0]]), 0.1)
        array([[0.109]])
    """
    return (1.0 - share) * covariance + share * stationary


def inverse_root(covariance: Matrix) -> Matrix:
    """L^-1 with L L' the covariance."""
    return np.linalg.inv(np.linalg.cholesky(covariance))


def move_without_prior(step: Vector, information: Matrix, precision: Matrix) -> Vector:
    """The move of the mean without the prior, to first order, from the `step` with it.

    At the optimum the gradients of quotes and prior cancel: `precision step`. Without the prior the step is longer by
    `information^-1` of it. Both matrices are in units of the noise.
    """
    return step + _solved(information + _LEAST_INFORMATION * precision, precision @ step)


def _solved(matrix: Matrix, vector: Vector) -> Vector:
    """NaN where there is no solution: a fit without numbers must not end a stream."""
    try:
        return np.linalg.solve(matrix, vector)
    except np.linalg.LinAlgError:
        return np.full_like(vector, np.nan)


def innovation(move: Vector, information: Matrix, covariance: Matrix) -> float:
    """The normalised innovation squared: `move' (covariance + information^-1)^-1 move`, chi-squared with p degrees of
    freedom where the prior is right (Y. Bar-Shalom, X. Li, T. Kirubarajan, "Estimation with Applications to Tracking
    and Navigation", 2001, section 5.4).

    Written so that directions not determined by the quotes count nothing.

    Example:
        >>> round(innovation(np.asarray([0.3]), np.asarray([[100.0]]), np.asarray([[0.02]])), 6)
        3.0
    """
    # (P + I^-1)^-1 = (1 + I P)^-1 I
    return float(move @ _solved(np.eye(len(move)) + information @ covariance, information @ move))


def find_inflation(
    move: Vector, information: Matrix, covariance: Matrix, stationary: Matrix, share: float, target: float
) -> float:
    """The smallest share of the stationary covariance, from `share` to 1, at which the innovation squared is `target`,
    or 1.
    """
    low, high = share, 1.0
    if innovation(move, information, predict(covariance, stationary, 1.0)) > target:
        return 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if innovation(move, information, predict(covariance, stationary, middle)) > target:
            low = middle
        else:
            high = middle
    return high


def chi_squared(probability: float, degrees: int) -> float:
    """A quantile of the chi-squared distribution, to 2 % up to 0.9999 (E. Wilson, M. Hilferty, PNAS 17, 1931, 684-688).

    Example:
        >>> round(chi_squared(0.99, 5), 2)
        15.12
    """
    spread = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - spread + NormalDist().inv_cdf(probability) * spread**0.5) ** 3

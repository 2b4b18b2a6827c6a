"""Do 95 % intervals hold where neighbouring quotes err together? A smile of three numbers, fitted to eight expiries.

`python -m benchmarks.accuracy.clustered_noise` prints, for three kinds of noise of one size, how often the intervals
hold the truth: Wald's, and those of a sandwich with one cluster an expiry and Student's t of as many degrees of
freedom, less 1.
"""

from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.uncertainty.student_t import t_quantile

SURFACES, CLUSTERED = 1000, 200
EXPIRIES, STRIKES, NOISE = 8, 15, 0.003


class Smile(jc.AbstractVolModel):
    """A parabola in standard deviations from the money, the same at every expiry."""

    level: Float[Array, "*b"] | float
    slope: Float[Array, "*b"] | float
    bend: Float[Array, "*b"] | float
    bounds = {"level": jc.Interval(0.01, 2.0, "log"), "slope": jc.Interval(-1.0, 1.0), "bend": jc.Interval(-1.0, 2.0)}  # noqa: RUF012

    def vol(self, strike: Array, expiry: Array, forward: Array) -> Array:
        k = jnp.log(strike / forward) / jnp.sqrt(expiry)
        return self.level + self.slope * k + self.bend * k * k


TRUTH = {"level": 0.2, "slope": -0.1, "bend": 0.1}


def draw_noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """`[e, k]` of variance 1: independent; half of it common to an expiry; or neighbours with a correlation of 0.8."""
    own = rng.standard_normal((EXPIRIES, STRIKES))
    if kind == "half of it common to an expiry":
        return np.sqrt(0.5) * (own + rng.standard_normal((EXPIRIES, 1)))
    if kind == "neighbours correlated by 0.8":
        for j in range(1, STRIKES):
            own[:, j] = 0.8 * own[:, j - 1] + 0.6 * own[:, j]
    return own


def main() -> None:
    """Print the shares."""
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    expiry = np.geomspace(0.05, 2.0, EXPIRIES)
    strike = 100.0 * np.exp(0.2 * np.sqrt(expiry)[:, None] * np.linspace(-2.0, 1.5, STRIKES))
    vol = np.asarray(Smile(**TRUTH).vol(jnp.asarray(strike), jnp.asarray(expiry)[:, None], jnp.asarray(100.0)))
    exact = jc.Surface.from_vols(expiry.tolist(), strike.tolist(), vol.tolist(), forward=100.0)
    inside = np.asarray(exact.weight) > 0
    for kind in ("independent", "half of it common to an expiry", "neighbours correlated by 0.8"):
        surfaces = []
        for _ in range(SURFACES):
            noisy = np.asarray(exact.vol).copy()
            noisy[inside] += NOISE * draw_noise(kind, rng).ravel()
            surfaces.append(eqx.tree_at(lambda s: s.vol, exact, jnp.asarray(noisy)))
        fits = jc.calibrate_many(Smile, surfaces)
        print(kind, "Wald", _shares(fits.model, fits.standard_errors, NormalDist().inv_cdf(0.975)))
        some = [fits[i] for i in range(CLUSTERED)]
        errors = [jc.covariance(fit, "sandwich", clusters="expiry").standard_errors(fit.model) for fit in some]
        models, errors = (jax.tree.map(lambda *x: np.stack(x), *of) for of in ([fit.model for fit in some], errors))
        print(kind, "clusters", _shares(models, errors, float(t_quantile(0.95, EXPIRIES - 1))), flush=True)


def _shares(model: Smile, errors: Smile, quantile: float) -> dict[str, float]:
    off = {name: np.abs(getattr(model, name) - true) / getattr(errors, name) for name, true in TRUTH.items()}
    return {name: round(float(np.mean(np.asarray(x) <= quantile)), 3) for name, x in off.items()}


if __name__ == "__main__":
    main()

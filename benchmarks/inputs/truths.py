"""Random parameters of every model, as liquid markets show them: half like equity indices, half like crypto."""

from typing import Any

import numpy as np

import jaxcal as jc
from jaxcal.models.smiles.ssvi import SSVIHeston

DAYS = np.array([7, 14, 30, 61, 91, 182, 365, 730])
EXPIRY = DAYS / 365.0
PLACES = np.linspace(-3.0, 2.0, 15)  # log-strikes in standard deviations at the level of volatility


class Ranges:
    """Draws for one truth: `u` uniform, `lu` log-uniform; `level` of volatility, `crypto` the kind of market."""

    def __init__(self, rng: np.random.Generator, crypto: bool) -> None:
        self.rng, self.crypto = rng, crypto
        self.level = self.lu(0.4, 1.0) if crypto else self.lu(0.12, 0.35)

    def u(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def lu(self, low: float, high: float) -> float:
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def heston(self) -> dict[str, float]:
        variance = self.level**2
        sigma = self.lu(0.8, 5.0) if self.crypto else self.lu(0.2, 1.5)
        kappa = self.lu(1.0, 15.0) if self.crypto else self.lu(0.5, 8.0)
        rho = self.u(-0.6, 0.3) if self.crypto else self.u(-0.9, -0.3)
        return {
            "v0": variance * self.lu(0.5, 2.0), "kappa": kappa, "theta": variance * self.lu(0.5, 2.0), "sigma": sigma,
            "rho": rho,
        }  # fmt: skip

    def jumps(self) -> dict[str, float]:
        if self.crypto:
            mean, std = self.u(-0.1, 0.05), self.lu(0.04, 0.15)
            return {"jump_intensity": self.lu(1.0, 20.0), "jump_mean": mean, "jump_std": std}
        return {"jump_intensity": self.lu(0.2, 2.0), "jump_mean": self.u(-0.2, -0.02), "jump_std": self.lu(0.04, 0.2)}


def truth(name: str, r: Ranges) -> jc.AbstractModel:
    """A random instance of the model of that name."""
    level, heston = r.level, r.heston()
    if name == "BlackScholes":
        return jc.BlackScholes(level)
    if name == "Heston":
        return jc.Heston(**heston)
    if name == "Bates":
        return jc.Bates(**heston, **r.jumps())
    if name == "SVCJ":
        jumps, mean = r.jumps(), level**2 * r.lu(0.1, 1.0)
        return jc.SVCJ(
            **heston, **jumps, variance_jump_mean=mean, jump_correlation=0.5 * jumps["jump_mean"] * r.u(0.0, 1.0) / mean
        )
    if name == "DoubleHeston":
        return _two_factors(r)
    if name == "Merton":
        return jc.Merton(0.8 * level, **r.jumps())
    if name == "Kou":
        size = r.lu(0.04, 0.12)
        up, down = 1.0 / (size * r.lu(0.5, 1.0)), 1.0 / (size * r.lu(1.0, 2.0))
        return jc.Kou(0.8 * level, r.lu(0.5, 10.0), r.u(0.2, 0.6), up, down)
    if name == "VarianceGamma":
        return jc.VarianceGamma(level, r.lu(0.02, 0.3), level * r.u(-0.8, 0.1))
    if name == "NIG":
        alpha = r.lu(1.5, 6.0) / level + 1.0
        beta = alpha * r.u(-0.5, 0.1)
        return jc.NIG(alpha, beta, level**2 * (alpha**2 - beta**2) ** 1.5 / alpha**2)
    if name == "CGMY":
        from math import gamma

        y, g, m = r.u(0.2, 1.6), r.lu(0.7, 3.0) / level, r.lu(1.0, 5.0) / level + 1.0
        return jc.CGMY(level**2 / (gamma(2.0 - y) * (g ** (y - 2.0) + m ** (y - 2.0))), g, m, y)
    if name == "BlackScholesHullWhite":
        return jc.BlackScholesHullWhite(level, 0.05, r.lu(0.003, 0.03), r.u(-0.5, 0.5))
    if name == "HestonHullWhite":
        return jc.HestonHullWhite(**heston, mean_reversion=0.05, rate_vol=r.lu(0.003, 0.03))
    if name in ("PiecewiseHeston", "PiecewiseBates"):
        knots = EXPIRY[[1, 3, 5]]
        many = {key: np.asarray([heston[key] * r.lu(0.7, 1.4) for _ in range(4)]) for key in ("theta", "sigma", "rho")}
        varying: dict[str, Any] = heston | many | {"rho": np.clip(many["rho"], -0.95, 0.95)}
        if name == "PiecewiseHeston":
            return jc.PiecewiseHeston(**varying, knots=knots)
        varying |= r.jumps()
        varying["jump_intensity"] = np.asarray([varying["jump_intensity"] * r.lu(0.7, 1.4) for _ in range(4)])
        return jc.PiecewiseBates(**varying, knots=knots)
    if name == "ClockedDoubleHeston":
        return jc.ClockedDoubleHeston.of(
            _two_factors(r), EXPIRY[:-1], np.asarray([r.lu(0.6, 1.6) for _ in EXPIRY[:-1]])
        )
    if name == "SABR":
        nu = np.asarray([min(4.0, r.lu(0.3, 1.0) / np.sqrt(t)) for t in EXPIRY])
        rho = np.asarray([r.u(-0.7, 0.2) for _ in EXPIRY])
        import jax.numpy as jnp

        level_by_expiry = jnp.asarray([level * r.lu(0.8, 1.2) for _ in EXPIRY])
        return jc.SABR(level_by_expiry, jnp.ones(EXPIRY.size), jnp.asarray(rho), jnp.asarray(nu))
    if name == "SVI":
        import jax
        import jax.numpy as jnp

        def one(t: float) -> jc.SVI:
            w = (level * r.lu(0.8, 1.2)) ** 2 * t
            b, rho, m, sigma = (
                np.sqrt(w) * r.lu(0.2, 0.6), r.u(-0.7, 0.3), np.sqrt(w) * r.u(-0.5, 0.5), np.sqrt(w) * r.lu(0.3, 2.0)
            )  # fmt: skip
            free = jc.SVI(1.0, b, rho, m, sigma)
            return jc.SVI(max(float(free.least_a()), w - b * sigma) + 0.1 * w, b, rho, m, sigma)

        return jax.tree.map(lambda *x: jnp.asarray(x), *(one(float(t)) for t in EXPIRY))
    if name in ("SSVI", "SSVIHeston"):
        import jax.numpy as jnp

        variance = jnp.asarray([(level * r.lu(0.7, 1.4)) ** 2 for _ in EXPIRY])
        rho = r.u(-0.8, 0.2)
        if name == "SSVIHeston":
            return SSVIHeston(jnp.asarray(EXPIRY), variance, rho, r.lu(1.0, 50.0))
        return jc.SSVI(jnp.asarray(EXPIRY), variance, rho, r.lu(0.3, 0.99), r.u(0.1, 0.5))
    raise KeyError(name)


def strikes(level: float) -> np.ndarray:
    """`[E, K]` strikes around a forward of 100."""
    return 100.0 * np.exp(PLACES * level * np.sqrt(EXPIRY)[:, None])


def vols(model: jc.AbstractModel, strike: np.ndarray) -> np.ndarray:
    """`[E, K]` volatilities by a contour for each quote, much finer than the grid of a fit; each expiry of a model with
    parameters of its own by those.
    """
    if model.per_expiry:
        import jax

        slices = [jax.tree.map(lambda leaf, i=i: leaf[i], model) for i in range(EXPIRY.size)]
        rows = [jc.model_vol(m, k, t, forward=100.0) for m, k, t in zip(slices, strike, EXPIRY, strict=True)]
        return np.stack([np.asarray(row) for row in rows])
    return np.asarray(jc.model_vol(model, strike, EXPIRY[:, None], forward=100.0))


def _two_factors(r: Ranges) -> jc.DoubleHeston:
    """A slow and a fast one that share the variance."""
    slow, fast = r.heston(), r.heston()
    slow |= {"v0": 0.5 * slow["v0"], "theta": 0.5 * slow["theta"], "kappa": 0.3 * slow["kappa"]}
    fast |= {"v0": 0.5 * fast["v0"], "theta": 0.5 * fast["theta"], "kappa": 3.0 * fast["kappa"]}
    return jc.DoubleHeston(**{f"{key}_{i}": part[key] for i, part in ((1, fast), (2, slow)) for key in part})

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Noise, outliers and priors
#
# What a few outliers do to a fit and how a robust loss undoes it; what weights and priors add. The truth is known
# here, so every claim can be checked. [`docs/losses_and_priors.md`](../docs/losses_and_priors.md) says how to choose.
#
# `make notebooks` runs this file and writes a notebook beside it.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import jaxcal as jc

truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
exact = jc.synthetic_surface(truth, expiry=[0.05, 0.1, 0.25, 0.5, 1.0, 2.0])
exact

# %% [markdown]
# ## One quote in twenty is wrong
#
# Every quote gets noise of 0.3 vol points; one in twenty is also 10 vol points too high: a stale price, a wrong
# strike, a fat finger.

# %%
rng = np.random.default_rng(5)
shape = exact.vol.shape
noise = rng.normal(scale=0.003, size=shape)
wrong = rng.uniform(size=shape) < 0.05
noisy = eqx.tree_at(lambda s: s.vol, exact, exact.vol + noise)
spoiled = eqx.tree_at(lambda s: s.vol, exact, exact.vol + noise + 0.10 * wrong)

# %%
fits = {"truth": None, "linear, no outliers": jc.calibrate(jc.Heston, noisy)}
for loss in ("linear", "huber", "cauchy"):
    fits[loss] = jc.calibrate(jc.Heston, spoiled, loss=loss)
pd.DataFrame(
    {
        name: {field: float(getattr(truth if fit is None else fit.model, field)) for field in jc.Heston.bounds}
        for name, fit in fits.items()
    }
).T.round(3)

# %% [markdown]
# Least squares follow the outliers. The robust fits end about where the fit without outliers does. Their scale, the
# residual beyond which a quote is downweighted, is estimated from the residuals:

# %%
for name in ("huber", "cauchy"):
    print(f"{name}: {100 * float(fits[name].loss.scale):.2f} vol points after {int(fits[name].num_steps)} steps in all")

# %%
figure, axes = plt.subplots(figsize=(8, 4))
used = np.asarray(spoiled.weight) > 0
for name in ("linear", "huber"):
    axes.plot(100 * np.asarray(fits[name].residuals)[used], "o", ms=4, label=name, alpha=0.7)
axes.set(xlabel="quote, by expiry and strike", ylabel="model minus market, vol points")
axes.legend()
figure.tight_layout()

# %% [markdown]
# The residuals of the robust fit show which quotes were wrong: those above five times the noise.

# %%
robust = np.abs(np.asarray(fits["huber"].residuals))
found = (robust > 5 * 0.003) & used
print(
    f"wrong: {int((wrong & used).sum())}, found: {int((found & wrong).sum())}, "
    f"taken for wrong: {int((found & ~wrong).sum())}"
)

# %% [markdown]
# ## Weights
#
# A rule, or a column of the table of quotes. Here quotes are weighted by the inverse of their spread.

# %%
chain = jc.synthetic_chain()
surface = jc.Surface.from_quotes(chain)
fit = jc.calibrate(jc.Heston, surface, weights="inverse_spread", loss="huber")
print(fit.summary())

# %% [markdown]
# ## A prior, where quotes say little
#
# Two short expiries determine neither the speed of mean reversion nor the long-run variance.

# %%
short = jc.synthetic_surface(truth, expiry=[0.05, 0.1])
short = eqx.tree_at(lambda s: s.vol, short, short.vol + rng.normal(scale=0.003, size=short.vol.shape))
alone = jc.calibrate(jc.Heston, short)
history = jc.Gaussian({"kappa": 2.0, "theta": 0.05}, std=0.5, on="search", strength=0.003)
guided = jc.calibrate(jc.Heston, short, prior=history)
for fit in (alone, guided):
    print(fit.summary(), "\n")

# %% [markdown]
# The strength is the noise of a quote; then the fit is the maximum of the posterior density. If only the noise is
# known, the discrepancy principle finds the largest strength at which quotes are still fitted to it. These say so
# little that it may fix both parameters.

# %%
searched = jc.calibrate(jc.Heston, short, prior=jc.Scaled(history, "discrepancy", noise=0.003))
print(f"{float(searched.prior.strength):.3g} times the prior; RMSE {100 * float(searched.rmse_vol):.3f} vol points")

# %% [markdown]
# ## From one day to the next
#
# Toward yesterday's fit, in each direction with the precision with which yesterday's quotes determined it.

# %%
yesterday = jc.calibrate(jc.Heston, noisy)
steps = []
for day in range(8):
    quotes = eqx.tree_at(lambda s: s.vol, exact, exact.vol + np.random.default_rng(day).normal(scale=0.003, size=shape))
    yesterday = jc.calibrate(jc.Heston, quotes, prior=jc.toward(yesterday, 1.0))
    steps.append({"alone": jc.calibrate(jc.Heston, quotes).model.kappa, "toward": yesterday.model.kappa})
pd.DataFrame(steps).astype(float).diff().abs().mean().rename("mean change of kappa from day to day").round(3)

# %% [markdown]
# ## Constraints
#
# Feller's condition, exactly; and a long-run variance that is today's.

# %%
feller = jc.calibrate(jc.Heston, noisy, bounds=jc.feller_bounds(jc.Heston))
tied = jc.calibrate(jc.Heston, noisy, bounds={"theta": "v0"})
for name, fit in (("Feller", feller), ("tied", tied)):
    m = fit.model
    print(f"{name}: sigma^2 / (2 kappa theta) = {float(m.sigma**2 / (2 * m.kappa * m.theta)):.3f},", fit.status)

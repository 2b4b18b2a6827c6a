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
# # Ten thousand surfaces
#
# Every underlying on every day, fitted in one call: what goes in, what comes out, what the statuses mean, and how to
# work with the results as a table. Nothing is downloaded: we make 10,000 small surfaces from Heston models whose
# parameters we know, add noise, and corrupt a few of them.
#
# `make notebooks` runs this file and writes a notebook beside it. It takes about a minute on two cores.

# %%
# %matplotlib inline
import time

import jax

jax.config.update("jax_enable_x64", True)  # before the first array; jaxcal never does this for you

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import jaxcal as jc

jc.enable_compilation_cache()  # keeps compiled programs on disk: the second run starts faster

# %% [markdown]
# ## The surfaces
#
# 500 underlyings on 20 business days. Each underlying has its own long-run variance, speed, vol of variance and
# correlation; its variance today moves from day to day.

# %%
rng = np.random.default_rng(7)
names = [f"N{i:03d}" for i in range(500)]
days = pd.bdate_range("2026-01-05", periods=20, tz="UTC")
level = np.exp(rng.normal(np.log(0.3), 0.3, 500))  # volatility
walk = np.exp(np.cumsum(rng.normal(0.0, 0.08, (500, 20)), axis=1) + rng.normal(0.0, 0.3, (500, 1)))

size = len(names) * len(days)
truth = jc.Heston(
    v0=jnp.asarray((level[:, None] ** 2 * walk).ravel()),
    kappa=jnp.asarray(np.repeat(np.exp(rng.uniform(0.0, 2.0, 500)), 20)),
    theta=jnp.asarray(np.repeat(level**2, 20)),
    sigma=jnp.asarray(np.repeat(np.exp(rng.uniform(-1.0, 0.3, 500)), 20)),
    rho=jnp.asarray(np.repeat(rng.uniform(-0.85, -0.2, 500), 20)),
)
keys = [(name, day) for name in names for day in days]

# %% [markdown]
# A model whose fields have a leading axis is many models. Here all strikes of an expiry share one grid of the
# characteristic function, which is how a fit prices them too; `jc.model_vol` would give every quote a contour of its
# own, which is safer and slower. Strikes are set by the volatility of the underlying.

# %%
expiry = jnp.asarray([30, 91, 182, 365, 730]) / 365.0
places = jnp.linspace(-1.5, 1.5, 7)  # standard deviations
volatility = jnp.asarray(np.repeat(level, 20))


@jax.jit
def volatilities(models, volatility):
    def one(row):
        model, vol = row
        log_strike = places * (vol * jnp.sqrt(expiry))[:, None]
        value = jc.Sinh(64).grid(model, expiry, log_strike, vol * jnp.sqrt(expiry)).value(model)
        ratio = jnp.exp(log_strike)
        return jc.implied_vol(value, ratio, expiry[:, None], forward=1.0, is_call=ratio >= 1.0)

    return jax.lax.map(one, (models, volatility))


exact = np.asarray(volatilities(truth, volatility))
noisy = exact * np.exp(0.003 * rng.standard_normal(exact.shape))  # 0.3 % of each volatility
strike = 100.0 * np.exp(np.asarray(places * (volatility[:, None] * jnp.sqrt(expiry))[..., None]))
exact.shape, bool(np.isfinite(exact).all())

# %% [markdown]
# Real surfaces are ragged: NaN in `vol` means that there is no quote. We drop a tenth of the quotes, and corrupt
# three surfaces: one has only three quotes left, one has a NaN among the weights that we pass, one has random quotes.

# %%
noisy[rng.random(exact.shape) < 0.1] = np.nan
few, bad_weight, wild = keys[100], keys[200], keys[300]
noisy[100] = np.where(np.arange(35).reshape(5, 7) < 3, exact[100], np.nan)
noisy[300] = rng.uniform(0.05, 1.5, (5, 7))

start = time.perf_counter()
surfaces = {key: jc.Surface.from_vols(expiry, strike[i], noisy[i], forward=100.0) for i, key in enumerate(keys)}
weights = {bad_weight: np.full(surfaces[bad_weight].vol.shape, np.nan)}
print(f"{len(surfaces):,} surfaces made in {time.perf_counter() - start:.1f} s")

# %% [markdown]
# From a table of quotes with columns `underlying` and `quote_time`, `jc.surfaces_from_quotes(quotes)` gives the same
# kind of dictionary.
#
# ## One call
#
# Every surface starts from its own data. A few fits step together on each core, and when one ends the next surface
# takes its place, so that no fit waits for the slowest.

# %%
start = time.perf_counter()
fits = jc.calibrate_many(jc.Heston, surfaces, weights=weights)
seconds = time.perf_counter() - start
print(fits.summary())
print(f"{seconds:.1f} s with the time to compile")

# %% [markdown]
# The call raised no error although three surfaces are bad. Each has a status, and the others are what they would be
# without them: the result of a surface does not depend on its neighbours.
#
# ## The results as a table
#
# One row a surface, in the order of the input.

# %%
table = fits.to_frame()
columns = ["outcome", "rmse_vol", "num_quotes", "num_steps", "v0", "kappa", "theta", "sigma", "rho", "rho_error"]
table[columns].head().round(4)

# %% [markdown]
# ## What did not work
#
# Read the statuses before the numbers. `outcome` is a word to count and to filter by, `status` the sentence.

# %%
print(table["outcome"].value_counts().to_string())
for key in (few, bad_weight, wild):
    print(
        f"{key[0]} {key[1]:%Y-%m-%d}: {table.loc[key, 'status']} RMSE {100 * table.loc[key, 'rmse_vol']:.3g} vol points"
    )

# %% [markdown]
# - **CONVERGED**: no step within the bounds lowers the cost. That does not make the fit a good one: look at
#   `rmse_vol`, and at the parameters that ended at a bound, which the status names.
# - **TOO_FEW_QUOTES**: fewer quotes than free parameters. Fix some with `free=[...]` and an instance as the start.
# - **INVALID**: the surface, its weights or its start break a rule; the sentence says which.
# - **STEP_LIMIT** and **STALLED**: more steps (`solver=jc.LevenbergMarquardt(max_steps=500)`) or another start may
#   help.
# - **UNRESOLVED**: the finest pricing grid does not resolve the prices at the solution.
# - **NOT_FINITE**: the model has no finite price at the start.
#
# The surface of random quotes has an optimum like any other; only its RMSE shows that the model does not fit it.

# %%
assert table.loc[few, "outcome"] == "TOO_FEW_QUOTES"
assert table.loc[bad_weight, "outcome"] == "INVALID"
assert table.loc[wild, "rmse_vol"] > 0.1
good = table[table["converged"] & (table["rmse_vol"] < 0.01)]
assert len(good) > 9_900

# %% [markdown]
# One fit is a `Fit`, as `jc.calibrate` returns it: with residuals, standard errors and a picture.

# %%
one = fits[keys[0]]
print(one.summary())
jc.plot_smiles(one)

# %% [markdown]
# ## Queries
#
# It is a pandas table. Which underlyings have the most negative correlation, how much
# does it vary from day to day, and how large is their worst error?

# %%
by_name = good.groupby("underlying").agg(
    days=("rho", "size"), rho=("rho", "median"), rho_spread=("rho", "std"), worst_rmse=("rmse_vol", "max")
)
by_name.nsmallest(5, "rho").round(4)

# %% [markdown]
# How precisely do the quotes determine each parameter? The standard error relative to the parameter: its median and its
# 99th percentile.

# %%
relative = pd.DataFrame(
    {name: good[f"{name}_error"] / good[name].abs() for name in ("v0", "kappa", "theta", "sigma", "rho")}
)
relative.quantile([0.5, 0.99]).T.round(3)

# %% [markdown]
# ## Pictures
#
# Parameters of all surfaces, and how far they are from the truth in units of their standard errors. If the model is
# right and the noise is as assumed, two thirds lie within one.

# %%
fields = ["v0", "kappa", "theta", "sigma", "rho"]
true_values = pd.DataFrame({name: np.asarray(getattr(truth, name)) for name in fields}, index=table.index)
distance = {name: (good[name] - true_values.loc[good.index, name]) / good[f"{name}_error"] for name in fields}

figure, axes = plt.subplots(2, 5, figsize=(15, 5), layout="constrained")
for axis, below, name in zip(axes[0], axes[1], fields, strict=True):
    values = good[name] if name == "rho" else np.log10(good[name])
    axis.hist(values, bins=60)
    axis.set_title(name if name == "rho" else f"log10 {name}")
    below.hist(distance[name].clip(-4, 4), bins=60)
    below.set_xlabel("(fitted - truth) / standard error")

within = {name: float((values.abs() < 1).mean()) for name, values in distance.items()}
assert all(0.5 < share < 0.85 for share in within.values()), within
pd.Series(within).round(2)

# %% [markdown]
# ## The next day
#
# Tomorrow's fits may start from today's: pass a model whose fields have a leading axis of surfaces (or a dictionary of
# models). Here, those of the last day start from the parameters of the day before. A start nearby saves a few
# steps; a cold start, read off the data, is already good.

# %%
last = {key: surfaces[key] for key in keys if key[1] == days[-1]}
yesterday = table.xs(days[-2], level="quote_time")
assert list(yesterday.index) == [name for name, _ in last]
again = jc.calibrate_many(jc.Heston(**{name: jnp.asarray(yesterday[name]) for name in fields}), last)
print("from yesterday:", again.summary(), f"{again.num_steps.mean():.1f} steps on average")
print(f"from the data: {table.xs(days[-1], level='quote_time')['num_steps'].mean():.1f} steps on average")

# %% [markdown]
# ## More than fits into memory
#
# For files, and for jobs that run for hours, there is the command
#
# ```sh
# jaxcal bulk IN OUT --model heston
# ```
#
# It reads a file, a folder or a partitioned dataset of quotes in the tidy format, fits every surface, and writes a
# partitioned parquet dataset with one row a surface. Memory does not grow with the number of surfaces, and a killed
# job resumes. The result is queryable at once, for instance with `pandas.read_parquet("OUT")`.
#
# [`docs/many_surfaces.md`](../docs/many_surfaces.md) says how batches, lanes, precision and devices work.

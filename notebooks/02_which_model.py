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
# # Which model, which surface?
#
# One chain, several surfaces: how many quotes each puts between bid and ask, with how many numbers, what it says of
# quotes that it did not see, and what it is good for: marking, hedging, exotics, risk. Nothing is downloaded: the chain
# is synthetic, made by a law with jumps and with a clock that does not run evenly, as recorded Bitcoin chains are.
#
# `make notebooks` runs this file and writes a notebook beside it. The page `docs/which_surface.md` has the figures of
# recorded chains.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)  # before the first array; jaxcal never does this for you

import equinox as eqx
import jax.numpy as jnp

import jaxcal as jc

# %% [markdown]
# ## The chain
#
# Two factors and rare jumps, on a clock that runs fast for two days, as before a meeting of a central bank. Time to the
# first knot runs evenly.

# %%
clock = {"knots": jnp.asarray([0.0074, 0.0129, 0.05, 0.2]), "pace": jnp.asarray([2.2, 0.8, 1.1, 0.9])}
two = jc.DoubleHeston(0.12, 12.0, 0.15, 3.0, -0.3, 0.10, 0.8, 0.25, 0.8, -0.2)
truth = jc.ClockedHestonJumps.of(two, **clock, jumps=1)
quotes = jc.synthetic_chain(truth, half_spread=0.004, noise=0.001)
quotes = quotes[quotes["expiry"].isin(sorted(quotes["expiry"].unique())[:7])]

# %% [markdown]
# ## One call
#
# `fit_chain` reads, cleans, looks for arbitrage, and fits ever larger models until one is good enough on quotes that
# were held out. It says why it stops where it stops.

# %%
chain = jc.fit_chain(quotes, fee=jc.TakerFee.deribit())
print(chain.reason)
chain.by_expiry[["expires", "used", "left_out", "inside", "atm_vol", "status"]].round(3)

# %% [markdown]
# Heston has one speed of mean reversion and an even clock: it misses the levels of single days. The models with a clock
# follow them, and are laws all the same: no choice of their parameters has arbitrage.

# %%
assert isinstance(chain.model, jc.ClockedDoubleHeston | jc.ClockedHestonJumps)
assert chain.fit.inside > 0.9
assert chain.arbitrage_of_model.to_frame().empty

# %% [markdown]
# ## The candidates side by side
#
# `compare` fits every model to all quotes; then it holds out every fifth, fits again from the start to the others, and
# prices the held-out quotes with the result. Misfits are counted in half-spreads, with a loss that quotes out of reach
# hardly bend: as many quotes as possible between bid and ask.
#
# Beside the laws stand surfaces made of smiles. `ESSVI` has three numbers an expiry and `ArbitrageFreeSVI` five, both
# without arbitrage at and between the expiries; `SVI` fits each expiry by itself and may have calendar arbitrage.

# %%
settings = {"residual": jc.HalfSpreadResidual(), "loss": jc.Cauchy(1.0)}
surface = chain.fit.surface
models = [jc.Heston, jc.ClockedDoubleHeston, jc.ESSVI, jc.ArbitrageFreeSVI, jc.SVI]
compared = jc.compare(models, surface, repeats=1, **settings)
print(compared.summary())

# %% [markdown]
# How to read it:
#
# - **inside** is the share of quotes whose fitted volatility lies between bid and ask, and **held out** beside it the
#   same of quotes that the fit did not see. Most lie between quotes that were seen, so it tests how a model
#   interpolates. It does not say how the model does tomorrow.
# - **in half-spreads** is the error in units of half the spread: 1 means wrong by as much as one pays to trade.
# - **RMSE** is the root mean square of model minus market volatility, in vol points, **held out** as above; **AIC** is
#   `n ln(SSE / n) + 2 p`. Only its differences count, and since residuals are not independent it favours large models.
# - **first** contains the time to compile. Every later fit takes the time under **fit**.
#
# Five numbers cannot do it. Twenty on a clock come near what smiles do with two or three times as many, for this chain
# has its levels and its shape for reasons that they have parameters for.

# %%
scores = compared.to_frame().set_index("model")
assert scores.loc["Heston", "inside"] < scores.loc["ClockedDoubleHeston", "inside"]
assert scores.loc["ClockedDoubleHeston", "num_parameters"] < scores.loc["ESSVI", "num_parameters"]
scores[["num_parameters", "inside", "inside_out", "rmse_half_spreads", "rmse_points", "rmse_out_points"]].round(3)

# %%
jc.plot_comparison(compared, title="Seven expiries of a synthetic chain")

# %% [markdown]
# ## Arbitrage
#
# `model_arbitrage` prices a dense grid of strikes, at the expiries and between them, and looks for strategies that
# cannot lose. Smiles that were fitted one by one may cross.

# %%
for name in ("ClockedDoubleHeston", "ESSVI", "ArbitrageFreeSVI", "SVI"):
    found = jc.model_arbitrage(compared.fits[name])
    print(f"{name:22} {len(found.to_frame())} strategies that cannot lose")
assert jc.model_arbitrage(compared.fits["ArbitrageFreeSVI"]).to_frame().empty

# %% [markdown]
# ## What the numbers are worth
#
# A better fit with more parameters may determine each of them less. `odd_parts` names parts that say less than their
# numbers, and `effective_parameters` says how many the quotes decide.

# %%
fit = compared.fits["ClockedDoubleHeston"]
print(fit.odd_parts, round(fit.effective_parameters, 1))
parameters = compared.parameters()
parameters["relative error"] = (parameters["standard_error"] / parameters["value"].abs()).round(3)
parameters[parameters["model"].isin(["Heston", "ClockedDoubleHeston"])].drop(columns="expiry").round(4)

# %% [markdown]
# ## An hour later
#
# A desk does not refit every parameter with every tick. The shape of a law is in its factors and its clock, the level
# in its variances today: two numbers, fitted anew to quotes that moved.

# %%
later = eqx.tree_at(lambda model: model.v0, truth, 1.2 * truth.v0)
moved = jc.synthetic_chain(later, half_spread=0.004, noise=0.001, seed=1)
moved = moved[moved["expiry"].isin(quotes["expiry"].unique())]
after = jc.Surface.from_quotes(moved)
stale = jc.calibrate(fit.model, after, solver=jc.LevenbergMarquardt(max_steps=0), **settings)
states = jc.calibrate(fit.model, after, free=("v0_1", "v0_2"), **settings)
print(f"inside bid and ask: {stale.inside:.0%} as it was, {states.inside:.0%} with two variances fitted anew")
assert stale.inside < states.inside

# %% [markdown]
# ## So which?
#
# - **Marking** every listed option: `ArbitrageFreeSVI`, most quotes inside and no arbitrage; `ESSVI` where quotes are
#   few or time is.
# - **Hedging** and the next snapshot: a law with a clock. Few numbers that stay put, and two that move.
# - **Exotics**: one law for all times. Slices say nothing of the path between expiries, and no row of the tables above
#   says whether a model prices a barrier well: models with the same smiles can disagree there.
# - **Risk**: parameters a person can read, with errors. Take the held-out share before the share in sample, and
#   parameters with standard errors before parameters without. A model that is inside bid and ask nearly everywhere is
#   good enough; more parameters then fit noise.
#
# `ClockedHestonJumps` has a third factor and jumps on the same clock: on recorded Deribit chains it puts some 95 % of
# the quotes inside where `ClockedDoubleHeston` puts 80 %. From the command line: `jaxcal surface quotes.csv`, and
# `jaxcal compare quotes.csv --models heston,bates,svcj`.

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
# # Which model?
#
# Several models on the same quotes, side by side: how close each comes, with how many parameters, and whether it
# still holds out of sample. Nothing is downloaded: the quotes are the DAX surface of 5 July 2002 and a
# synthetic Bitcoin chain.
#
# `make notebooks` runs this file and writes a notebook beside it.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)  # before the first array; jaxcal never does this for you

import jaxcal as jc

# %% [markdown]
# ## A real surface
#
# `compare` takes classes, which start from parameters read off the surface, or instances, which start where they are.
# It fits every model to all quotes. Then it holds out every fifth quote, fits again from the start to the others, and
# prices the held-out quotes with the result.

# %%
dax = jc.Surface.from_quotes(jc.dax_quotes())
on_dax = jc.compare([jc.Heston, jc.Bates, jc.ClockedDoubleHeston, jc.SABR], dax)
print(on_dax.summary())

# %% [markdown]
# How to read it:
#
# - **RMSE** is the root mean square of model minus market volatility, in vol points, of the fit to all quotes.
# - **held out** is the same over the held-out quotes, under the fit that did not see them. Most lie between quotes
#   that were seen, so it tests how a model interpolates. It does not say how the model does tomorrow.
# - **AIC** is `n ln(SSE / n) + 2 p`: the misfit, and a penalty of 2 for each parameter. Only differences count. It
#   takes the residuals for independent noise, which they are not, so on real quotes it favours large models.
# - **first** contains the time to compile. Every later fit takes the time under **fit**.
#
# Jumps more than halve the error of Heston: they give the shortest expiries the smile that a diffusion cannot. SABR
# has parameters of its own for every expiry, so its `parameters` count all of them together. It says nothing about
# the time between the expiries, and does not keep them free of calendar arbitrage. ClockedDoubleHeston lets the levels
# of these eight expiries free too, as the pace of its clock, but has one law for the whole surface: fewer parameters,
# no arbitrage, and a smaller error, out of sample too.

# %%
scores = on_dax.to_frame().set_index("model")
assert scores.loc["Bates", "rmse_points"] < 0.6 * scores.loc["Heston", "rmse_points"]
assert (scores.loc["ClockedDoubleHeston"] < scores.loc["SABR"])[
    ["num_parameters", "rmse_points", "rmse_out_points"]
].all()
scores[["num_parameters", "rmse_points", "rmse_out_points", "aic"]].round(2)

# %% [markdown]
# The two columns differ for two reasons. The refitted model has not seen the held-out quotes, which makes its error
# there larger. And they are other quotes: 21 of the 104, which may be easier or harder than the rest. Where a model
# with five parameters shows a *smaller* error out of sample, it is the second. A small difference between two models
# out of sample means little with so few quotes.

# %%
jc.plot_comparison(on_dax, title="DAX, 5 July 2002")

# %% [markdown]
# ## What the parameters are worth
#
# A better fit with more parameters may determine each of them less. The standard errors say how precisely the quotes
# determine a parameter within its model; NaN stands where they do not, or where a parameter ended at its bound.

# %%
parameters = on_dax.parameters()
parameters["relative error"] = (parameters["standard_error"] / parameters["value"].abs()).round(3)
parameters[parameters["model"].isin(["Heston", "Bates"])].drop(columns="expiry").round(4)

# %% [markdown]
# ## A surface whose model we know
#
# The synthetic chain was made by Heston, with noise and a bid-ask spread. So we know the answer: jumps are not there,
# and neither are smiles that change freely from one expiry to the next. What does the comparison say?

# %%
btc = jc.Surface.from_quotes(jc.synthetic_chain())
on_btc = jc.compare([jc.Heston, jc.Bates, jc.SABR], btc)
print(on_btc.summary())

# %% [markdown]
# Here quotes have a bid and an ask, and there are two numbers more. **inside** is the share of quotes whose fitted
# volatility lies between them; **in half-spreads** is the error in units of half the spread, so that 1 means: wrong
# by as much as one pays to trade.
#
# Bates contains Heston, so its error over all quotes cannot be larger, but the jumps only fit noise. AIC charges more
# for its three parameters than they bring. SABR, with three numbers for each expiry, fits the noise of every smile,
# and is worse than the truth out of sample. Even the true model does not put every quote inside: the noise of
# a mid is sometimes larger than its spread.
#
# Do not expect the verdict to be as clear with fewer quotes. The noise of this chain is larger for short expiries,
# which AIC does not know. Take eight expiries and every second strike, and it chooses the jumps.

# %%
scores = on_btc.to_frame().set_index("model")
assert scores["aic"].idxmin() == "Heston"
assert scores.loc["Bates", "rmse_points"] < scores.loc["Heston", "rmse_points"] + 1e-4
scores[["num_parameters", "rmse_points", "rmse_out_points", "aic", "inside", "rmse_half_spreads"]].round(3)

# %% [markdown]
# The jumps that Bates finds say the same. Their intensity ended at its lower bound, as the remark below the table says,
# so it has no standard error; and their mean could be anything.

# %%
found = on_btc.parameters()
found[found["model"] == "Bates"].drop(columns="expiry").round(4)

# %% [markdown]
# ## So which?
#
# - Take the out-of-sample error before the one in sample, and parameters with standard errors before parameters
#   without.
# - A model that is inside bid-ask nearly everywhere is good enough; more parameters then fit noise.
# - No row of the table says whether a model prices a barrier or a forward start well. Models with the same smiles can
#   disagree there.
#
# From the command line: `jaxcal compare quotes.csv --models heston,bates,svcj`. It writes the table, a record with
# all parameters, and the picture.

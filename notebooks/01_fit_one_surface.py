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
# # Fit one surface
#
# From a table of quotes to Heston parameters, and how far to trust them. Nothing is downloaded: the quotes are a
# synthetic Bitcoin chain, whose true parameters we know, and the DAX surface of 5 July 2002.
#
# `make notebooks` runs this file and writes a notebook beside it.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)  # before the first array; jaxcal never does this for you

import pandas as pd

import jaxcal as jc

# %% [markdown]
# ## Quotes
#
# One row a quote. This chain looks like one from Deribit: prices in coin, price steps, bid and ask, noise, and quotes
# of which a side is missing.

# %%
quotes = jc.synthetic_chain()
quotes[["instrument_name", "expiry", "strike", "option_type", "bid", "ask", "forward"]].head()

# %% [markdown]
# Not every row is of use. The report counts the reasons, and has a sentence for each row that was left out.

# %%
report = jc.inspect_quotes(quotes)
print(report.summary())

# %%
for reason in report.table.loc[report.table["verdict"] != "used", "reason"].drop_duplicates().head(6):
    print(reason)

# %% [markdown]
# A `Surface` is what is left, as arrays of expiries by strikes. It is padded, so that another chain of about the same
# size needs no new compilation.

# %%
surface = jc.Surface.from_quotes(report)
surface

# %% [markdown]
# ## Fit
#
# A class (`jc.Heston`) starts from parameters read off the surface. An instance (`jc.Heston(v0=0.2, ...)`) starts at
# its own.

# %%
fit = jc.calibrate(jc.Heston, surface)
print(fit.summary())

# %% [markdown]
# The second line is the status. A fit that did not converge says so there; it does not raise an error unless you pass
# `throw=True`. Read it before the numbers.

# %%
assert fit.converged, str(fit.status)

# %% [markdown]
# ## The picture
#
# Dots are mids, bars go from bid to ask, the line is the model, the dashed line the forward.

# %%
jc.plot_smiles(fit)

# %% [markdown]
# `to_frame` has one row for each quote used; `row` is its position in the quote table. Which expiries fit worst, and
# what share of the quotes does the model put between bid and ask?

# %%
frame = fit.to_frame()
by_expiry = frame.assign(
    squared=frame["residual"] ** 2,
    inside=frame["model_vol"].between(frame["bid_vol"], frame["ask_vol"]),
).groupby("expiry")
pd.DataFrame(
    {
        "quotes": by_expiry.size(),
        "RMSE, vol points": (100 * by_expiry["squared"].mean() ** 0.5).round(2),
        "inside bid-ask": by_expiry["inside"].mean().round(2),
    }
).rename_axis("years")

# %% [markdown]
# ## Standard errors
#
# Here the model is right and the only error is noise, so the fitted parameters should lie within two or three standard
# errors of the truth.

# %%

errors = fit.standard_errors
comparison = pd.DataFrame(
    {
        "truth": {name: float(getattr(jc.synthetic.BTC_MODEL, name)) for name in fit.parameters},
        "fitted": fit.parameters,
        "standard error": {name: float(getattr(errors, name)) for name in fit.parameters},
    }
)
comparison["distance in standard errors"] = (comparison["fitted"] - comparison["truth"]) / comparison["standard error"]
comparison

# %%
assert comparison["distance in standard errors"].abs().max() < 4

# %% [markdown]
# They come from the curvature of the fit at its solution and from the size of the residuals, and they assume that the
# residuals are independent and of equal size. The table by expiry shows that the second is only roughly so.
#
# ## A real surface
#
# Now the DAX. Heston does not match it: the residuals are not noise, they have a shape. The standard errors then tell
# how precisely the quotes determine each parameter **within this model**. They do not tell how wrong the model is.

# %%
dax = jc.Surface.from_quotes(jc.dax_quotes())
fit = jc.calibrate(jc.Heston, dax)
print(fit.summary())
jc.plot_smiles(fit)

# %% [markdown]
# Residuals by expiry and strike, in vol points. Whole corners have one sign: the model misses the steep smile of the
# shortest expiries, and pays for it elsewhere.

# %%
frame = fit.to_frame()
(100 * frame.pivot_table(index="expiry", columns="strike", values="residual")).round(1)

# %% [markdown]
# ## A parameter at its bound
#
# Let us exclude what the surface calls for: a vol of variance above 2. The fit converges, in the sense that no step
# *within the bounds* lowers the cost, and the status names the parameter. That parameter has no standard error, and
# those of the others hold only if the bound is really meant.

# %%
bounded = jc.calibrate(jc.Heston, dax, bounds={"sigma": (0.001, 2.0)})
print(bounded.summary())
assert bounded.status.at_bounds == ("sigma",)

# %% [markdown]
# A bound that you did not set is a warning: the quotes may not contain what you ask of them. One short smile hardly
# tells fast mean reversion from high vol of variance. Here the speed of mean reversion ends at the bound of the model,
# and the standard errors of `v0`, `theta` and `sigma` are larger than the parameters. The smile is fitted, but these
# numbers mean nothing.

# %%
quotes = jc.dax_quotes()
shortest = jc.Surface.from_quotes(quotes[quotes["expiry"] == quotes["expiry"].min()])
alone = jc.calibrate(jc.Heston, shortest)
print(alone.summary())
assert "kappa" in alone.status.at_bounds
assert alone.standard_errors.v0 > alone.model.v0

# %% [markdown]
# ## Fixed parameters
#
# The remedy is to fix what the quotes do not determine. Give an instance with the value, and name the parameters that
# are free. Fixed ones keep their value and have no standard error.

# %%
start = jc.Heston(v0=0.2, kappa=5.0, theta=0.1, sigma=1.0, rho=-0.5)
fixed = jc.calibrate(start, shortest, free=["v0", "sigma", "rho"])
print(fixed.summary())
assert fixed.model.kappa == 5.0

# %% [markdown]
# `v0`, `sigma` and `rho` are now well determined, given `kappa` and `theta`. The RMSE of the fit shows what the two
# cost.
#
# ## The objective
#
# By default a fit minimises the squared differences in implied volatility, with equal weights. `weights` (an array in
# the shape of `surface.weight`) changes the weights, `residual` the differences. Where the model cannot match the
# market the choice matters:

# %%
choices = {
    "implied vol": jc.ImpliedVolResidual(),
    "price over vega": jc.VegaPriceResidual(),
    "price": jc.PriceResidual(),
}
pd.DataFrame(
    {
        name: {**(by := jc.calibrate(jc.Heston, dax, residual=residual)).parameters, "RMSE, vol": float(by.rmse_vol)}
        for name, residual in choices.items()
    }
).round(4)

# %% [markdown]
# ## Save it
#
# `jc.write_fit(fit, "folder")` writes the parameters as JSON, the residuals as CSV and the picture. From the command
# line `jaxcal calibrate quotes.csv` reads, cleans, fits and writes.

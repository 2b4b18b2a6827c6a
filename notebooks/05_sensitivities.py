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
# # Sensitivities
#
# Greeks of an option, the derivatives of the parameters with respect to the quotes they were fitted to, and an exotic
# hedged with those quotes. Nothing is downloaded: the quotes are the DAX surface of 5 July 2002.
#
# `make notebooks` runs this file and writes a notebook beside it.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)  # before the first array; jaxcal never does this for you

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import jaxcal as jc

# %%
surface = jc.Surface.from_quotes(jc.dax_quotes("quantlib"))
fit = jc.calibrate(jc.Heston, surface)
assert fit.converged, str(fit.status)
print(fit.summary())

# %% [markdown]
# ## Greeks
#
# All strikes at once. The delta of the model lets the smile move with the forward; with a sticky-strike smile it is
# Black's delta.

# %%
years, forward = float(surface.expiry[4]), float(surface.forward[4])
strike = jnp.linspace(0.75, 1.25, 41) * forward
model_delta = jc.greeks(fit.model, strike, years, forward=forward)
black_delta = jc.greeks(fit.model, strike, years, forward=forward, smile="strike")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.5))
axes[0].plot(strike, model_delta.delta, label="model")
axes[0].plot(strike, black_delta.delta, "--", label="sticky strike")
axes[0].set(title="Delta of calls", xlabel="strike")
axes[0].legend()
axes[1].plot(strike, model_delta.gamma * forward, label="model")
axes[1].plot(strike, black_delta.gamma * forward, "--", label="sticky strike")
axes[1].set(title="Gamma times forward", xlabel="strike")
figure.tight_layout()

# %% [markdown]
# Vega is a model whose leaves are the derivatives with respect to its parameters. The option's own Black vega stands
# beside it.

# %%
vegas = {f"by {name}": np.asarray(getattr(model_delta.vega, name)) for name in fit.free}
table = pd.DataFrame(
    {"strike": strike, "Black vega": model_delta.black_vega, "theta a day": model_delta.theta / 365} | vegas
)
table.iloc[::8].round(2)

# %% [markdown]
# ## Sensitivities of the parameters to the quotes
#
# Which quotes decide on which parameter? One linear system gives all 104 x 5 derivatives.

# %%
slope = jc.quote_sensitivities(fit)
used = np.asarray(surface.weight) > 0
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5))
for axis, name in zip(axes, ("v0", "rho"), strict=True):
    values = np.where(used, np.asarray(getattr(slope, name)), np.nan) / 100.0
    shown = axis.imshow(
        values, aspect="auto", cmap="RdBu", vmin=-np.nanmax(np.abs(values)), vmax=np.nanmax(np.abs(values))
    )
    axis.set(title=f"change of {name} per vol point of each quote", xlabel="strike, from low to high", ylabel="expiry")
    figure.colorbar(shown, ax=axis)
figure.tight_layout()

# %% [markdown]
# A check: move one quote by a tenth of a vol point up and down, fit again, and compare.

# %%
place, step = (2, 4), 1e-3
tight = jc.LevenbergMarquardt(xtol=1e-13, ftol=1e-16, gtol=1e-13)


def refitted(move):
    moved = eqx.tree_at(lambda s: s.vol, surface, surface.vol.at[place].add(move))
    return jc.calibrate(fit.model, moved, solver=tight).model


up, down = refitted(step), refitted(-step)
check = pd.DataFrame(
    {
        name: [float(getattr(slope, name)[place]), (float(getattr(up, name)) - float(getattr(down, name))) / (2 * step)]
        for name in fit.free
    },
    index=["derivative", "two refits"],
)
assert np.allclose(
    check.loc["derivative"], check.loc["two refits"], rtol=0.02, atol=0.02 * np.abs(check).to_numpy().max()
)
check.round(4)

# %% [markdown]
# ## Sensitivities of an exotic to the quotes
#
# A digital call pays 1 if the index ends above 4,800 in nine months, which no quote here is about. Its bucketed vega
# under the model is the gradient of its price, chained with the derivatives above.


# %%
@eqx.filter_jit
def digital(model):
    """The undiscounted price: minus the slope of calls in their strike."""

    def call(strike):
        return jc.price(model, strike, 0.75, forward=4580.0, pricer=jc.Sinh(64))

    return -jax.jvp(call, (jnp.asarray(4800.0),), (jnp.asarray(1.0),))[1]


bucketed = jc.through_fit(digital, fit)
by_expiry = pd.Series(np.asarray(bucketed.sum(axis=1)) / 100.0, index=np.round(np.asarray(surface.expiry), 3))
by_expiry.plot.bar(title="Digital call: change of its price per vol point on all quotes of an expiry", figsize=(9, 3))
print(f"price {float(digital(fit.model)):.4f}, per vol point of a parallel shift {by_expiry.sum():.5f}")

# %% [markdown]
# A parallel shift, checked by refitting to the shifted surface:

# %%
parallel = eqx.tree_at(lambda s: s.vol, surface, surface.vol + 1e-3)
moved = jc.calibrate(fit.model, parallel, solver=tight).model
by_refit = float(digital(moved) - digital(fit.model)) / 1e-3 / 100.0
assert abs(by_refit - by_expiry.sum()) < 0.05 * abs(by_refit)
print(f"by refitting {by_refit:.5f}")

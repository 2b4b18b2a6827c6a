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
# # Live recalibration
#
# The same model is fitted again and again as quotes come in. Here a stream of 40 synthetic chains, six hours apart: the
# truth drifts, jumps once, and once the feed sends nonsense. Nothing is downloaded.

# %%
# %matplotlib inline
import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc

# %% [markdown]
# ## A stream whose truth we know
#
# The variance today is a random walk of 4 % a step, the other parameters stay. At step 20 the variance doubles and
# stays there. Quotes have errors of half a vol point. At step 30 one surface is garbage.

# %%
rng = np.random.default_rng(1)
expiry = np.array([7, 30, 91, 182, 365]) / 365.0
moneyness = np.linspace(-1.5, 1.5, 16)


@jax.jit
def vols(model, strike):
    return jc.model_vol(model, strike, jnp.asarray(expiry)[:, None], forward=jnp.asarray(100.0), pricer=jc.Saddle(128))


times = pd.date_range("2026-03-02T00:00Z", periods=40, freq="6h")
v0 = 0.25 * np.exp(0.04 * rng.standard_normal(40).cumsum()) * np.where(np.arange(40) < 20, 1.0, 2.0)
surfaces = {}
for step, time in enumerate(times):
    truth = jc.Heston(v0=float(v0[step]), kappa=6.0, theta=0.36, sigma=2.6, rho=-0.3)
    strike = 100.0 * np.exp(moneyness * 0.55 * np.sqrt(expiry)[:, None])
    vol = np.asarray(vols(truth, jnp.asarray(strike))) + 0.005 * rng.standard_normal(strike.shape)
    surfaces["COIN", time] = jc.Surface.from_vols(expiry, strike, vol, forward=100.0)
absurd = surfaces["COIN", times[30]]
garbage = jnp.asarray(rng.uniform(0.1, 3.0, absurd.vol.shape))
surfaces["COIN", times[30]] = eqx.tree_at(lambda s: s.vol, absurd, garbage)

# %% [markdown]
# ## One step at a time
#
# This is the loop of a live system. The state is data: it may be saved after every step.

# %%
recalibrator = jc.Recalibrator(jc.Heston)
state = None
for time in times[:4]:
    state, fit = recalibrator.step(state, surfaces["COIN", time], time)
    print(f"{time:%a %H:%M}  kappa {fit.model.kappa:.2f}  {int(fit.num_steps)} steps  {state.verdict}")

# %% [markdown]
# ## The whole stream
#
# `replay` does that for recorded surfaces and keeps the path with its bands.

# %%
path = jc.streams.replay(recalibrator, surfaces)
path.set_index("quote_time")[["update", "rmse_vol", "surprise", "v0"]].iloc[[0, 1, 19, 20, 21, 29, 30, 31]].round(4)

# %%
jc.plot_path(path, title="Heston, a synthetic stream")

# %% [markdown]
# The doubled variance was followed, the garbage was rejected, and the surface after it is used as usual.

# %%
assert path["used"].iloc[20:22].any()
assert abs(np.log(path["v0"].iloc[25] / v0[25])) < 0.3
assert not path["used"].iloc[30]
assert path["used"].iloc[31]

# %% [markdown]
# ## Against independent fits of every surface
#
# Roughness is the median absolute change from one surface to the next, here of logarithms. The true speed of mean
# reversion is constant.

# %%
alone = jc.calibrate_many(jc.Heston, surfaces).to_frame()
kept = path["used"].to_numpy()
rough = {
    name: [np.median(np.abs(np.diff(np.log(frame[name].to_numpy()[kept])))) for frame in (path, alone)]
    for name in ("v0", "kappa", "theta", "sigma")
}
table = pd.DataFrame(rough, index=["stream", "alone"]).T
assert (table["stream"] < table["alone"]).all()
table.round(4)

# %%
misfit = pd.Series({"stream": path["rmse_vol"][kept].mean(), "alone": alone["rmse_vol"].to_numpy()[kept].mean()})
assert misfit["stream"] < 1.1 * misfit["alone"]
(100.0 * misfit).round(3)

# %% [markdown]
# [`docs/streams.md`](../docs/streams.md) says what a step does and how to choose. For files there is a command:
#
# ```sh
# jaxcal replay FOLDER --model bates
# ```

"""jaxcal: `jc.calibrate` as a user calls it, implied-vol residuals, default solver and pricer."""

import jax
import numpy as np

import jaxcal as jc
from benchmarks.inputs.work import PARAMETERS, Work
from benchmarks.peers import Fit, Outcome


def prepare(work: Work) -> Fit:
    """One fit from a `Surface` already on the device to a `Fit` whose arrays are ready."""
    jax.config.update("jax_enable_x64", True)
    surface = jc.Surface.from_vols(work.expiry, work.strike, work.vol, forward=work.forward, discount=work.discount)
    start = jc.Heston(*work.start.tolist())

    def fit() -> Outcome:
        result = jax.block_until_ready(jc.calibrate(start, surface))
        found = np.array([float(getattr(result.model, name)) for name in PARAMETERS])
        return Outcome(found, int(result.num_steps), "steps")

    return fit

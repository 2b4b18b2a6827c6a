"""The runners, one file each: `prepare(work)` returns a function without arguments that does one whole fit."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs.work import Work

PEERS = {
    "jaxcal": "own",
    "QuantLib, Analytic": "quantlib_analytic",
    "QuantLib, COS": "quantlib_cos",
    "scipy LM": "scipy_lm",
    "optimistix LM": "optimistix_lm",
    "fourier-option-pricer": "fourier_option_pricer",
}


@dataclass(frozen=True)
class Outcome:
    """What one fit found: `parameters` `[5]` in the order v0, kappa, theta, sigma, rho.

    `steps` is the runner's own count of its work, `unit` what it counts: solver steps, or evaluations of all residuals.
    """

    parameters: NDArray[np.float64]
    steps: int
    unit: str


Fit = Callable[[], Outcome]


def prepare(name: str, work: Work) -> Fit:
    """Import the runner called `name` and set it up for `work`; ImportError where its library is not installed."""
    fit: Fit = import_module(f"benchmarks.peers.{PEERS[name]}").prepare(work)
    return fit

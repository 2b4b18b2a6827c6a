"""The effective number of parameters of a fit: how many its quotes decide, where a prior decides the rest."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcal.models.parameters import from_vector, to_vector


def effective_number(fit: Any) -> float:
    """Of a `Fit`, whose `effective_parameters` this is."""
    if not fit.status.fitted:
        return float("nan")
    information = np.asarray(fit.information, float)
    free = ~np.asarray(fit.at_bound)
    if fit.prior is None or fit.by_expiry:
        free &= np.diagonal(information, axis1=-2, axis2=-1) > 0  # a pace after the last quote moves none
        return float(np.sum(free))
    names, scales = fit.spec.names, fit.spec.scales
    y = to_vector(fit.model, names, scales)
    slopes = np.asarray(
        jax.jacfwd(lambda y: fit.prior(from_vector(fit.model, names, y, scales)))(jnp.asarray(y)), float
    )
    of_prior = (slopes.T @ slopes)[np.ix_(free, free)]
    both = information[np.ix_(free, free)]
    return float(np.sum(free) - np.trace(np.linalg.lstsq(both, of_prior, rcond=1e-14)[0]))

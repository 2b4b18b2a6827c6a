"""Models with options of `calibrate`, by the names that results have for them."""

from typing import Any

import jaxcal as jc
from jaxcal.models.smiles.ssvi import SSVIHeston

# for a user who wants to be inside bid and ask
BY_SPREAD: dict[str, Any] = {"weights": jc.InverseSpreadWeights(2.0)}
IN_HALF_SPREADS: dict[str, Any] = {"residual": jc.HalfSpreadResidual(), "loss": jc.Cauchy(1.0)}
VARIANTS: dict[str, tuple[type[jc.AbstractModel], dict[str, Any]]] = {
    "PiecewiseBates by spread": (jc.PiecewiseBates, BY_SPREAD),
    "SVCJ by spread": (jc.SVCJ, BY_SPREAD),
    "ClockedDoubleHeston by spread": (jc.ClockedDoubleHeston, BY_SPREAD),
    "ClockedDoubleHeston in half-spreads": (jc.ClockedDoubleHeston, IN_HALF_SPREADS),
    "ClockedHestonJumps in half-spreads": (jc.ClockedHestonJumps, IN_HALF_SPREADS),
    "ESSVI in half-spreads": (jc.ESSVI, IN_HALF_SPREADS),
    "ArbitrageFreeSVI in half-spreads": (jc.ArbitrageFreeSVI, IN_HALF_SPREADS),
}


def variant(name: str) -> tuple[type[jc.AbstractModel], dict[str, Any]]:
    """A model and how it is fitted: one of `VARIANTS`, or a model by its own name as `calibrate` fits it."""
    if name in VARIANTS:
        return VARIANTS[name]
    return SSVIHeston if name == "SSVIHeston" else getattr(jc, name), {}

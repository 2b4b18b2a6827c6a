"""The models of the library by name: the one list of them."""

import importlib
from enum import StrEnum
from typing import Any


class ModelName(StrEnum):
    """Every model whose fit starts from parameters read off the surface: its name, and where its class is.

    Example:
        >>> ModelName("double-heston").model.__name__
        'DoubleHeston'
    """

    BLACK_SCHOLES = "black-scholes", "diffusions.black_scholes.BlackScholes"
    HESTON = "heston", "diffusions.heston.Heston"
    BATES = "bates", "jumps.bates.Bates"
    SVCJ = "svcj", "jumps.svcj.SVCJ"
    DOUBLE_HESTON = "double-heston", "diffusions.double_heston.DoubleHeston"
    MERTON = "merton", "jumps.merton.Merton"
    KOU = "kou", "jumps.kou.Kou"
    VARIANCE_GAMMA = "variance-gamma", "levy.variance_gamma.VarianceGamma"
    NIG = "nig", "levy.nig.NIG"
    CGMY = "cgmy", "levy.cgmy.CGMY"
    BLACK_SCHOLES_HULL_WHITE = "black-scholes-hull-white", "diffusions.hull_white.BlackScholesHullWhite"
    HESTON_HULL_WHITE = "heston-hull-white", "diffusions.hull_white.HestonHullWhite"
    CLOCKED_DOUBLE_HESTON = "clocked-double-heston", "diffusions.clocked_double_heston.ClockedDoubleHeston"
    CLOCKED_HESTON_JUMPS = "clocked-heston-jumps", "jumps.clocked_heston_jumps.ClockedHestonJumps"
    PIECEWISE_HESTON = "piecewise-heston", "diffusions.piecewise_heston.PiecewiseHeston"
    PIECEWISE_BATES = "piecewise-bates", "jumps.piecewise_bates.PiecewiseBates"
    SABR = "sabr", "smiles.sabr.SABR"
    NORMAL_SABR = "normal-sabr", "smiles.sabr.NormalSABR"
    SVI = "svi", "smiles.svi.SVI"
    SSVI = "ssvi", "smiles.ssvi.SSVI"
    ESSVI = "essvi", "smiles.essvi.ESSVI"
    ARBITRAGE_FREE_SVI = "arbitrage-free-svi", "smiles.arbitrage_free_svi.ArbitrageFreeSVI"
    SSVI_HESTON = "ssvi-heston", "smiles.ssvi.SSVIHeston"

    _place: str

    def __new__(cls, name: str, place: str) -> "ModelName":
        """A name that knows where its class is, below `jaxcal.models`."""
        member = str.__new__(cls, name)
        member._value_ = name
        member._place = place
        return member

    @property
    def model(self) -> type[Any]:
        """The class; it is imported here, so that a command line that lists the names does not wait for JAX."""
        module, _, name = self._place.rpartition(".")
        return getattr(importlib.import_module(f"jaxcal.models.{module}"), name)


def model_names(text: str) -> list[ModelName]:
    """The names in a list such as "heston, bates", each once.

    Raises:
        ValueError: a name is unknown, or there is none.

    Example:
        >>> [name.value for name in model_names("heston,bates,heston")]
        ['heston', 'bates']
    """
    words = [word.strip().lower().replace("_", "-") for word in text.split(",")]
    known = [name.value for name in ModelName]
    unknown = [word for word in words if word and word not in known]
    if unknown or not any(words):
        what = f"there is no model {', '.join(map(repr, unknown))}" if unknown else "no model is named"
        raise ValueError(f"{what}; there are {', '.join(known)}")
    return [ModelName(word) for word in dict.fromkeys(words) if word]

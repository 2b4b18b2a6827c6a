"""The models by the names that the command line takes."""

import importlib
from enum import StrEnum
from typing import TYPE_CHECKING

# Imported where a class is asked for, so that a list of the names does not wait for the library.
if TYPE_CHECKING:
    from jaxcal.models.base import AbstractModel


class ModelName(StrEnum):
    """Every model whose fit starts from parameters read off the surface.

    Example:
        >>> from jaxcal.models.registry import ModelName
        >>> ModelName("double-heston").model.__name__
        'DoubleHeston'
    """

    BLACK_SCHOLES = "black-scholes"
    HESTON = "heston"
    BATES = "bates"
    SVCJ = "svcj"
    DOUBLE_HESTON = "double-heston"
    MERTON = "merton"
    KOU = "kou"
    VARIANCE_GAMMA = "variance-gamma"
    NIG = "nig"
    CGMY = "cgmy"
    BLACK_SCHOLES_HULL_WHITE = "black-scholes-hull-white"
    HESTON_HULL_WHITE = "heston-hull-white"
    CLOCKED_DOUBLE_HESTON = "clocked-double-heston"
    PIECEWISE_HESTON = "piecewise-heston"
    PIECEWISE_BATES = "piecewise-bates"
    SABR = "sabr"
    NORMAL_SABR = "normal-sabr"
    SVI = "svi"
    SSVI = "ssvi"
    SSVI_HESTON = "ssvi-heston"

    @property
    def model(self) -> "type[AbstractModel]":
        """The class."""
        module, _, name = _CLASSES[self].rpartition(".")
        return getattr(importlib.import_module(f"jaxcal.models.{module}"), name)


_CLASSES = {
    ModelName.BLACK_SCHOLES: "diffusions.black_scholes.BlackScholes",
    ModelName.HESTON: "diffusions.heston.Heston",
    ModelName.BATES: "jumps.bates.Bates",
    ModelName.SVCJ: "jumps.svcj.SVCJ",
    ModelName.DOUBLE_HESTON: "diffusions.double_heston.DoubleHeston",
    ModelName.MERTON: "jumps.merton.Merton",
    ModelName.KOU: "jumps.kou.Kou",
    ModelName.VARIANCE_GAMMA: "levy.variance_gamma.VarianceGamma",
    ModelName.NIG: "levy.nig.NIG",
    ModelName.CGMY: "levy.cgmy.CGMY",
    ModelName.BLACK_SCHOLES_HULL_WHITE: "diffusions.hull_white.BlackScholesHullWhite",
    ModelName.HESTON_HULL_WHITE: "diffusions.hull_white.HestonHullWhite",
    ModelName.CLOCKED_DOUBLE_HESTON: "diffusions.clocked_double_heston.ClockedDoubleHeston",
    ModelName.PIECEWISE_HESTON: "diffusions.piecewise_heston.PiecewiseHeston",
    ModelName.PIECEWISE_BATES: "jumps.piecewise_bates.PiecewiseBates",
    ModelName.SABR: "smiles.sabr.SABR",
    ModelName.NORMAL_SABR: "smiles.sabr.NormalSABR",
    ModelName.SVI: "smiles.svi.SVI",
    ModelName.SSVI: "smiles.ssvi.SSVI",
    ModelName.SSVI_HESTON: "smiles.ssvi.SSVIHeston",
}


def model_names(text: str) -> list[ModelName]:
    """The names in a list such as "heston, bates", each once.

    Raises:
        ValueError: a name is unknown, or there is none.

    Example:
        >>> from jaxcal.models.registry import model_names
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

"""Odd parts in words: of every model with jumps, and in the summary of a fit."""

from typing import Any

import pytest

import jaxcal as jc
from jaxcal.models.registry import ModelName

MAKE: Any = jc  # from fields by the dozen
HESTON = (0.04, 2.0, 0.05, 0.6, -0.7)
MANY, RARE, USUAL = (140.0, 0.0, 0.02), (0.01, -0.4, 0.3), (0.5, -0.1, 0.2)


def models(jumps, heston=HESTON):
    return [
        jc.Bates(*heston, *jumps),
        MAKE.SVCJ(*heston, *jumps, 0.01, 0.0),
        MAKE.PiecewiseBates(*heston, *jumps, [0.5]),
        jc.ClockedHestonJumps.of(jc.Bates(*heston, *jumps), [0.5]),
    ]


def year(model):
    """Rates of a model with a clock are those of the clock."""
    return "year of the clock" if isinstance(model, jc.ClockedHestonJumps) else "year"


@pytest.mark.parametrize("model", [*models(MANY), jc.Merton(0.2, *MANY)], ids=lambda m: type(m).__name__)
def test_many_small_jumps_are_a_diffusion(model):
    (text,) = model.odd_parts()
    assert f"140 jumps a {year(model)} of size 2 % act as a volatility of 24 %" in text


@pytest.mark.parametrize("model", [*models(RARE), jc.Merton(0.2, *RARE)], ids=lambda m: type(m).__name__)
def test_jumps_of_a_century(model):
    assert model.odd_parts() == (
        f"0.01 jumps a {year(model)} of size 50 %: one in 100 years, of which quotes know the cost alone",
    )


@pytest.mark.parametrize("model", models(USUAL, (0.04, 3000.0, 0.05, 0.6, -0.7)), ids=lambda m: type(m).__name__)
def test_reversion_at_its_bound(model):
    (text,) = model.odd_parts()
    days = "0.12 days" + year(model).removeprefix("year")
    assert text == f"kappa 3000 is at its bound: a variance that forgets itself within {days} is like jumps"


def test_usual_parts_are_not_odd():
    assert not any(model.odd_parts() for model in [*models(USUAL), jc.Merton(0.2, *USUAL)])
    assert jc.Kou(0.2, 1.0, 0.4, 10.0, 5.0).odd_parts() == ()
    assert not jc.Bates(*HESTON, 0.0, -0.4, 0.3).odd_parts()  # never
    assert "act as a volatility" in jc.Kou(0.2, 150.0, 0.4, 90.0, 90.0).odd_parts()[0]


def test_every_model_with_jumps_says_so():
    with_jumps = {name.model for name in ModelName if "jump_intensity" in name.model.bounds}
    assert all("odd_parts" in vars(kind) for kind in with_jumps)

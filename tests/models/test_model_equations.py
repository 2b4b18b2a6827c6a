"""The formulas of docs/model_equations.md, evaluated as they stand there, are what the models compute."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.registry import ModelName

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "model_equations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", PAGE, flags=re.M | re.S))
CLASSES = {name.model.__name__: name.model for name in ModelName}

HESTON = (0.04, 1.5, 0.06, 0.7, -0.65)
FAST = (0.02, 6.0, 0.03, 1.6, -0.8)
KNOTS = [0.25, 0.8]
FOURIER = [
    jc.BlackScholes(0.2),
    jc.Heston(*HESTON),
    jc.DoubleHeston(*HESTON, *FAST),
    jc.ClockedDoubleHeston(*HESTON, *FAST, pace=[2.0, 0.5], knots=KNOTS),
    jc.PiecewiseHeston(0.04, [1.5, 2.5, 1.0], [0.04, 0.09, 0.05], [0.7, 0.4, 1.2], [-0.7, -0.4, 0.1], KNOTS),
    jc.BlackScholesHullWhite(0.2, 0.4, 0.05, 0.3),
    jc.HestonHullWhite(*HESTON, 0.4, 0.05),
    jc.Merton(0.2, 0.5, -0.1, 0.15),
    jc.Kou(0.16, 1.0, 0.4, 10.0, 5.0),
    jc.Bates(*HESTON, 0.5, -0.1, 0.15),
    jc.SVCJ(*HESTON, 0.5, -0.1, 0.15, 0.05, -0.5),
    jc.PiecewiseBates(0.04, 1.5, [0.04, 0.09, 0.05], 0.7, -0.7, [2.0, 0.5, 0.1], [-0.1, 0.0, 0.1], 0.15, KNOTS),
    jc.ClockedHestonJumps.of(jc.DoubleHeston(*HESTON, *FAST), KNOTS, [2.0, 0.5], jumps=2),
    jc.VarianceGamma(0.2, 0.3, -0.1),
    jc.NIG(15.0, -5.0, 0.5),
    jc.CGMY(1.0, 5.0, 7.0, 0.6),
]
VOLS = [
    jc.SABR(0.0357, 0.5, -0.25, 0.35),
    jc.SABR(0.0357, 0.5, -0.25, 0.35, shift=0.01),
    jc.NormalSABR(0.007, -0.18, 0.29),
    jc.SVI(0.01, 0.1, -0.4, 0.05, 0.2),
    jc.SSVI(jnp.asarray([0.25, 0.8, 2.0]), jnp.asarray([0.04, 0.05, 0.06]), -0.6, 1.0, 0.4),
    jc.ESSVI(jnp.asarray([0.25, 0.8, 2.0]), *jnp.asarray([[0.1, 0.2, 0.1], [0.3, 0.1, 0.2], [0.2, 0.0, 0.1]])),
    jc.ArbitrageFreeSVI(
        *jnp.asarray([[0.1, 0.6, 1.3], [0.02, 0.02, 0.05], [0.04, 0.02, 0.04]]),
        *jnp.asarray([[0.0, 0.02, 0.05], [0.05, 0.1, 0.15], [0.001, 0.0, 0.01]]),
    ),
    jc.SSVIHeston(jnp.asarray([0.25, 0.8, 2.0]), jnp.asarray([0.04, 0.05, 0.06]), -0.6, 2.0),
]
POINTS = [(0.7 - 0.4j, 1.3), (11.0 + 0.3j, 0.6), (-4.0 - 0.9j, 0.1)]


def class_name(model: Any) -> str:
    return type(model).__name__


def exact(model: Any) -> dict[str, Any]:
    """The fields of a model in 30 digits; vectors as lists."""
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return {name: mp.mpf(x) if np.ndim(x) == 0 else [mp.mpf(float(y)) for y in x] for name, x in fields.items()}


def evaluated(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """All that the block of a section computes from numbers and functions that are known."""
    functions = {word: getattr(mp, word) for word in ("exp", "sqrt", "gamma", "ln")}
    names = functions | {"i": mp.mpc(0, 1), "integral": lambda f, a, b: mp.quad(f, [a, b])} | dict(known)
    names |= {"total": lambda terms: mp.fsum(terms), "each": lambda items: range(len(items))}
    (block,) = re.findall(r"^```text\n(.*?)^```$", SECTIONS[name], flags=re.M | re.S)
    for line in block.splitlines():
        left, right = line.split(" = ", 1)
        word, argument = re.fullmatch(r"(\w+)(?:\((\w+)\))?", left).groups()  # pyright: ignore[reportOptionalMemberAccess]
        # a sum over intervals is a list, which sees names of its own only
        code = compile((f"lambda {argument}: " if argument else "") + right.replace("^", "**"), line, "eval")
        names[word] = eval(code, names)
    return names


def heston(z: Any) -> Callable[..., Any]:
    def ln_phi(v0: Any, kappa: Any, theta: Any, sigma: Any, rho: Any, t: Any) -> Any:
        known = {"v0": v0, "kappa": kappa, "theta": theta, "sigma": sigma, "rho": rho, "z": z, "t": t}
        return evaluated("Heston", known)["ln_phi"]

    return ln_phi


def years(knots: list[Any], t: Any) -> Callable[[int], Any]:
    """The time before t in interval n of those that the knots part."""
    ends = [mp.mpf(0), *knots, mp.inf]
    return lambda n: max(min(t, ends[n + 1]) - ends[n], mp.mpf(0))


def highest(f: Callable[..., Any]) -> Any:
    """The largest value over all log-strikes: on a grid, then by golden section."""
    grid = [mp.sinh(mp.mpf(i) / 20) / 100 for i in range(-180, 181)]
    best = max(range(1, 360), key=lambda i: f(grid[i]))
    low, high = grid[best - 1], grid[best + 1]
    for _ in range(60):
        third = (high - low) / 3
        low, high = (low, high - third) if f(low + third) > f(high - third) else (low + third, high)
    return f((low + high) / 2)


def by_intervals(model: Any, fields: dict[str, Any], z: Any, t: Any) -> Any:
    """ln phi of a model with intervals: the blocks of the page hold for one of them."""
    lasts = years(fields["knots"], t)
    coefficient, total = mp.mpc(0), mp.mpc(0)
    for n in reversed(range(len(fields["knots"]) + 1)):
        here: dict[str, Any] = {
            name: x[n] if isinstance(x, list) and name != "knots" else x for name, x in fields.items()
        }
        known = here | {"z": z, "tau": lasts(n), "D": coefficient}
        step = evaluated("PiecewiseHeston", known)
        coefficient, total = step["D_next"], total + here["kappa"] * here["theta"] * step["G"]
        if isinstance(model, jc.PiecewiseBates):
            total += evaluated("PiecewiseBates", known)["J"]
    return fields["v0"] * coefficient + total


def test_every_model_has_its_section() -> None:
    assert sorted(SECTIONS) == sorted(CLASSES) == sorted({class_name(model) for model in (*FOURIER, *VOLS)})
    assert all(re.search(r"\d{4}\)", text.strip().split("\n\n")[0]) for text in SECTIONS.values()), (
        "a source, with its year"
    )


@pytest.mark.parametrize("model", FOURIER, ids=class_name)
def test_characteristic_function_is_that_of_the_page(model: jc.AbstractFourierModel) -> None:
    z, t = (jnp.asarray(x) for x in zip(*POINTS, strict=True))
    computed = jax.jit(lambda model, z, t: model.log_cf(z, t))(model, z, t)
    with mp.workdps(30):
        for (z_, t_), found in zip(POINTS, computed, strict=True):
            fields, nodes, expiry = exact(model), mp.mpmathify(z_), mp.mpf(t_)
            if hasattr(model, "knots") and not isinstance(model, jc.ClockedDoubleHeston | jc.ClockedHestonJumps):
                expected = by_intervals(model, fields, nodes, expiry)
            else:
                known = fields | {"z": nodes, "t": expiry, "heston": heston(nodes)}
                known["years"] = years(fields.get("knots", []), expiry)
                known["D"] = lambda u, known=known: evaluated("Heston", known | {"t": u})["D"]
                expected = evaluated(class_name(model), known)["ln_phi"]
            assert complex(found) == pytest.approx(complex(expected), rel=1e-12)


@pytest.mark.parametrize("model", VOLS, ids=class_name)
def test_smile_is_that_of_the_page(model: Any) -> None:
    forward, strikes, expiries = 0.03, jnp.asarray([0.02, 0.031, 0.05]), jnp.asarray([0.1, 0.6, 1.3])
    shift = getattr(model, "shift", 0.0)
    which = "normal_vol" if isinstance(model, jc.NormalSABR) else "shifted_vol" if shift else "vol"
    computed = getattr(model, which)(strikes, expiries, forward)
    with mp.workdps(30):
        for strike, expiry, found in zip(strikes.tolist(), expiries.tolist(), computed, strict=True):
            known = exact(model) | {"K": mp.mpf(strike) + shift, "F": mp.mpf(forward) + shift, "t": mp.mpf(expiry)}
            known["k"] = mp.ln(known["K"] / known["F"])
            known["years"] = years(known.get("knots", [])[:-1], known["t"])
            known["length"] = lambda n, ends=[mp.mpf(0), *known.get("knots", [])]: ends[n + 1] - ends[n]
            known["highest"] = highest
            known["place"] = next((i for i, end in enumerate(known.get("knots", [])) if end >= expiry), None)
            expected = evaluated(class_name(model), known)
            assert float(found) == pytest.approx(
                float(expected["normal_vol" if which == "normal_vol" else "vol"]), rel=1e-12
            )

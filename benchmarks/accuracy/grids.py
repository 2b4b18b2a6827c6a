"""How exact are the pricing grids, by method and size? The tables of docs/pricing.md.

    python -m benchmarks.accuracy.grids                        # a few minutes on two cores
    python -m benchmarks.accuracy.grids --only domain,family   # without the recorded chains

Replaces what stands between the markers `<!-- domain: begin -->` and `<!-- domain: end -->` of docs/pricing.md, and
likewise for chains and family. Errors are in units of the forward, of out-of-the-money values: on random draws against
numbers of 30 and more digits (`tests/goldens`), on chains against a contour for each quote with 256 nodes; for SVCJ,
whose fit has jumps that those do not resolve, against shared contours of 768.
"""

import argparse
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import dax, single_chains, us_chains
from benchmarks.tables.model_tables import ROOT
from benchmarks.tables.readme_table import markdown
from jaxcal.calibration.objective.calibration_problem import build_grid
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh

PAGE, GOLDENS = ROOT / "docs" / "pricing.md", ROOT / "tests" / "goldens"
SHARED: tuple[AbstractPricer, ...] = (Sinh(36), Sinh(54), Sinh(64), Sinh(96), jc.Laguerre(32), jc.Laguerre(80))
FITTED: tuple[AbstractPricer, ...] = (
    *(Sinh(36), Sinh(64), Sinh(128), Sinh(384)), jc.Saddle(64), jc.Laguerre(32), jc.Laguerre(80)
)  # fmt: skip
DOMAIN = (jc.Saddle(128), jc.Saddle(64), *SHARED, jc.Cos(512))
FAMILY = (jc.Saddle(128), Sinh(36), Sinh(64), Sinh(96), jc.Laguerre(32), jc.Laguerre(80), jc.Cos(512))
CHAINS = {
    "dax_2002-07-05": "DAX 2002-07-05",
    "btc_2020-05-21": "BTC 2020-05-21",
    "btc_2025-12-05": "BTC 2025-12-05",
    "spx_2022-02-04": "SPX 2022-02-04",
    "spx_2024-01-05": "SPX 2024-01-05",
}
TRUTH = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)  # of the 120 options
RIGHT = 1e-9


@jax.jit
def values(
    pricer: AbstractPricer, models: jc.AbstractFourierModel, years: jax.Array, k: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Values and the bounds on their errors, one model a row."""

    def one(row: tuple[jc.AbstractFourierModel, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        model, t, at = row
        value, bound = pricer.value(model, t[None], at[None])
        return value[0], bound[0]

    return jax.lax.map(one, (models, years, k), batch_size=16)


def errors(
    pricer: AbstractPricer, models: jc.AbstractFourierModel, draws: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Errors, and which values `price` returns at this size; infinite where there is no number."""
    value, bound = values(pricer, models, jnp.asarray(draws["T"].to_numpy()), jnp.asarray(draws["k"].to_numpy()))
    error = np.abs(np.asarray(value) - draws["otm"].to_numpy())
    kept = np.asarray(bound) <= pricer.tolerance(np.dtype(np.float64))
    return np.where(np.isfinite(error), error, np.inf), kept


def domain() -> list[str]:
    """2,000 Heston options over the whole domain, one row a pricer."""
    draws = pd.read_csv(GOLDENS / "heston_domain.csv")
    models = jc.Heston(*(jnp.asarray(draws[name].to_numpy()) for name in ("v0", "kappa", "theta", "sigma", "rho")))
    rows = []
    for pricer in DOMAIN:
        error, kept = errors(pricer, models, draws)
        cells = [*(np.quantile(error, q, method="higher") for q in (0.5, 0.9, 0.99)), error.max()]
        rows.append([named(pricer), *map(short, cells), str(int(kept.sum())), short(error[kept].max())])
    heading = ["pricer", "median error", "90 % below", "99 % below", "largest", "kept", "largest of those kept"]
    return markdown(heading, rows)


def family() -> list[str]:
    """40 draws a model: how many values are right, whether kept or not."""
    table = pd.read_csv(GOLDENS / "family_domain.csv")
    rows = []
    for name in dict.fromkeys(table["model"]):
        draws = table[table["model"] == name]
        parameters = np.array([[float(x) for x in row.split(";")] for row in draws["parameters"]])
        models = getattr(jc, name)(*map(jnp.asarray, parameters.T))
        rows.append([name, *(str(int((errors(pricer, models, draws)[0] < RIGHT).sum())) for pricer in FAMILY)])
    return markdown(["model", *map(named, FAMILY)], rows)


def surfaces() -> Iterator[tuple[str, jc.Surface, tuple[type[jc.AbstractFourierModel], ...]]]:
    """Names, surfaces, and the models fitted to them."""
    years = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0
    strike = 100.0 * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(years)[:, None])
    vol = jc.model_vol(TRUTH, strike, years[:, None], forward=100.0)
    yield "120 options of the benchmarks", jc.Surface.from_vols(years, strike, vol, forward=100.0), (jc.Heston,)
    for source in (dax(), single_chains(), us_chains()):
        for name, surface in source:
            if name in CHAINS:
                jumps = (jc.Bates, jc.SVCJ) if name == "spx_2022-02-04" else (jc.Bates,)
                yield CHAINS[name], surface, (jc.Heston, *jumps)


def chains() -> list[str]:
    """Every quote of a surface at the fitted parameters, around the market's at-the-money volatilities."""
    rows = []
    for name, surface, models in surfaces():
        market = MarketValues.of_surface(surface)
        for cls in models:
            model = jc.calibrate(cls, surface).model
            exact = on_grid(Sinh(768) if cls is jc.SVCJ else jc.Saddle(256), model, market)
            largest = [np.abs(on_grid(pricer, model, market) - exact).max() for pricer in FITTED]
            rows.append([f"{name}, {cls.__name__}", f"{surface.num_quotes:,}", *map(short, largest)])
            print(rows[-1], flush=True)
    return markdown(["surface, model", "quotes", *map(named, FITTED)], rows)


def on_grid(pricer: AbstractPricer, model: jc.AbstractFourierModel, market: MarketValues) -> np.ndarray:
    """Values of the quotes used, from the grid of a fit."""

    @jax.jit
    def found(model: jc.AbstractFourierModel, market: MarketValues) -> jax.Array:
        return build_grid(model, market, pricer).value(model)

    used = np.asarray(market.used)
    return np.asarray(found(model, market)).reshape(used.shape)[used]


def named(pricer: AbstractPricer) -> str:
    return f"`{type(pricer).__name__}({next(iter(vars(pricer).values()))})`"


def short(value: float) -> str:
    """Two digits: 1.7e-9, 0.32, 5e57."""
    if not np.isfinite(value):
        return "no number"
    if value == 0 or 0.01 <= value < 100:
        return f"{value:.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}"


TABLES = {"domain": domain, "chains": chains, "family": family}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    for name in options.only.split(","):
        lines = TABLES[name]()
        print(*lines, sep="\n", flush=True)
        jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
        page = PAGE.read_text(encoding="utf-8")
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise SystemExit(f"{PAGE.name} must hold {begin} and {end} once each")
        block = "\n".join([begin, *lines, end])
        PAGE.write_text(page.split(begin)[0] + block + page.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    main()

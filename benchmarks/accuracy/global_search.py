"""Which optimiser wins when, and what it gains to search from all starts at once.

    python -m benchmarks.accuracy.global_search                       # everything, ten minutes on two cores
    python -m benchmarks.accuracy.global_search --only methods --models Bates --chains dax
    python -m benchmarks.accuracy.global_search --only starts --starts 256

"methods" fits a model to three chains by Levenberg-Marquardt from the data (`calibrate` as it is), by both kinds of
`global_search`, and by optax from the data. Every fit is made twice; "first" has the compiling in it. The best optimum
known is the lowest of the run; within 0.01 % of its RMSE a fit has reached it.

"starts" makes a global search, and then one `calibrate` after the other from the same starts, in the same process. All
that is compiled is compiled before.

Writes `benchmarks/results/global_search.csv`, `global_search_starts.csv`, and puts the tables of these into
`docs/results/optimisers.md`.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import dax, single_chains
from benchmarks.instruments.machine import description
from benchmarks.tables.readme_table import ROOT, markdown

RESULTS, PAGE = Path(__file__).parents[1] / "results", ROOT / "docs" / "results" / "optimisers.md"
METHODS_FILE, STARTS_FILE = "global_search.csv", "global_search_starts.csv"
REACHED = 1e-4  # of the best RMSE: some chains have optima that differ by less than 0.1 %
NEAR = 1e-3  # likewise, where it is counted how many of the fits from given starts end near it
ADAM_STEPS = 2000


def methods(starts: int) -> dict[str, Callable[[Any, jc.Surface], jc.Fit]]:
    """What is compared, by the name it has in the table."""
    adam = jc.Optax(optax.adam, learning_rate=0.05, num_steps=ADAM_STEPS)
    schedule = optax.cosine_decay_schedule(0.1, ADAM_STEPS)
    minibatches = jc.Optax(optax.adam(schedule), num_steps=ADAM_STEPS, share=0.25)
    lbfgs = jc.Optax(optax.lbfgs(), num_steps=500)

    def by_optax(solver: jc.Optax) -> Callable[[Any, jc.Surface], jc.Fit]:
        return lambda model, surface: jc.calibrate(model, surface, solver=solver)

    def search(method: str) -> Callable[[Any, jc.Surface], jc.Fit]:
        return lambda model, surface: jc.global_search(model, surface, num_starts=starts, method=method).best

    return {
        "LM from the data": jc.calibrate,
        f"{starts} Sobol points, LM": search("sobol"),
        f"evolution of {starts}, LM": search("differential_evolution"),
        "Adam": by_optax(adam),
        "Adam, a quarter of the quotes a step": by_optax(minibatches),
        "L-BFGS": by_optax(lbfgs),
    }


def method_rows(model: type[jc.AbstractModel], chain: str, surface: jc.Surface, starts: int) -> list[dict[str, Any]]:
    """One row a method; the best is known at the end."""
    rows = []
    for name, run in methods(starts).items():
        first, _, _ = timed(run, model, surface)
        seconds, cpu_seconds, fit = timed(run, model, surface)
        row = {
            "chain": chain, "quotes": surface.num_quotes, "model": model.__name__, "method": name,
            "rmse": 100.0 * float(fit.rmse_vol), "outcome": fit.status.outcome.name, "steps": int(fit.num_steps),
            "first_seconds": first, "seconds": seconds, "cpu_seconds": cpu_seconds,
        }  # fmt: skip
        print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
        rows.append(row)
    best = min(row["rmse"] for row in rows)
    return [
        row | {"excess": row["rmse"] / best - 1.0, "reached": row["rmse"] <= (1.0 + REACHED) * best} for row in rows
    ]


def timed(run: Callable[[Any, jc.Surface], jc.Fit], model: Any, surface: jc.Surface) -> tuple[float, float, jc.Fit]:
    """Seconds, CPU seconds of all threads, and the fit."""
    began, began_cpu = time.perf_counter(), time.process_time()
    fit = jax.block_until_ready(run(model, surface))
    return time.perf_counter() - began, time.process_time() - began_cpu, fit


def start_row(model: type[jc.AbstractModel], chain: str, surface: jc.Surface, starts: int) -> dict[str, Any]:
    """A search from all starts at once against fits from the same starts one after the other."""
    optima = jc.global_search(model, surface, num_starts=starts)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], optima.starts) for i in range(optima.num_starts)]

    def one_by_one() -> np.ndarray:
        fits = [jax.block_until_ready(jc.calibrate(start, surface)) for start in each]
        return np.asarray([100.0 * float(fit.rmse_vol) for fit in fits])

    rmse = one_by_one()  # compiles whatever grid some start needs
    began, began_cpu = time.perf_counter(), time.process_time()
    optima = jax.block_until_ready(jc.global_search(model, surface, num_starts=starts))
    middle, middle_cpu = time.perf_counter(), time.process_time()
    one_by_one()
    end, end_cpu = time.perf_counter(), time.process_time()
    best = min(100.0 * float(optima.best.rmse_vol), float(np.nanmin(rmse)))
    row = {
        "chain": chain, "quotes": surface.num_quotes, "model": model.__name__, "starts": len(each),
        "seconds": middle - began, "seconds_one_by_one": end - middle, "cpu": middle_cpu - began_cpu,
        "cpu_one_by_one": end_cpu - middle_cpu, "rmse": 100.0 * float(optima.best.rmse_vol),
        "rmse_one_by_one": float(np.nanmin(rmse)), "optima": len(optima), "share": float(optima.share[0]),
        "share_one_by_one": float(np.mean(rmse <= (1.0 + NEAR) * best)), **description(),
    }  # fmt: skip
    print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return row


def method_table(table: pd.DataFrame) -> list[str]:
    """One row a chain, model and method."""
    heading = ["chain", "model", "method", "RMSE, vol points", "best reached", "outcome", "s", "CPU s", "first s"]
    rows = [
        [
            f"{row['chain']} ({row['quotes']})", f"`{row['model']}`", row["method"], f"{row['rmse']:.4f}",
            "yes" if row["excess"] <= REACHED else f"no, {100.0 * row['excess']:.2f} % above",
            row["outcome"].lower().replace("_", " "), f"{row['seconds']:.3g}", f"{row['cpu_seconds']:.3g}",
            f"{row['first_seconds']:.3g}",
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return markdown(heading, rows)


def start_table(table: pd.DataFrame) -> list[str]:
    """One row a chain and model."""
    heading = ["chain", "model", "starts", "at once, s", "one by one, s", "ratio", "ratio of CPU", "best RMSE"]
    heading += ["one by one", "optima", "starts at the best", "one by one"]
    rows = [
        [
            f"{row['chain']} ({row['quotes']})", f"`{row['model']}`", str(row["starts"]), f"{row['seconds']:.3g}",
            f"{row['seconds_one_by_one']:.3g}", f"{row['seconds_one_by_one'] / row['seconds']:.1f}",
            f"{row['cpu_one_by_one'] / row['cpu']:.1f}", f"{row['rmse']:.4f}", f"{row['rmse_one_by_one']:.4f}",
            str(row["optima"]), f"{row['share']:.0%}", f"{row['share_one_by_one']:.0%}",
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return markdown(heading, rows)


def filled(page: str) -> str:
    """The page with the tables of the results at hand."""
    for name, file, table in (("methods", METHODS_FILE, method_table), ("starts", STARTS_FILE, start_table)):
        if not (RESULTS / file).exists():
            continue
        found = pd.read_csv(RESULTS / file)
        notes = [f"- {key}: {found[key].iloc[-1]}" for key in description() if key in found]
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        after = rest.partition(end)[2]
        page = "\n".join([before + begin, *table(found), "", *notes, end + after])
    return page


def put(file: str, rows: list[dict[str, Any]]) -> None:
    """Rows in the place of those with the same chain and model."""
    path, key = RESULTS / file, ("chain", "model")
    old = pd.read_csv(path).to_dict("records") if path.exists() else []
    new = {tuple(row[name] for name in key) for row in rows}
    pd.DataFrame([row for row in old if tuple(row[name] for name in key) not in new] + rows).to_csv(path, index=False)


def chosen(names: str) -> Iterator[tuple[str, jc.Surface]]:
    """The DAX surface and two BTC chains."""
    for chains in (dax(), single_chains()):
        yield from ((name, surface) for name, surface in chains if name.startswith(tuple(names.split(","))))


def main() -> None:
    """Measure what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=["methods", "starts", "page"], help="page: only put the tables in their place"
    )
    parser.add_argument("--models", default="Heston,Bates")
    parser.add_argument("--chains", default="", help="beginnings of names, all by default")
    parser.add_argument("--starts", type=int, default=256)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for chain, surface in chosen(options.chains) if options.only != "page" else ():
        for name in options.models.split(","):
            model = getattr(jc, name)
            jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
            if options.only != "starts":
                rows = method_rows(model, chain, surface, options.starts)
                put(METHODS_FILE, [row | description() for row in rows])
            if options.only != "methods":
                put(STARTS_FILE, [start_row(model, chain, surface, options.starts)])
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

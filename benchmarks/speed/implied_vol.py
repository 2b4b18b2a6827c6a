"""Price to volatility, side by side.

`python -m benchmarks.speed.implied_vol` prints a table and writes it to `results/`.

20,000 out-of-the-money quotes: 1 day to 2 years, 5 % to 300 %, within 5 standard deviations of the forward. Their
prices are computed with 30 digits, so the volatility behind each is known whatever a runner's own formula does.
Runners take turns in one process; figures are medians, CPU time is that of all threads.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import mpmath as mp  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxcal as jc  # noqa: E402
from benchmarks.instruments import machine  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results"
GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens" / "implied_vol.csv"
FORWARD = 100.0
COLUMNS = (
    "runner",
    "compile s",
    "CPU ns a quote",
    "wall ns a quote",
    "times less CPU",
    "max rel. error",
    "max, reference rows",
)

Columns = dict[str, np.ndarray]
Solver = Callable[[Columns], np.ndarray]


def exact_price(vol: float, strike: float, expiry: float) -> float:
    """Black price of the out-of-the-money option, right to the last digit of a double."""
    total = mp.mpf(vol) * mp.sqrt(mp.mpf(expiry))
    d1 = mp.log(mp.mpf(FORWARD) / mp.mpf(strike)) / total + total / 2
    if strike >= FORWARD:
        return float(FORWARD * mp.ncdf(d1) - mp.mpf(strike) * mp.ncdf(d1 - total))
    return float(mp.mpf(strike) * mp.ncdf(total - d1) - FORWARD * mp.ncdf(-d1))


def draw(count: int) -> Columns:
    """The quotes, as columns; `vol` is the truth."""
    random = np.random.default_rng(20020705)
    expiry = np.exp(random.uniform(np.log(1.0 / 365.0), np.log(2.0), count))
    vol = np.exp(random.uniform(np.log(0.05), np.log(3.0), count))
    strike = FORWARD * np.exp(random.uniform(-5.0, 5.0, count) * vol * np.sqrt(expiry))
    with mp.workdps(30):
        price = np.array([exact_price(*row) for row in zip(vol, strike, expiry, strict=True)])
    forward = np.full(count, FORWARD)
    market = {"strike": strike, "expiry": expiry, "forward": forward, "is_call": strike >= FORWARD}
    return {"price": price, "vol": vol, **market}


def reference_rows() -> Columns:
    """The rows of `tests/goldens/implied_vol.csv`, undiscounted prices from 1e-298 up, in and out of the money."""
    table = pd.read_csv(GOLDENS)
    names = {"price": "price", "strike": "K", "expiry": "T", "forward": "F", "vol": "implied_vol"}
    return {new: table[old].to_numpy() for new, old in names.items()} | {"is_call": (table.kind == "call").to_numpy()}


def jaxcal(dtype: type) -> Solver:
    """Ours, inside one jit; the inputs are on the device before the clock starts, as they are in a fit."""
    solve = jax.jit(lambda p, k, t, f, c: jc.implied_vol(p, k, t, forward=f, is_call=c))
    placed: dict[int, list[jax.Array]] = {}

    def run(q: Columns) -> np.ndarray:
        if id(q) not in placed:
            placed[id(q)] = [jnp.asarray(q[n], dtype) for n in ("price", "strike", "expiry", "forward")]
            placed[id(q)].append(jnp.asarray(q["is_call"]))
        return np.asarray(jax.block_until_ready(solve(*placed[id(q)])))

    return run


def fourier_option_pricer() -> Solver:
    """The peer's vectorised solver after Jaeckel, in numpy."""
    from foureng.iv.lets_be_rational import implied_vol_lets_be_rational

    def run(q: Columns) -> np.ndarray:
        sign = np.where(q["is_call"], 1.0, -1.0)
        return implied_vol_lets_be_rational(q["price"], q["forward"], q["strike"], q["expiry"], cp=sign)

    return run


RUNNERS: dict[str, Callable[[], Solver]] = {
    "jaxcal": lambda: jaxcal(np.float64),
    "jaxcal, float32": lambda: jaxcal(np.float32),
    "fourier-option-pricer": fourier_option_pricer,
}


def worst(found: np.ndarray, quotes: Columns) -> str:
    """Largest relative error where there is an answer, and how many have none."""
    error = np.abs(found / quotes["vol"] - 1.0)
    failures = int(np.isnan(error).sum())
    return f"{np.nanmax(error):.1e}" + (f", {failures} without answer" if failures else "")


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quotes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each runner, of about 0.1 s")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = Console(width=160)

    quotes, goldens = draw(arguments.quotes), reference_rows()
    solvers: dict[str, Solver] = {}
    for name, prepare in RUNNERS.items():
        try:
            solvers[name] = prepare()
        except ImportError as error:
            console.print(f"skipped: {name} ({error})")
    first: dict[str, float] = {}
    for name, solve in solvers.items():
        began = time.perf_counter()
        solve(quotes)
        first[name] = time.perf_counter() - began
    wall: dict[str, list[float]] = {name: [] for name in solvers}
    cpu: dict[str, list[float]] = {name: [] for name in solvers}
    for turn in range(arguments.rounds):
        for name in list(solvers)[:: 1 if turn % 2 == 0 else -1]:
            solvers[name](quotes)  # warms the caches
            end = time.perf_counter() + 0.1
            while time.perf_counter() < end:
                began, began_cpu = time.perf_counter(), time.process_time()
                solvers[name](quotes)
                cpu[name].append(time.process_time() - began_cpu)
                wall[name].append(time.perf_counter() - began)

    rows = []
    for name, solve in solvers.items():
        scale = 1e9 / arguments.quotes
        peer = cpu.get("fourier-option-pricer")
        less = f"{median(peer) / median(cpu[name]):.3g}" if peer else ""
        times = f"{max(first[name] - median(wall[name]), 0.0):.2f}", f"{median(cpu[name]) * scale:.0f}"
        # Most reference prices are too small to be float32 numbers.
        errors = worst(solve(quotes), quotes), "" if "float32" in name else worst(solve(goldens), goldens)
        rows.append((name, *times, f"{median(wall[name]) * scale:.0f}", less, *errors))
    table = Table(*COLUMNS, title=f"{arguments.quotes:,} out-of-the-money quotes")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = ["# Price to volatility", "", *(f"- {key}: {value}" for key, value in machine.description().items()), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "implied_vol.md").write_text("\n".join(lines) + "\n")
    console.print(f"written: {os.path.relpath(arguments.out / 'implied_vol.md')}")


if __name__ == "__main__":
    main()

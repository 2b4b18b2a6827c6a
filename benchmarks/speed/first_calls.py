"""What a first call costs: programs, fusions and CPU seconds to compile, for the public calls, each in a new process.

`python -m benchmarks.speed.first_calls` measures all of them, writes `results/first_calls.csv` and puts the table into
`docs/results/first_calls.md`; `--only "calibrate Heston"` measures some; `--recorded` counts the programs that all
recorded chains take. A new public call that compiles gets a row in `CALLS`; `tests/test_first_calls.py` holds programs
and fusions to the last run.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import DATA

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "first_calls.csv"
PAGE = ROOT / "docs" / "results" / "first_calls.md"

Call = Callable[[], Any]
HESTON = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
STRIKES = np.linspace(60.0, 150.0, 20)


def _dax() -> jc.Surface:
    return jc.Surface.from_quotes(jc.dax_quotes())


def _many(size: int) -> list[jc.Surface]:
    """Noisy Heston surfaces of 32 quotes, a few of which need a finer grid."""
    rng = np.random.default_rng(0)
    low, high = np.asarray([0.01, 0.5, 0.01, 0.2, -0.9]), np.asarray([0.2, 3.0, 0.2, 1.0, 0.0])
    truths = jc.Heston(*jax.numpy.asarray(rng.uniform(low, high, (size, 5)).T))
    expiry = np.asarray([0.1, 0.5, 1.0, 2.0])
    strike = 100.0 * np.exp(np.sqrt(expiry)[:, None] * np.linspace(-0.3, 0.3, 8))
    vol = np.asarray(jc.model_vol(truths, strike, expiry[:, None], forward=100.0))
    vol = vol + rng.normal(0.0, 0.002, vol.shape)
    return [jc.Surface.from_vols(expiry, strike, one, forward=100.0) for one in vol]


def _fit(model: type, *before: type) -> Call:
    surface = _dax()
    for simpler in before:
        jc.calibrate(simpler, surface)
    return lambda: jc.calibrate(model, surface)


def _second() -> Call:
    """A fit of other quotes, of as many expiries and strikes or a few less, once one has been made."""
    jc.calibrate(jc.Heston, _dax())
    quotes = jc.dax_quotes()
    other = jc.Surface.from_quotes(quotes[quotes["strike"] < 5500.0])
    return lambda: jc.calibrate(jc.Heston, other)


def _batch(size: int) -> Call:
    surfaces = _many(size)
    return lambda: jc.calibrate_many(jc.Heston, surfaces)


def _of_fit(call: Callable[[jc.Fit], Any]) -> Call:
    fit = jc.calibrate(jc.Heston, _dax())
    return lambda: call(fit)


def _step() -> Call:
    surface = _dax()
    stream = jc.Recalibrator(jc.Heston)
    state, _ = stream.step(None, surface, "2026-03-02T16:00Z")
    return lambda: stream.step(state, surface, "2026-03-02T16:01Z")[1]


# what prepares a call, which is not counted, returns it
CALLS: dict[str, Callable[[], Call]] = {
    "price, 20 options": lambda: lambda: jc.price(HESTON, STRIKES, 0.5, forward=100.0),
    "model_vol, 20 options": lambda: lambda: jc.model_vol(HESTON, STRIKES, 0.5, forward=100.0),
    "vmap(price)": lambda: lambda: jax.vmap(lambda k: jc.price(HESTON, k, 0.5, forward=100.0))(STRIKES),
    "grad(price)": lambda: lambda: jax.grad(lambda f: jc.price(HESTON, STRIKES, 0.5, forward=f).sum())(100.0),
    "greeks to order 1": lambda: lambda: jc.greeks(HESTON, STRIKES, 0.5, forward=100.0, order=1),
    "greeks to order 2": lambda: lambda: jc.greeks(HESTON, STRIKES, 0.5, forward=100.0),
    "implied_vol": lambda: lambda: jc.implied_vol(np.full(20, 10.0), STRIKES, 0.5, forward=100.0, is_call=True),
    "black_price": lambda: lambda: jc.black_price(0.2, STRIKES, 0.5, forward=100.0),
    "american_price": lambda: lambda: jc.american_price(0.2, STRIKES, 0.5, spot=100.0, rate=0.03, is_call=False),
    "american_vol": lambda: (
        lambda: jc.american_vol(
            np.maximum(STRIKES - 100.0, 0.0) + 8.0, STRIKES, 0.5, spot=100.0, rate=0.03, is_call=False
        )
    ),
    "check_model": lambda: lambda: jc.check_model(HESTON),
    "calibrate BlackScholes": lambda: _fit(jc.BlackScholes),
    "calibrate SVI": lambda: _fit(jc.SVI),
    "calibrate SSVI": lambda: _fit(jc.SSVI),
    "calibrate SABR": lambda: _fit(jc.SABR),
    "calibrate Heston": lambda: _fit(jc.Heston),
    "calibrate Heston, a second chain": _second,
    "calibrate Bates after Heston": lambda: _fit(jc.Bates, jc.Heston),
    "calibrate SVCJ after Bates": lambda: _fit(jc.SVCJ, jc.Bates),
    "calibrate ClockedDoubleHeston after Heston": lambda: _fit(jc.ClockedDoubleHeston, jc.Heston),
    "calibrate ClockedHestonJumps after ClockedDoubleHeston": lambda: _fit(
        jc.ClockedHestonJumps, jc.ClockedDoubleHeston
    ),
    "calibrate ESSVI": lambda: _fit(jc.ESSVI),
    "calibrate ArbitrageFreeSVI after ESSVI": lambda: _fit(jc.ArbitrageFreeSVI, jc.ESSVI),
    "calibrate_many Heston, 12": lambda: _batch(12),
    "calibrate_many Heston, 2,000": lambda: _batch(2000),
    "Recalibrator, the second step": _step,
    "standard errors": lambda: _of_fit(lambda fit: fit.standard_errors),
    "diagnostics": lambda: _of_fit(lambda fit: fit.diagnostics()),
    "quote_sensitivities": lambda: _of_fit(jc.quote_sensitivities),
    "confidence_intervals": lambda: _of_fit(jc.confidence_intervals),
    "covariance, sandwich": lambda: _of_fit(lambda fit: jc.covariance(fit, kind="sandwich")),
    "profile": lambda: _of_fit(lambda fit: jc.profile(fit, "kappa")),
    "bootstrap, 50": lambda: _of_fit(lambda fit: jc.bootstrap(fit, num=50)),
    "model_arbitrage": lambda: _of_fit(jc.model_arbitrage),
    "global_search, 64 starts": lambda: lambda: jc.global_search(jc.Heston, _dax(), num_starts=64),
    "fit_chain, two candidates": lambda: lambda: jc.fit_chain(_dax(), models=["black-scholes", "heston"]),
}


def programs() -> dict[int, str]:
    """The optimised text of every program that this process holds."""
    found = jax.local_devices()[0].client.live_executables()
    return {id(one): one.hlo_modules()[0].to_string() for one in found}


def fusions(text: str) -> int:
    """How many loops XLA made of a program: what its compilation costs is these and what is in them."""
    return len(re.findall(r"= \S.* fusion\(", text))


def measure(name: str) -> dict[str, Any]:
    """One first call in this process, which should be new, and what it costs later."""
    began = time.process_time()
    square = np.ones((8, 8))
    jax.block_until_ready(jax.jit(lambda x: jax.lax.fori_loop(0, 10, lambda _, y: jax.numpy.sin(y @ y), x))(square))
    reference = time.process_time() - began
    call = CALLS[name]()
    before = set(programs())
    began = time.process_time()
    kept = jax.block_until_ready(call())
    first = time.process_time() - began
    new = [text for key, text in programs().items() if key not in before]
    del kept
    warm, end = [], time.process_time() + 1.0
    while not warm or time.process_time() < end:
        began = time.process_time()
        jax.block_until_ready(call())
        warm.append(time.process_time() - began)
    return {
        "call": name,
        "programs": len(new),
        "fusions": sum(fusions(text) for text in new),
        "cpu_seconds": round(first, 2),
        "warm_cpu_ms": round(1e3 * median(warm), 3),
        "reference_cpu_seconds": round(reference, 3),
        "jaxlib": version("jaxlib"),
    }


def in_new_process(name: str) -> dict[str, Any]:
    """`measure` in a process of its own, without any cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.speed.first_calls", "--child", name]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def recorded(models: list[str]) -> pd.DataFrame:
    """How many programs fits of all recorded chains take, one after the other in this process."""
    files = sorted((DATA / "deribit" / "snapshots").glob("*.parquet"))
    rules = jc.CleaningRules.crypto()
    chains = [s for path in files for s in jc.surfaces_from_quotes(jc.read_quotes(path), rules=rules).values()]
    rows = []
    for name in models:
        before, slow = set(programs()), 0
        for surface in chains:
            began, held = time.process_time(), len(programs())
            jc.calibrate(getattr(jc, name), surface)
            slow += len(programs()) > held and time.process_time() - began > 1.0
        new = [text for key, text in programs().items() if key not in before]
        fits = sum(fusions(text) > 50 for text in new)  # of models and those that they start from; others are tiny
        rows.append((name, len(chains), fits, slow))
    return pd.DataFrame(rows, columns=["model", "chains", "programs", "chains that compile above 1 s"])


def table_of(rows: pd.DataFrame) -> str:
    """For `docs/results/first_calls.md`."""
    lines = ["| call | programs | fusions | first, CPU s | later, CPU ms |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.call} | {row.programs} | {row.fusions} | {row.cpu_seconds:.1f} | {row.warm_cpu_ms:.3g} |"
        for row in rows.itertuples()
    ]
    return "\n".join(lines)


def into_page(table: str) -> None:
    """Replace the table of the page by this one."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- first calls: begin -->", "<!-- first calls: end -->"
    head, rest = text.split(begin)
    PAGE.write_text(f"{head}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> None:
    """Parse the command line: the child's side, some rows, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--recorded", nargs="*", metavar="MODEL")
    arguments = parser.parse_args()
    if arguments.child:
        jax.config.update("jax_enable_x64", True)
        print(json.dumps(measure(arguments.child)))
        return
    if arguments.recorded is not None:
        jax.config.update("jax_enable_x64", True)
        print(recorded(arguments.recorded or ["Heston", "Bates", "SVCJ"]).to_string(index=False))
        return
    kept = pd.read_csv(RESULTS).to_dict("records") if arguments.only else []
    rows: dict[str, dict[Any, Any]] = {row["call"]: row for row in kept}
    for name in arguments.only or CALLS:
        rows[name] = in_new_process(name)
        print(rows[name], flush=True)
    found = pd.DataFrame([rows[name] for name in CALLS if name in rows])
    found.to_csv(RESULTS, index=False)
    into_page(table_of(found))


if __name__ == "__main__":
    main()

"""Many Heston surfaces on an accelerator: `python -m benchmarks.speed.gpu`; without one it says so and ends.

    python -m benchmarks.speed.gpu                                       # 1,000 to 1,000,000 surfaces, three precisions
    python -m benchmarks.speed.gpu --surfaces 1000 100000 --precisions float64
    python -m benchmarks.speed.gpu --peak-flops 9.7e12 19.5e12 --peak-bandwidth 2e12   # not in `PEAKS`

    python -m benchmarks.speed.gpu --lanes 2048 4096 8192 16384 --surfaces 131072   # how many fits step together
    python -m benchmarks.speed.gpu --kernel off           # by XLA's own operations, without the kernel for all surfaces

120 quotes a surface, starts from the data, streamed from the host in pieces. Two rows for each size: "fits", the
compiled fits alone with their transfers in both directions; "calibrate_many", from `Surface` to `Fits`. Then implied
volatilities and American options a second, on the device. Writes `benchmarks/results/gpu.csv` and `.md`.
"""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.many_surfaces import Many, many, parameters_of, starts, target_of
from benchmarks.instruments import machine
from benchmarks.instruments.roofline import PEAKS, Peak, limit, peak_of
from jaxcal.calibration.engine import dispatch
from jaxcal.calibration.engine.dispatch import fit_batch
from jaxcal.calibration.engine.grid_fit import Method, solve_batch
from jaxcal.calibration.engine.grid_refinement import fit_grids
from jaxcal.calibration.objective.residuals import ImpliedVolResidual
from jaxcal.models.parameters import search_bounds
from jaxcal.pricing import fourier

RESULTS = Path(__file__).resolve().parents[1] / "results"
PRECISIONS = ("float64", "float32", "mixed")
BANK = 4096  # distinct surfaces, repeated in random order
PIECE = 131072  # surfaces on the device at a time
NAMES = tuple(jc.Heston.bounds)
COLUMNS = (
    "surfaces",
    "precision",
    "lanes",
    "kernel",
    "what",
    "fits/s",
    "mean steps",
    "converged",
    "recovered",
    "limit/s",
    "of the limit",
)


def accelerator(platform: str | None) -> Any:
    """The first device that is not a processor, or of the platform asked for; None where there is none."""
    try:
        found = jax.devices(platform) if platform else jax.devices()
    except RuntimeError:
        return None
    return next((device for device in found if platform or device.platform != "cpu"), None)


def streamed(
    bank: int, size: int, piece: int, run: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Fits a second, mean steps and the share converged of `run` over random rows of the bank, in pieces."""
    rng = np.random.default_rng(1)
    rows = [rng.integers(bank, size=min(piece, size - first)) for first in range(0, size, piece)]
    for part in {len(part): part for part in rows}.values():  # compiles
        run(part)
    began = time.perf_counter()
    found = [run(part) for part in rows]
    seconds = time.perf_counter() - began
    steps, converged = (np.concatenate(column) for column in zip(*found, strict=True))
    return {"fits/s": size / seconds, "mean steps": steps.mean(), "converged": converged.mean()}


@contextmanager
def variant(lanes: int | None, kernel: bool) -> Iterator[None]:
    """So many lanes at most, and the kernel for all surfaces or XLA's own operations."""
    jax.clear_caches()
    solve_batch.cache_clear()
    with ExitStack() as changed:
        if lanes is not None:
            changed.enter_context(patch.object(dispatch, "_ACCELERATOR_LANES", lanes))
        if not kernel:
            changed.enter_context(patch.object(fourier, "_columns_by_kernel", fourier.FourierGrid._columns))
        yield
    jax.clear_caches()
    solve_batch.cache_clear()


def options_a_second(device: Any, size: int = 1 << 22) -> list[dict[str, object]]:
    """Implied volatilities and American prices, of arrays that are on the device and stay there."""
    rng = np.random.default_rng(2)
    strike, expiry, vol = rng.uniform(70.0, 140.0, size), rng.uniform(0.05, 2.0, size), rng.uniform(0.1, 0.6, size)
    strike, expiry, vol = jax.device_put((strike, expiry, vol), device)
    price = jc.black_price(vol, strike, expiry, forward=100.0)
    some = slice(size // 8)

    def implied() -> Any:
        return jc.implied_vol(price, strike, expiry, forward=100.0)

    def american() -> Any:
        return jc.american_price(vol[some], strike[some], expiry[some], spot=100.0, rate=0.03)

    rows: list[dict[str, object]] = []
    for what, run, count in (("implied_vol", implied, size), ("american_price", american, size // 8)):
        run().block_until_ready()  # compiles
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            run().block_until_ready()
            seconds.append(time.perf_counter() - began)
        rows.append({"surfaces": count, "precision": "float64", "what": what, "fits/s": count / np.median(seconds)})
    return rows


def measure(surfaces: Many, size: int, precision: str, device: Any, piece: int) -> list[dict[str, object]]:
    """The two rows of one size and precision."""
    whole = target_of(surfaces.surface())
    begin = starts(whole)
    pricer, check = fit_grids(jc.Heston, None)[0]
    box = search_bounds(jc.Heston(*begin[0]), jc.Heston.bounds, NAMES, whole.vol.dtype)
    method = Method(ImpliedVolResidual(), None, jc.LevenbergMarquardt(), box, pricer, check)
    single = precision == "float32"
    dtype = np.float32 if single else np.float64
    method = method._replace(limits=tuple(np.asarray(x, dtype) for x in box))

    def fits(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        quotes = jax.tree.map(lambda x, rows=rows: np.asarray(x[rows], dtype), whole)
        start = jc.Heston(*np.asarray(begin[rows], dtype).T)
        found = fit_batch(NAMES, method, quotes, start, "mixed" if precision == "mixed" else "float64", [device])
        return np.asarray(found.num_steps), np.asarray(found.outcome) == jc.Outcome.CONVERGED

    def everything(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = jc.calibrate_many(jc.Heston, surfaces.surface(rows), precision=precision, devices=[device])
        return found.num_steps, found.converged

    about = {"surfaces": size, "precision": precision}
    return [
        {**about, "what": "fits", **streamed(len(surfaces), size, piece, fits)},
        {**about, "what": "calibrate_many", **streamed(len(surfaces), size, piece, everything)},
    ]


def recovered(surfaces: Many, precision: str, device: Any) -> float:
    """The share of the bank whose fit is within 1e-6 of every volatility."""
    fits = jc.calibrate_many(jc.Heston, surfaces.surface(), precision=precision, devices=[device])
    return float(np.mean(surfaces.recovered(parameters_of(fits.model))))


def with_limits(table: pd.DataFrame, peak: Peak | None) -> pd.DataFrame:
    """The arithmetic or memory limit for the steps that were taken, and what share of it was reached."""
    if peak is None:
        return table
    rough = table[table["precision"] == "float32"].set_index(["surfaces", "what"])["mean steps"].to_dict()
    limits = []
    for _, row in table.iterrows():
        steps = row["mean steps"]
        # of a mixed fit, the steps in single precision are those of the fit in single precision
        first = {"float64": 0.0, "float32": steps}.get(
            row["precision"], min(steps, rough.get((row["surfaces"], row["what"]), 0.0))
        )
        limits.append(limit(peak, steps - first, first))
    return table.assign(**{"limit/s": limits, "of the limit": table["fits/s"] / np.asarray(limits)})


def page(table: pd.DataFrame, about: dict[str, str]) -> str:
    """The rows as a Markdown page."""
    figures = {"fits/s": "{:,.4g}", "mean steps": "{:.1f}", "converged": "{:.2%}", "recovered": "{:.2%}"}
    figures |= {"limit/s": "{:,.4g}", "of the limit": "{:.2%}", "surfaces": "{:,}"}
    lines = ["# Many Heston surfaces on an accelerator", "", *(f"- {key}: {value}" for key, value in about.items()), ""]
    columns = [column for column in COLUMNS if column in table]
    lines += [f"| {' | '.join(columns)} |", "|" + " ---: |" * len(columns)]
    for _, row in table.iterrows():
        lines.append(
            f"| {' | '.join('' if pd.isna(row[c]) else figures.get(c, '{}').format(row[c]) for c in columns)} |"
        )
    lines += ["", "The limit is that of the steps alone, as if grids and their checks cost nothing (`roofline.py`)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--lanes", type=int, nargs="+", help="fits that step together, at most; a row each")
    parser.add_argument(
        "--kernel", nargs="+", default=["on"], choices=("on", "off"), help="one kernel for all surfaces"
    )
    parser.add_argument("--piece", type=int, default=PIECE, help="surfaces on the device at a time")
    parser.add_argument("--peak-flops", type=float, nargs=2, metavar=("F64", "F32"), help=f"if not of {list(PEAKS)}")
    parser.add_argument("--peak-bandwidth", type=float, help="bytes a second")
    parser.add_argument(
        "--options", type=int, default=1 << 22, help="implied volatilities in a call; an eighth American"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--platform", help=argparse.SUPPRESS)  # to try the program where there is no accelerator
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    device = accelerator(options.platform)
    if device is None:
        print("no accelerator")
        return
    jc.enable_compilation_cache()
    about = {"device": device.device_kind, **machine.description()}
    peak = peak_of(device.device_kind)
    if options.peak_flops and options.peak_bandwidth:
        double, single = options.peak_flops
        peak = Peak(0.5 * double, 0.5 * single, options.peak_bandwidth)
    if peak is None:
        print(f"the peak figures of {device.device_kind} are not known: give --peak-flops and --peak-bandwidth")
    surfaces, rows = many(BANK if max(options.surfaces) >= BANK else 256), []
    options.out.mkdir(parents=True, exist_ok=True)

    def write(new: list[dict[str, object]]) -> None:
        rows.extend(new)
        table = with_limits(pd.DataFrame(rows), peak)
        table.assign(**about).to_csv(options.out / "gpu.csv", index=False, float_format="%.6g")
        (options.out / "gpu.md").write_text(page(table, about), encoding="utf-8")
        print(table.tail(len(new)).to_string(index=False), flush=True)

    write(options_a_second(device, options.options))
    order = sorted(options.precisions, key=("float32", "float64", "mixed").index)
    for precision, lanes, kernel in itertools.product(order, options.lanes or [None], options.kernel):
        with variant(lanes, kernel == "on"):
            share = recovered(surfaces, precision, device)
            for size in options.surfaces:
                how = {"lanes": str(lanes or "by size"), "kernel": kernel, "recovered": share}
                write([row | how for row in measure(surfaces, size, precision, device, options.piece)])


if __name__ == "__main__":
    main()

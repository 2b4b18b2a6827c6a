"""Many Heston surfaces: `python -m benchmarks.speed.bulk` measures and writes `benchmarks/results/bulk.csv`.

    python -m benchmarks.speed.bulk                                # all parts: some fifteen minutes on two cores
    python -m benchmarks.speed.bulk --only peers                   # the others keep the figures of their last run
    python -m benchmarks.speed.bulk --only size --up-to 4096

Surfaces have 120 quotes, random truths (half equity-like, half crypto-like) and exact volatilities by a contour for
each quote; fits start from the data. Recovered means: the fitted model, priced by contours again, is within 1e-6 of
every volatility. Seconds are from `Surface` to `Fits`, compiled programs at hand.
"""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import jax
import numpy as np

import jaxcal as jc
from benchmarks.inputs.many_surfaces import Many, many, parameters_of, starts, target_of
from benchmarks.instruments import machine
from benchmarks.speed.bulk_peers import Row, peers_part
from benchmarks.tables.bulk_tables import PARTS, RESULTS, merged, page
from jaxcal.calibration.engine.grid_fit import Method, solve_batch
from jaxcal.calibration.engine.grid_refinement import fit_grids
from jaxcal.calibration.objective.residuals import ImpliedVolResidual
from jaxcal.models.parameters import search_bounds

BATCH = 1024
BANK = 2048  # distinct surfaces; larger sets repeat them in random order
STREAM = 4096  # surfaces in memory at a time
SHAPES = ((4, 7), (8, 15), (8, 31), (16, 31), (16, 63))
NOISES = (0.0, 1e-4, 1e-3, 1e-2, 5e-2)
# fits that step together and how many are replaced at once; None: as many as there are surfaces
LANES = {
    "8 lanes, refilled by 2 (the default)": (8, 2),
    "8 lanes, none refilled until all have ended": (8, 8),
    "a lane for every surface until the slowest ends": (None, 1),
}


def measured(run: Callable[[], jc.Fits], repeats: int) -> tuple[float, float, jc.Fits]:
    """Median wall and CPU seconds after a first run that compiles, and the fits."""
    fits, times = run(), []
    for _ in range(repeats):
        began, began_cpu = time.perf_counter(), time.process_time()
        fits = run()
        times.append((time.perf_counter() - began, time.process_time() - began_cpu))
    return median(w for w, _ in times), median(c for _, c in times), fits


def row(part: str, name: str, size: int, quotes: int, wall: float, cpu: float, fits: jc.Fits | None = None) -> Row:
    """What all parts report of a run."""
    found: Row = {
        "part": part, "row": name, "surfaces": size, "quotes": quotes, "surfaces/s": size / wall,
        "CPU ms": 1e3 * cpu / size,
    }  # fmt: skip
    if fits is not None:
        steps = fits.num_steps
        found |= {"converged": float(np.mean(fits.converged)), "mean steps": steps.mean(), "most steps": steps.max()}
    return found


def fitted(surfaces: Many, repeats: int, part: str, name: str, noise: float = 0.0) -> tuple[Row, jc.Fits]:
    """A row for all surfaces of a set in one batch."""
    batch = surfaces.surface(noise=noise)
    wall, cpu, fits = measured(lambda: jc.calibrate_many(jc.Heston, batch), repeats)
    return row(part, name, len(surfaces), surfaces.vol[0].size, wall, cpu, fits), fits


def compaction(options: argparse.Namespace) -> list[Row]:
    """The same batch and starts, each core half of it: lanes that refill, chunks, and no compaction."""
    surfaces = many(options.batch)
    target = target_of(surfaces.surface())
    names = tuple(jc.Heston.bounds)
    begin = jc.Heston(*starts(target).T)
    pricer, check = fit_grids(jc.Heston, None)[0]
    box = search_bounds(jax.tree.map(lambda leaf: leaf[0], begin), jc.Heston.bounds, names, target.vol.dtype)
    method = Method(ImpliedVolResidual(), None, jc.LevenbergMarquardt(), box, pricer, check)
    cores = os.cpu_count() or 1
    size = options.batch // cores

    def run(lanes: int, refill: int) -> np.ndarray:
        def part(i: int) -> np.ndarray:
            rows = slice(i * size, (i + 1) * size)
            quotes, start = jax.tree.map(lambda x: x[rows], target), jax.tree.map(lambda x: x[rows], begin)
            return np.asarray(solve_batch(names, lanes, refill, method, quotes, start, np.int32(size)).num_steps)

        with ThreadPoolExecutor(cores) as pool:
            return np.concatenate(list(pool.map(part, range(cores))))

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in LANES}
    steps = {name: run(lanes or size, refill) for name, (lanes, refill) in LANES.items()}
    for _ in range(options.rounds):
        for name, (lanes, refill) in LANES.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            run(lanes or size, refill)
            times[name].append((time.perf_counter() - began, time.process_time() - began_cpu))
    rows = []
    for name, pairs in times.items():
        wall, cpu = median(w for w, _ in pairs), median(c for _, c in pairs)
        more = {"mean steps": steps[name].mean(), "most steps": steps[name].max()}
        rows.append(row("compaction", name, size * cores, surfaces.vol[0].size, wall, cpu) | more)
    for found in rows:
        found["times slower"] = rows[0]["surfaces/s"] / found["surfaces/s"]
    return rows


def sizes(options: argparse.Namespace) -> list[Row]:
    """Cost against the number of surfaces in one call."""
    bank, rows = many(BANK), []
    rng = np.random.default_rng(1)
    for size in (64, 256, 1024, 4096, 16384, 65536):
        if size <= options.up_to:
            repeats = max(1, min(options.rounds, 8192 // size))
            chosen = np.concatenate([rng.permutation(BANK) for _ in range(-(-size // BANK))])[:size]
            part = Many(bank.truth[chosen], bank.expiry, bank.strike[chosen], bank.vol[chosen])
            rows.append(fitted(part, repeats, "size", f"{size} surfaces")[0])
    return rows


def quotes(options: argparse.Namespace) -> list[Row]:
    """Cost against the number of quotes."""
    rows = []
    for e, k in SHAPES:
        surfaces = many(256, num_expiries=e, num_strikes=k)
        found, fits = fitted(surfaces, options.rounds, "quotes", f"{e} expiries of {k} strikes")
        rows.append(found | {"recovered": np.mean(surfaces.recovered(parameters_of(fits.model)))})
    return rows


def noise(options: argparse.Namespace) -> list[Row]:
    """Cost against noise, a share of each volatility."""
    surfaces = many(options.batch)
    return [fitted(surfaces, options.rounds, "noise", f"noise {100 * s:g} %", s)[0] for s in NOISES]


def memory(options: argparse.Namespace) -> list[Row]:
    """Rate and peak memory of a stream, a new process for each length."""
    return [
        child("memory", f"{size} surfaces", {"surfaces": size}) for size in (5_000, 50_000) if size <= options.up_to
    ]


def devices(options: argparse.Namespace) -> list[Row]:
    """One core, all cores, and virtual devices on the same cores: a new process each."""
    rows = [
        child("devices", "1 core", {"surfaces": options.batch, "cores": 1}),
        child("devices", f"{os.cpu_count()} cores, one device", {"surfaces": options.batch}),
    ]
    for count in (2, 8):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        about = {"surfaces": options.batch}
        rows.append(child("devices", f"{os.cpu_count()} cores as {count} virtual devices", about, XLA_FLAGS=flags))
    return rows


def child(part: str, name: str, about: dict[str, int], **environment: str) -> Row:
    """What a fresh process of this module reports."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.bulk",
        "--child",
        json.dumps({"part": part, "row": name, **about}),
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=root, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def as_child(about: dict) -> Row:
    """The work of a fresh process."""
    if about.get("cores"):
        os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: about["cores"]]))
    size, bank = about["surfaces"], many(BANK if about["part"] == "memory" else about["surfaces"])
    found: Row
    if about["part"] == "devices":
        found = fitted(bank, 3, "devices", about["row"])[0]
        return json.loads(json.dumps(found, default=float))

    def batches(size: int) -> Iterator[jc.Surface]:
        rng = np.random.default_rng(2)
        for first in range(0, size, STREAM):
            yield bank.surface(rng.integers(BANK, size=min(STREAM, size - first)))

    for batch in batches(5_000):  # compiles, for a batch that is not full too
        jc.calibrate_many(jc.Heston, batch)
    # the peak from here on: what it took to price the bank and to compile is not of the stream (Linux)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began, began_cpu, converged = time.perf_counter(), time.process_time(), 0
    for batch in batches(size):
        converged += int(np.sum(jc.calibrate_many(jc.Heston, batch).converged))
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    found = row("memory", about["row"], size, bank.vol[0].size, wall, cpu)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024  # kB
    return found | {"converged": converged / size, "peak MB": peak}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--peer-surfaces", type=int, default=32, help="how many of the batch the peers fit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--up-to", type=int, default=65536, help="most surfaces of the parts size and memory")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    if options.child:
        print(json.dumps(as_child(json.loads(options.child))))
        return

    def peers(options: argparse.Namespace) -> list[Row]:
        return peers_part(options.batch, options.peer_surfaces, options.rounds, print)

    parts = dict(zip(PARTS, (peers, compaction, sizes, quotes, noise, memory, devices), strict=True))
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        if name not in parts:
            raise SystemExit(f"--only takes some of {','.join(PARTS)}, not {name!r}")
        about = machine.description()
        rows = [found | about for found in parts[name](options)]
        table = merged(options.out / "bulk.csv", rows)
        print(page(table[table["part"] == name]), flush=True)


if __name__ == "__main__":
    main()

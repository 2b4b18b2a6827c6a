"""A stream against fits of every surface by itself, on recorded snapshots; and how long one step takes.

    python -m benchmarks.speed.stream                       # Heston, Bates and SVCJ on BTC and ETH, then the times
    python -m benchmarks.speed.stream --models Heston --only paths

Writes `benchmarks/results/stream.csv` (a row a model and underlying), `stream_step.csv` (the times) and `stream.md`.

Roughness of a parameter is the median absolute change from one snapshot to the next on its search scale (logarithms of
positive parameters), over the standard deviation of the independent fits' path, so that both paths are measured in
the same units; the column is the mean over the parameters. RMSE is unweighted, in vol points; its ratio is that of the
means over all snapshots, held ones included. A step is timed from a surface to the next state, every number of the fit
computed. The chain is the recorded BTC snapshot with the number of quotes nearest to 400, every volatility with a new
error of 0.2 vol points, a quarter of an hour apart.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import DATA
from benchmarks.instruments.machine import description
from jaxcal.models.parameters import to_vector
from jaxcal.streams.replay import replay

RESULTS = Path(__file__).parents[1] / "results"
STEPS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="Heston,Bates,SVCJ")
    parser.add_argument("--only", choices=["paths", "steps"], default=None)
    parser.add_argument("--snapshots", type=int, default=None, help="of each underlying; all by default")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    if options.only != "steps":
        surfaces = _surfaces(options.snapshots)
        for name in options.models.split(","):
            for underlying, row in _paths(name, surfaces).items():
                _write("stream.csv", ["model", "underlying"], {"model": name, "underlying": underlying, **row})
    if options.only != "paths":
        _write("stream_step.csv", ["model"], {"model": "Heston", **_steps(jc.Heston)})
    _report()


def _surfaces(most: int | None) -> dict[Any, jc.Surface]:
    found: dict[Any, jc.Surface] = {}
    for path in sorted((DATA / "deribit" / "snapshots").glob("*.parquet")):
        found |= jc.surfaces_from_quotes(jc.read_quotes(path))
    kept: dict[Any, jc.Surface] = {}
    for underlying in ("BTC", "ETH"):
        keys = sorted(key for key in found if key[0] == underlying)[:most]
        kept |= {key: found[key] for key in keys}
    return kept


def _paths(name: str, surfaces: dict[Any, jc.Surface]) -> dict[str, dict[str, Any]]:
    model = getattr(jc, name)
    shape = tuple(np.max([surface.vol.shape for surface in surfaces.values()], axis=0).tolist())
    alone = jc.calibrate_many(model, surfaces).to_frame()
    began = time.perf_counter()
    table = replay(jc.Recalibrator(model, shape=shape), surfaces)
    seconds = time.perf_counter() - began
    rows = {}
    for underlying in ("BTC", "ETH"):
        ours, theirs = table[table["underlying"].eq(underlying)], alone.loc[[underlying]]
        names = tuple(model.bounds)
        path, independent = (_search(model, names, frame) for frame in (ours, theirs))
        spread = independent.std(axis=0)
        rough, before = (np.median(np.abs(np.diff(p, axis=0)), axis=0) / spread for p in (path, independent))
        rmse, rmse_alone = ours["rmse_vol"].to_numpy(), theirs["rmse_vol"].to_numpy()
        rows[underlying] = {
            "snapshots": len(ours),
            "used": int(ours["used"].sum()),
            "converged": int(ours["converged"].sum()),
            "roughness": rough.mean(),
            "roughness_alone": before.mean(),
            "roughness_ratio": rough.mean() / before.mean(),
            "rmse_points": 100.0 * rmse.mean(),
            "rmse_points_alone": 100.0 * rmse_alone.mean(),
            "rmse_ratio": rmse.mean() / rmse_alone.mean(),
            "rmse_ratio_worst": (rmse / rmse_alone).max(),
            "steps_mean": ours["num_steps"].mean(),
            "steps_most": int(ours["num_steps"].max()),
            "updates": ", ".join(f"{n} {str(u).lower()}" for u, n in ours["update"].value_counts().items()),
            "by_parameter": ", ".join(f"{n} {r:.2f}" for n, r in zip(names, rough / before, strict=True)),
        }
        print(name, underlying, rows[underlying], f"{seconds:.0f} s", flush=True)
    return rows


def _search(model: Any, names: tuple[str, ...], frame: pd.DataFrame) -> np.ndarray:
    """`[n, p]` on the search scales."""
    models = model(**{name: jnp.asarray(frame[name].to_numpy(float)) for name in names})
    return np.asarray(jax.vmap(lambda one: to_vector(one, names))(models))


def _steps(model: Any) -> dict[str, Any]:
    """Times of single steps, warm."""
    chain = min(_surfaces(None).values(), key=lambda surface: abs(surface.num_quotes - 400))
    rng = np.random.default_rng(0)
    errors = 0.002 * rng.standard_normal((20, *chain.vol.shape))
    surfaces = [eqx.tree_at(lambda s: s.vol, chain, chain.vol + jnp.asarray(error)) for error in errors]
    recalibrator, state = jc.Recalibrator(model), None
    wall, cpu, steps = [], [], []
    for i in range(STEPS + 40):
        surface = surfaces[i % len(surfaces)]
        began, began_cpu = time.perf_counter(), time.process_time()
        state, fit = recalibrator.step(state, surface, i * 900.0 / 31_536_000.0)
        jax.block_until_ready((state, fit))
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - began_cpu))
        steps.append(int(fit.num_steps))
    quotes = [surface.num_quotes for surface in surfaces]
    p50, p99 = np.quantile(wall[40:], [0.5, 0.99])
    row = {
        "quotes": f"{min(quotes)} to {max(quotes)}",
        "shape": " x ".join(map(str, state.shape.tolist() if state is not None else [])),
        "steps": len(wall) - 40,
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_ms": np.median(cpu[40:]),
        "lm_steps_median": float(np.median(steps[40:])),
        "lm_steps_most": int(np.max(steps[40:])),
        **description(),
    }
    print(row, flush=True)
    return row


def _write(file: str, key: list[str], row: dict[str, Any]) -> None:
    """Put a row in the place of the one with its key."""
    path = RESULTS / file
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    rows = [old for old in rows if [old[name] for name in key] != [row[name] for name in key]]
    pd.DataFrame([*rows, row]).to_csv(path, index=False)


def _report() -> None:
    lines = [
        "# Streams",
        "",
        "Made by `python -m benchmarks.speed.stream`, whose first lines say what is measured.",
        "",
    ]
    if (path := RESULTS / "stream.csv").exists():
        titles = "model, underlying, snapshots (used), roughness, alone, ratio, RMSE, alone, ratio, worst"
        columns = [*titles.split(", "), "LM steps (most)", "updates", "ratio by parameter"]
        lines += [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
        lines += [
            f"| {r.model} | {r.underlying} | {r.snapshots} ({r.used}) | {r.roughness:.3f} | {r.roughness_alone:.3f} "
            f"| {r.roughness_ratio:.2f} | {r.rmse_points:.2f} | {r.rmse_points_alone:.2f} | {r.rmse_ratio:.3f} "
            f"| {r.rmse_ratio_worst:.2f} | {r.steps_mean:.1f} ({r.steps_most}) | {r.updates} | {r.by_parameter} |"
            for r in pd.read_csv(path).itertuples()
        ]
        lines += [""]
    if (path := RESULTS / "stream_step.csv").exists():
        lines += ["| model | quotes | padded to | p50 ms | p99 ms | CPU ms | LM steps (most) |", "|" + " --- |" * 7]
        for r in pd.read_csv(path).to_dict("records"):
            lines.append(
                f"| {r['model']} | {r['quotes']} | {r['shape']} | {r['p50_ms']:.2f} | {r['p99_ms']:.2f} "
                f"| {r['cpu_ms']:.2f} | {r['lm_steps_median']:.0f} ({r['lm_steps_most']}) |"
            )
            lines += ["", *(f"- {name}: {r[name]}" for name in description())]
    (RESULTS / "stream.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

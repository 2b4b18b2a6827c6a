"""What XLA makes of the batched programs for a GPU that is not there: `python -m benchmarks.speed.gpu_compile`.

    python -m benchmarks.speed.gpu_compile                                  # for an H200
    python -m benchmarks.speed.gpu_compile --target a100 rtx4090 --programs "fits Heston" implied_vol
    python -m benchmarks.speed.gpu_compile --lanes 4096 --kernels 10        # the ten kernels of a step that move most

Nothing runs on a GPU: programs are compiled for one, and their kernels, bytes, registers and spills are counted. A row
a program: kernels and kilobytes of a turn of its largest loop (of fits, a step; else of the whole program), per lane,
quote or option; those of the loop that refills lanes, per fit; loops whose turns grow with the batch; temporary memory;
registers and spilled bytes of the kernel that has most. Then the bound that this implies, by the model of `Model`.

Writes these rows into `benchmarks/results/gpu_compile.csv`, where other rows stay.
`benchmarks/instruments/gpu_target.py` says what has to be installed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.instruments import gpu_target
from benchmarks.instruments.hlo import Loop, Module
from benchmarks.instruments.machine_code import assembled
from benchmarks.instruments.roofline import INSTRUCTIONS, PEAKS, Peak

RESULTS = Path(__file__).resolve().parents[1] / "results" / "gpu_compile.csv"
PIECE = 16384  # surfaces in a batch
QUOTES = 65536
STEPS = 5.34  # of a Heston fit, the mean of 2,048 made surfaces
EXPIRIES, STRIKES = 8, 16


@dataclass(frozen=True)
class Model:
    """How a time is made of counts. Modelled, not measured.

    Attributes:
        peak: of the device; a kernel reaches 0.88 of its bandwidth and 0.5 of its instructions.
        launch: seconds that a kernel takes at least, in a graph of kernels.
        turn: seconds for what the host decides in a turn of a loop.
    """

    peak: Peak
    launch: float = 1.5e-6
    turn: float = 50e-6

    def moving(self, loop: Loop) -> float:
        """Seconds of one turn, if arithmetic took none."""
        bandwidth = 0.88 * self.peak.bandwidth
        moved = sum(max(self.launch, (kernel.read + kernel.written) / bandwidth) for kernel in loop.kernels)
        return moved + self.turn

    def fits(self, step: Loop, refill: Loop, lanes: int, refilled: int, *, single: bool = False) -> float:
        """Heston fits a second: a step takes what it moves or what it computes, whichever is longer. In single
        precision as many steps as in double: fits then end near the optimum, not at it.
        """
        computing = lanes * INSTRUCTIONS / (0.5 * (self.peak.single if single else self.peak.double))
        of_a_fit = STEPS * max(self.moving(step), computing) / lanes + self.moving(refill) / refilled
        return 1.0 / of_a_fit


DEVICES = {"h200": "H200", "a100": "A100", "rtx4090": "RTX 4090"}


def programs() -> dict[str, Callable[[int], tuple[Callable[..., Any], tuple[Any, ...], int]]]:
    """By name: from a number of lanes to a function, its arguments, and how many lanes, quotes or options it has."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxcal as jc
    from jaxcal.calibration.engine.grid_fit import Method, build_fit_problem, solve_batch
    from jaxcal.calibration.engine.grid_refinement import fit_grids
    from jaxcal.calibration.objective.fit_data import Target
    from jaxcal.calibration.objective.residuals import ImpliedVolResidual
    from jaxcal.models.parameters import search_bounds, to_vector

    heston, jumps = (0.09, 3.0, 0.09, 0.4, -0.3), (0.5, -0.1, 0.1)
    double = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
    models = (
        jc.Heston(*heston), jc.Bates(*heston, *jumps), jc.SVCJ(*heston, *jumps, 0.05, -0.5), double,
        jc.ClockedDoubleHeston.of(double, [0.1, 0.25, 1.0]),
    )  # fmt: skip

    def wide(tree: Any, size: int, dtype: Any = np.float64) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *np.shape(leaf)), dtype), tree)

    def about(model: Any, dtype: Any) -> tuple[Any, Any]:
        quotes, years = jnp.ones((EXPIRIES, STRIKES)), jnp.ones(EXPIRIES)
        target = Target(years, years, quotes, quotes, quotes)
        box = search_bounds(model, model.bounds, tuple(model.bounds), np.dtype(dtype))
        pricer, check = fit_grids(type(model), None)[0]
        return Method(ImpliedVolResidual(), None, jc.LevenbergMarquardt(), box, pricer, check), target

    def fits(model: Any, lanes: int, dtype: Any = np.float64) -> tuple[Any, tuple[Any, ...], int]:
        method, target = about(model, dtype)
        solve = partial(solve_batch.__wrapped__, tuple(model.bounds), lanes, max(1, lanes // 4), method)
        size = max(PIECE, lanes)
        count = jax.ShapeDtypeStruct((), np.int32)
        return solve, (wide(target, size, dtype), wide(model, size, dtype), count), lanes

    def evaluation(model: Any, lanes: int) -> tuple[Any, tuple[Any, ...], int]:
        method, target = about(model, np.float64)
        names = tuple(model.bounds)
        some = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.float64), (target, model))
        problem = jax.eval_shape(lambda target, model: build_fit_problem(names, method, target, model), *some)
        batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype), problem)

        def one(y: Any, problem: Any) -> Any:
            residual, jacobian = problem.linearised(y)
            # the Jacobian by parameters, as the loop of a fit keeps it
            return residual, jacobian.T, jacobian.T @ jacobian, residual @ jacobian, residual @ residual

        y = jax.eval_shape(lambda model: to_vector(model, names), model)
        return jax.vmap(one), (wide(y, lanes), batch), lanes

    quotes = [jax.ShapeDtypeStruct((QUOTES,), np.float64)] * 5

    def vols(_: int) -> tuple[Any, tuple[Any, ...], int]:
        return lambda p, k, t, f: jc.implied_vol(p, k, t, forward=f), tuple(quotes[:4]), QUOTES

    def prices(_: int) -> tuple[Any, tuple[Any, ...], int]:
        model = jax.tree.map(jnp.asarray, models[0])
        return lambda k, t, f: jc.price(model, k, t, forward=f), tuple(quotes[:3]), QUOTES

    def sensitivities(_: int) -> tuple[Any, tuple[Any, ...], int]:
        model = jax.tree.map(jnp.asarray, models[0])
        some = [jax.ShapeDtypeStruct((4096,), np.float64)] * 3
        return lambda k, t, f: jc.greeks(model, k, t, forward=f, order=2), tuple(some), 4096

    def americans(_: int) -> tuple[Any, tuple[Any, ...], int]:
        return lambda v, k, t, s: jc.american_price(v, k, t, spot=s, rate=0.03), tuple(quotes[:4]), QUOTES

    found: dict[str, Any] = {}
    for model in models:
        found[f"fits {type(model).__name__}"] = partial(fits, model)
        found[f"evaluation {type(model).__name__}"] = partial(evaluation, model)
    found["fits Heston, float32"] = partial(fits, models[0], dtype=np.float32)
    return found | {
        "implied_vol": vols, "price Heston": prices, "greeks Heston, order 2": sensitivities,
        "american_price": americans,
    }  # fmt: skip


def compiled_row(
    name: str, target: str, lanes: int, folder: Path, make: Callable[[int], Any], shown: int = 0
) -> dict[str, Any]:
    """Compile a program, and count; print so many of its kernels, those that move most."""
    fn, args, size = make(lanes)
    with patch("jax.default_backend", lambda: "gpu"):  # by which the library sizes its blocks
        program = gpu_target.compile_for(target, fn, *args, folder=folder)
    module = Module(program.text)
    loops, step = module.loops(), module.step()
    whole = Loop("", module.entry, None, module.kernels(module.entry))
    turn = step if step is not None and step.read + step.written > whole.read + whole.written else whole
    for kernel in sorted(turn.kernels, key=lambda kernel: -kernel.read - kernel.written)[:shown]:
        print(f"{kernel.read / size / 1e3:9.2f} kB read {kernel.written / size / 1e3:9.2f} written  {kernel.name}")
    within = [loop for loop in loops if loop.inside == turn.body]
    refill = max(within, key=lambda loop: loop.read + loop.written, default=None) if name.startswith("fits") else None
    model = Model(PEAKS[DEVICES[target]])
    kernels = assembled(gpu_target.assembler(), gpu_target.ARCHITECTURES[target], program.ptx)  # type: ignore[arg-type]
    row: dict[str, Any] = {
        "program": name, "target": target, "size": size, "kernels": len(turn.kernels),
        "kB read": turn.read / size / 1e3, "kB written": turn.written / size / 1e3,
        "loops inside": ", ".join(str(loop.turns or "?") for loop in within),
        "grow with the batch": sum(bool(loop.turns and loop.turns > 64) for loop in loops),
        "temporary MB": program.temporary / 1e6,
        "registers": max((kernel.registers for kernel in kernels), default=0),
        "spilled bytes": max((kernel.spilled for kernel in kernels), default=0),
        "double per thread": max((kernel.double for kernel in kernels), default=0),
        "lowering s": program.lowering, "compiling s": program.compiling,
    }  # fmt: skip
    if refill is not None:
        fits = max(1, size // 4)
        row |= {"refill kernels": len(refill.kernels), "refill kB a fit": (refill.read + refill.written) / fits / 1e3}
        if name.startswith("fits Heston"):
            row["modelled M fits/s"] = 1e-6 * model.fits(turn, refill, size, fits, single="float32" in name)
    return row


def merged(path: Path, rows: Any) -> Any:
    """A table's rows and these, which replace those of the same program, target and size."""
    import pandas as pd

    if path.exists():
        rows = pd.concat([pd.read_csv(path), rows]).drop_duplicates(["program", "target", "size"], keep="last")
    return rows.sort_values("target", key=lambda names: names.map(list(DEVICES).index), kind="stable")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="+", default=["h200"], choices=list(gpu_target.TARGETS))
    parser.add_argument("--lanes", type=int, default=4096)
    parser.add_argument("--programs", nargs="+", help="by the beginning of their names; all by default")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--kernels", type=int, default=0, help="print so many kernels of each, those that move most")
    options = parser.parse_args()
    if lacking := gpu_target.missing():
        parser.exit(1, f"{lacking}\n")
    folder = gpu_target.prepare()
    import jax
    import pandas as pd

    jax.config.update("jax_enable_x64", True)
    rows = pd.DataFrame()
    for target in options.target:
        for name, make in programs().items():
            if options.programs and not name.startswith(tuple(options.programs)):
                continue
            row = compiled_row(name, target, options.lanes, folder, make, options.kernels)
            print(pd.Series(row).to_string(), flush=True)
            rows = pd.concat([rows, pd.DataFrame([row])])
    merged(options.out, rows).to_csv(options.out, index=False, float_format="%.4g")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()

"""warm_up: programs compiled ahead, so that a later process, or a later call, need not."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxcal.calibration.arguments import free_names
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.calibrate_many import calibrate_many
from jaxcal.calibration.engine.grid_fit import Method, solve_on_finer_grid, solve_on_grid
from jaxcal.calibration.engine.grid_refinement import fit_grids
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.residuals import ImpliedVolResidual
from jaxcal.calibration.starts.starting_values import make_starts, simpler_model
from jaxcal.compilation.messages import num_programs
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import search_bounds
from jaxcal.models.registry import model_names
from jaxcal.pricing.vanilla import price
from jaxcal.risk.greeks_of_model import greeks
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

TASKS = ("calibrate", "calibrate_many", "price", "greeks")
# expiries and strikes of most recorded chains of options on BTC, ETH and indices, as padded
SHAPES = ((8, 16), (12, 64), (16, 64))
_MOST = 4096  # expiries, and strikes
_MANY, _OPTIONS = 32, 20  # surfaces of a batch; options priced in one call


def warm_up(
    models: Sequence[type[AbstractModel] | str] | type[AbstractModel] | str,
    shapes: Sequence[tuple[int, int]] | None = None,
    *,
    tasks: Sequence[str] | str = "calibrate",
) -> pd.DataFrame:
    """Compile what the first calls of a process would wait for, by making these calls on made-up quotes.

    After `enable_compilation_cache()` the programs are kept on disk, and every later process on a processor of the same
    kind reads them: for images of containers, and jobs of the night. Without, they serve this process.

    Args:
        models: classes, or their names as on the command line; with a model come the simpler ones that its fit starts
            from.
        shapes: numbers of expiries and of strikes (the most that an expiry has), padded as those of a surface are;
            `(8, 16), (12, 64), (16, 64)` by default, which most chains of options on crypto and indices are
            padded to. A chain of another shape compiles its own programs.
        tasks: of "calibrate" and "calibrate_many" (on the first two pricing grids, beyond which few fits go; batches of
            more than 16, of which up to 16 and one in 32 need the second), "price" and "greeks" (20 options, to order
            2); one or several.

    Returns:
        A row for every call: `model`, `task`, `shape`, `compiled` and `from_cache` (programs), `seconds`, and `kept`:
        whether there is a folder that they were kept in. What this process compiled before there was one is not there.

    Raises:
        ValueError: a model or a task is unknown, none is named, or a shape is not two numbers from 1 to 4,096.

    Example:
        >>> import jaxcal as jc
        >>> table = jc.warm_up(jc.BlackScholes, [(1, 5)])
        >>> table[["model", "task", "shape"]].to_records(index=False).tolist()
        [('BlackScholes', 'calibrate', '1 x 8')]
        >>> int(jc.warm_up("black-scholes", [(1, 5)])["compiled"].sum())  # all there by now
        0
    """
    templates, wanted = _templates(models), _tasks(tasks)
    made = [_surface(*shape) for shape in _checked(SHAPES if shapes is None else shapes)]
    surfaces = list({surface.vol.shape: surface for surface in made}.values())  # several may be padded alike
    folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    rows: list[dict[str, Any]] = []

    def timed(template: type[AbstractModel], task: str, shape: str, call: Callable[[], Any]) -> None:
        before, start = num_programs(), time.perf_counter()
        jax.block_until_ready(call())
        seconds, after = time.perf_counter() - start, num_programs()
        rows.append({
            "model": template.__name__, "task": task, "shape": shape, "compiled": after.compiled - before.compiled,
            "from_cache": after.read - before.read, "seconds": seconds, "kept": bool(folder),
        })  # fmt: skip

    for template in templates:
        for surface in surfaces:
            shape, finer = " x ".join(map(str, surface.vol.shape)), partial(_on_finer_grid, template, surface)
            if "calibrate" in wanted:
                timed(template, "calibrate", shape, lambda: (calibrate(template, surface), finer(solve_on_grid)))  # noqa: B023
            if "calibrate_many" in wanted:
                several = [surface] * _MANY
                one = lambda: (calibrate_many(template, several).model, finer(solve_on_finer_grid))  # noqa: B023, E731
                timed(template, "calibrate_many", shape, one)
        law = _start(template, _surface(8, 16))
        if template.per_expiry:
            law = jax.tree.map(lambda leaf: leaf[0], law)
        strike = np.linspace(80.0, 120.0, _OPTIONS)
        for task, call in (("price", price), ("greeks", greeks)):
            if task in wanted:
                timed(template, task, str(_OPTIONS), lambda: call(law, strike, 0.5, forward=100.0))  # noqa: B023
    return pd.DataFrame(rows)


def _on_finer_grid(template: type[AbstractModel], surface: Surface, solve: Callable[..., Any]) -> Any:
    """The round of a fit whose prices the first grid does not resolve."""
    ladder, names, start = fit_grids(template, None), free_names(template, None), _start(template, surface)
    if len(ladder) < 2:
        return None
    box = search_bounds(start, template.bounds, names, surface.vol.dtype)
    method = Method(ImpliedVolResidual(), None, LevenbergMarquardt(), box, *ladder[1])
    return solve(names, method, Target.of(surface), start)


def _start(template: type[AbstractModel], surface: Surface) -> Any:
    """A model near the surface, without a fit."""
    simpler = simpler_model(template)
    return make_starts(template, surface, *([] if simpler is None else [_start(simpler, surface)]))[0]


def _surface(expiries: int, strikes: int) -> Surface:
    """Made-up quotes with a skew."""
    years = np.geomspace(0.1, 2.0, expiries)
    k = 0.25 * np.sqrt(years)[:, None] * np.linspace(-2.0, 1.5, strikes)
    return Surface.from_vols(years, 100.0 * np.exp(k), 0.25 - 0.15 * k + 0.1 * k**2, forward=100.0)


def _templates(models: Any) -> list[type[AbstractModel]]:
    """The classes, each after the simpler one that its fit starts from."""
    given = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    named = [n.model for model in given if isinstance(model, str) for n in model_names(model)]
    if not given or any(
        not isinstance(m, str) and not (isinstance(m, type) and issubclass(m, AbstractModel)) for m in given
    ):
        raise ValueError('models are classes such as jc.Heston, or names such as "heston": give one or several')
    classes: list[Any] = [*named, *(model for model in given if not isinstance(model, str))]
    ordered: list[type[AbstractModel]] = []
    for template in classes:
        line = [template]
        while (simpler := simpler_model(line[0])) is not None:
            line.insert(0, simpler)
        ordered += [each for each in line if each not in ordered]
    return ordered


def _tasks(tasks: Any) -> list[str]:
    wanted = list(tasks) if isinstance(tasks, Iterable) and not isinstance(tasks, str) else [tasks]
    unknown = [task for task in wanted if task not in TASKS]
    if unknown or not wanted:
        what = f"there is no task {str(unknown[0])[:60]!r}" if unknown else "no task is named"
        raise ValueError(f"{what}; there are {', '.join(TASKS)}")
    return wanted


def _checked(shapes: Any) -> list[tuple[int, int]]:
    found = []
    for shape in shapes if isinstance(shapes, Iterable) else [shapes]:
        sizes = (
            [int(size) for size in shape if isinstance(size, int | np.integer)] if isinstance(shape, Sequence) else []
        )
        if len(sizes) != 2 or len(shape) != 2 or not all(1 <= size <= _MOST for size in sizes):
            raise ValueError(
                f"{str(shape)[:60]} is no shape: give numbers of expiries and of strikes, each from 1 to {_MOST:,}, as "
                "[(8, 16)]"
            )
        found.append((sizes[0], sizes[1]))
    if not found:
        raise ValueError("no shape is named: give numbers of expiries and of strikes, as [(8, 16)]")
    return list(dict.fromkeys(found))

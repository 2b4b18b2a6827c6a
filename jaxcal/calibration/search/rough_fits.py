"""Many starts on one surface: rough fits, and an evolving population, as compiled programs.

The quotes and one pricing grid are shared by all starts: a lane holds little more than its own parameters and Jacobian.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcal.calibration.engine.grid_fit import MAX_STEP, Method, build_fit_problem
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.compilation.quick_jit import QuickJit, never
from jaxcal.solvers.batching import least_squares_many
from jaxcal.solvers.differential_evolution import Population, differential_evolution
from jaxcal.solvers.least_squares import Solution

_LANES, _REFILL = 4, 1  # that step together on one core, and that are replaced at once
_STEP = 64  # the number of starts is padded to a multiple: it is compiled in


class Ends(NamedTuple):
    """Where fits ended: search vector, weighted residuals on the shared grid, cost, an `Outcome` and steps of each."""

    y: Float[Array | np.ndarray, "n p"]
    residual: Float[Array | np.ndarray, "n m"]
    cost: Float[Array | np.ndarray, " n"]
    outcome: Int[Array | np.ndarray, " n"]
    num_steps: Int[Array | np.ndarray, " n"]

    def replaced(self, rows: Int[np.ndarray, " r"], new: "Ends") -> "Ends":
        """With the results of some rows replaced, and their steps added up."""
        new = new._replace(num_steps=new.num_steps + self.num_steps[rows])
        found = [np.array(old) for old in self]
        for old, values in zip(found, new, strict=True):
            old[rows] = values
        return Ends(*found)


class ManyStarts(NamedTuple):
    """What all starts share: names of the free parameters, what is minimised and how, the quotes, and the model that
    has the fixed parameters and around which the grid is built. `capacity` is the most starts of one call.
    """

    names: tuple[str, ...]
    method: Method
    target: Target
    model: Any
    capacity: int

    def fit(self, y0: Float[np.ndarray, "n p"], solver: Any = None) -> Ends:
        """A fit from each row, within the solver's limit of steps, over all cores or on the first device."""
        method = self.method if solver is None else self.method._replace(solver=solver)
        workers = (os.cpu_count() or 1) if _on_cpu() else 1
        piece = -(-self.capacity // (workers * _STEP)) * _STEP
        lanes, refill = (_LANES, _REFILL) if _on_cpu() else (piece, max(1, piece // 8))

        def run(rows: Float[np.ndarray, "r p"]) -> Ends:
            padded = np.concatenate([rows, np.broadcast_to(y0[:1], (piece - len(rows), y0.shape[1]))])
            count = np.int32(len(rows))
            found = _fitted(self.names, lanes, refill, method, self.target, self.model, padded, count)
            return Ends(*(np.asarray(field)[: len(rows)] for field in found))

        parts = np.array_split(y0, min(workers, len(y0)))
        if len(parts) == 1:
            return run(parts[0])
        with ThreadPoolExecutor(workers) as pool:
            return Ends(*(np.concatenate(fields) for fields in zip(*pool.map(run, parts), strict=True)))

    def evolve(self, y0: Float[np.ndarray, "n p"], generations: int, seed: int) -> Population:
        """The population that starts at the rows, after some generations."""
        found = _evolved(
            self.names, self.method._replace(solver=None), self.target, self.model, y0, np.int32(generations),
            np.uint32(seed % 2**32),
        )  # fmt: skip
        fields: list[Any] = [np.asarray(field) for field in found]
        return Population(*fields)


def _on_cpu() -> bool:
    return jax.local_devices()[0].platform == "cpu"


@partial(QuickJit, static_argnums=(0, 1, 2), small=never, task="fits from many starts")
def _fitted(
    names: tuple[str, ...],
    lanes: int,
    refill: int,
    method: Method,
    target: Target,
    model: Any,
    y0: Float[Array | np.ndarray, "n p"],
    count: Int[Array | np.ndarray, ""] | np.int32,
) -> Ends:
    problem = build_fit_problem(names, method, target, model)
    y0 = jnp.asarray(y0)
    lower, upper = (jnp.broadcast_to(jnp.asarray(limit, y0.dtype)[None], y0.shape) for limit in method.limits)

    def keep(solution: Solution, _: Any) -> Ends:
        return Ends(solution.y, solution.residual, solution.cost, solution.outcome, solution.num_steps)

    return least_squares_many(
        lambda y, _: problem.residuals(y), method.solver, y0, (), build=lambda nothing: nothing, keep=keep,
        lower=lower, upper=upper, max_step=MAX_STEP, count=jnp.asarray(count), lanes=lanes, refill=refill,
    )  # fmt: skip


@partial(QuickJit, static_argnums=0, small=never, task="evolution of starts")
def _evolved(
    names: tuple[str, ...],
    method: Any,
    target: Target,
    model: Any,
    y0: Float[Array | np.ndarray, "n p"],
    generations: Any,
    seed: Any,
) -> Population:
    problem = build_fit_problem(names, method, target, model)
    lower, upper = (jnp.asarray(limit, y0.dtype) for limit in method.limits)
    return differential_evolution(
        jax.vmap(problem.cost), jnp.asarray(y0), lower, upper, generations=jnp.asarray(generations),
        seed=jnp.asarray(seed),
    )  # fmt: skip

"""Many least-squares problems at once: a few lanes step together, and a lane whose problem ended takes the next one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcal.solvers.least_squares import RUNNING, AbstractLeastSquaresSolver, Residuals


class _Carry(NamedTuple):
    upcoming: Int[Array, ""]
    problem: Int[Array, " l"]
    state: Any
    args: Any
    box: tuple[Float[Array, "l p"], Float[Array, "l p"]]
    results: Any


def least_squares_many(
    fn: Residuals,
    solver: AbstractLeastSquaresSolver,
    y0: Float[Array, "b p"],
    data: Any,
    *,
    build: Callable[[Any], Any],
    keep: Callable[[Any, Any], Any],
    lower: Float[Array, "b p"],
    upper: Float[Array, "b p"],
    max_step: float,
    count: Int[Array, ""] | int,
    lanes: int,
    refill: int = 1,
) -> Any:
    """Minimise half the sum of squares of `fn(y, build(data[i]))` for every i below `count`.

    The slowest of some thousand fits takes ten times the steps of the mean. `lanes` problems step together; when
    `refill` of them have ended, their results are written down and the next ones of the queue take their place. So no
    lane waits for the slowest, and the memory for what `build` makes is that of the lanes, not of the batch.

    Args:
        fn: maps `[p]` and what `build` made to residuals `[m]`.
        solver: for instance `LevenbergMarquardt()`.
        y0: `[b, p]` the starts.
        data: a pytree with a leading axis of `b`.
        build: from the data of one problem to the second argument of `fn`, once a problem.
        keep: from a `Solution` and what `build` made to what is to be returned of a problem.
        lower, upper: `[b, p]` the boxes.
        max_step: the longest step in any coordinate.
        count: the problems from here on are padding; their results are zeros.
        lanes, refill: how many step together, and how many are replaced at once; they change the speed, not the
            results.

    Returns:
        What `keep` returns, with a leading axis of `b`.

    Example:
        >>> from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt
        >>> roots = least_squares_many(
        ...     lambda y, square: y**2 - square, LevenbergMarquardt(), jnp.ones((3, 1)), jnp.asarray([4.0, 9.0, 2.25]),
        ...     build=lambda square: square, keep=lambda solution, _: solution.y[0],
        ...     lower=jnp.zeros((3, 1)), upper=jnp.full((3, 1), 10.0), max_step=1.0, count=3, lanes=2,
        ... )
        >>> [round(float(root), 6) for root in roots]
        [2.0, 3.0, 1.5]
    """
    size = y0.shape[0]
    lanes = min(lanes, size)
    refill = min(refill, lanes)
    count = jnp.asarray(count, jnp.int32)

    def pick(tree: Any, i: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[i], tree)

    def put(tree: Any, i: Array, new: Any) -> Any:
        return jax.tree.map(lambda leaf, values: leaf.at[i].set(values, mode="drop"), tree, new)

    def started(i: Array) -> tuple[Any, Any, tuple[Array, Array]]:
        args = build(pick(data, i))
        return solver.init(fn, y0[i], args, lower[i], upper[i]), args, (lower[i], upper[i])

    def kept(state: Any, args: Any, box: tuple[Array, Array]) -> Any:
        return keep(solver.finish(state, box[0], box[1]), args)

    def running(carry: _Carry) -> Bool[Array, " l"]:
        return (jax.vmap(solver.outcome)(carry.state) == RUNNING) & (carry.problem < count)

    def waiting(carry: _Carry) -> Bool[Array, " l"]:
        return ~running(carry) & ((carry.problem < count) | (carry.upcoming < count))

    def turn(carry: _Carry) -> _Carry:
        # refills stand here alone, before a step: once more in the program they are as long to compile again
        carry = jax.lax.while_loop(due, relieve, carry)
        moved = jax.vmap(lambda state, args, box: solver.step(fn, state, args, box[0], box[1], max_step))(
            carry.state, carry.args, carry.box
        )
        active = running(carry)
        state = jax.tree.map(
            lambda new, old: jnp.where(active.reshape(-1, *(1,) * (new.ndim - 1)), new, old), moved, carry.state
        )
        return carry._replace(state=state)

    def due(carry: _Carry) -> Bool[Array, ""]:
        idle = waiting(carry)
        return (jnp.sum(idle) >= refill) | (jnp.any(idle) & ~jnp.any(running(carry)))

    def relieve(carry: _Carry) -> _Carry:
        (lane,) = jnp.nonzero(waiting(carry), size=refill, fill_value=lanes)
        place = jnp.minimum(lane, lanes - 1)
        done = jax.vmap(kept)(pick(carry.state, place), pick(carry.args, place), pick(carry.box, place))
        old = jnp.where(lane < lanes, carry.problem[place], size)
        results = put(carry.results, jnp.where(old < count, old, size), done)
        new = jnp.where(lane < lanes, carry.upcoming + jnp.arange(refill, dtype=jnp.int32), size)
        state, args, box = jax.vmap(started)(jnp.minimum(new, size - 1))
        return _Carry(
            jnp.minimum(carry.upcoming + jnp.sum(lane < lanes, dtype=jnp.int32), size),
            put(carry.problem, lane, jnp.where(new < count, new, size)),
            put(carry.state, lane, state),
            put(carry.args, lane, args),
            put(carry.box, lane, box),
            results,
        )

    shapes = jax.eval_shape(lambda i: started(i), jnp.asarray(0))
    state, args, box = jax.tree.map(lambda leaf: jnp.zeros((lanes, *leaf.shape), leaf.dtype), shapes)
    shape = jax.eval_shape(kept, *shapes)
    results = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), shape)
    # every lane begins empty, and the first refills are those of all others
    empty = jnp.full((lanes,), size, jnp.int32)
    carry = _Carry(jnp.asarray(0, jnp.int32), empty, state, args, box, results)
    return jax.lax.while_loop(lambda c: jnp.any(running(c)) | due(c), turn, carry).results

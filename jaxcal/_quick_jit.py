"""QuickJit: programs that are as fast on a processor but compile in little more than half the time."""

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxcal._garbage import collection_paused

Result = TypeVar("Result")

# Of XLA's compiler for processors. LLVM's levels between these two compile no faster, and their programs run slower.
_QUICK = {"xla_cpu_use_fusion_emitters": False}
_RARE = _QUICK | {"xla_backend_optimization_level": 0}


class QuickJit(Generic[Result]):
    """`jax.jit`, but with an option on a processor with which a large program compiles in about 60 % of the time.

    For programs of single fits and prices, which lose no speed by it; not for batches of fits, which do. Inside a
    transformation, and on accelerators, it is `jax.jit`.

    Args:
        fn: a function of arrays.
        static_argnums: as of `jax.jit`.
        small: of the arguments, whether a call is one that the option is for: all are by default.
        rare: whether calls are so rare that a program may take three times as long, which compiles in a quarter of the
            time.

    Example:
        >>> float(QuickJit(lambda x: x + 1.0)(2.0))
        3.0
    """

    def __init__(
        self,
        fn: Callable[..., Result],
        static_argnums: int | tuple[int, ...] = (),
        small: Callable[..., bool] = lambda *args: True,
        rare: bool = False,
    ) -> None:
        self._usual: Any = jax.jit(fn, static_argnums=static_argnums)
        self._quick: Any = jax.jit(fn, static_argnums=static_argnums, compiler_options=_RARE if rare else _QUICK)
        self._small = small
        update_wrapper(self, fn)

    def __call__(self, *args: Any) -> Result:
        # a program inside another is compiled with that, and cannot have options of its own
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(args))
        plain = traced or not self._small(*args) or not _has_options(jax.default_backend())
        with collection_paused():  # a trace makes objects that stay
            return (self._usual if plain else self._quick)(*args)

    def num_programs(self) -> int:
        """How many have been compiled, or read from disk, so far."""
        return self._usual._cache_size() + self._quick._cache_size()


@lru_cache
def _has_options(platform: str) -> bool:
    """Whether the compiler of this version has these options, which are no promise of it."""
    if platform != "cpu":
        return False
    try:
        jax.jit(lambda x: x + 1, compiler_options=_RARE)(jnp.zeros(()))
    except Exception:  # whatever it says of an option, programs are compiled without
        return False
    return True

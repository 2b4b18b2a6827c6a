"""QuickJit: programs that compile quickly, say so where they do not, and are kept for other processes."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial, update_wrapper
from threading import RLock
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxcal.compilation.garbage import collection_paused
from jaxcal.compilation.kept_programs import KeptProgram, are_kept, clear_with_jax, kept_program, signature_of
from jaxcal.compilation.messages import announced, describe

Result = TypeVar("Result")

# Of XLA's compiler for processors. LLVM's levels between these two compile no faster, and their programs run slower.
# Never both at once: that compiles in half the time, but the gradient of `american_price` is then twice what it should
# be where there are two boundaries (seen with jaxlib 0.10.2).
_QUICK = {"xla_cpu_use_fusion_emitters": False}
_RARE = {"xla_backend_optimization_level": 0}


class QuickJit(Generic[Result]):
    """`jax.jit`, but with an option on a processor with which a large program compiles in about 60 % of the time.

    The option is for programs of prices, and of single fits: it makes a fit .4 ms slower, of 1.5, which are the three
    seconds saved after some thousand fits. It is not for batches of fits. Inside `jit` and `grad` this is `jax.jit`;
    under `vmap` and `jvp`, which run its program at once, it keeps its options.

    A compilation that takes long is announced (`messages.py`). Where programs are kept on disk (`kept_programs.py`)
    one is read from there without a trace.

    Args:
        fn: a function of arrays.
        static_argnums: as of `jax.jit`.
        small: of the arguments, whether a call is one that the option is for: all are by default; or `never`.
        rare: whether calls are so rare that a program may take three times as long, which compiles in a quarter of the
            time.
        task: what it does, for a person who waits for its compilation.

    Example:
        >>> float(QuickJit(lambda x: x + 1.0)(2.0))
        3.0
    """

    __wrapped__: Callable[..., Result]

    def __init__(
        self,
        fn: Callable[..., Result],
        static_argnums: int | tuple[int, ...] = (),
        small: Callable[..., bool] = lambda *args: True,
        rare: bool = False,
        task: str = "program",
    ) -> None:
        self._wanted = _RARE if rare else _QUICK
        self._usual: Any = jax.jit(fn, static_argnums=static_argnums)
        self._quick: Any = jax.jit(fn, static_argnums=static_argnums, compiler_options=self._wanted)
        self._small, self._task = small, task
        self._static = (static_argnums,) if isinstance(static_argnums, int) else static_argnums
        self._kept: dict[Any, KeptProgram | None] = {}
        self._lock = RLock()
        update_wrapper(self, fn)
        clear_with_jax(self)

    def __call__(self, *args: Any) -> Result:
        leaves, tree = jax.tree.flatten(args)
        traced = any(isinstance(leaf, Tracer) for leaf in leaves)
        quick = not (traced and _is_inside(leaves)) and self._small(*args)
        # a trace makes objects that stay
        with collection_paused(), announced(lambda: describe(self._task, args)):
            if are_kept() and not traced and (program := self._from_disk(args, leaves, tree, quick)) is not None:
                return program(jax.tree.leaves([arg for i, arg in enumerate(args) if i not in self._static]))
            return (self._quick if self._options(quick) else self._usual)(*args)

    def _options(self, quick: bool) -> dict[str, Any]:
        return self._wanted if quick and _has_options(jax.default_backend()) else {}

    def _from_disk(self, args: tuple[Any, ...], leaves: list[Any], tree: Any, quick: bool) -> KeptProgram | None:
        static = tuple(args[i] for i in self._static)
        seen = (quick, static, tree, signature_of(leaves))
        kept = self._kept  # another thread may clear it
        if seen not in kept:
            with self._lock:  # threads that need the same program compile it once
                if seen not in kept:
                    variant = str(self._wanted) if quick else ""
                    options = partial(self._options, quick)  # to find out which there are compiles something
                    kept[seen] = kept_program(self.__wrapped__, args, self._static, variant, options)
        return kept[seen]

    def cache_clear(self) -> None:
        """Forget what was read from disk, with `jax.clear_caches()`."""
        self._kept = {}

    def num_programs(self) -> int:
        """How many have been compiled, or read from disk, so far."""
        kept = sum(program is not None for program in self._kept.values())
        return self._usual._cache_size() + self._quick._cache_size() + kept


def never(*args: Any) -> bool:
    """For `small`: of a program that the option makes slower."""
    return False


def _is_inside(leaves: Iterable[Any]) -> bool:
    """Whether a program of these arrays would be compiled as part of another, and could not have options of its own."""
    tracers = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
    if not all(map(_is_moved_or_mapped, tracers)):
        return True
    # a loop inside `vmap`, say, whose body has no tracers of its own
    return bool(tracers) and isinstance(jax.lax.full((), 0.0), Tracer)


def _is_moved_or_mapped(tracer: Any) -> bool:
    """Whether nothing but `vmap` and `jvp` is at work on an array: they have its program run at once. The names are no
    promise of JAX's; what has others is taken to be inside another program.
    """
    trace = getattr(tracer, "_trace", None)
    while type(trace).__name__ in ("BatchTrace", "JVPTrace"):
        trace = getattr(trace, "parent_trace", None)
    return type(trace).__name__ == "EvalTrace"


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

"""Kept programs: executables on disk, which a later process loads without tracing what they were compiled from.

JAX's own cache spares a process the compilation, but to find an entry it must trace and lower the function, which takes
longer than to load what it finds. Here an entry goes by what the trace depends on: the text of the whole library, and
the types, shapes and settings of the arguments. That is known for the library's own classes only. A model of yours, or
a loss, may depend on anything (another module, a file, a variable), so it goes through JAX's cache, as does everything
on accelerators and on several devices.
"""

import contextlib
import dataclasses
import enum
import hashlib
import inspect
import os
import pickle
import platform
import re
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import serialize_executable

from jaxcal.compilation.messages import count_read, num_read_from_disk

_BEGUN = time.time()  # the library is being imported
_LIBRARY = Path(__file__).parents[1]
_SWITCH = "JAXCAL_KEPT_PROGRAMS"  # "0" in the environment: none
_MARK = b"jaxcal program 1\n"
_LOOKS_INSIDE = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs")  # settings with which JAX needs the function
_PROCESSOR = re.compile(
    r"^(?:vendor_id|cpu family|model|model name|stepping|flags|Features|CPU \w+|isa|uarch)\s*:.*$", re.MULTILINE
)


class KeptProgram(NamedTuple):
    """An executable of the leaves of its arguments, and what its results are the leaves of."""

    run: Any
    result: Any

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """The results, as those of the function that was compiled."""
        return jax.tree.unflatten(self.result, self.run(*leaves))


class _NotKeptError(Exception):
    """It is not known on what a program depends."""


class _Store:
    folder: Path | None = None


def keep_programs(folder: Path) -> None:
    """From now on programs are kept in a folder, unless the environment says `JAXCAL_KEPT_PROGRAMS=0`."""
    _Store.folder = None if os.environ.get(_SWITCH) == "0" else folder


def are_kept() -> bool:
    """Whether programs are kept, and found again, in this process."""
    return _Store.folder is not None


def signature_of(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """All that a program depends on but the structure of its arguments, as far as it may change within a process."""
    kinds = [
        (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)) if hasattr(leaf, "dtype") else type(leaf)
        for leaf in leaves
    ]
    return (*kinds, *_looks_inside(), _context())


def kept_program(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    static: tuple[int, ...],
    variant: str,
    options: Callable[[], dict[str, Any]],
) -> KeptProgram | None:
    """The program of `fn` for arguments like these: read from the folder, or compiled, with the options of this
    `variant`, and written there.

    Returns:
        None where it is not known on what the program depends; what is wrong with a file never matters.
    """
    try:
        key = _key(fn, args, static, variant)
    except Exception:  # what cannot be described is not kept
        return None
    assert _Store.folder is not None
    path = _Store.folder / f"jaxcal-{fn.__name__.strip('_')}-{key}"
    leaves = jax.tree.leaves([arg for i, arg in enumerate(args) if i not in static])
    return _read(path, leaves) or _compiled(path, fn, args, static, options())


def _compiled(
    path: Path, fn: Callable[..., Any], args: tuple[Any, ...], static: tuple[int, ...], options: dict[str, Any]
) -> KeptProgram:
    moving = tuple(arg for i, arg in enumerate(args) if i not in static)
    leaves, tree = jax.tree.flatten(moving)
    results: list[Any] = []

    def of_leaves(*leaves: Any) -> list[Any]:
        rest = iter(jax.tree.unflatten(tree, leaves))
        found, result = jax.tree.flatten(fn(*(arg if i in static else next(rest) for i, arg in enumerate(args))))
        results.append(result)
        return found

    of_leaves.__name__ = path.name  # in JAX's cache too, it is a program of this key only
    before = num_read_from_disk()
    run = jax.jit(of_leaves, compiler_options=options or None).lower(*leaves).compile()
    if num_read_from_disk() == before:  # what XLA has read from disk it does not write again as a whole
        _write(path, run, results[-1])
    return KeptProgram(run, results[-1])


def _read(path: Path, leaves: Sequence[Any]) -> KeptProgram | None:
    """What was kept; None where there is nothing, or nothing that runs."""
    try:
        content = path.read_bytes()
        head, digest, packed = content[: len(_MARK)], content[len(_MARK) :][:32], content[len(_MARK) + 32 :]
        if head != _MARK or hashlib.sha256(packed).digest() != digest:
            return None
        executable, example = pickle.loads(zlib.decompress(packed))
        result = jax.tree.structure(example)
        if b"lapack" in executable:
            _load_lapack()
        inputs, outputs = (jax.tree.structure(x) for x in (((0,) * len(leaves), {}), [0] * result.num_leaves))
        run = serialize_executable.deserialize_and_load(executable, inputs, outputs)
        jax.block_until_ready(run(*leaves))
    except Exception:  # whatever is wrong with a file, it is compiled again
        return None
    count_read()
    return KeptProgram(run, result)


@lru_cache
def _load_lapack() -> None:
    """JAX finds the functions of LAPACK when it first lowers a call to one, which takes .2 s. A program from disk calls
    them without, and a process that never lowered one would end there, without an exception.
    """
    jax.jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), np.float32))


def _write(path: Path, run: Any, result: Any) -> None:
    """Whole or not at all; a folder that cannot be written to costs the next process some seconds."""
    with contextlib.suppress(Exception):
        executable, _, _ = serialize_executable.serialize(run)
        example = jax.tree.unflatten(result, range(result.num_leaves))  # pickle knows trees by their classes only
        packed = zlib.compress(pickle.dumps((executable, example)), 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix="jaxcal-", suffix=".part", delete=False) as file:
            try:
                file.write(_MARK + hashlib.sha256(packed).digest() + packed)
                file.close()
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _key(fn: Callable[..., Any], args: tuple[Any, ...], static: tuple[int, ...], variant: str) -> str:
    if jax.config.jax_compilation_cache_max_size != -1:  # pyright: ignore[reportAttributeAccessIssue]
        raise _NotKeptError  # JAX would not count these files
    if any(_looks_inside()):
        raise _NotKeptError
    if jax.default_backend() != "cpu" or jax.device_count() != 1:
        raise _NotKeptError
    words = [_name_of(fn), *_settings(), *(_described(arg, i in static) for i, arg in enumerate(args))]
    return hashlib.sha256("\n".join([_machine(), _sources(), variant, *words]).encode()).hexdigest()


def _described(value: Any, static: bool) -> str:
    """All of a value that a program depends on: of what is static the value, of the rest the type."""
    kind = type(value)
    if value is None:
        return "None"
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        if static:
            raise _NotKeptError
        return f"{value.dtype}{value.shape}{getattr(value, 'weak_type', False)}"
    if isinstance(value, enum.Enum):
        return f"{_name_of(kind)}.{value.name}"
    if kind in (bool, int, float, complex, str):
        return f"{kind.__name__}:{value!r}" if static else kind.__name__
    if kind in (tuple, list):
        return f"{kind.__name__}({','.join(_described(item, static) for item in value)})"
    if inspect.isfunction(value):  # of bounds that depend on other parameters
        code, file = value.__code__, Path(value.__code__.co_filename)
        if not file.is_relative_to(_LIBRARY) or value.__closure__ or value.__defaults__ or value.__kwdefaults__:
            raise _NotKeptError
        return f"{file.relative_to(_LIBRARY).as_posix()}:{code.co_firstlineno}:{value.__qualname__}"
    if kind is dict:
        return f"dict({','.join(f'{key!r}:{_described(item, static)}' for key, item in value.items())})"
    if isinstance(value, type):
        if not _is_as_written(value):
            raise _NotKeptError
        return _name_of(value)
    if isinstance(value, tuple):  # a named one
        return f"{_name_of(kind)}({','.join(_described(item, static) for item in value)})"
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        if set(vars(value)) != {field.name for field in fields} or not _is_as_written(kind):
            raise _NotKeptError
        bounds = getattr(kind, "bounds", None)  # a dictionary, which anybody may change
        parts = [_described(dict(bounds), True) if isinstance(bounds, Mapping) else ""] + [
            _described(getattr(value, f.name), static or f.metadata.get("static", False)) for f in fields
        ]
        return f"{_name_of(kind)}({','.join(parts)})"
    raise _NotKeptError


def _is_as_written(kind: type) -> bool:
    """Whether the methods of a class of the library are those of its file: none was put in the place of another."""
    for each in kind.__mro__:
        if not each.__module__.startswith("jaxcal."):
            continue
        file = sys.modules[each.__module__].__file__
        for name, found in vars(each).items():
            code = getattr(inspect.unwrap(getattr(found, "method", found)), "__code__", None)  # as equinox wraps it
            ours = name == "__call__" or not name.startswith("_")
            if ours and code is not None and code.co_filename != file:
                return False
    return True


def _name_of(made: Any) -> str:
    """The name of a class or function of the library, by which it is found again."""
    module, name = made.__module__, made.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if module.partition(".")[0] != "jaxcal" or (found is not made and getattr(found, "__wrapped__", None) is not made):
        raise _NotKeptError
    return f"{module}.{name}"


def clear_with_jax(cache: Any) -> None:
    """`jax.clear_caches()` empties it too, by its method `cache_clear`: as who replaces a function expects."""
    with contextlib.suppress(ImportError):  # no promise of JAX
        from jax._src.util import register_cache

        register_cache(cache, "jaxcal")


def _looks_inside() -> list[bool]:
    return [getattr(jax.config, name) for name in _LOOKS_INSIDE]


def _context() -> Any:
    """What JAX itself tells programs apart by, beside their arguments."""
    context = _trace_context()
    return None if context is None else context()


@lru_cache
def _trace_context() -> Callable[[], tuple[Any, ...]] | None:
    try:
        from jax._src.config import trace_context
    except ImportError:  # no promise of JAX
        return None
    return trace_context


def _settings() -> list[str]:
    """Settings of JAX, those of this thread included."""
    context = _context()
    if context is None:
        raise _NotKeptError
    found = []
    for item in context:
        # of `vmap`, which no argument here belongs to; or the one device that there is
        if type(item).__name__ == "AxisEnv" or isinstance(item, jax.Device):
            continue
        if not (item is None or item == () or isinstance(item, bool | int | float | str | enum.Enum)):
            raise _NotKeptError  # a mesh of the caller's choice
        found.append(repr(item))
    values: dict[str, Any] = jax.config.values  # pyright: ignore[reportAttributeAccessIssue]
    return found + [f"{name}={value!r}" for name, value in sorted(values.items()) if "cache" not in name]


@lru_cache
def _machine() -> str:
    """The processor with all that it can do, and the versions of what takes part."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            processor = _PROCESSOR.findall(file.read(16384).partition("\n\n")[0])
    except OSError:
        processor = []
    versions = [f"{name} {sys.modules[name].__version__}" for name in ("jax", "jaxlib", "numpy", "equinox")]
    flags = os.environ.get("XLA_FLAGS", "")
    return "\n".join([*(processor or platform.uname()), platform.machine(), sys.version, *versions, flags])


@lru_cache
def _sources() -> str:
    """A digest of the library as it runs in this process."""
    digest, files = hashlib.sha256(), sorted(_LIBRARY.rglob("*.py"))
    if not files:
        raise _NotKeptError
    for file in files:
        about = file.stat()
        # the latter where an installer gives a file the time at which it was packed
        if max(about.st_mtime, about.st_ctime) >= _BEGUN:
            raise _NotKeptError  # edited since it was imported
        text = file.read_bytes()
        digest.update(f"{file.relative_to(_LIBRARY).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()

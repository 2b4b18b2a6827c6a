"""Programs compiled for a GPU that is not there: what XLA makes of them, without running them.

It needs the CUDA plugin of JAX (`pip install --no-deps jax-cuda12-pjrt jax-cuda12-plugin`, of JAX's version, and
`pip install nvidia-cuda-nvcc-cu12`: 0.6 GB), and no GPU. `prepare` must run before anything has used JAX.
"""

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TARGETS = {path.stem: path for path in sorted((Path(__file__).parent / "gpu_targets").glob("*.txtpb"))}
ARCHITECTURES = {"h200": "sm_90a", "a100": "sm_80", "rtx4090": "sm_89"}
PLUGIN = "jax_plugins.xla_cuda12"


@dataclass(frozen=True)
class Compiled:
    """A program for a target.

    Attributes:
        text: its optimised HLO.
        temporary: bytes of memory beside arguments and results.
        lowering, compiling: CPU seconds of this process, all threads.
        ptx: the assembly of its kernels, a text for each file.
    """

    text: str
    temporary: int
    lowering: float
    compiling: float
    ptx: tuple[str, ...]


def missing() -> str:
    """What has to be installed first; empty where nothing is missing."""
    try:
        found = importlib.util.find_spec(PLUGIN)
    except ModuleNotFoundError:
        found = None
    if found is None or assembler() is None:
        return (
            "compiling for a GPU needs jax-cuda12-pjrt and jax-cuda12-plugin (of jax's version, with --no-deps), and "
            "nvidia-cuda-nvcc-cu12; no GPU"
        )
    return ""


def assembler() -> Path | None:
    """The `ptxas` of the package nvidia-cuda-nvcc-cu12."""
    found = importlib.util.find_spec("nvidia")
    places = list(found.submodule_search_locations or ()) if found else []
    return next((path for place in places for path in Path(place).glob("cuda_nvcc/bin/ptxas")), None)


def prepare(flags: str = "") -> Path:
    """Set the environment for compiling without a device; the folder into which XLA writes assembly.

    Raises:
        RuntimeError: JAX has been imported, so that it is too late.
    """
    if "jax" in sys.modules:
        raise RuntimeError("the flags of XLA are read when JAX starts: prepare() comes before `import jax`")
    folder = Path(tempfile.mkdtemp(prefix="gpu-target-"))
    # without a device there is nothing to time variants of a kernel on
    given = f"--xla_gpu_autotune_level=0 --xla_dump_to={folder} --xla_dump_hlo_module_re=.*on_target.* {flags}"
    os.environ["XLA_FLAGS"] = f"{given} {os.environ.get('XLA_FLAGS', '')}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    return folder


@lru_cache
def sharding(target: str) -> Any:
    """Where arrays would be on the target."""
    import jax
    from jax._src import xla_bridge
    from jax.experimental import topologies

    with contextlib.redirect_stderr(io.StringIO()):  # says that the plugin is registered a second time
        xla_bridge.discover_pjrt_plugins()
    text = TARGETS[target].read_text(encoding="utf-8")
    found = topologies.get_topology_desc(topology_name="", platform="cuda", target_config=text, topology="1x1x1")
    mesh = jax.sharding.Mesh(found.devices, ("x",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def compile_for(target: str, fn: Callable[..., Any], *args: Any, folder: Path) -> Compiled:
    """`fn` of arrays of the shapes and dtypes of `args`, compiled for a target.

    Args:
        target: a key of `TARGETS`.
        fn: a function of arrays.
        args: trees of arrays or of `jax.ShapeDtypeStruct`.
        folder: of `prepare`.
    """
    import jax
    import numpy as np

    def shape(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype)

    def on_target(*args: Any) -> Any:
        return fn(*args)

    place = sharding(target)
    before = set(folder.glob("*.ptx"))
    began = time.process_time()
    traced = jax.jit(on_target, in_shardings=place, out_shardings=place).trace(*jax.tree.map(shape, args))
    lowered = traced.lower(lowering_platforms=("cuda",))
    between = time.process_time()
    compiled = lowered.compile()
    ended = time.process_time()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None
    assert text is not None
    texts = (path.read_text(encoding="utf-8") for path in sorted(set(folder.glob("*.ptx")) - before))
    ptx = tuple(text for text in texts if text.strip())  # a module that only moves data has no kernel of its own
    return Compiled(text, int(memory.temp_size_in_bytes), between - began, ended - between, ptx)

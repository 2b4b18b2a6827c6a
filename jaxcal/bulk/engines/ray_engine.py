"""RayEngine: a bulk job run on a Ray cluster, as a pipeline of Ray Data."""

# pyright: reportMissingImports=false
# (Ray is an extra that may not be installed; it is imported when a job runs and not before)
import contextlib
import dataclasses
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax

from jaxcal.bulk.engines.progress import Tally
from jaxcal.bulk.engines.ray_stages import Clean, End, Failure, Fit, Read, Write, Written, from_row
from jaxcal.bulk.input.input_files import Source
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.input.partition import PartitionKey
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.settings import Settings

_TASK = 0.25  # cores that Ray reserves for a task that reads, cleans or writes
_MEMORY = 0.75  # share of a GPU that JAX takes when it has all of it


@dataclass(frozen=True)
class RayEngine:
    """The machines of a Ray cluster, or this one as a cluster of its own: the same dataset as `LocalEngine` writes.

    One task reads the input and cuts it into parts, others clean them, a pool of workers fits them, and further tasks
    write them. The part of a worker that is lost is done again by another one.

    Attributes:
        workers: number of processes that fit. If None, one for every GPU, or where the cluster has none one for every
            machine: it uses all cores.
        num_gpus: GPUs for each of them; a fraction lets several share one. If None, 1 where the cluster has any.
        address: of the cluster, as `ray.init` takes it. If None, that of `RAY_ADDRESS`, or a cluster on this machine,
            which is started if need be. A process that is connected to a cluster stays with that.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> import jaxcal as jc
        >>> jc.bulk.RayEngine(workers=4, num_gpus=0.5)
        RayEngine(workers=4, num_gpus=0.5, address=None)
    """

    workers: int | None = None
    num_gpus: float | int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers {self.workers} must be positive")
        if self.num_gpus is not None and not (0.0 <= self.num_gpus <= 1.0 or float(self.num_gpus).is_integer()):
            raise ValueError(f"num_gpus {self.num_gpus:g} must be a share of one GPU or a number of them")

    def run(self, source: Source, settings: Settings, store: Store, tally: Tally, stop: threading.Event) -> None:
        """Write all parts that are not done; see `LocalEngine.run`.

        Raises:
            BulkError: Ray is not installed, or cannot be reached; the cluster is too small; input or result are not
                where all machines see them; a part could not be done. All other parts are written.
            OSError: a part cannot be written.
        """
        try:
            import ray
            import ray.data
            import ray.exceptions
        except ImportError:
            raise BulkError("the Ray engine needs Ray: pip install 'ray[data]>=2.51'") from None
        with _connected(ray, self.address), _collect_errors() as errors:
            try:
                rows = self._pipeline(ray, source, settings, store).iter_batches(
                    batch_size=1, batch_format="pyarrow", prefetch_batches=1
                )
                _follow(map(from_row, rows), store, tally, stop, errors)
            except ray.exceptions.RayError as error:
                raise BulkError(f"the job on Ray failed: {_last_line(error)}; {_KEPT}") from None

    def _pipeline(self, ray: Any, source: Source, settings: Settings, store: Store) -> Any:
        """The dataset of Ray whose rows are what became of the parts."""
        workers, options = self._pool(ray)
        path, scratch = store.path.absolute(), store.scratch.absolute()
        root = source.root.absolute()
        files = tuple(dataclasses.replace(file, path=file.path.absolute()) for file in source.files)
        source = dataclasses.replace(source, root=root, files=files)
        wide = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
        cache = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
        variables = {"JAX_ENABLE_X64": str(int(wide))}
        on_cpu = {"env_vars": {**variables, "JAX_PLATFORMS": "cpu"}}
        share = options.get("num_gpus", 0.0)
        if 0.0 < share < 1.0:
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_MEMORY * share:.3f}"

        data = ray.data.from_items([{"item": b""}], override_num_blocks=1)
        context = data.context
        context.enable_progress_bars = False  # the observer tells where the job stands
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a part that is lost must not take the others with it
        context.target_max_block_size = 1  # a row is a whole part, and must not wait for the next one

        def then(stage: Any, tasks: int) -> Any:
            return data.map_batches(
                stage,
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.TaskPoolStrategy(size=tasks),
                num_cpus=_TASK,
                runtime_env=on_cpu,
            )

        data = then(Read(source, settings, dict(store.done), version("jaxcal")).__call__, 1)
        data = then(Clean(settings).__call__, 2 * workers)
        # Ray Data restarts a worker that was lost, and gives it the same part again, indefinitely: see `Fit`.
        data = data.map_batches(
            Fit,
            fn_constructor_args=(settings, scratch, version("jaxcal"), cache),
            batch_size=1,
            batch_format="pyarrow",
            # no queue in a worker: its parts would be lost with it
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            runtime_env={"env_vars": variables} if share else on_cpu,
            **options,
        )
        return then(Write(path, scratch).__call__, workers)

    def _pool(self, ray: Any) -> tuple[int, dict[str, float]]:
        """Number of workers, and what Ray reserves for each: together half of the cores, so that tasks can run."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores = [found for node in nodes if (found := node.get("CPU", 0.0)) > 0.0]
        gpus = sum(node.get("GPU", 0.0) for node in nodes)
        if not cores:
            raise BulkError("the Ray cluster has no cores for tasks")
        num_gpus = (1.0 if gpus >= 1.0 else 0.0) if self.num_gpus is None else self.num_gpus
        workers = self.workers or (max(1, int(gpus / num_gpus)) if num_gpus else len(cores))
        if workers * num_gpus > gpus:
            raise BulkError(
                f"{workers} worker{'s' if workers > 1 else ''} with {num_gpus:g} GPUs each need more than the "
                f"{gpus:g} of the Ray cluster"
            )
        of_one = -(-workers // len(cores))  # workers on a machine
        options = {"num_cpus": int(5000 * min(cores) / of_one) / 10_000}  # Ray counts in ten thousandths
        return workers, options | ({"num_gpus": num_gpus} if num_gpus else {})


_KEPT = "what is written is kept: the same command resumes the job"


def _follow(
    items: Iterator[Any], store: Store, tally: Tally, stop: threading.Event, errors: Sequence[BaseException] = ()
) -> None:
    """Count what comes out of the pipeline, to its end; `errors` tell what has become of the rest."""
    seen: set[int] = set()
    failures: list[Failure] = []
    total = None
    for item in items:
        if isinstance(item, Failure):
            if item.number is None:
                raise item.error
            failures.append(item)
            seen.add(item.number)
        elif isinstance(item, End):
            total = item.parts
        else:
            cut: PartitionKey = item.cut if isinstance(item, Written) else item
            seen.add(cut.number)
            if isinstance(item, Written):
                store.done[cut.number] = cut.digest
            tally.count(cut, item.converged if isinstance(item, Written) else None)
        if stop.is_set():
            return
    cause = f" ({_last_line(errors[-1])})" if errors else ""
    if total is None:
        raise BulkError(f"the task that reads the input was lost again and again{cause}; {_KEPT}")
    if lost := sorted(set(range(total)) - seen):
        names = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        raise BulkError(
            f"{len(lost):,} parts ({names}) were lost again and again with the processes that had them{cause}; {_KEPT}"
        )
    if failures:
        raise BulkError(f"{failures[0].error} ({len(failures):,} such parts in all); {_KEPT}")
    tally.finished = True


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Within the cluster; it is left again where this process was not in one before."""
    begun = not ray.is_initialized()
    in_main = threading.current_thread() is threading.main_thread()
    on_end = signal.getsignal(signal.SIGTERM)
    try:
        if begun:
            try:
                # Ray would print an error about arguments of restarted workers, which the pipeline keeps alive.
                os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
                # On a machine with few cores, where a cluster is begun here, Ray would end a process that has nothing
                # to do for a second, and the next part would wait for another one to import everything.
                os.environ.setdefault("RAY_num_workers_soft_limit", "16")
                with _silence():  # else it prints that it was told to be silent
                    ray.init(
                        address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.CRITICAL
                    )
            except Exception as error:
                raise BulkError(f"Ray cannot be started or reached: {' '.join(str(error).split())[:300]}") from None
            if in_main and on_end is not None:
                signal.signal(signal.SIGTERM, on_end)  # Ray installs its own handler
        yield
    finally:
        if begun:
            ray.shutdown()


@contextlib.contextmanager
def _collect_errors() -> Iterator[list[BaseException]]:
    """The errors after which Ray Data continues, collected instead of printed."""
    errors: list[BaseException] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                errors.append(record.exc_info[1])

    log = logging.getLogger("ray.data")
    before = log.handlers
    log.handlers = [Collector(logging.ERROR)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"ray\.")
            yield errors
    finally:
        log.handlers = before


def _last_line(error: BaseException) -> str:
    """What the innermost error says: Ray puts the traceback of the other process before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without what native libraries print to the standard error."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

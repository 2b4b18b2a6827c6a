"""LocalEngine: a bulk job run in this process."""

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jaxcal.bulk.engines.progress import Tally
from jaxcal.bulk.input.cleaned_partition import CleanedPartition, clean_partition
from jaxcal.bulk.input.input_files import Source
from jaxcal.bulk.input.partition import PartitionKey
from jaxcal.bulk.input.partition_rows import read_partitions
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.output.fitted_partition import FittedPartition, fit_partition
from jaxcal.bulk.settings import Settings

_AHEAD = 2  # parts that are read and cleaned while another one is fitted


@dataclass(frozen=True)
class LocalEngine:
    """All cores or devices of this machine, in one process.

    Example:
        >>> LocalEngine()
        LocalEngine()
    """

    def run(self, source: Source, settings: Settings, store: Store, tally: Tally, stop: threading.Event) -> None:
        """Read and clean in one thread, fit in this one, write in a third: they overlap, with few parts in between.

        Args:
            source: the input.
            settings: everything that determines the numbers.
            store: the result; what is done there is not done again.
            tally: counts what is done.
            stop: once it is set, the run ends after the current part.

        Raises:
            BulkError: the input cannot be cut into parts, or the parts differ from those before.
            OSError: a part cannot be written.
        """
        partitions: queue.Queue[CleanedPartition | PartitionKey | BaseException | None] = queue.Queue(_AHEAD)
        abandoned, done = threading.Event(), dict(store.done)

        def put(item: CleanedPartition | PartitionKey | BaseException | None) -> bool:
            while not abandoned.is_set():
                try:
                    partitions.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def read() -> None:
            try:
                for part in read_partitions(source, settings, done):
                    if not put(part if isinstance(part, PartitionKey) else clean_partition(part, *settings.making)):
                        return
                put(None)
            except BaseException as error:  # raised again where the parts are asked for
                put(error)

        reader = threading.Thread(target=read, name="jaxcal-bulk-reader", daemon=True)
        reader.start()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="jaxcal-bulk-writer") as writer:
                writing: Future[None] | None = None
                while not stop.is_set():
                    item = partitions.get()
                    if item is None:
                        tally.finished = True
                        break
                    if isinstance(item, BaseException):
                        raise item
                    if isinstance(item, PartitionKey):
                        tally.count(item, None)
                        continue
                    result = fit_partition(item, settings)
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(_write, store, tally, result)
                if writing is not None:
                    writing.result()
        finally:
            abandoned.set()
            reader.join()


def _write(store: Store, tally: Tally, result: FittedPartition) -> None:
    store.write(result.cut.number, result.cut.digest, result.surfaces, result.quotes)
    tally.count(result.cut, result.converged)

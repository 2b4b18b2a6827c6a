"""FittedPartition: the rows of a fitted part."""

from dataclasses import dataclass
from importlib.metadata import version

import pandas as pd
import pyarrow as pa

from jaxcal.bulk.input.cleaned_partition import CleanedPartition
from jaxcal.bulk.input.input_problem import told
from jaxcal.bulk.input.partition import PartitionKey
from jaxcal.bulk.output.output_schema import quote_table, surface_table
from jaxcal.bulk.settings import Settings
from jaxcal.calibration.calibrate_many import calibrate_many
from jaxcal.calibration.results.fits import Fits
from jaxcal.market.surface import Surface


@dataclass(frozen=True, eq=False)
class FittedPartition:
    """A part, as it is written.

    Attributes:
        cut: which part.
        surfaces: one row a surface.
        quotes: one row a quote used, or None where they are not asked for.
    """

    cut: PartitionKey
    surfaces: pa.Table
    quotes: pa.Table | None

    @property
    def converged(self) -> int:
        """Number of fits that converged."""
        return sum(self.surfaces["converged"].to_pylist())


def fit_partition(partition: CleanedPartition, settings: Settings) -> FittedPartition:
    """Fit the surfaces of a part in one batch.

    Should the batch fail as a whole, its surfaces are fitted one by one, and those that fail alone get the outcome
    `ERROR` with a sentence.

    Raises:
        MemoryError: there is not enough memory for the batch.
    """
    failed: dict[int, str] = {}
    found: list[tuple[Fits, pd.DataFrame]] = []
    if partition.surfaces:
        try:
            found.append(_fit(partition.surfaces, settings))
        except MemoryError:
            raise
        except Exception:  # of one surface, or of the batch: the next lines find out
            for place, surface in partition.surfaces.items():
                try:
                    found.append(_fit({place: surface}, settings))
                except MemoryError:
                    raise
                except Exception as error:
                    failed[place] = f"Not fitted: {told(error)}"
    frames = [frame for _, frame in found]
    frame = pd.concat(frames) if len(frames) > 1 else frames[0] if frames else pd.DataFrame()
    quotes = None
    if settings.quotes:
        places = [place for place in partition.surfaces if place not in failed]
        fits = (fit for batch, _ in found for fit in batch)
        quotes = quote_table(partition, {place: fit.to_frame() for place, fit in zip(places, fits, strict=True)})
    table = surface_table(partition, frame, settings, version("jaxcal"), failed)
    return FittedPartition(partition.cut, table, quotes)


def _fit(surfaces: dict[int, Surface], settings: Settings) -> tuple[Fits, pd.DataFrame]:
    fits = calibrate_many(settings.spec, surfaces, precision=settings.precision)
    return fits, fits.to_frame()

"""Files of quotes in, a dataset of fits out."""

from jaxcal.bulk.engines.ray_engine import RayEngine as RayEngine
from jaxcal.bulk.input.input_problem import BulkError as BulkError
from jaxcal.bulk.job import run_job as run_job
from jaxcal.bulk.output.partition_files import read_dataset as read_dataset
from jaxcal.bulk.settings import Settings as Settings
from jaxcal.bulk.summary import Summary as Summary

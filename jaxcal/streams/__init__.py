"""Parameters carried from surface to surface."""

from jaxcal.streams.recalibrator import Recalibrator as Recalibrator
from jaxcal.streams.replay import replay as replay  # the function; its module is found by its full name
from jaxcal.streams.state import StreamState as StreamState
from jaxcal.streams.update import Update as Update

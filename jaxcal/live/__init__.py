"""A live market, calibrated again and again."""

from jaxcal.live.recalibration import Recalibration as Recalibration
from jaxcal.live.session import LiveSession as LiveSession
from jaxcal.venues.deribit_stream.feed import DeribitFeed as DeribitFeed

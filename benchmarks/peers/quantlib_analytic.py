"""QuantLib: Levenberg-Marquardt over HestonModelHelper with the semi-analytic engine, 144 Laguerre nodes by default."""

import QuantLib as ql

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit
from benchmarks.peers.quantlib_helpers import prepare_with


def prepare(work: Work) -> Fit:
    """One fit of implied-volatility errors, as in QuantLib's own DAX test."""
    return prepare_with(work, ql.AnalyticHestonEngine)

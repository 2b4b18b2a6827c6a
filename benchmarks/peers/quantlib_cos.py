"""QuantLib: Levenberg-Marquardt over HestonModelHelper with the COS engine at its default range and number of terms."""

import QuantLib as ql

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit
from benchmarks.peers.quantlib_helpers import prepare_with


def prepare(work: Work) -> Fit:
    """One fit of implied-volatility errors."""
    return prepare_with(work, ql.COSHestonEngine)

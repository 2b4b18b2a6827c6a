"""Calibrate option-pricing models to market quotes: quotes in, fitted parameters a user can trust out."""

from importlib.metadata import version as _version

from jaxcal._status import Outcome as Outcome
from jaxcal._status import Status as Status
from jaxcal.calibration.calibrate import calibrate as calibrate
from jaxcal.calibration.fit import CalibrationError as CalibrationError
from jaxcal.calibration.fit import Fit as Fit
from jaxcal.calibration.residuals import AbstractResidual as AbstractResidual
from jaxcal.calibration.residuals import ImpliedVolResidual as ImpliedVolResidual
from jaxcal.calibration.residuals import PriceResidual as PriceResidual
from jaxcal.calibration.residuals import VegaPriceResidual as VegaPriceResidual
from jaxcal.compilation_cache import enable_compilation_cache as enable_compilation_cache
from jaxcal.market.black import black_price as black_price
from jaxcal.market.cleaning import CleaningRules as CleaningRules
from jaxcal.market.implied_vol import implied_vol as implied_vol
from jaxcal.market.quote_report import QuoteReport as QuoteReport
from jaxcal.market.quote_report import inspect_quotes as inspect_quotes
from jaxcal.market.quotes import QuoteError as QuoteError
from jaxcal.market.quotes import read_quotes as read_quotes
from jaxcal.market.surface import Surface as Surface
from jaxcal.market.surface import surfaces_from_quotes as surfaces_from_quotes
from jaxcal.models.base import AbstractFourierModel as AbstractFourierModel
from jaxcal.models.base import AbstractModel as AbstractModel
from jaxcal.models.bates import Bates as Bates
from jaxcal.models.black_scholes import BlackScholes as BlackScholes
from jaxcal.models.cgmy import CGMY as CGMY
from jaxcal.models.double_heston import DoubleHeston as DoubleHeston
from jaxcal.models.heston import Heston as Heston
from jaxcal.models.hull_white import BlackScholesHullWhite as BlackScholesHullWhite
from jaxcal.models.hull_white import HestonHullWhite as HestonHullWhite
from jaxcal.models.interval import Interval as Interval
from jaxcal.models.kou import Kou as Kou
from jaxcal.models.merton import Merton as Merton
from jaxcal.models.nig import NIG as NIG
from jaxcal.models.piecewise_bates import PiecewiseBates as PiecewiseBates
from jaxcal.models.piecewise_heston import PiecewiseHeston as PiecewiseHeston
from jaxcal.models.sabr import SABR as SABR
from jaxcal.models.ssvi import SSVI as SSVI
from jaxcal.models.svcj import SVCJ as SVCJ
from jaxcal.models.svi import SVI as SVI
from jaxcal.models.variance_gamma import VarianceGamma as VarianceGamma
from jaxcal.pricing.cos import Cos as Cos
from jaxcal.pricing.laguerre import Laguerre as Laguerre
from jaxcal.pricing.saddle import Saddle as Saddle
from jaxcal.pricing.vanilla import model_vol as model_vol
from jaxcal.pricing.vanilla import price as price
from jaxcal.published import dax_quotes as dax_quotes
from jaxcal.report.files import write_fit as write_fit
from jaxcal.report.smiles import plot_smiles as plot_smiles
from jaxcal.solvers.least_squares import Solution as Solution
from jaxcal.solvers.least_squares import least_squares as least_squares
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from jaxcal.synthetic import synthetic_chain as synthetic_chain
from jaxcal.synthetic import synthetic_surface as synthetic_surface

__version__ = _version("jaxcal")

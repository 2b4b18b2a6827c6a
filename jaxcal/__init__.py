"""Calibrate option-pricing models to market quotes: quotes in, fitted parameters a user can trust out."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from jaxcal.compilation.garbage import collection_paused as _collection_paused

with _collection_paused():
    from jaxcal._status import Outcome as Outcome
    from jaxcal._status import Status as Status
    from jaxcal.calibration.calibrate import calibrate as calibrate
    from jaxcal.calibration.calibrate_many import calibrate_many as calibrate_many
    from jaxcal.calibration.compare import compare as compare
    from jaxcal.calibration.comparison import Comparison as Comparison
    from jaxcal.calibration.objective.feller import Feller as Feller
    from jaxcal.calibration.objective.feller import feller_bounds as feller_bounds
    from jaxcal.calibration.objective.gaussian_prior import Gaussian as Gaussian
    from jaxcal.calibration.objective.loss import AbstractLoss as AbstractLoss
    from jaxcal.calibration.objective.loss import Cauchy as Cauchy
    from jaxcal.calibration.objective.loss import Huber as Huber
    from jaxcal.calibration.objective.loss import Linear as Linear
    from jaxcal.calibration.objective.loss import SoftL1 as SoftL1
    from jaxcal.calibration.objective.prior import AbstractPrior as AbstractPrior
    from jaxcal.calibration.objective.prior import Scaled as Scaled
    from jaxcal.calibration.objective.prior import Smoothness as Smoothness
    from jaxcal.calibration.objective.residuals import AbstractResidual as AbstractResidual
    from jaxcal.calibration.objective.residuals import BidAskResidual as BidAskResidual
    from jaxcal.calibration.objective.residuals import HalfSpreadResidual as HalfSpreadResidual
    from jaxcal.calibration.objective.residuals import ImpliedVolResidual as ImpliedVolResidual
    from jaxcal.calibration.objective.residuals import PriceResidual as PriceResidual
    from jaxcal.calibration.objective.residuals import VegaPriceResidual as VegaPriceResidual
    from jaxcal.calibration.objective.weights import AbstractWeights as AbstractWeights
    from jaxcal.calibration.objective.weights import InverseSpreadWeights as InverseSpreadWeights
    from jaxcal.calibration.objective.weights import UniformWeights as UniformWeights
    from jaxcal.calibration.objective.weights import VegaWeights as VegaWeights
    from jaxcal.calibration.objective.weights import weights_from as weights_from
    from jaxcal.calibration.results.diagnostics import Diagnostics as Diagnostics
    from jaxcal.calibration.results.diagnostics import identified as identified
    from jaxcal.calibration.results.fit import CalibrationError as CalibrationError
    from jaxcal.calibration.results.fit import Fit as Fit
    from jaxcal.calibration.results.fits import Fits as Fits
    from jaxcal.calibration.search.global_search import global_search as global_search
    from jaxcal.calibration.search.optima import Optima as Optima
    from jaxcal.calibration.toward_fit import toward as toward
    from jaxcal.compilation.compilation_cache import enable_compilation_cache as enable_compilation_cache
    from jaxcal.dates.variance_clock import VarianceClock as VarianceClock
    from jaxcal.formulas.american import american_price as american_price
    from jaxcal.formulas.american_vol import american_vol as american_vol
    from jaxcal.formulas.bachelier import bachelier_price as bachelier_price
    from jaxcal.formulas.black import black_price as black_price
    from jaxcal.formulas.cash_dividends import cash_dividend_price as cash_dividend_price
    from jaxcal.formulas.cash_dividends import cash_dividend_vol as cash_dividend_vol
    from jaxcal.formulas.implied_vol import implied_vol as implied_vol
    from jaxcal.market.arbitrage.repair import Repair as Repair
    from jaxcal.market.arbitrage.repair import repair_arbitrage as repair_arbitrage
    from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport as ArbitrageReport
    from jaxcal.market.arbitrage.static_arbitrage import find_arbitrage as find_arbitrage
    from jaxcal.market.cleaning.cleaning_rules import CleaningRules as CleaningRules
    from jaxcal.market.cleaning.cleaning_rules import SuitedRules as SuitedRules
    from jaxcal.market.cleaning.quote_report import QuoteReport as QuoteReport
    from jaxcal.market.cleaning.quote_report import inspect_quotes as inspect_quotes
    from jaxcal.market.forwards.futures_carry import Carry as Carry
    from jaxcal.market.forwards.futures_carry import with_carry as with_carry
    from jaxcal.market.surface import Surface as Surface
    from jaxcal.market.surface import surfaces_from_quotes as surfaces_from_quotes
    from jaxcal.market.tables.read_quotes import QuoteError as QuoteError
    from jaxcal.market.tables.read_quotes import read_quotes as read_quotes
    from jaxcal.market.tables.read_quotes import register_reader as _register_reader
    from jaxcal.models.base import AbstractFourierModel as AbstractFourierModel
    from jaxcal.models.base import AbstractModel as AbstractModel
    from jaxcal.models.base import AbstractVolModel as AbstractVolModel
    from jaxcal.models.diffusions.black_scholes import BlackScholes as BlackScholes
    from jaxcal.models.diffusions.clocked_double_heston import ClockedDoubleHeston as ClockedDoubleHeston
    from jaxcal.models.diffusions.double_heston import DoubleHeston as DoubleHeston
    from jaxcal.models.diffusions.heston import Heston as Heston
    from jaxcal.models.diffusions.hull_white import BlackScholesHullWhite as BlackScholesHullWhite
    from jaxcal.models.diffusions.hull_white import HestonHullWhite as HestonHullWhite
    from jaxcal.models.diffusions.piecewise_heston import PiecewiseHeston as PiecewiseHeston
    from jaxcal.models.interval import Interval as Interval
    from jaxcal.models.jumps.bates import Bates as Bates
    from jaxcal.models.jumps.kou import Kou as Kou
    from jaxcal.models.jumps.merton import Merton as Merton
    from jaxcal.models.jumps.piecewise_bates import PiecewiseBates as PiecewiseBates
    from jaxcal.models.jumps.svcj import SVCJ as SVCJ
    from jaxcal.models.law import check_model as check_model
    from jaxcal.models.levy.cgmy import CGMY as CGMY
    from jaxcal.models.levy.nig import NIG as NIG
    from jaxcal.models.levy.variance_gamma import VarianceGamma as VarianceGamma
    from jaxcal.models.smiles.sabr import SABR as SABR
    from jaxcal.models.smiles.sabr import NormalSABR as NormalSABR
    from jaxcal.models.smiles.ssvi import SSVI as SSVI
    from jaxcal.models.smiles.ssvi import SSVIHeston as SSVIHeston
    from jaxcal.models.smiles.svi import SVI as SVI
    from jaxcal.pricing.cos import Cos as Cos
    from jaxcal.pricing.laguerre import Laguerre as Laguerre
    from jaxcal.pricing.saddle import Saddle as Saddle
    from jaxcal.pricing.series import Series as Series
    from jaxcal.pricing.sinh import Sinh as Sinh
    from jaxcal.pricing.vanilla import model_vol as model_vol
    from jaxcal.pricing.vanilla import price as price
    from jaxcal.published import dax_quotes as dax_quotes
    from jaxcal.report.comparison_picture import plot_comparison as plot_comparison
    from jaxcal.report.files import write_comparison as write_comparison
    from jaxcal.report.files import write_fit as write_fit
    from jaxcal.report.parameter_path import plot_path as plot_path
    from jaxcal.report.profile_picture import plot_profiles as plot_profiles
    from jaxcal.report.quotes_picture import plot_quotes as plot_quotes
    from jaxcal.report.smiles import plot_smiles as plot_smiles
    from jaxcal.risk.greeks import Greeks as Greeks
    from jaxcal.risk.greeks_of_model import greeks as greeks
    from jaxcal.risk.model_arbitrage import model_arbitrage as model_arbitrage
    from jaxcal.risk.quote_sensitivities import quote_sensitivities as quote_sensitivities
    from jaxcal.risk.through_fit import through_fit as through_fit
    from jaxcal.solvers.gradient import Optax as Optax
    from jaxcal.solvers.least_squares import Solution as Solution
    from jaxcal.solvers.least_squares import least_squares as least_squares
    from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
    from jaxcal.streams.recalibrator import Recalibrator as Recalibrator
    from jaxcal.streams.state import StreamState as StreamState
    from jaxcal.streams.update import Update as Update
    from jaxcal.synthetic import synthetic_chain as synthetic_chain
    from jaxcal.synthetic import synthetic_surface as synthetic_surface
    from jaxcal.uncertainty.bootstrap import Bootstrap as Bootstrap
    from jaxcal.uncertainty.bootstrap import bootstrap as bootstrap
    from jaxcal.uncertainty.covariance import Covariance as Covariance
    from jaxcal.uncertainty.covariance import covariance as covariance
    from jaxcal.uncertainty.intervals import Intervals as Intervals
    from jaxcal.uncertainty.intervals import confidence_intervals as confidence_intervals
    from jaxcal.uncertainty.profile import Profile as Profile
    from jaxcal.uncertainty.profile import profile as profile
    from jaxcal.uncertainty.profile import profiles as profiles
    from jaxcal.venues.cboe.cboe_table import ENDINGS as _CBOE_ENDINGS
    from jaxcal.venues.cboe.cboe_table import cboe_quotes as _cboe_quotes
    from jaxcal.venues.cboe.cboe_table import read_cboe as read_cboe
    from jaxcal.venues.deribit.deribit_table import DeribitTable as DeribitTable
    from jaxcal.venues.deribit.deribit_table import read_deribit as read_deribit
    from jaxcal.venues.json_file import ENDINGS as _JSON_ENDINGS
    from jaxcal.venues.json_quotes import json_quotes as _json_quotes
    from jaxcal.venues.order_books.order_book import MergedBooks as MergedBooks
    from jaxcal.venues.order_books.order_book import merge_books as merge_books
    from jaxcal.venues.order_books.taker_fee import TakerFee as TakerFee
    from jaxcal.warming import warm_up as warm_up

_register_reader(_JSON_ENDINGS, _json_quotes)
_register_reader(_CBOE_ENDINGS, _cboe_quotes)
__version__ = _version("jaxcal")

if _TYPE_CHECKING:
    from jaxcal import bulk as bulk
    from jaxcal import live as live
else:

    def __getattr__(name: str) -> object:
        """`jc.bulk` and `jc.live`: imported when they are first asked for, as a fit needs neither."""
        if name in {"bulk", "live"}:
            return _import_module(f"jaxcal.{name}")
        raise AttributeError(f"module 'jaxcal' has no attribute {name!r}")

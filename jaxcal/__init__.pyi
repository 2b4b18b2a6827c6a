"""The public names, by what they are for, in the order of the reference; `jaxcal/__init__.py` imports each when it
is first asked for.
"""

# Quotes and surfaces
from .venues.read_quotes import read_quotes as read_quotes
from .market.cleaning.quote_report import inspect_quotes as inspect_quotes
from .market.cleaning.quote_report import QuoteReport as QuoteReport
from .market.tables.table_file import QuoteError as QuoteError
from .market.cleaning.cleaning_rules import CleaningRules as CleaningRules
from .market.cleaning.cleaning_rules import SuitedRules as SuitedRules
from .market.forwards.futures_carry import Carry as Carry
from .market.forwards.futures_carry import with_carry as with_carry
from .market.surface import Surface as Surface
from .market.surface import surfaces_from_quotes as surfaces_from_quotes
from .dates.variance_clock import VarianceClock as VarianceClock
from .published import dax_quotes as dax_quotes
from .synthetic import synthetic_chain as synthetic_chain
from .synthetic import synthetic_surface as synthetic_surface

# Exchanges
from .venues.deribit.deribit_table import read_deribit as read_deribit
from .venues.deribit.deribit_table import DeribitTable as DeribitTable
from .venues.cboe.cboe_table import read_cboe as read_cboe
from .venues.order_books.order_book import merge_books as merge_books
from .venues.order_books.order_book import MergedBooks as MergedBooks
from .market.taker_fee import TakerFee as TakerFee

# Arbitrage
from .market.arbitrage.static_arbitrage import find_arbitrage as find_arbitrage
from .market.arbitrage.static_arbitrage import ArbitrageReport as ArbitrageReport
from .market.arbitrage.repair import repair_arbitrage as repair_arbitrage
from .market.arbitrage.repair import Repair as Repair
from .risk.model_arbitrage import model_arbitrage as model_arbitrage

# Closed forms
from .formulas.black import black_price as black_price
from .formulas.implied_vol import implied_vol as implied_vol
from .formulas.bachelier import bachelier_price as bachelier_price
from .formulas.american import american_price as american_price
from .formulas.american_vol import american_vol as american_vol
from .formulas.cash_dividends import cash_dividend_price as cash_dividend_price
from .formulas.cash_dividends import cash_dividend_vol as cash_dividend_vol

# Models
from .models.diffusions.black_scholes import BlackScholes as BlackScholes
from .models.diffusions.heston import Heston as Heston
from .models.diffusions.double_heston import DoubleHeston as DoubleHeston
from .models.diffusions.clocked_double_heston import ClockedDoubleHeston as ClockedDoubleHeston
from .models.diffusions.piecewise_heston import PiecewiseHeston as PiecewiseHeston
from .models.diffusions.hull_white import BlackScholesHullWhite as BlackScholesHullWhite
from .models.diffusions.hull_white import HestonHullWhite as HestonHullWhite
from .models.jumps.merton import Merton as Merton
from .models.jumps.kou import Kou as Kou
from .models.jumps.bates import Bates as Bates
from .models.jumps.svcj import SVCJ as SVCJ
from .models.jumps.clocked_heston_jumps import ClockedHestonJumps as ClockedHestonJumps
from .models.jumps.piecewise_bates import PiecewiseBates as PiecewiseBates
from .models.levy.variance_gamma import VarianceGamma as VarianceGamma
from .models.levy.nig import NIG as NIG
from .models.levy.cgmy import CGMY as CGMY
from .models.smiles.sabr import SABR as SABR
from .models.smiles.sabr import NormalSABR as NormalSABR
from .models.smiles.svi import SVI as SVI
from .models.smiles.ssvi import SSVI as SSVI
from .models.smiles.ssvi import SSVIHeston as SSVIHeston
from .models.smiles.essvi import ESSVI as ESSVI
from .models.smiles.arbitrage_free_svi import ArbitrageFreeSVI as ArbitrageFreeSVI
from .models.base import AbstractModel as AbstractModel
from .models.base import AbstractFourierModel as AbstractFourierModel
from .models.base import AbstractVolModel as AbstractVolModel
from .models.interval import Interval as Interval
from .models.law import check_model as check_model

# Pricing
from .pricing.vanilla import price as price
from .pricing.vanilla import model_vol as model_vol
from .pricing.saddle import Saddle as Saddle
from .pricing.sinh import Sinh as Sinh
from .pricing.laguerre import Laguerre as Laguerre
from .pricing.cos import Cos as Cos
from .pricing.series import Series as Series

# Calibration
from .calibration.calibrate import calibrate as calibrate
from .calibration.calibration_spec import CalibrationSpec as CalibrationSpec
from .calibration.results.fit import Fit as Fit
from .report.saved import save as save
from .report.saved import load as load
from .calibration.results.fit import CalibrationError as CalibrationError
from ._status import Outcome as Outcome
from ._status import Status as Status
from .calibration.calibrate_many import calibrate_many as calibrate_many
from .calibration.results.fits import Fits as Fits
from .calibration.compare import compare as compare
from .calibration.search.add_knots import add_knots as add_knots
from .calibration.comparison import Comparison as Comparison
from .calibration.search.global_search import global_search as global_search
from .calibration.search.optima import Optima as Optima

# A chain in one call
from .chain.fit_chain import fit_chain as fit_chain
from .chain.chain_fit import ChainFit as ChainFit

# What a fit minimises
from .calibration.objective.residuals import ImpliedVolResidual as ImpliedVolResidual
from .calibration.objective.residuals import BidAskResidual as BidAskResidual
from .calibration.objective.residuals import HalfSpreadResidual as HalfSpreadResidual
from .calibration.objective.residuals import VegaPriceResidual as VegaPriceResidual
from .calibration.objective.residuals import PriceResidual as PriceResidual
from .calibration.objective.residuals import AbstractResidual as AbstractResidual
from .calibration.objective.loss import Linear as Linear
from .calibration.objective.loss import Huber as Huber
from .calibration.objective.loss import SoftL1 as SoftL1
from .calibration.objective.loss import Cauchy as Cauchy
from .calibration.objective.loss import AbstractLoss as AbstractLoss
from .calibration.objective.weights import UniformWeights as UniformWeights
from .calibration.objective.weights import VegaWeights as VegaWeights
from .calibration.objective.weights import InverseSpreadWeights as InverseSpreadWeights
from .calibration.objective.weights import AbstractWeights as AbstractWeights
from .calibration.objective.weights import weights_from as weights_from
from .calibration.objective.gaussian_prior import Gaussian as Gaussian
from .calibration.toward_fit import toward as toward
from .calibration.objective.prior import Smoothness as Smoothness
from .calibration.objective.feller import Feller as Feller
from .calibration.objective.feller import feller_bounds as feller_bounds
from .calibration.objective.prior import Scaled as Scaled
from .calibration.objective.prior import AbstractPrior as AbstractPrior

# Solvers
from .solvers.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from .solvers.gradient import Optax as Optax
from .solvers.least_squares import least_squares as least_squares
from .solvers.least_squares import Solution as Solution

# Uncertainty
from .uncertainty.covariance import covariance as covariance
from .uncertainty.covariance import Covariance as Covariance
from .uncertainty.intervals import confidence_intervals as confidence_intervals
from .uncertainty.intervals import Intervals as Intervals
from .uncertainty.profile import profile as profile
from .uncertainty.profile import profiles as profiles
from .uncertainty.profile import Profile as Profile
from .uncertainty.bootstrap import bootstrap as bootstrap
from .uncertainty.bootstrap import Bootstrap as Bootstrap
from .calibration.results.fits import identified as identified
from .calibration.results.diagnostics import Diagnostics as Diagnostics

# Sensitivities
from .risk.greeks_of_model import greeks as greeks
from .risk.greeks import Greeks as Greeks
from .risk.quote_sensitivities import quote_sensitivities as quote_sensitivities
from .risk.through_fit import through_fit as through_fit

# Streams
from .streams.recalibrator import Recalibrator as Recalibrator
from .streams.state import StreamState as StreamState
from .streams.update import Update as Update

# Pictures and files
from .report.smiles import plot_smiles as plot_smiles
from .report.comparison_picture import plot_comparison as plot_comparison
from .report.profile_picture import plot_profiles as plot_profiles
from .report.quotes_picture import plot_quotes as plot_quotes
from .report.parameter_path import plot_path as plot_path
from .report.files import write_fit as write_fit
from .report.files import write_comparison as write_comparison

# Compilation
from .warming import warm_up as warm_up
from .compilation.compilation_cache import enable_compilation_cache as enable_compilation_cache

# Folders with public names of their own
from . import bulk as bulk
from . import live as live
from . import models as models
from . import report as report
from . import solvers as solvers
from . import streams as streams

__version__: str

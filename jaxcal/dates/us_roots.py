"""What the root of a US option's symbol says: its underlying, its exercise, and when it settles."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.dates.instants import Instants
from jaxcal.dates.us_calendar import session_before, third_friday

_EUROPEAN = """
SPX SPXW SPXPM SPXQ XSP NANOS SPESG NDX NDXP XND NQX RUT RUTW MRUT RLG RLV RUI DJX VIX VIXW RVX VOLQ XEO MXEA MXEF MXACW
MXUSA MXWLD CBTX MBTX BKX HGX OSX SOX UTY XAU
"""
# Index options that are European; every other US option is taken for American where the file does not say.
EUROPEAN_ROOTS = frozenset(_EUROPEAN.split())
# Settled by the opening prices of their expiry date, 09:30 New York; every other root by closing prices.
AM_ROOTS = frozenset({"SPX", "NDX", "RUT", "VIX", "VIXW", "DJX", "RUI"})
_EVERY_EXPIRY = frozenset({"VIX", "VIXW"})
_UNDERLYING = {"SPXW": "SPX", "SPXPM": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX", "XEO": "OEX"}
# The one index whose options are American, the funds whose options trade most, and shares of more than two letters
# that cannot be taken for anything else: known without a file that says it is of the US market.
_KNOWN_AMERICAN = """
OEX

ARKK BITO DIA EEM EFA ETHA EWJ EWZ EZU FBTC FEZ FXE FXI FXY GBTC GDX GDXJ GLD HYG IAU IBB IBIT IEF IJR IVV IWD IWF IWM
IYR JEPI JETS JNK KRE KWEB LQD MDY OIH QQQ QQQM RSP SCHD SLV SMH SOXL SOXS SPLG SPXL SPXS SPXU SPY SQQQ SVXY TBT TLT TNA
TQQQ TZA UCO UNG UPRO USO UVXY VEA VGK VIXY VNQ VOO VTI VWO VXX XBI XHB XLB XLC XLE XLF XLI XLK XLP XLRE XLU XLV XLY XME
XOP XRT

AAPL ABBV ABNB ADBE AMAT AMD AMGN AMZN AVGO BABA BIDU BKNG BRKB CMCSA CSCO CVX DIS GILD GME GOOG GOOGL HOOD IBM INTC JNJ
JPM LLY LRCX MARA MCD META MRK MRNA MSFT MSTR NFLX NKE NVDA ORCL PANW PEP PFE PLTR PYPL QCOM RIOT RIVN ROKU SBUX SHOP
SMCI SOFI TGT TSLA TSM TXN UBER UNH WMT XOM
"""
_AMERICAN = frozenset(_KNOWN_AMERICAN.split())
# Yahoo writes ^SPX, Schwab $SPX and $SPX.X, Reuters .SPX, Polygon I:SPX, Cboe _SPX, Bloomberg SPX Index.
_INDEX_MARK = re.compile(r"[\^$_@]|\.(?=[A-Z])|I:|INDEX[A-Z]{0,6}:")
_INDEX_END = re.compile(r"(?:\.XO?| (?:US )?INDEX|\.INDE?X|\.IDX|:IND)$")
_EXCHANGE = re.compile(r"[A-Z]{2,12}:")
_OTHER_ENDS = re.compile(r"(?: (?:US|UN|UW|UQ|UP))?(?: EQUITY)?$|\.(?:US|OQ)$")
# Names of indices that are not those of their options.
_NAMES = {"GSPC": "SPX", "INX": "SPX", "US500": "SPX", "S&P 500": "SPX", "SP500": "SPX", "DJI": "DJX"}
# The symbol of the Options Clearing Corporation: root, yymmdd, side and strike in thousandths, with or without blanks;
# those of thinkorswim (.SPY260619C600), TD Ameritrade (SPY_061926C600) and Bloomberg (SPY US 06/19/26 C600 Equity).
_CONTRACT = re.compile(
    r"(?:O:|[.@])?([A-Z]{1,6}\d?)(?:\s*\d{6}[CP]\d{8}|_?\d{6}[CP]\d{1,6}(?:\.\d+)?"
    r"|(?: US)? \d{1,2}/\d{1,2}/\d{2} [CP]\d{1,6}(?:\.\d+)?(?: EQUITY| INDEX)?)"
)


def root_in(name: str) -> str:
    """The root, or the underlying, in whatever a vendor calls it: `SPX` for `^SPX`, `$SPX.X`, `I:SPX`, `SPX Index`.

    The symbol of a contract (`SPXW  260619C05000000`) gives its root. Other names come back in capitals.

    Example:
        >>> [root_in(name) for name in ("^SPX", "SPX Index", ".vix", "AAPL US Equity", "O:SPY251219C00650000", "BRK.B")]
        ['SPX', 'SPX', 'VIX', 'AAPL', 'SPY', 'BRK.B']
    """
    text = " ".join(name.upper().split())
    if found := _CONTRACT.fullmatch(text):
        return found[1]
    bare = _INDEX_END.sub("", text)
    bare = bare[mark.end() :] if (mark := _INDEX_MARK.match(bare) or _EXCHANGE.match(bare)) else bare
    bare = _OTHER_ENDS.sub("", bare)
    return _NAMES.get(bare, bare)


def exercise_known(name: str) -> str:
    """`E` or `A` where a name says it wherever it stands; empty where it does not.

    Options on indices are European, but for those on `OEX`. Funds and shares that no one takes for anything else, and
    every symbol of the Options Clearing Corporation that is of no index, are American.

    Example:
        >>> [exercise_known(name) for name in ("$NDX", "SPY", "F 260619C00012000", "BTC")]
        ['E', 'A', 'A', '']
    """
    text, root = " ".join(name.upper().split()), root_in(name)
    if is_contract(text):
        return "E" if root in EUROPEAN_ROOTS or text.endswith(" INDEX") else "A"
    if root in _AMERICAN or root.replace(".", "").replace("/", "") in _AMERICAN:
        return "A"
    marked = _INDEX_MARK.match(text) is not None or _INDEX_END.search(text) is not None
    if root in EUROPEAN_ROOTS or marked:
        return "E"
    return "A" if text.endswith((" US EQUITY", " UW EQUITY", " UN EQUITY")) else ""


def is_contract(name: str) -> bool:
    """Whether a name is the symbol of one US option, and not of an underlying or a root.

    Example:
        >>> is_contract("SPY260619C00600000"), is_contract(".SPY260619C600"), is_contract("SPY")
        (True, True, False)
    """
    return _CONTRACT.fullmatch(" ".join(name.upper().split())) is not None


def underlying_of(root: str) -> str:
    """The underlying of an option root: `SPX` for `SPXW`; most roots are named as their underlying.

    Example:
        >>> underlying_of("SPXW"), underlying_of("SPY")
        ('SPX', 'SPY')
    """
    return _UNDERLYING.get(root, root)


def exercise_of(roots: pd.Series) -> NDArray[np.object_]:
    """`E` or `A` of US options by root, or by underlying, however it is written.

    Example:
        >>> print(exercise_of(pd.Series(["SPXW", "spy", "^SPX"])))
        ['E' 'A' 'E']
    """
    code, names = pd.factorize(roots.astype(str).fillna(""))
    return np.array([*(exercise_known(name) or "A" for name in names), "A"], object)[code]


def settlement_of(roots: pd.Series, expiries: Instants, *, by_root: bool = True) -> NDArray[np.object_]:
    """`AM` or `PM`, by root and expiry date.

    Args:
        roots: `[n]` roots (`SPXW`), or underlyings (`SPX`).
        expiries: `[n]` dates.
        by_root: whether `roots` are roots: then `SPX` is always AM. An underlying alone tells only that its monthly
            options, of the third Friday, are AM.

    Example:
        >>> dates = np.array(["2026-01-16", "2026-01-23"], "datetime64[D]")
        >>> print(settlement_of(pd.Series(["SPX", "SPX"]), dates, by_root=False))
        ['AM' 'PM']
    """
    code, found = pd.factorize(roots.astype(str).fillna(""))
    names = pd.Series(np.array([*map(root_in, found), ""], object)[code])
    opening = names.isin(AM_ROOTS).to_numpy(bool)
    if not by_root:
        monthly = session_before(expiries) == third_friday(expiries)
        opening = opening & (monthly | names.isin(_EVERY_EXPIRY).to_numpy(bool))
    return np.where(opening, "AM", "PM").astype(object)

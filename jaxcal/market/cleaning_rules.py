"""CleaningRules: the settings of the cleaning, and what they should be on each kind of market."""

from dataclasses import dataclass, fields

_PROFILES = ("crypto", "index", "equity")


@dataclass(frozen=True)
class CleaningRules:
    """Settings of the cleaning.

    The first two rules always hold. The others compare a quote with its neighbours and are off by default: choose them
    by a profile (`CleaningRules.crypto()`, `.index()`, `.equity()`), or one by one. docs/cleaning.md explains them.

    Attributes:
        min_expiry: years; shorter options are left out. Default 12 hours: below that the quotes are about the next
            minutes rather than about a diffusion, and the time to expiry itself is uncertain.
        max_relative_spread: a quote is wide when `ask - bid` exceeds this multiple of the mid (of the mid's time
            value, where an in-the-money quote is the only one at its strike).
        max_deviations: a strike is too far when `|ln(strike / forward)|` exceeds this multiple of the at-the-money
            volatility times the root of the time to expiry.
        max_outlier: a quote is an outlier when a smile through its neighbours passes its bid or ask at more than this
            many standard deviations of that smile. The spread that counts is at most the one usual there.
        max_spread_ratio: a quote is wide when its spread, in volatility, exceeds this multiple of what is usual among
            its neighbours, and by more than two vol points.

    Raises:
        ValueError: a setting is negative or not a number.

    Example:
        >>> from jaxcal.market.cleaning_rules import CleaningRules
        >>> CleaningRules(max_relative_spread=0.5).max_relative_spread
        0.5
    """

    min_expiry: float = 0.5 / 365.0
    max_relative_spread: float = 1.0
    max_deviations: float = float("inf")
    max_outlier: float = float("inf")
    max_spread_ratio: float = float("inf")

    def __post_init__(self) -> None:
        """Check the settings."""
        for field in fields(self):
            if not getattr(self, field.name) >= 0.0:
                raise ValueError(f"{field.name} {getattr(self, field.name)} must not be negative")

    @property
    def compares(self) -> bool:
        """Whether any rule compares a quote with its neighbours."""
        return min(self.max_deviations, self.max_outlier, self.max_spread_ratio) < float("inf")

    @classmethod
    def crypto(cls) -> "CleaningRules":
        """For options on coins, such as Deribit's.

        Example:
            >>> from jaxcal.market.cleaning_rules import CleaningRules
            >>> CleaningRules.crypto().max_spread_ratio
            4.0
        """
        # Half-spreads on Deribit: 0.4 to 0.8 vol points in the middle, 2.5 to 3 in the wings, ticks that are a third of
        # a far option. Strikes beyond 5 deviations are bids of one tick.
        return cls(max_deviations=5.0, max_outlier=3.0, max_spread_ratio=4.0)

    @classmethod
    def index(cls) -> "CleaningRules":
        """For European options on an index, such as SPX.

        Example:
            >>> from jaxcal.market.cleaning_rules import CleaningRules
            >>> CleaningRules.index().max_deviations
            10.0
        """
        # Market makers quote hundreds of strikes by one formula: half-spreads of 0.1 vol points that hardly vary, and
        # mids within a tenth of them. Puts are traded to ten deviations, and quoted to twenty.
        return cls(max_deviations=10.0, max_outlier=2.5, max_spread_ratio=3.0)

    @classmethod
    def equity(cls) -> "CleaningRules":
        """For options on single stocks and funds.

        Example:
            >>> from jaxcal.market.cleaning_rules import CleaningRules
            >>> CleaningRules.equity().max_outlier
            4.0
        """
        # Fewer strikes, spreads of a tick to half the price beside one another, and exercise premia that have been
        # taken off with an error.
        return cls(max_deviations=8.0, max_outlier=4.0, max_spread_ratio=5.0)

    @classmethod
    def profile(cls, name: str) -> "CleaningRules":
        """The profile of this name: `"crypto"`, `"index"` or `"equity"`.

        Raises:
            ValueError: there is none of this name.

        Example:
            >>> from jaxcal.market.cleaning_rules import CleaningRules
            >>> CleaningRules.profile("crypto") == CleaningRules.crypto()
            True
        """
        if name not in _PROFILES:
            raise ValueError(f"profile {name!r} is not known; there are {', '.join(_PROFILES)}")
        return getattr(cls, name)()

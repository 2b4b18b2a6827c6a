"""CleaningRules: the settings of the cleaning, and their profiles by kind of market."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

PROFILES = ("crypto", "index", "equity", "plain")


@dataclass(frozen=True)
class CleaningRules:
    """Settings of the cleaning.

    The first two rules always hold. The others compare a quote with its neighbours; they are off in `CleaningRules()`
    and on in a profile (`CleaningRules.crypto()`, `.index()`, `.equity()`). By default each surface is cleaned by the
    profile that suits it (`SuitedRules`). docs/cleaning.md explains them.

    Attributes:
        min_expiry: years; shorter options are left out. Default 12 hours: below that the quotes are about the next
            minutes rather than about a diffusion, and the time to expiry itself is uncertain.
        max_relative_spread: a quote is wide when `ask - bid` exceeds this multiple of the mid (of the mid's time
            value, where an in-the-money quote is the only one at its strike).
        max_deviations: a strike is too far when `|ln(strike / forward)|` exceeds this multiple of the at-the-money
            volatility times the root of the time to expiry.
        max_outlier: a quote is an outlier when a smile through its neighbours passes its bid or ask at more than this
            many standard deviations of that smile. The spread that counts is at most the one usual there.
        max_spread_ratio: a quote is wide when its spread, in volatility, exceeds this multiple of the usual spread of
            its neighbours, by more than two vol points.
        based_on: name of the profile that the settings were made from; for display only.

    Raises:
        ValueError: a setting is negative or not a number.

    Example:
        >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
        >>> CleaningRules(max_relative_spread=0.5).max_relative_spread
        0.5
    """

    min_expiry: float = 0.5 / 365.0
    max_relative_spread: float = 1.0
    max_deviations: float = float("inf")
    max_outlier: float = float("inf")
    max_spread_ratio: float = float("inf")
    based_on: str = field(default="plain", compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, value in self.thresholds().items():
            if not value >= 0.0:
                raise ValueError(f"{name} {value} must not be negative")

    def thresholds(self) -> dict[str, float]:
        """The settings that are numbers, by name."""
        return {name: getattr(self, name) for name in THRESHOLDS}

    def __str__(self) -> str:
        """The profile, and the settings that are not its own.

        Example:
            >>> import dataclasses
            >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
            >>> print(dataclasses.replace(CleaningRules.crypto(), max_outlier=4.0))
            crypto, max_outlier 4
        """
        own = CleaningRules.profile(self.based_on).thresholds()
        changed = (f"{name} {value:g}" for name, value in self.thresholds().items() if value != own[name])
        return ", ".join([self.based_on, *changed])

    @property
    def compares(self) -> bool:
        """Whether any rule compares a quote with its neighbours."""
        return min(self.max_deviations, self.max_outlier, self.max_spread_ratio) < float("inf")

    def suited_to(self, profile: str) -> "CleaningRules":
        """These rules, whatever profile suits the quotes."""
        return self

    @classmethod
    def crypto(cls) -> "CleaningRules":
        """For options on coins, such as Deribit's.

        Example:
            >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
            >>> CleaningRules.crypto().max_spread_ratio
            4.0
        """
        # Half-spreads on Deribit: 0.4 to 0.8 vol points in the middle, 2.5 to 3 in the wings, ticks that are a third of
        # a far option. Strikes beyond 5 deviations are bids of one tick.
        return cls(max_deviations=5.0, max_outlier=3.0, max_spread_ratio=4.0, based_on="crypto")

    @classmethod
    def index(cls) -> "CleaningRules":
        """For European options on an index, such as SPX.

        Example:
            >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
            >>> CleaningRules.index().max_deviations
            10.0
        """
        # Market makers quote hundreds of strikes by one formula: half-spreads of 0.1 vol points that hardly vary, and
        # mids within a tenth of them. Puts are traded to ten deviations, and quoted to twenty.
        return cls(max_deviations=10.0, max_outlier=2.5, max_spread_ratio=3.0, based_on="index")

    @classmethod
    def equity(cls) -> "CleaningRules":
        """For options on single stocks and funds.

        Example:
            >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
            >>> CleaningRules.equity().max_outlier
            4.0
        """
        # Fewer strikes, spreads of a tick to half the price beside one another, and exercise premia that have been
        # taken off with an error.
        return cls(max_deviations=8.0, max_outlier=4.0, max_spread_ratio=5.0, based_on="equity")

    @classmethod
    def profile(cls, name: str) -> "CleaningRules":
        """The profile of this name: `"crypto"`, `"index"`, `"equity"`, or `"plain"`, which compares no neighbours.

        Raises:
            ValueError: there is none of this name.

        Example:
            >>> from jaxcal.market.cleaning.cleaning_rules import CleaningRules
            >>> CleaningRules.profile("crypto") == CleaningRules.crypto()
            True
        """
        if name not in PROFILES:
            raise ValueError(f"profile {name[:40]!r} is not known; there are {', '.join(PROFILES)}")
        return cls() if name == "plain" else getattr(cls, name)()


THRESHOLDS = tuple(entry.name for entry in fields(CleaningRules) if entry.name != "based_on")


@dataclass(frozen=True)
class SuitedRules:
    """The default of every function and command: each surface is cleaned by the profile that suits it.

    Args:
        min_expiry, max_relative_spread, max_deviations, max_outlier, max_spread_ratio: replace those of the profile.

    Raises:
        ValueError: a setting is negative or not a number.

    Example:
        >>> from jaxcal.market.cleaning.cleaning_rules import SuitedRules
        >>> print(SuitedRules(min_expiry=0.01).suited_to("index"))
        index, min_expiry 0.01
    """

    min_expiry: float | None = None
    max_relative_spread: float | None = None
    max_deviations: float | None = None
    max_outlier: float | None = None
    max_spread_ratio: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        self.suited_to("plain")

    def thresholds(self) -> dict[str, float]:
        """The settings that are given, by name."""
        return {name: value for name in THRESHOLDS if (value := getattr(self, name)) is not None}

    def suited_to(self, profile: str) -> CleaningRules:
        """The rules of a surface that this profile suits."""
        return replace(CleaningRules.profile(profile), **self.thresholds())


@dataclass(frozen=True, eq=False)
class RowRules:
    """The settings of every row of a table, `[n]` each.

    Attributes:
        min_expiry, max_relative_spread, max_deviations, max_outlier, max_spread_ratio: as in `CleaningRules`.
    """

    min_expiry: NDArray[np.float64]
    max_relative_spread: NDArray[np.float64]
    max_deviations: NDArray[np.float64]
    max_outlier: NDArray[np.float64]
    max_spread_ratio: NDArray[np.float64]

    @classmethod
    def of(cls, rules: Sequence[CleaningRules], group: NDArray[np.int64]) -> "RowRules":
        """From the rules of every group and the group `[n]` of every row; -1 is none, whose rows are never used."""
        known = rules or [CleaningRules()]
        return cls(**{name: np.array([getattr(one, name) for one in known])[group] for name in THRESHOLDS})

    @property
    def compares(self) -> bool:
        """Whether any rule compares a quote with its neighbours."""
        return any(np.isfinite(x).any() for x in (self.max_deviations, self.max_outlier, self.max_spread_ratio))

    def named(self, name: str, row: int) -> str:
        """A setting, as the sentence on a row that broke it names it."""
        value = getattr(self, name)[row]
        return f"{value:.6g} ({name}; option --{name.replace('_', '-')})"

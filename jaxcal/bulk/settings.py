"""Settings: everything that determines the numbers of a bulk job, with a hash."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.spec_record import spec_to_record
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.models.base import AbstractModel
from jaxcal.models.diffusions.heston import Heston

Precision = Literal["float64", "float32", "mixed"]


@dataclass(frozen=True)
class Settings:
    """What a bulk job computes: with the same settings, input and version it gives the same dataset.

    Attributes:
        model: class of the model, or a model whose parameters are the start of every fit; or a `CalibrationSpec`, which
            says `free`, `loss` and `rules` too.
        precision: of the arithmetic, see `calibrate_many`.
        free: names of the parameters to fit; all of them if None.
        rules: of the cleaning; by default the profile that suits each surface.
        venue: layout of the tables; recognised file by file if None.
        part_size: surfaces in a part of the result. A part is fitted in one batch and written in one go, so it is also
            what a killed job loses.
        quotes: whether to write a row for every quote that is used.
        loss: of the residuals, as in `calibrate`; least squares if None.
        rate: for rows of a table that have none, as in `inspect_quotes`; American quotes need a rate.

    Raises:
        ValueError: `part_size` is not positive, `rate` is not a decimal within 1 of 0, the precision is unknown, or
            what a spec says is given beside it; and what `calibrate` raises for the model, `free` and `loss`.

    Example:
        >>> from jaxcal.bulk.settings import Settings
        >>> Settings().hash == Settings(part_size=512).hash
        False
    """

    model: type[AbstractModel] | AbstractModel | CalibrationSpec = Heston
    precision: Precision = "float64"
    free: tuple[str, ...] | None = None
    rules: CleaningRules | SuitedRules = field(default_factory=SuitedRules)
    venue: str | None = None
    part_size: int = 1024
    quotes: bool = False
    loss: AbstractLoss | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.part_size < 1:
            raise ValueError(f"part_size {self.part_size} must be positive")
        if self.rate is not None and not abs(self.rate) <= 1.0:
            raise ValueError(f"rate {self.rate} must be a decimal a year: divide a number in percent by 100")
        if self.precision not in ("float64", "float32", "mixed"):
            raise ValueError(f"precision {self.precision!r} is none of float64, float32, mixed")
        if isinstance(self.model, CalibrationSpec):
            if self.free is not None or self.loss is not None or self.rules != SuitedRules():
                raise ValueError("free, loss and rules are those of the spec: change them there")
            spec = self.model
            if isinstance(spec.weights, np.ndarray):
                raise ValueError("the spec has weights of the quotes of one surface: give a rule, such as 'vega'")
            for name, value in (("free", spec.free), ("loss", spec.loss), ("rules", spec.rules or self.rules)):
                object.__setattr__(self, name, value)

    @cached_property
    def spec(self) -> CalibrationSpec:
        """What is asked of every surface."""
        if isinstance(self.model, CalibrationSpec):
            return self.model
        return CalibrationSpec(self.model, free=self.free, loss=self.loss, rules=self.rules)

    @property
    def making(self) -> tuple[CleaningRules | SuitedRules, float | None, VarianceClock | None]:
        """How surfaces are made of rows: the rules, the rate, and the clock."""
        return self.rules, self.rate, self.spec.clock

    @property
    def template(self) -> type[AbstractModel]:
        """Class of the model."""
        return self.spec.template

    def record(self) -> dict[str, Any]:
        """The settings as plain values, for a file and for comparison."""
        start, model = None, self.spec.model
        if not isinstance(model, type):
            fields = dataclasses.fields(model)
            start = {f.name: np.asarray(getattr(model, f.name), np.float64).tolist() for f in fields}
        plain = CalibrationSpec(model, free=self.free, loss=self.loss, rules=self.spec.rules)
        return {
            "model": self.template.__qualname__,
            "start": start,
            "precision": self.precision,
            "free": None if self.free is None else list(self.free),
            # a rule that is off is not written, so that results of before there was one stay valid
            **{name: value for name, value in self.rules.thresholds().items() if math.isfinite(value)},
            **({"profile": "suited"} if isinstance(self.rules, SuitedRules) else {}),
            "venue": self.venue,
            "part_size": self.part_size,
            "quotes": self.quotes,
            "loss": None if self.loss is None else repr(self.loss),
            **({} if self.rate is None else {"rate": self.rate}),  # likewise
            **({} if self.spec == plain else {"spec": spec_to_record(self.spec)}),
        }

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the record's hash."""
        text = json.dumps(self.record(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

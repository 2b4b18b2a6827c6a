"""calibrate_many: one model to many surfaces."""

from typing import Any

import numpy as np
import pandas as pd

from jaxcal.calibration.calibrate import calibrate


class Fits:
    """Placeholder."""

    def __init__(self, fits: dict) -> None:
        self._fits = fits

    def __len__(self) -> int:
        return len(self._fits)

    def __iter__(self) -> Any:
        return iter(self._fits.values())

    def __getitem__(self, key: Any) -> Any:
        return self._fits[key]

    def to_frame(self) -> pd.DataFrame:
        """Placeholder."""
        rows = []
        for fit in self._fits.values():
            row = {
                "outcome": fit.status.outcome.name, "status": str(fit.status), "converged": fit.converged,
                "rmse_vol": float(fit.rmse_vol), "cost": float(fit.cost), "num_quotes": fit.surface.num_quotes,
                "num_steps": int(fit.num_steps),
            }  # fmt: skip
            errors = fit.standard_errors
            values = {}
            for name, value in fit.parameters.items():
                error = np.asarray(getattr(errors, name), float)
                if isinstance(value, list):
                    values |= {f"{name}[{i}]": x for i, x in enumerate(value)}
                    values |= {f"{name}[{i}]_error": x for i, x in enumerate(error)}
                else:
                    values |= {name: value, f"{name}_error": float(error)}
            rows.append(row | values)
        return pd.DataFrame(rows, index=pd.Index(list(self._fits)))


def calibrate_many(model: Any, surfaces: Any, *, precision: str = "float64", **settings: Any) -> Fits:
    """Placeholder."""
    items = surfaces.items() if isinstance(surfaces, dict) else enumerate(surfaces)
    return Fits({key: calibrate(model, surface, **settings) for key, surface in items})

"""skewed: jumps of price and variance together that go to one side."""

from typing import Any

import numpy as np


def skewed(law: dict[str, Any], share: float, variance: Any) -> dict[str, Any]:
    """Parameters of `SVCJ` whose jumps are as large as those of `law`, and to one side.

    Jumps of the price that are a multiple of the variance's are exponential; `share` of the size of a jump is moved
    into that part, to the side of the mean or, if negative, to the other. `variance` is the level of the surface's.

    Example:
        >>> found = skewed({"jump_mean": -0.3, "jump_std": 0.4}, 0.6, 0.25)
        >>> print(f"{found['jump_correlation'] * found['variance_jump_mean']:.1f}")
        -0.3
    """
    mean, std, least = law["jump_mean"], law["jump_std"], 0.1 * variance
    part = np.minimum(share * np.sign(mean) * np.hypot(mean, std), 0.8)
    return law | {
        "jump_mean": mean - part, "jump_std": 0.5 * std,
        "variance_jump_mean": least, "jump_correlation": part / least,
    }  # fmt: skip

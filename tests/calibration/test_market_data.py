"""Recorded chains: every European one ends in a status and a finite misfit."""

import numpy as np
import pytest

import jaxcal as jc

pytestmark = pytest.mark.market_data

FAST = ["deribit/single/btc_2020-05-21.csv", "deribit/single/btc_2025-12-05.csv", "us/chains/spx_2023-02-03.parquet"]


def check(path):
    quotes = jc.read_quotes(path)
    if "exercise" in quotes and quotes["exercise"].eq("A").any():
        return 0  # American: needs a rate
    surfaces = jc.surfaces_from_quotes(quotes)
    assert surfaces
    for key, surface in surfaces.items():
        fit = jc.calibrate(jc.Heston, surface)
        assert str(fit.status)
        assert np.isfinite(float(fit.rmse_vol)), key
        assert float(fit.rmse_vol) < 0.15, key
        assert fit.converged, (key, str(fit.status))
        assert float(fit.gradient) < 1e-5, key
        for name, interval in jc.Heston.bounds.items():
            assert interval.lower <= float(getattr(fit.model, name)) <= interval.upper, (key, name)
        assert len(fit.to_frame()) == surface.num_quotes
    return len(surfaces)


@pytest.mark.parametrize("name", FAST)
def test_chain(market_data, name):
    path = market_data / name
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    assert check(path) >= 1


@pytest.mark.slow
def test_every_other_european_chain(market_data):
    paths = sorted([*market_data.glob("deribit/single/*.csv"), *market_data.glob("us/chains/*.parquet")])
    assert paths
    others = [path for path in paths if not any(path.match(name) for name in FAST)]
    assert sum(check(path) for path in others) >= 1

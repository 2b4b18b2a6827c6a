"""Static arbitrage of fitted models: none where there is a law, and some where there need not be one."""

import pytest

import jaxcal as jc

STRIKES = [80.0, 90.0, 100.0, 110.0, 120.0]
SMILES = [[0.24, 0.22, 0.2, 0.19, 0.2], [0.16, 0.15, 0.14, 0.14, 0.15]]


def test_slices_fitted_one_by_one_may_cross():
    surface = jc.Surface.from_vols([0.5, 0.6], STRIKES, SMILES, forward=[100.0, 101.0], discount=0.9)
    report = jc.model_arbitrage(jc.calibrate(jc.SVI, surface), num_strikes=41)
    found = report.to_frame()
    assert set(found["kind"]) == {"calendar"}  # the bounds of SVI exclude butterflies
    gap = jc.black_price(0.2, 100.0, 0.5, forward=100.0) - jc.black_price(0.14, 100.0, 0.6, forward=100.0)
    money = 0.9 * float(gap[()])
    assert found["amount"].max() == pytest.approx(money, rel=0.1)
    assert found["row"].eq(-1).all()
    assert found["to_trade"].eq(0.0).all()
    assert report.num_strategies["butterfly"] == 2 * 40


@pytest.mark.slow
def test_a_surface_free_of_calendar_arbitrage_by_its_bounds():
    smiles = [[0.26, 0.23, 0.2, 0.19, 0.2], [0.25, 0.22, 0.2, 0.19, 0.19]]
    surface = jc.Surface.from_vols([0.5, 1.0], STRIKES, smiles, forward=100.0)
    assert jc.model_arbitrage(jc.calibrate(jc.SSVI, surface), num_strikes=41).num_violations == 0


def test_bad_arguments():
    surface = jc.Surface.from_vols([0.5, 0.6], STRIKES, SMILES, forward=100.0)
    fit = jc.calibrate(jc.SVI, surface)
    with pytest.raises(ValueError, match="num_strikes 2 must be 3 or more"):
        jc.model_arbitrage(fit, num_strikes=2)
    with pytest.raises(ValueError, match=r"deviations -1\.0 positive"):
        jc.model_arbitrage(fit, deviations=-1.0)

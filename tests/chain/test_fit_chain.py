"""A chain in one call: what is chosen, what is said, what is left out, and that bad quotes end in a sentence."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.chain.fit_chain import default_candidates
from tests.small_models import Flat, Line, Lines

STRIKES = np.linspace(80.0, 120.0, 15)
SMALL = (Flat, Line)


def table(
    slope=-0.1, *, half: float | None = 0.004, noise=0.001, expiries=(0.25, 0.5, 1.0), strikes=STRIKES, **columns
):
    """Quotes on a line in log-moneyness, with a spread around them."""
    tables = []
    for place, years in enumerate(expiries):
        vol = 0.2 + slope * np.log(strikes / 100.0) + noise * np.sin(7.0 * np.arange(len(strikes)) + place)
        sides = {} if half is None else {"bid_iv": vol - half, "ask_iv": vol + half}
        tables.append(pd.DataFrame({"expiry": years, "strike": strikes, "iv": vol, "forward": 100.0, **sides}))
    return pd.concat(tables, ignore_index=True).assign(**columns)


def test_the_first_model_that_is_enough_is_chosen():
    chain = jc.fit_chain(table(), models=[Flat, Line, Lines])
    assert type(chain.model) is Line
    assert chain.converged
    assert chain.model is chain.fit.model
    assert "Line (2 parameters): 100% of 9 held-out quotes between bid and ask" in chain.reason
    assert "Flat (1 parameter): " in chain.reason
    frame = chain.candidates.set_index("model")
    assert frame["chosen"].tolist() == [False, True, False]
    assert frame.loc["Lines", "status"] == "Not fitted: a smaller model is enough."
    assert frame.loc["Line", "inside_out"] == 1.0
    assert 0.0 < float(frame["rmse_out_half_spreads"]["Line"]) < 1.0
    # fitted by the misfit in half-spreads, to all quotes
    assert isinstance(chain.fit.spec.residual, jc.HalfSpreadResidual)
    assert chain.fit.spec.loss == jc.Cauchy(1.0)
    assert chain.fit.surface.num_quotes == 45
    assert "Inside bid and ask: 100.0%" in str(chain)


def test_fewest_parameters_within_a_standard_error_of_the_best():
    chain = jc.fit_chain(table(slope=0.0, noise=0.0), models=[Lines, Flat, Line], enough=2.0)
    assert type(chain.model) is Flat
    scores = chain.candidates.set_index("model")["score_out"]
    assert scores.notna().all()
    chain = jc.fit_chain(table(half=0.0002, noise=0.00002), models=[Lines, Flat, Line], enough=2.0)
    assert type(chain.model) is Line


def test_every_expiry_has_its_row():
    quotes = table().assign(row_of_mine=np.arange(45))
    quotes.loc[0, "strike"] = -1.0
    late = table(expiries=(0.0005,)).assign(row_of_mine=-1)
    chain = jc.fit_chain(pd.concat([quotes, late], ignore_index=True), models=SMALL)
    frame = chain.by_expiry
    assert frame["expiry"].tolist() == pytest.approx([0.0005, 0.25, 0.5, 1.0])
    assert frame["used"].tolist() == [0, 14, 15, 15]
    assert frame["left_out"].tolist() == [15, 1, 0, 0]
    assert frame["status"].tolist() == ["no quote used: 15 too short", "fitted", "fitted", "fitted"]
    np.testing.assert_allclose(frame["atm_vol"][1:], 0.2, atol=0.002)
    np.testing.assert_allclose(frame["atm_skew"][1:], -0.1, atol=0.01)
    assert (frame["inside"][1:] == 1.0).all()
    assert len(chain.left_out) == 16
    assert chain.left_out["row"].tolist() == [0, *range(45, 60)]
    assert chain.left_out["reason"][0] == "row 0: strike -1.0 must be positive"


def test_the_json_is_strict_and_gives_the_fit_back(tmp_path):
    chain = jc.fit_chain(table(half=None), models=[jc.BlackScholes])
    path = tmp_path / "chain.json"
    text = chain.to_json(path)
    record = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record == json.loads(text)
    assert {name: record[name] for name in ("model", "reason", "notes", "converged")} == {
        "model": "BlackScholes", "reason": chain.reason, "notes": list(chain.notes), "converged": True,
    }  # fmt: skip
    assert record["by_expiry"][0]["inside"] is None  # nothing is not a number
    assert record["candidates"][0]["chosen"] is True
    assert record["arbitrage"]["quotes"]["kinds"]["butterfly"]["strategies"] > 0
    loaded = jc.load(path)
    assert loaded.model.sigma == chain.model.sigma
    assert loaded.spec == chain.fit.spec


def test_without_bid_and_ask_misfits_are_volatilities():
    for half in (None, 0.0):  # locked quotes have none either
        chain = jc.fit_chain(table(half=half), models=SMALL)
        assert type(chain.model) is Line
        assert chain.fit.spec.residual == jc.ImpliedVolResidual()
        assert len(chain.notes) == 1
        assert chain.notes[0].startswith("None of 45 quotes has a bid and an ask apart: misfits are in volatility")
        assert "vol points" in chain.reason


def test_arbitrage_at_bid_and_ask_is_repaired_and_said():
    quotes = table(noise=0.0)
    quotes.loc[22, ["iv", "bid_iv", "ask_iv"]] += 0.03
    plain = jc.CleaningRules()  # compares no neighbours
    chain = jc.fit_chain(quotes, models=SMALL, rules=plain)
    assert chain.arbitrage.num_to_trade > 0
    assert chain.repaired["row"].tolist() == [22]
    moved = np.asarray(chain.surface.row) == 22
    assert np.asarray(chain.surface.vol)[moved] == pytest.approx(chain.repaired["repaired_vol"].to_numpy())
    assert chain.repaired["repaired_vol"][0] < quotes["bid_iv"][22]
    assert "Repair: 1 quote cannot be met between bid and ask without arbitrage" in chain.summary()
    others = (np.asarray(chain.surface.row) >= 0) & ~moved
    np.testing.assert_allclose(
        np.asarray(chain.surface.vol)[others], quotes["iv"].to_numpy()[np.asarray(chain.surface.row)[others]]
    )
    as_it_is = jc.fit_chain(quotes, models=SMALL, rules=plain, repair=False)
    assert not len(as_it_is.repaired)
    # a fee that is more than the gain leaves nothing to trade
    charged = jc.fit_chain(quotes, models=SMALL, rules=plain, fee=jc.TakerFee(0.01, 0.9))
    assert charged.arbitrage.num_to_trade == 0
    assert charged.arbitrage_before_fees.num_to_trade == chain.arbitrage.num_to_trade


def test_one_surface_of_several_keeps_the_rows_of_the_table():
    quotes = pd.concat([table(underlying="A"), table(0.05, underlying="B")], ignore_index=True)
    quotes.loc[50, "strike"] = -1.0
    with pytest.raises(jc.QuoteError, match="2 surfaces to choose from with underlying and time: A, B"):
        jc.fit_chain(quotes, models=SMALL)
    chain = jc.fit_chain(quotes, models=SMALL, underlying="B")
    assert float(chain.model.slope) == pytest.approx(0.05, abs=0.01)
    assert chain.report is not None
    assert chain.report.keys == (("B", None),)
    assert chain.left_out["row"].tolist() == [50]
    rows = np.asarray(chain.surface.row)
    assert rows[rows >= 0].min() == 45
    assert sorted(set(chain.by_expiry["used"])) == [14, 15]


@pytest.mark.parametrize("expiries", [(0.5,), tuple(np.linspace(0.05, 3.0, 60))])
def test_one_expiry_and_sixty(expiries):
    chain = jc.fit_chain(table(expiries=expiries), models=SMALL)
    assert type(chain.model) is Line
    assert chain.by_expiry["used"].tolist() == [15] * len(expiries)


def test_few_quotes_are_fitted_by_few_parameters():
    chain = jc.fit_chain(table(expiries=(0.5, 1.0), strikes=np.array([90.0, 110.0])), models=[Flat, Line, jc.Heston])
    assert type(chain.model) is Line
    assert chain.reason == "Line (2 parameters): 100% of 4 quotes between bid and ask; too few could be held out."
    status = chain.candidates.set_index("model")["status"]
    assert status["Heston"] == "Not fitted: a smaller model is enough."
    without = jc.fit_chain(table(expiries=(0.5, 1.0), strikes=np.array([90.0, 110.0]), half=None), models=[Flat, Lines])
    assert without.candidates["status"][1] == "Passed over: 4 parameters, for 3 quotes. " + str(
        without.comparison.entries[1].fit.status  # pyright: ignore[reportOptionalMemberAccess]
    )
    assert type(without.model) is Flat


def test_an_only_candidate_is_fitted_or_says_why_not():
    one = table(expiries=(0.5,), strikes=np.array([100.0]))
    assert jc.fit_chain(one, models=SMALL).reason == (
        "Flat (1 parameter): 100% of 1 quote between bid and ask; too few could be held out."
    )
    chain = jc.fit_chain(one, models=Line)
    assert not chain.converged
    assert math.isnan(float(chain.fit.cost))
    assert chain.arbitrage_of_model is None
    assert chain.by_expiry["status"].tolist() == ["Not fitted: there are fewer quotes than free parameters."]
    assert "Line: Not fitted: there are fewer quotes than free parameters." in chain.reason
    json.loads(chain.to_json(), parse_constant=pytest.fail)
    with pytest.raises(
        ValueError, match=r"no model could be fitted to 1 quote: Line: Not fitted: 2 parameters or more"
    ):
        jc.fit_chain(one, models=[Line, Lines])


def test_a_smile_with_arbitrage_is_passed_over():
    steep = table(slope=-0.9, half=0.0004, noise=0.0)
    chain = jc.fit_chain(steep, models=SMALL)
    assert type(chain.model) is Flat
    assert chain.candidates["status"][1].startswith("Passed over: its smiles have arbitrage: ")
    assert chain.reason.endswith("; passed over: Line.")
    assert type(jc.fit_chain(steep, models=SMALL, arbitrage_free=False).model) is Line


def test_a_surface_is_taken_as_it_is():
    surface = jc.Surface.from_quotes(table())
    chain = jc.fit_chain(surface, models=SMALL)
    assert chain.report is None
    assert chain.left_out.empty
    assert chain.surface is surface
    assert chain.by_expiry["left_out"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="a Surface is cleaned and chosen already: leave out rate"):
        jc.fit_chain(surface, rate=0.01)


def test_what_cannot_be_is_a_sentence(tmp_path: Path):
    with pytest.raises(jc.QuoteError, match="no rows"):
        jc.fit_chain(table().iloc[:0])
    empty = tmp_path / "empty.csv"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(jc.QuoteError):
        jc.fit_chain(empty)
    with pytest.raises(jc.QuoteError, match="no quote can be used"):
        jc.fit_chain(table().assign(strike=-1.0))
    with pytest.raises(ValueError, match="there is no model to fit"):
        jc.fit_chain(table(), models=[])
    with pytest.raises(TypeError):
        jc.fit_chain(table(), models=[int])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="there is no model 'hestn'"):
        jc.fit_chain(table(), models="hestn")
    with pytest.raises(TypeError):
        jc.fit_chain(table(), fee=0.0003)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="enough nan"):
        jc.fit_chain(table(), enough=math.nan)
    with pytest.raises(TypeError):
        jc.fit_chain([1.0])  # type: ignore[arg-type]


def test_prices_between_the_quoted_expiries():
    """Forwards and discounts are those of the quotes at their expiries, and log-linear in time between."""
    quotes = table(noise=0.0, discount=0.97)
    quotes.loc[quotes["expiry"].eq(1.0), "forward"] = 104.0
    chain = jc.fit_chain(quotes, models=SMALL)
    vol = chain.model.vol(np.array([90.0, 110.0]), 0.5, 100.0)
    np.testing.assert_allclose(chain.vol([90.0, 110.0], 0.5), vol, rtol=1e-9)
    call, put = (float(chain.price(95.0, 0.75, is_call=side)) for side in (True, False))
    forward = math.sqrt(100.0 * 104.0)
    assert call - put == pytest.approx(0.97 * (forward - 95.0), rel=1e-9)
    expected = jc.price(chain.model, 95.0, 0.75, forward=forward, discount=0.97, is_call=False)
    assert put == pytest.approx(float(expected), rel=1e-9)
    for expiry in (0.2, 1.1, math.nan):
        with pytest.raises(ValueError, match="is not between the first and the last quoted one, "):
            chain.price(95.0, [0.5, expiry])
    with pytest.raises(ValueError, match="Lines is a smile of each expiry"):
        jc.fit_chain(quotes, models=Lines).vol(100.0, 0.5)


def test_default_candidates_are_laws_from_few_parameters_to_many():
    few, many = (jc.Surface.from_quotes(table(expiries=np.linspace(0.1, 2.0, size))) for size in (3, 20))
    of_few, of_many = (list(default_candidates(surface)) for surface in (few, many))
    assert of_few[0] == "black-scholes"
    assert of_few[-1] == of_many[-1] == "clocked-heston-jumps"
    assert set(of_many) < set(of_few)
    assert len(of_many) == 3
    assert all(issubclass(name.model, jc.AbstractFourierModel) for name in of_few)

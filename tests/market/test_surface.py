"""Surface: sorted, padded, traceable to the caller's rows."""

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.padding import array_shape, bucket_size
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.table_file import QuoteError


def same_bits(a, b):
    return all(np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True) for x, y in zip(a, b, strict=True))


def test_buckets():
    assert [bucket_size(n, 1) for n in (1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49)] == [
        1,
        2,
        3,
        4,
        6,
        8,
        12,
        16,
        24,
        32,
        48,
        64,
    ]
    assert [bucket_size(n, 8) for n in (0, 8, 9, 15, 17, 25, 33, 49, 65, 97, 129)] == [
        8,
        8,
        16,
        16,
        24,
        32,
        48,
        64,
        96,
        128,
        192,
    ]


def test_chains_of_forty_to_sixty_strikes_share_a_program():
    assert {array_shape(e, k) for e in (11, 12) for k in (33, 43, 48, 49, 60, 64)} == {(12, 64)}
    assert array_shape(48, 32) == (48, 32)


@given(st.integers(1, 5000), st.sampled_from([1, 8]))
def test_bucket_holds_and_wastes_less_than_half(size, smallest):
    bucket = bucket_size(size, smallest)
    assert bucket >= size
    assert bucket == smallest or bucket < 2 * size
    assert bucket_size(bucket, smallest) == bucket


def test_from_vols_sorts_pads_and_remembers():
    vol = [[0.2, np.nan, 0.3], [0.1, 0.15, 0.4]]
    surface = Surface.from_vols([1.0, 0.5], [110.0, 100.0, 90.0], vol, forward=[101.0, 99.0], discount=[0.9, 0.95])
    assert surface.vol.shape == (2, 8)
    assert surface.vol.dtype == np.float64
    assert np.asarray(surface.expiry).tolist() == [0.5, 1.0]
    assert np.asarray(surface.forward).tolist() == [99.0, 101.0]
    assert np.asarray(surface.discount).tolist() == [0.95, 0.9]
    assert np.asarray(surface.strike)[0, :3].tolist() == [90.0, 100.0, 110.0]
    assert np.asarray(surface.vol)[0, :3].tolist() == [0.4, 0.15, 0.1]
    assert np.asarray(surface.row)[:, :3].tolist() == [[5, 4, 3], [2, 0, -1]]
    assert np.asarray(surface.is_call)[0, :3].tolist() == [False, True, True]
    assert np.asarray(surface.weight).sum(axis=1).tolist() == [3.0, 2.0]
    assert surface.num_quotes == 5
    assert surface.num_expiries == 2
    assert np.isnan(surface.bid_vol).all()
    assert np.isnan(surface.ask_vol).all()


def test_padding_is_harmless():
    surface = Surface.from_vols(np.arange(1, 6) / 10, [90.0, 110.0], np.full((5, 2), 0.3), forward=100.0, discount=0.9)
    assert surface.vol.shape == (6, 8)
    padding = np.asarray(surface.weight) == 0.0
    assert np.asarray(surface.row)[padding].tolist() == [-1] * padding.sum()
    assert (np.asarray(surface.vol)[padding] == 0.2).all()
    assert np.asarray(surface.is_call)[padding].all()
    assert np.asarray(surface.expiry)[5] == np.asarray(surface.forward)[5] == np.asarray(surface.discount)[5] == 1.0
    at_the_money = np.broadcast_to(np.asarray(surface.forward)[:, None], padding.shape)
    assert (np.asarray(surface.strike)[padding] == at_the_money[padding]).all()


def test_from_vols_takes_weights_and_strikes_of_each_expiry():
    strike = [[90.0, 100.0], [80.0, 120.0]]
    surface = Surface.from_vols(
        [0.5, 1.0], strike, np.full((2, 2), 0.2), forward=100.0, weight=[[1.0, 0.0], [2.0, 3.0]]
    )
    assert np.asarray(surface.weight)[:, :2].tolist() == [[1.0, 0.0], [2.0, 3.0]]
    assert np.asarray(surface.strike)[:, :2].tolist() == [[90.0, 100.0], [80.0, 120.0]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"vol": [0.2, 0.2]}, r"vol must be \[E, K\]"),
        ({"vol": [[0.2, 0.2]] * 3}, r"vol must be \[E, K\]"),
        ({"strike": [1.0, 2.0, 3.0]}, "does not fit vol"),
        ({"vol": [[0.2, -0.2], [0.2, 0.2]]}, "vol -0.2 must be positive"),
        ({"strike": [0.0, 2.0]}, r"strike 0.0 must be positive"),
        ({"expiry": [0.5, np.nan]}, "expiry nan must be positive"),
        ({"forward": [1.0, -1.0]}, "forward -1.0 must be positive"),
        ({"weight": [[1.0, -1.0], [1.0, 1.0]]}, "weight -1.0 must be positive"),
    ],
)
def test_from_vols_refuses(change, sentence):
    arguments = {"expiry": [0.5, 1.0], "strike": [90.0, 110.0], "vol": np.full((2, 2), 0.2), "forward": 100.0} | change
    with pytest.raises(QuoteError, match=sentence):
        Surface.from_vols(**arguments)


def test_from_quotes_points_back_at_the_rows(make_chain):
    chain = make_chain().sample(frac=1.0, random_state=3)
    surface = Surface.from_quotes(chain)
    assert surface.vol.shape == (3, 16)
    assert surface.num_quotes == 30
    used = np.asarray(surface.weight) > 0.0
    rows = np.asarray(surface.row)[used]
    assert chain["strike"].to_numpy()[rows].tolist() == np.asarray(surface.strike)[used].tolist()
    assert chain["option_type"].eq("C").to_numpy()[rows].tolist() == np.asarray(surface.is_call)[used].tolist()
    assert np.asarray(surface.vol)[used] == pytest.approx(chain["true_vol"].to_numpy()[rows], abs=1e-7)
    assert (np.diff(np.asarray(surface.strike)[:, :10]) > 0.0).all()
    assert (np.diff(surface.expiry) > 0.0).all()
    assert (np.asarray(surface.bid_vol)[used] < np.asarray(surface.ask_vol)[used]).all()


def test_row_order_changes_nothing_but_row(make_chain):
    chain = make_chain().drop(columns=["true_vol", "true_forward", "true_discount"])
    first = Surface.from_quotes(chain)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(chain))
        other = Surface.from_quotes(chain.iloc[order])
        row = np.asarray(other.row)
        back = np.where(row >= 0, order[row], -1)
        leaves = jax.tree.leaves(other)[:-1]
        assert same_bits(jax.tree.leaves(first)[:-1], leaves)
        assert np.array_equal(back, np.asarray(first.row))


def test_same_input_same_bits(make_chain):
    assert same_bits(*(jax.tree.leaves(Surface.from_quotes(make_chain())) for _ in range(2)))


def test_a_report_is_not_cleaned_again(make_chain):
    rules = CleaningRules(min_expiry=0.3)
    report = inspect_quotes(make_chain(), rules=rules)
    assert Surface.from_quotes(report).num_expiries == 2
    assert same_bits(*(jax.tree.leaves(Surface.from_quotes(make_chain(), rules=rules)) for _ in range(2)))
    with pytest.raises(ValueError, match="cleaned already"):
        Surface.from_quotes(report, rules=rules)


def test_several_surfaces(make_chain):
    chains = [
        make_chain(spot=spot).assign(underlying=name, quote_time=time)
        for name, spot in (("B", 100.0), ("A", 120.0))
        for time in ("2026-01-02T10:00:00Z", "2026-01-01T10:00:00Z")
    ]
    bad = chains[0].assign(underlying="C", bid=np.nan)
    quotes = pd.concat([*chains, bad])
    surfaces = surfaces_from_quotes(quotes)
    assert list(surfaces) == [(name, pd.Timestamp(f"2026-01-0{day}T10:00Z")) for name in ("A", "B") for day in (1, 2)]
    alone = Surface.from_quotes(chains[0])
    assert same_bits(
        jax.tree.leaves(alone)[:-1], jax.tree.leaves(surfaces["B", pd.Timestamp("2026-01-02T10:00Z")])[:-1]
    )
    report = inspect_quotes(quotes)
    assert len(report.keys) == 5
    assert (report.table[report.table["underlying"] == "C"]["reason"] != "").all()
    with pytest.raises(QuoteError, match=r"holds 5 surfaces, .*A at 2026-01-01.*use surfaces_from_quotes"):
        Surface.from_quotes(quotes)


def test_without_x64_it_warns_and_is_float32(make_chain):
    with jax.enable_x64(False):
        for build in (
            lambda: Surface.from_quotes(make_chain()),
            lambda: Surface.from_vols([0.5], [100.0], [[0.2]], forward=100.0),
        ):
            with pytest.warns(UserWarning, match="jax_enable_x64"):
                surface = build()
            assert {leaf.dtype.name for leaf in jax.tree.leaves(surface)} == {"float32", "bool", "int32"}
        chain = make_chain()
        with pytest.warns(UserWarning, match="jax_enable_x64"):
            surface = Surface.from_quotes(chain)
    used = np.asarray(surface.weight) > 0.0
    truth = chain["true_vol"].to_numpy()[np.asarray(surface.row)[used]]
    assert np.asarray(surface.vol)[used] == pytest.approx(truth, abs=2e-4)


def test_surface_passes_through_transformations(make_chain):
    surface = Surface.from_quotes(make_chain())
    doubled = jax.jit(lambda s: jax.tree.map(lambda x: x, s))(surface)
    assert same_bits(jax.tree.leaves(surface), jax.tree.leaves(doubled))
    seen = []
    jax.jit(lambda s: seen.append(repr(s)) or s.vol)(surface)
    stacked = jax.tree.map(lambda x: np.stack([x, x]), surface)
    assert "Surface(" in seen[0]
    assert stacked.num_quotes == 60
    assert jax.vmap(lambda s: s.vol)(stacked).shape == (2, 3, 16)
    assert repr(surface) == "Surface(30 quotes, 3 expiries from 0.1 to 1 years, padded to 3 x 16, float64)"


def test_a_widened_surface_has_the_same_quotes():
    surface = Surface.from_vols([0.5, 1.0], [90.0, 110.0], [[0.22, 0.2], [0.21, 0.2]], forward=[100.0, 101.0])
    wide = surface.widened((3, 16))
    assert wide.vol.shape == (3, 16)
    assert wide.num_quotes == surface.num_quotes
    for name in ("strike", "is_call", "vol", "bid_vol", "ask_vol", "weight", "row"):
        old, new = np.asarray(getattr(surface, name)), np.asarray(getattr(wide, name))
        np.testing.assert_array_equal(new[:2, :8], old)
        assert new.dtype == old.dtype
    assert not np.asarray(wide.weight)[2:].any()
    assert not np.asarray(wide.weight)[:, 8:].any()
    np.testing.assert_array_equal(np.asarray(wide.strike)[1, 8:], 101.0)
    assert surface.widened((1, 4)) is surface


def test_expiries_are_those_with_a_quote():
    vol = [[0.2], [float("nan")], [0.2], [0.2], [0.2], [0.2]]
    surface = Surface.from_vols([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [90.0], vol, forward=100.0)
    assert surface.expiry.shape == (6,)
    np.testing.assert_allclose(surface.expiries(), [0.1, 0.3, 0.4, 0.5, 0.6])
    assert len(surface.expiries()) == surface.num_expiries
    with pytest.raises(ValueError, match="the surface is a batch"):
        jax.tree.map(lambda leaf: np.stack([leaf] * 2), surface).expiries()

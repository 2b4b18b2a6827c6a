"""One bucket is one program: a second surface, another start or other settings compile nothing."""

import logging

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxcal as jc


@pytest.fixture
def compiled(caplog):
    """Runs a function and returns what JAX traced or compiled meanwhile."""

    def count(function):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            function()
        return [r.message for r in caplog.records if "Compiling" in r.message or "Finished tracing" in r.message]

    return count


def test_the_counter_counts(compiled):
    assert compiled(lambda: jax.jit(lambda x: 3 * x + 1)(np.arange(7.0)))


@pytest.mark.filterwarnings("default")
def test_no_second_program_for_the_same_bucket(dax, dax_fit, options, compiled):
    start = jc.Heston(v0=0.1, kappa=5.0, theta=0.1, sigma=1.0, rho=-0.5)
    jc.calibrate(start, dax, weights=np.ones(dax.weight.shape))
    jc.calibrate(jc.Heston, dax)  # the fixture's may have been forgotten: programs are dropped where memory is short
    for what, fit in {
        "another surface": lambda: jc.calibrate(jc.Heston, options),
        "another weight": lambda: jc.calibrate(jc.Heston, dax, weights=np.full(dax.weight.shape, 2.0)),
        "a start": lambda: jc.calibrate(start, options),
        "another start": lambda: jc.calibrate(jc.Heston(0.2, 4.0, 0.1, 1.3, -0.4), dax),
        "a fitted start": lambda: jc.calibrate(dax_fit.model, dax),
        "tolerances": lambda: jc.calibrate(start, dax, solver=jc.LevenbergMarquardt(xtol=1e-4, ftol=1e-6, gtol=1e-5)),
        "steps": lambda: jc.calibrate(jc.Heston, dax, solver=jc.LevenbergMarquardt(max_steps=7, damping=0.1)),
        "bounds": lambda: jc.calibrate(jc.Heston, dax, bounds={"kappa": (0.1, 30.0)}),
        "residual's floor": lambda: jc.calibrate(jc.Heston, dax, residual=jc.ImpliedVolResidual(floor=1e-6)),
    }.items():
        assert compiled(fit) == [], what


def test_numbers_of_quotes_share_a_program(dax, compiled):
    quotes = jc.dax_quotes("quantlib")
    some = quotes[quotes["strike"] < 5500.0]
    few = quotes.drop(index=[0, 5, 50, 99])
    jc.calibrate(jc.Heston, dax)
    surfaces = [jc.Surface.from_quotes(table) for table in (some, few)]
    assert {surface.vol.shape for surface in surfaces} == {dax.vol.shape}
    for surface in surfaces:
        assert compiled(lambda surface=surface: jc.calibrate(jc.Heston, surface)) == []


def test_dtype_and_shape_are_what_a_program_is_for(dax, compiled):
    """The opposite: what must be another program is one, so that the counter is known to see it."""
    # no other test has surfaces of this size
    small = jax.tree.map(lambda x: x[:5] if x.ndim == 1 else x[:5, :7], dax)
    assert compiled(lambda: jc.calibrate(jc.BlackScholes, eqx.tree_at(lambda s: s.weight, small, small.weight + 1.0)))

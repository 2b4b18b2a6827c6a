"""The one list of models, and what a model may define."""

import inspect
from typing import Any

import pytest

import jaxcal as jc
from jaxcal.models.registry import ModelName

ABSTRACT = (jc.AbstractModel, jc.AbstractFourierModel, jc.AbstractVolModel)

# What the base classes ask for, and what they answer for a model that says no more.
ASKED = {"log_cf", "vol"}
ANSWERED = {
    "violations", "moment_bounds", "decay_cone", "drift", "revival", "jump_kinds", "given_jumps",
    "basis", "mix", "basis_size", "still", "bounds", "vectors", "orders", "odd_parts", "held", "per_expiry", "slices",
}  # fmt: skip


def public_models() -> dict[str, type[Any]]:
    values = {name: getattr(jc, name) for name in dir(jc)}
    classes = {name: value for name, value in values.items() if inspect.isclass(value)}
    return {name: kind for name, kind in classes.items() if issubclass(kind, jc.AbstractModel) and kind not in ABSTRACT}


def test_every_public_model_is_in_the_registry_and_every_entry_is_public() -> None:
    assert {name.model.__name__: name.model for name in ModelName} == public_models()


@pytest.mark.parametrize("name", ModelName)
def test_a_model_defines_what_the_base_declares_and_overrides_nothing_else(name: ModelName) -> None:
    kind = name.model
    bases = [base for base in kind.__mro__[1:] if base.__module__.startswith("jaxcal")]
    assert all(base.__name__.startswith("Abstract") for base in bases), "a finished model is not derived from"
    final = {
        attribute
        for base in bases
        for attribute, value in vars(base).items()
        if not attribute.startswith("_") and not getattr(value, "__isabstractmethod__", False)
    }
    assert set(vars(kind)) & final <= ANSWERED


def test_what_the_base_declares_is_there() -> None:
    declared = {attribute for base in ABSTRACT for attribute in vars(base) if not attribute.startswith("_")}
    assert declared == ASKED | ANSWERED

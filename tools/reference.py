"""What the reference needs beyond what mkdocstrings reads off the source, as an extension of griffe.

Nothing is imported. A class whose parents lead to `equinox.Module` and that has no `__init__` of its own gets one with
its fields, those of its parents first, as equinox would make it: griffe knows those of dataclasses only. In docstrings
`Example:` becomes the section that griffe calls `Examples:`, and several arguments described in one entry
(`lower, upper: ...`) become an entry each.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

_MODULE = ("equinox.Module", "eqx.Module")
# An entry of a section for several names, with the lines that belong to it.
_SEVERAL = re.compile(r"^ {4}(?P<names>\w+(?:, \w+)+)(?P<text>: .*\n(?:(?: {5,}.*)?\n)*)", flags=re.MULTILINE)


class Reference(griffe.Extension):
    """Signatures of modules, and docstrings as griffe has them."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        everything = list(_inside(pkg))
        for found in everything:
            if found.docstring is not None:
                known = found.docstring.value == "See the class."
                found.docstring.value = "" if known else readable(found.docstring.value)
        for found in everything:
            if isinstance(found, griffe.Class) and "__init__" not in found.members and _is_module(found):
                found.set_member("__init__", _init(found))


def readable(docstring: str) -> str:
    """A docstring with the names of sections, and the entries, that griffe reads, and no HTML (`d<W, B>`)."""
    prose, example, code = f"{docstring}\n".partition("\nExample:\n")
    prose = _SEVERAL.sub(lambda m: "".join(f"    {name}{m['text']}" for name in m["names"].split(", ")), prose)
    prose = re.sub(r"`[^`]*`|<(?=\w)", lambda m: "&lt;" if m[0] == "<" else m[0], prose)
    return f"{prose}\nExamples:\n{code}" if example else prose


def _inside(found: griffe.Object) -> Iterator[griffe.Object]:
    """Everything defined in a module or a class, itself included."""
    yield found
    for member in list(found.members.values()):
        if isinstance(member, griffe.Object):
            yield from _inside(member)


def _parents(found: griffe.Class) -> list[griffe.Class]:
    """Parents within the package, in the order of Python, from the class up."""
    try:
        return [parent for parent in found.mro() if isinstance(parent, griffe.Class)]
    except (ValueError, griffe.GriffeError):
        return []


def _is_module(found: griffe.Class) -> bool:
    bases = [str(base) for parent in [found, *_parents(found)] for base in parent.bases]
    return any(base.partition("[")[0] in _MODULE for base in bases)


def _init(found: griffe.Class) -> griffe.Function:
    fields: dict[str, griffe.Parameter] = {}
    for parent in [*reversed(_parents(found)), found]:
        for name, member in parent.members.items():
            if not member.is_alias and "instance-attribute" in member.labels:  # no ClassVar
                fields[name] = _parameter(name, member)
    own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    return griffe.Function(
        "__init__", parameters=griffe.Parameters(own, *fields.values()), parent=found, returns="None"
    )


def _parameter(name: str, member: Any) -> griffe.Parameter:
    """One field; of `eqx.field(default=x)` the default is `x`."""
    default = member.value
    if isinstance(default, griffe.ExprCall) and str(default.function).endswith("field"):
        given = {x.name: x.value for x in default.arguments if isinstance(x, griffe.ExprKeyword)}
        default = given.get("default", "..." if "default_factory" in given else None)
    kind = griffe.ParameterKind.positional_or_keyword
    return griffe.Parameter(name, annotation=member.annotation, kind=kind, default=default)

"""figure_text: text of data as matplotlib may draw it."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from jaxcal._text import printable, shortened

_LONGEST = 90  # letters


def figure_text(text: str) -> str:
    r"""A text for a title or a legend: what is not in the font is a question mark, and a dollar begins no formula.

    Example:
        >>> print(figure_text("$^_{ 漢"))
        \$^_{ ?
    """
    letters = _font_letters()
    drawn = "".join(letter if ord(letter) in letters else "?" for letter in shortened(printable(text), _LONGEST))
    # matplotlib leaves names that begin with an underscore out of a legend
    return (" " if drawn.startswith("_") else "") + drawn.replace("$", r"\$")


@cache
def _font_letters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())

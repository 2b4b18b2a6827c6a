"""The command line, one command a file.

The module of a command imports what its options need: typer, and names. All that the command does is imported inside
it, so that help and version do not wait for JAX; what it is handed of the library is `Any` there. Of the modules that
commands share, `options/quotes_choice.py` and those of `console/` with tables import the library at their top, and are
imported inside the commands likewise.
"""

from jaxcal.cli.application import app as app

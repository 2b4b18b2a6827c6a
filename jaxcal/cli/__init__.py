"""The command line, one command a file."""

from jaxcal.cli.application import app as app

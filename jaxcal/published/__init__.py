"""Quotes printed in papers, retyped with their source."""

from jaxcal.published.dax import dax_quotes as dax_quotes

"""A chain of quotes to a surface to trade on, in one call."""

"""Benchmarks: each claim of speed or accuracy in the documentation is a row written by a module of this folder."""

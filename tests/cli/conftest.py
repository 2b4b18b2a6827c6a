"""The command `bulk` is tested with the quotes of the jobs that it runs."""

from tests.bulk.conftest import contents, make_quotes  # noqa: F401

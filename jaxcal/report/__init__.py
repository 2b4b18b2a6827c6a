"""What a person looks at, and the files that go with it."""

from jaxcal.report.parameter_path import write_path as write_path

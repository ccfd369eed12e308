"""Fixtures of the tests of model folders."""

from tests.support.model_folders import big_folder  # noqa: F401

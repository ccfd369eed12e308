"""The API reference: every public name is in it."""

import pytest

import birdembed
from tests.docs.public import modules, names_of
from tests.docs.site_sources import module


@pytest.fixture(scope="module")
def reference():
    return module("reference")


def test_every_name_is_on_one_page(reference):
    listed = [name for names in reference.pages().values() for name in names]
    assert sorted(listed) == sorted(
        f"birdembed.{name}" for name in birdembed.__all__ if name != "__version__"
    )


def test_every_title_has_names(reference):
    """No page names what is gone."""
    wanted = {name for names in reference.PAGES.values() for name in names.split()}
    assert wanted <= set(birdembed.__all__)


def test_every_integration_has_a_page(reference):
    here = {m.__name__: names_of(m) for m in modules()[0] if m is not birdembed}
    assert reference.integration_names() == here


def test_every_name_was_given_a_page(reference):
    """None goes to the last page only because nobody thought of it."""
    named = {name for names in reference.PAGES.values() for name in names.split()}
    assert named == set(birdembed.__all__) - {"__version__"}

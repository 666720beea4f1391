"""What the guide's pages must have, besides examples: every public name, links that lead somewhere."""

import inspect
import re

import pytest

import csc_cogd
from csc_cogd import nn
from tests.docs.examples import PAGES, ROOT


@pytest.mark.parametrize("package", [csc_cogd, nn], ids=lambda package: package.__name__)
def test_the_reference_has_every_public_name_once(package):
    text = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "guide" / "python").glob("*.md"))
    found = re.findall(rf"^::: {re.escape(package.__name__)}\.([A-Za-z]\w*)$", text, re.MULTILINE)
    assert sorted(found) == sorted(name for name in package.__all__ if name != "__version__")


@pytest.mark.parametrize("package", [csc_cogd, nn], ids=lambda package: package.__name__)
def test_the_first_of_the_words_that_a_docstring_lists_is_the_default(package):
    """As numpydoc has it; the reference shows it as the default."""
    for name in package.__all__:
        public = getattr(package, name)
        if not callable(public) or (inspect.isclass(public) and issubclass(public, Exception)):
            continue
        parameters = inspect.signature(public).parameters
        for argument, first in re.findall(r"^(\w+) : \{(.+?)[,}]", inspect.getdoc(public) or "", re.MULTILINE):
            if argument in parameters and parameters[argument].default is not inspect.Parameter.empty:
                assert (name, argument, first.strip("\"'")) == (name, argument, str(parameters[argument].default))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!\w+:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target

"""Pages made from the code say what the code says."""

from __future__ import annotations

import pytest

from shared.store import migrate
from tests.house.generated import PAGES, current
from tests.house.tree import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name):
    page = ROOT / name

    assert page.is_file(), "run `make docs`"
    assert page.read_text(encoding="utf-8") == current(name), "run `make docs`"


def test_the_migrations_make_the_tables_the_code_speaks_of(database_url):
    assert migrate.drift(database_url) == []

"""Names and openings: a module says what it is, in its name and in its first lines."""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath

from tests.house.tree import rooms, sources

BANNED_MODULE_WORDS = {"util", "helper", "common", "misc", "base", "manager", "service", "handler"}
BANNED_CLASS_WORDS = {"Manager", "Service", "Helper", "Util", "Utils", "Processor", "Impl", "Base", "Handler"}
DOCSTRING_LINES = 5


def test_no_module_is_named_after_nothing():
    nameless = [
        source.name
        for source in sources()
        for part in PurePosixPath(source.name.removesuffix(".py")).parts
        if {word.removesuffix("s") for word in part.split("_")} & BANNED_MODULE_WORDS
    ]

    assert not nameless, "say what the module holds, in a word of docs/glossary.md"


def test_no_class_is_named_after_its_job_title():
    titled = [
        f"{source.name}:{node.lineno} {node.name}"
        for source in rooms()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and set(re.findall(r"[A-Z][a-z]+", node.name)) & BANNED_CLASS_WORDS
    ]

    assert not titled, "name what the class is"


def test_every_init_file_is_empty():
    filled = [source.name for source in sources() if source.name.endswith("__init__.py") and source.text]

    assert not filled, "import from the module that defines the name"


def test_every_package_that_ships_has_its_init_file():
    packages = {source.name.rpartition("/")[0] for source in rooms()}
    marked = {source.name.rpartition("/")[0] for source in rooms() if source.name.endswith("__init__.py")}

    assert packages == marked, "without an empty __init__.py the wheel leaves the folder out"


def test_every_module_opens_with_one_to_five_lines_that_say_what_it_is_for():
    wrong = {
        source.name: lines
        for source in sources()
        if source.text
        and not 1 <= (lines := len((ast.get_docstring(source.tree) or "").splitlines())) <= DOCSTRING_LINES
    }

    assert not wrong, "one to five lines: what the module is for and what it is not for"

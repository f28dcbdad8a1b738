"""Sizes: a file one can hold in the head, a function one can see at once."""

from __future__ import annotations

import ast

from tests.house.tree import sources

FILE_LINES = 400
FUNCTION_LINES = 60


def test_no_file_has_more_than_400_lines():
    long = {source.name: lines for source in sources() if (lines := len(source.text.splitlines())) > FILE_LINES}

    assert not long, "split these by subject"


def test_no_function_has_more_than_60_lines():
    long = {
        f"{source.name}:{node.lineno} {node.name}": lines
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    }

    assert not long, "split these by step"

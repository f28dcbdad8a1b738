"""Fixtures of the deployment's tests: a real helm, and each installation rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.chart import CASES, Helm, Rendered


@pytest.fixture(scope="session")
def helm(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(helm_program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def installations(helm: Helm) -> dict[str, Rendered]:
    return {case: helm.case(case) for case in CASES}


@pytest.fixture(params=CASES)
def installation(request: pytest.FixtureRequest, installations: dict[str, Rendered]) -> Rendered:
    """Each of the files under `values/` in turn."""
    return installations[request.param]

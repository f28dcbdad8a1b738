"""The chart as a cluster would see it: rendered by a real helm, and ways to look at the objects."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.house.tree import ROOT

CHART = ROOT / "helm"
VALUES = Path(__file__).parent / "values"
CASES = sorted(path.stem for path in VALUES.glob("*.yaml"))
CORRAL = ("api", "worker", "delivery")

Object = dict[str, Any]


class Refused(Exception):
    """Helm said no; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """A helm that knows nothing of this user's clusters and repositories."""

    program: Path
    home: Path

    def run(self, *arguments: str) -> str:
        """What it prints.

        Raises:
            Refused: it ended with an error.
        """
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": os.devnull}
        done = subprocess.run(
            [str(self.program), *arguments], env=env, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def render(self, *values: str, release: str = "corral") -> Rendered:
        """The objects of an installation; `values` are helm's own arguments."""
        text = self.run("template", release, str(CHART), "--namespace", "prod", *values)
        return Rendered([found for found in yaml.safe_load_all(text) if found])

    def case(self, name: str, *values: str, release: str = "corral") -> Rendered:
        """The objects of one of the files under `values/`."""
        return self.render("--values", str(VALUES / f"{name}.yaml"), *values, release=release)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template and whose it is."""

    owner: Object
    template: Object

    @property
    def spec(self) -> Object:
        return self.template["spec"]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[Object]:
        """All of them, those that run first too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def main(self) -> Object:
        (container,) = self.spec["containers"]
        return container


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one installation consists of."""

    objects: list[Object] = field(repr=False)

    def of(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Object:
        """The one object of a kind whose name ends so."""
        (found,) = (one for one in self.of(kind) if name_of(one).endswith(suffix))
        return found

    def pods(self) -> list[Pod]:
        """Everything that becomes a pod."""
        made = [Pod(one, one["spec"]["template"]) for one in self.objects if "template" in one.get("spec", {})]
        return made + [Pod(one, one) for one in self.of("Pod")]

    def pod(self, component: str) -> Pod:
        (found,) = (pod for pod in self.pods() if pod.component == component)
        return found


def name_of(thing: Object) -> str:
    return thing["metadata"]["name"]


def environment(container: Object) -> dict[str, Any]:
    """Variables that the container itself names: their text, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}


def texts(thing: Any) -> Iterator[str]:
    """Every text inside, keys too."""
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield key
            yield from texts(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from texts(value)


def found_under(key: str, thing: Any) -> Iterator[Any]:
    """Every value under `key`, however deep."""
    if isinstance(thing, dict):
        for name, value in thing.items():
            if name == key:
                yield value
            yield from found_under(key, value)
    elif isinstance(thing, list):
        for value in thing:
            yield from found_under(key, value)

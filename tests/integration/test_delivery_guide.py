"""The verification code of docs/webhooks.md works as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from shared.domain.ids import DeliveryId
from shared.domain.webhook import mint_secret
from tests.fixtures.missing import missing
from workers.delivery.schedule import Ladder
from workers.delivery.sign import headers

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
BODY = '{"type":"webhook.test","text":"ü"}'.encode()


def code(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


def cases():
    """Secret to check with, headers, body, and whether it should hold."""
    secret, other, now = mint_secret(), mint_secret(), int(time.time())
    good = dict(headers(DeliveryId("dlv_1"), now, BODY, [secret]))
    rotated = dict(headers(DeliveryId("dlv_1"), now, BODY, [other, secret]))
    stale = dict(headers(DeliveryId("dlv_1"), now - 3600, BODY, [secret]))
    return [
        (secret, good, BODY, True),
        (secret, rotated, BODY, True),
        (other, rotated, BODY, True),
        (other, good, BODY, False),
        (secret, good, BODY + b" ", False),
        (secret, stale, BODY, False),
        (secret, {**good, "webhook-signature": "garbage v1,a,b ü"}, BODY, False),
    ]


def test_the_ten_lines_of_python_verify():
    names: dict = {}
    exec(code("python"), names)  # noqa: S102 - our own guide

    for secret, sent, body, holds in cases():
        if holds:
            names["verify"](secret, sent, body)
        else:
            with pytest.raises(ValueError, match=r"too old|not signed"):
                names["verify"](secret, sent, body)


def test_the_ten_lines_of_node_verify():
    node = shutil.which("node")
    if node is None:
        missing("Node", "no `node` on PATH")
    told = [[secret, sent, body.decode()] for secret, sent, body, _ in cases()]
    script = code("javascript") + (
        f"\nfor (const [secret, headers, body] of {json.dumps(told)}) {{"
        "\n  try { verify(secret, headers, body); console.log('true'); } catch (e) { console.log('false'); }\n}"
    )

    ran = subprocess.run([node, "-e", script], capture_output=True, text=True, timeout=30, check=True)

    assert ran.stdout.split() == [str(holds).lower() for *_, holds in cases()]


def test_the_guide_shows_the_ladder_that_is_set_out_of_the_box():
    from shared.settings.groups import Delivery  # noqa: PLC0415 - one test of this file

    shown = re.search(r"\| after \| 0 \|(.*)\|", GUIDE)
    assert shown
    units = {"s": 1, "min": 60, "h": 3600}
    steps = [float(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", shown[1])]

    assert tuple(steps) == Ladder.read(Delivery().ladder_s, 1.0).steps_s

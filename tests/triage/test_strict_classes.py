"""Promises at the edge of what can be tested: an alarm suspends whatever happens, and one class's trouble is not another's."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from redis import Redis

from tests import bundles
from tests.benchmarks.certify.monitor import Runs, first_alarms, steady
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired
from triage.promise import exact, standing_changes
from triage.promise.bets import Promise

STRICT: dict[str, Any] = {"target": 0.9995, "firings": 20_000, "images": 50_000, "errors": 0, "bound": 0.9998}
EVIDENCE = "sr:{default.review}:evidence:default red"


async def test_an_alarm_of_a_class_that_no_test_can_bring_back_suspends_it(data: Data, gateway: Wired) -> None:
    declare(data, lenient(data, **STRICT))
    audited = Audited(gateway)
    gateway.control.poll()
    await audited.until_suspended()
    entry = audited.entry()
    assert (entry.state, entry.reads, entry.errors_allowed) == ("suspended", None, None)
    assert "only a new certificate" in entry.returns
    (event,) = audited.events("class_suspended").values()
    assert event.detail["returns"] == entry.returns
    assert "reads" not in event.detail
    await audited.send(3)
    assert gateway.sent[-1]["reasons"] == ["none_fired", "class_suspended"]
    await audited.read()
    await audited.turn()
    assert (await audited.evidence()).audits == 3, "what is read is still shown"
    assert audited.entry().state == "suspended"


@pytest.mark.parametrize("target", [0.3, 0.95, 0.9995])
def test_every_attempt_has_a_test_or_says_that_there_is_none(target: float) -> None:
    proof = bundles.certificate(target=target, firings=20_000, images=50_000, errors=0, bound=0.9998)
    for attempt in (1, 2, 10, 50, 1_000, 5_000):
        planned = standing_changes.test_of(proof, attempt)
        if planned is not None:
            reads, allowed = planned
            assert reads <= exact.MOST_READS
            assert exact.resumes(reads, allowed, target, proof.level / 2**attempt)
    assert standing_changes.test_of(proof, 5_000) is None, "no risk is left to spend"
    assert (standing_changes.test_of(proof, 1) is None) == (target == 0.9995)


def test_a_lax_promise_is_monitored_too() -> None:
    promise, runs = Promise(0.7, 0.05, 1_000), 4_000
    share = np.isfinite(first_alarms(Runs(promise, runs, seed=5), promise.horizon, steady(0.7))).mean()
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert np.isfinite(first_alarms(Runs(promise, 200, seed=6), promise.horizon, steady(0.9))).all()


async def test_one_class_s_failure_is_logged_and_stops_no_other(
    data: Data, gateway: Wired, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    declare(data, lenient(data, ("default", "ward")), "default", "ward")
    gateway.control.poll()
    audited = Audited(gateway)
    redis.hset(EVIDENCE, mapping={"version": "x", "body": b"\xc1 no message"})
    for _ in range(2):
        await audited.send(1)
        await audited.send(1, "green")
        await audited.send(1, "red", site="ward")
    await audited.read()
    auditor = audited.auditor()
    with caplog.at_level(logging.ERROR):
        await audited.turn(auditor)
        await auditor.show()
    assert (await audited.evidence("green")).audits == 2
    assert (await audited.evidence("red", "ward")).audits == 2
    assert "a class cannot be audited" in {record.message for record in caplog.records}
    redis.delete(EVIDENCE)
    await audited.turn(auditor)
    assert (await audited.evidence()).audits == 2

"""One watch over many epochs: a suspension is no new claim, and another promise is."""

from __future__ import annotations

import pytest

from tests import bundles
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired
from triage.auditing.suspensions import Suspensions
from triage.promise import monitor


@pytest.fixture
async def audited(data: Data, gateway: Wired) -> Audited:
    declare(data, lenient(data))
    gateway.control.poll()
    return Audited(gateway)


def suspensions(audited: Audited) -> Suspensions:
    return audited.auditor()._suspensions


async def say(audited: Audited, hours: float | None) -> None:
    site = audited.gateway.control.site("default", "default")
    await suspensions(audited).override(site, "red", "grace", "we looked at it", hours)


async def read_some(audited: Audited, count: int) -> monitor.State:
    await audited.send(count)
    await audited.read()
    await audited.turn()
    watch = (await audited.evidence()).watch
    assert watch is not None
    return watch


async def test_an_epoch_is_no_new_start_of_the_monitor(audited: Audited) -> None:
    before = await read_some(audited, 20)
    await say(audited, None)
    during = await read_some(audited, 4)
    assert during == before, "what is read while it is suspended is the test's"
    found = await audited.evidence()
    assert (found.suspended, found.audits) == (True, 4)
    await say(audited, 5)
    after = await read_some(audited, 3)
    lowered = monitor.restart(before)
    for _ in range(3):
        lowered = monitor.update(lowered, False, 0)
    assert after.stakes == lowered.stakes
    assert after.block == 23, "the block goes on, and with it the claim"
    assert sum(after.stakes) < sum(monitor.start(before.promise).stakes) / 2


async def test_after_an_alarm_too_it_is_restarted(audited: Audited) -> None:
    count = await audited.until_suspended()
    await say(audited, 5)
    after = await read_some(audited, 1)
    assert not after.alarmed
    assert after.block == count + 1


async def test_other_rules_are_another_claim(audited: Audited, data: Data) -> None:
    await read_some(audited, 20)
    stricter = bundles.sealed(lenient(data), typicality_floor=0.01)
    declare(data, bundles.signed(data.folder, stricter))
    await audited.turn()
    assert (await read_some(audited, 2)).block == 2


@pytest.mark.parametrize("audit", [{"horizon": 400}, {"false_alarms": 0.2}])
async def test_another_promise_is_watched_from_then_on(audited: Audited, data: Data, audit: dict[str, float]) -> None:
    before = await read_some(audited, 20)
    declare(data, lenient(data), **audit)
    after = await read_some(audited, 2)
    assert after.promise != before.promise
    assert (after.block, (await audited.evidence()).audits) == (2, 2)


async def test_a_promise_that_changes_during_a_suspension_is_watched_from_the_return_on(
    audited: Audited, data: Data
) -> None:
    await read_some(audited, 20)
    await say(audited, None)
    await read_some(audited, 2)
    declare(data, lenient(data), horizon=400)
    await read_some(audited, 2)
    assert (await audited.evidence()).audits == 4, "the test goes on"
    await say(audited, 5)
    assert (await read_some(audited, 1)).block == 1


async def test_a_state_with_a_resting_watch_stays_small(audited: Audited) -> None:
    await read_some(audited, 20)
    await say(audited, None)
    await read_some(audited, 2)
    assert len((await audited.evidence()).pack()) <= 1024

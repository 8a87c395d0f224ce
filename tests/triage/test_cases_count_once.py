"""Images of one case are right or wrong together, so that each case is evidence once: in the monitor and in the test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.benchmarks.certify.monitor import Runs, first_alarms
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired
from triage.index import audits as redis_audits
from triage.promise import exact
from triage.promise.bets import Promise
from triage.recovery.recover import recover
from triage.settings import Settings

CASES = "sr:{default.review}:cases:default red"


@pytest.fixture
async def audited(data: Data, gateway: Wired) -> Audited:
    declare(data, lenient(data, ("default", "ward")), "default", "ward")
    gateway.control.poll()
    return Audited(gateway)


async def read(audited: Audited) -> int:
    count = await audited.read()
    await audited.turn()
    return count


async def test_the_first_drawn_image_of_a_case_counts_and_the_others_are_read(audited: Audited) -> None:
    await audited.send(3, case="plant-7")
    await audited.send(2, "red", "blue", case="plant-8")
    await audited.send(1, case="plant-7")
    await audited.send(2)
    assert await read(audited) == 8 + 2, "two doubts are read a second time"
    found = await audited.evidence()
    assert (found.audits, found.errors) == (4, 1)
    await audited.send(1, case="plant-8")
    await read(audited)
    assert (await audited.evidence()).audits == 4
    sample = audited.gateway.metrics.registry.get_sample_value
    labels = {"project": "default", "site": "default", "class": "red"}
    assert sample("triage_audits_total", {**labels, "result": "right"}) == 3


async def test_a_case_is_one_of_a_site_and_of_a_class(audited: Audited) -> None:
    await audited.send(1, case="plant-7")
    await audited.send(1, "green", case="plant-7")
    await audited.send(1, site="ward", case="plant-7")
    await read(audited)
    assert (await audited.evidence()).audits == 1
    assert (await audited.evidence("green")).audits == 1
    assert (await audited.evidence("red", "ward")).audits == 1


async def test_without_a_case_the_very_same_image_counts_once(audited: Audited) -> None:
    for _ in range(3):
        view = await audited.gateway.predict("red", 999)
        audited.truth[view["id"]] = "red"
    await audited.send(1)
    await read(audited)
    assert (await audited.evidence()).audits == 2


async def test_the_test_for_resumption_counts_cases_and_every_epoch_its_own(audited: Audited) -> None:
    await audited.send(2, case="plant-7")
    await read(audited)
    await audited.until_suspended()
    needed = audited.entry().reads
    assert needed is not None
    for number in range(needed - 1):
        await audited.send(2, case=f"plant-{number}")
    await read(audited)
    assert (await audited.evidence()).audits == needed - 1
    assert audited.entry().state == "suspended"
    await audited.send(1, case=f"plant-{needed}")
    await read(audited)
    assert audited.entry().state == "watching"
    await audited.send(3, case="plant-7")
    await read(audited)
    assert (await audited.evidence()).audits == 1


async def test_which_cases_counted_survives_what_the_evidence_survives(
    audited: Audited, data: Data, valkey: Valkey, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await audited.send(2, case=f"plant-{number}")
    await read(audited)
    await recover(Settings(data=data.folder, redis_url=valkey.url))
    await audited.turn()
    assert (await audited.evidence()).audits == 5
    redis.flushall()
    await audited.gateway.recorder.step()
    await audited.turn()
    assert (await audited.evidence()).audits == 5
    monkeypatch.setattr(redis_audits, "REMEMBERED", 3)
    await audited.send(1, case="plant-4")
    await audited.send(1, case="plant-9")
    await read(audited)
    assert redis.zcard(CASES) == 3, "the newest are remembered"
    assert (await audited.evidence()).audits == 6


def test_why_images_of_a_case_must_not_count_each() -> None:
    """At exactly the promised precision, three images a case, all right or all wrong."""
    promise, runs = Promise(0.05, 0.05, 600), 2_000

    def alarms(images: int, seed: int) -> float:
        current = np.zeros(runs, np.bool_)

        def draw(monitors: Runs, audit: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
            nonlocal current
            if (audit - 1) % images == 0:
                current = monitors.errors(np.full(runs, 0.05))
            return current

        return float(np.isfinite(first_alarms(Runs(promise, runs, seed=seed), promise.horizon, draw)).mean())

    assert alarms(1, 1) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert alarms(3, 2) > 0.4

    planned = exact.reads_for_resume(0.95, 0.05, 0.985)
    assert planned is not None
    reads, allowed = planned
    rng = np.random.default_rng(3)
    passed = {n: (n * rng.binomial(reads // n, 0.055, 20_000) <= allowed).mean() for n in (1, 3)}
    assert passed[1] <= 0.05
    assert passed[3] > 0.1, "a class below its target would come back too often"

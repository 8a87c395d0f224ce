"""A class that goes bad is suspended where it went bad, its answers are recalled, and it earns its way back by evidence."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from redis import Redis

from embedded.stack import Valkey
from tests import bundles
from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired, wired
from tests.triage.test_whole import serving
from triage.ids import new_id, now_us
from triage.promise import exact, standing_changes


@pytest.fixture
async def audited(data: Data, gateway: Wired) -> Audited:
    declare(data, lenient(data, ("default", "ward")), "default", "ward")
    gateway.control.poll()
    return Audited(gateway)


async def test_a_class_that_keeps_its_promise_goes_on(audited: Audited) -> None:
    await audited.send(20)
    await audited.send(10, "green")
    await audited.read("ada")
    await audited.turn()
    found = await audited.evidence()
    assert (found.epoch, found.audits, found.errors, found.overdue) == (0, 20, 0, 0)
    assert (await audited.evidence("green")).audits == 10
    assert audited.entry().state == "watching"
    assert audited.events("class_suspended") == {}
    sample = audited.gateway.metrics.registry.get_sample_value
    labels = {"project": "default", "site": "default", "class": "red"}
    assert sample("triage_audits_total", {**labels, "result": "right"}) == 20
    await audited.auditor().show()
    low = sample("triage_precision_lower_bound", labels)
    assert low is not None
    assert 0 < low < 1
    assert sample("triage_class_suspended", labels) == 0


async def test_one_reader_s_doubts_are_no_errors(audited: Audited) -> None:
    """Ada errs every time, and nobody else does."""
    sent = await audited.send(12)
    audited.truth.update(dict.fromkeys(sent, "blue"))
    await audited.read("ada")
    audited.truth.update(dict.fromkeys(sent, "red"))
    await audited.turn()
    await audited.read("ben")
    await audited.turn()
    found = await audited.evidence()
    assert (found.audits, found.errors) == (12, 0)


async def test_a_class_that_goes_bad_is_suspended_there_only(audited: Audited) -> None:
    good = await audited.send(8)
    await audited.read()
    await audited.turn()
    await audited.send(3, "red", "red", "ward")
    audits = await audited.until_suspended()
    entry = audited.entry()
    assert (entry.state, entry.epoch, entry.by, entry.attempt) == ("suspended", 1, "monitor", 1)
    assert "were errors, more than a precision of 0.8 allows" in entry.why
    (event,) = audited.events("class_suspended").values()
    assert (event.subject, event.site, event.actor) == ("red", "default", "monitor")
    assert event.detail["errors"] == str(audits)
    assert entry.recall is not None
    assert event.detail["recall"] == entry.recall.id

    assert (await audited.send(1, "red", "red", "ward"))[0] in {
        each["id"] for each in audited.gateway.sent if each["route"] == "automatic"
    }
    await audited.send(1)
    assert audited.gateway.sent[-1]["reasons"] == ["none_fired", "class_suspended"]
    await audited.send(1, "green")
    assert audited.gateway.sent[-1]["route"] == "automatic"

    recalled = audited.events("recalled")
    bad = {prediction for prediction, seen in audited.truth.items() if seen == "blue"}
    subjects = {each.subject for each in recalled.values()}
    assert bad <= subjects
    assert len(subjects & set(good)) <= 1, "answers from before the last good evidence are not in doubt"
    told = [each for each in await audited.gateway.outcomes() if each["type"] == "recall"]
    assert {each["prediction"] for each in told} == subjects
    assert len(told) == len(subjects)
    assert {each["recall"] for each in told} == {entry.recall.id}
    corrected = [each for each in await audited.gateway.outcomes() if each["type"] == "correction"]
    assert {each["prediction"] for each in corrected} == bad


async def test_it_earns_its_way_back_by_a_test_of_fixed_size(audited: Audited) -> None:
    await audited.until_suspended()
    entry = audited.entry()
    assert entry.reads is not None
    assert (entry.reads, entry.errors_allowed) == standing_changes.test_of(
        audited.gateway.control.site("default", "default").proofs["red"], 1
    )
    probes = await audited.send(entry.reads)
    assert not any(each["route"] == "automatic" for each in audited.gateway.sent[-entry.reads :])
    await audited.read(limit=entry.reads - 1)
    await audited.turn()
    assert audited.entry().state == "suspended", "one read is missing, and nobody looks before"
    assert (await audited.evidence()).audits == entry.reads - 1
    await audited.read()
    await audited.turn()
    back = audited.entry()
    assert (back.state, back.epoch, back.by) == ("watching", 2, "monitor")
    (event,) = audited.events("class_resumed").values()
    assert event.detail["audits"] == str(len(probes))
    await audited.send(2)
    assert audited.gateway.sent[-1]["route"] == "automatic"
    await audited.read()
    await audited.turn()
    assert (await audited.evidence()).audits == 2, "a new epoch begins with what came in it"


async def test_a_test_that_fails_is_begun_anew_with_half_the_risk(audited: Audited) -> None:
    await audited.until_suspended()
    first = audited.entry()
    assert first.reads is not None
    assert first.errors_allowed is not None
    await audited.send(first.errors_allowed + 1, "red", "blue")
    await audited.send(first.reads - first.errors_allowed - 1)
    await audited.read()
    await audited.turn()
    second = audited.entry()
    proof = audited.gateway.control.site("default", "default").proofs["red"]
    assert (second.state, second.attempt, second.epoch) == ("suspended", 2, first.epoch + 1)
    assert (second.reads, second.errors_allowed) == standing_changes.test_of(proof, 2)
    assert second.reads is not None
    assert second.errors_allowed is not None
    assert exact.resumes(second.reads, second.errors_allowed, proof.target, proof.level / 4)
    assert second.suspended_at == first.suspended_at
    assert len(audited.events("class_suspended")) == 2
    assert "too many to prove a precision of 0.8" in second.why
    assert len({each.detail["recall"] for each in audited.events("recalled").values()}) == 1, (
        "nothing is recalled twice"
    )


async def test_what_nobody_reads_counts_against_the_class(audited: Audited) -> None:
    """Nobody protects a class by looking away."""
    await audited.send(3)
    await audited.read()
    await audited.send(40)
    await audited.turn()
    assert (await audited.evidence()).audits == 3, "the head of the line waits"
    audited.clock_ahead_us = round(71.9 * 3.6e9)
    await audited.turn()
    assert audited.entry().state == "watching"
    audited.clock_ahead_us = round(72.1 * 3.6e9)
    await audited.turn()
    assert audited.entry().state == "suspended"
    assert audited.entry().evidence["overdue"] == audited.entry().evidence["errors"] != "0"


async def test_draws_are_taken_in_their_order(audited: Audited) -> None:
    first, *later = await audited.send(5)
    leases = await audited.gateway.desk.lease("default.review", "ada", 5, None)
    for lease in leases:
        if lease.item.prediction != first:
            await audited.gateway.answering.answer(
                lease.token,
                "labels",
                {"red": "present", "green": "absent", "blue": "absent", "other": "absent"},
                None,
                "",
            )
    await audited.turn()
    assert (await audited.evidence_or_none()) is None
    await audited.gateway.desk.give_back(next(each.token for each in leases if each.item.prediction == first))
    await audited.read()
    await audited.turn()
    assert (await audited.evidence()).audits == 1 + len(later)


async def test_other_rules_begin_other_evidence(audited: Audited, data: Data) -> None:
    await audited.send(5)
    await audited.read()
    await audited.turn()
    newer = lenient(data, ("default", "ward"), target=0.9)
    stricter = newer.model_copy(update={"typicality_floor": 0.01})
    declare(data, bundles.signed(data.folder, bundles.sealed(stricter)), "default")
    audited.gateway.control.poll()
    await audited.turn()
    assert (audited.entry().epoch, audited.entry().state) == (1, "watching")
    await audited.send(2)
    await audited.read()
    await audited.turn()
    found = await audited.evidence()
    assert (found.epoch, found.audits) == (1, 2)
    assert found.rule == audited.gateway.control.site("default", "default").proofs["red"].rule


async def test_a_certificate_from_images_after_the_suspension_ends_it(audited: Audited, data: Data) -> None:
    await audited.until_suspended()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    declare(data, lenient(data, ("default", "ward"), certified_at=later), "default")
    await audited.turn()
    assert audited.entry().state == "suspended", "the same old images may have been certified again"
    declare(data, lenient(data, ("default", "ward"), certified_at=later, images_from=later), "default")
    await audited.turn()
    assert audited.entry().state == "watching"
    (event,) = audited.events("class_resumed").values()
    assert event.detail["why"] == "certified with images that came after the suspension"
    await audited.send(1)
    assert audited.gateway.sent[-1]["route"] == "automatic"


async def override(audited: Audited, hours: float | None, why: str = "we looked at it") -> None:
    site = audited.gateway.control.site("default", "default")
    await audited.auditor()._suspensions.override(site, "red", "grace", why, hours)


async def test_an_operator_s_word_lets_it_answer_and_its_audits_go_on(audited: Audited) -> None:
    await audited.until_suspended()
    await override(audited, 5)
    await audited.send(3)
    assert audited.gateway.sent[-1]["route"] == "automatic"
    await audited.read()
    await audited.turn()
    assert ((await audited.evidence()).epoch, (await audited.evidence()).audits) == (2, 3)
    await audited.until_suspended()
    assert (audited.entry().by, audited.entry().attempt, audited.entry().epoch) == ("monitor", 2, 3)


async def test_when_its_time_is_over_the_class_is_suspended_and_the_test_begun_anew(audited: Audited) -> None:
    await audited.until_suspended()
    suspended = audited.entry()
    await override(audited, 5)
    await audited.send(1)
    audited.clock_ahead_us = round(5.1 * 3.6e9)
    await audited.turn()
    entry = audited.entry()
    assert (entry.state, entry.attempt) == ("suspended", 2), "a test that was cut off has spent its risk"
    assert entry.why == "the time for which grace resumed it is over"
    assert entry.suspended_at == suspended.suspended_at
    assert entry.until is None


async def test_answers_from_before_every_gateway_knew_are_recalled_too(audited: Audited) -> None:
    await audited.until_suspended()
    entry = audited.entry()
    assert entry.recall is not None
    assert entry.recall.swept == {"test": "once"}
    standing = audited.gateway.control.site("default", "default")
    late = audited.gateway.predictions()[-1]
    straggler = msgspec.structs.replace(late, id=new_id(), received_at=now_us(), drawn=())
    assert straggler.rules == (standing.rules and standing.rules.digest)
    await audited.gateway.recorder.record(straggler)
    await audited.turn()
    assert straggler.id not in {each.subject for each in audited.events("recalled").values()}
    audited.clock_ahead_us = 6_000_000
    await audited.turn()
    assert straggler.id in {each.subject for each in audited.events("recalled").values()}
    recalled = audited.entry().recall
    assert recalled is not None
    assert recalled.swept == {"test": "whole"}


async def test_a_class_that_is_no_more_leaves_no_series_and_no_line(audited: Audited, data: Data, redis: Redis) -> None:
    auditor = audited.auditor()
    await audited.send(3)
    await auditor.show()
    sample = audited.gateway.metrics.registry.get_sample_value
    labels = {"project": "default", "site": "default", "class": "red"}
    assert sample("triage_class_suspended", labels) == 0
    data.declare("default", rules=None, mode="assist")
    await audited.turn(auditor)
    await auditor.show()
    assert sample("triage_class_suspended", labels) is None
    assert sample("triage_class_suspended", {**labels, "site": "ward"}) == 0
    assert redis.exists("sr:{default.review}:line:default red") == 0


async def test_a_site_whose_standing_is_broken_does_not_keep_the_others_from_being_watched(audited: Audited) -> None:
    await audited.send(2)
    await audited.send(2, site="ward")
    await audited.read()
    await audited.turn()
    path = audited.gateway.data.folder / "control/projects/default/standing/default.json"
    good = path.read_bytes()
    path.write_bytes(b"{")
    await audited.until_suspended("ward")
    await audited.send(40, "red", "blue")
    await audited.read()
    await audited.turn()
    assert audited.entry().state == "watching", "nothing can be decided where nobody knows what was"
    path.write_bytes(good)
    await audited.turn()
    assert audited.entry().state == "suspended"


async def test_nothing_is_overdue_while_its_reading_may_lie_in_another_gateway_s_journal(
    audited: Audited, redis: Redis, valkey: Valkey
) -> None:
    """Redis was set back to before the readings; its epoch, and so its age, is what it was."""
    gateway = audited.gateway
    whole = serving(gateway)
    await audited.send(3)
    async with wired(gateway.data, valkey.url, node="other") as other:
        others = serving(other)
        assert await whole.step()
        before: dict[bytes, bytes] = {name: redis.dump(name) for name in redis.keys("*")}  # type: ignore[misc]
        elsewhere = Audited(other, truth=audited.truth)
        assert await elsewhere.read("ada") == 3
        await other.recorder.step()
        redis.flushall()
        for name, content in before.items():
            redis.restore(name, 0, content)
        await gateway.recorder.step()
        await others.step()
        redis.hset("sr:{gateways}:nodes", "other", "")  # it has not brought back what it knows
        audited.clock_ahead_us = round(72.1 * 3.6e9)
        await audited.turn()
        await other.recorder.step()
        await others.step()
        await audited.turn()
        found = await audited.evidence()
        assert (found.audits, found.errors, found.overdue) == (3, 0, 0)

"""A gateway with its log in a real S3 store: what it predicts reaches the log by itself, and outlives its disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from tests.bundles import picture
from tests.services import client, eventually, make_data, raw, running_gateway, running_valkey
from tests.triage.object_store import running_s3
from triage.archive.history import History
from triage.store.places import open_objects

pytestmark = pytest.mark.e2e


def test_the_log_in_s3_outlives_the_disk_and_redis(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    with running_s3(tmp_path / "s3") as s3, running_valkey(tmp_path / "valkey") as valkey:
        log = s3.url("log")

        def archived() -> set[str]:
            history = History(open_objects(log), tmp_path / "nowhere")
            return {record.id for record in history.once(("predictions",))}

        with (
            running_gateway(data.folder, valkey.url, log=log, segment_seconds="0.2") as gateway,
            client(gateway) as calls,
        ):
            sent = {str(calls.predict(picture("blue", salt=salt))["id"]) for salt in range(6)}
            eventually(lambda: archived() >= sent)
            with raw(gateway) as http:
                eventually(lambda: "triage_journal_unarchived_bytes 4.0" in http.get("/metrics").text)
        shutil.rmtree(data.folder / "journal")
        with Redis.from_url(valkey.url) as redis:
            redis.flushall()
        options = ["--data", str(data.folder), "--log", log, "--redis-url", valkey.url, "--json"]
        recovered = CliRunner().invoke(secondreader.main, ["recover", *options])
        assert '"waiting": 6' in recovered.output
        with (
            running_gateway(data.folder, valkey.url, log=log) as again,
            client(again) as calls,
            raw(again) as http,
        ):
            assert {http.get(f"/v1/predictions/{each}").json()["id"] for each in sent} == sent
            later = str(calls.predict(picture("blue", salt=99))["id"])
        (left,) = (data.folder / "journal").iterdir()
        assert int(min(path.stem for path in left.glob("*.seg"))) > 1  # the archived numbers stay what they are
        with running_gateway(data.folder, valkey.url, log=log):
            eventually(lambda: later in archived())

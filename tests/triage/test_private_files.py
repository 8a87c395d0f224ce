"""What a gateway writes is its own user's to read: images, journal, keys."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx

from tests.bundles import picture
from tests.services import make_data, running_gateway, running_valkey

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def test_nobody_else_reads_what_a_gateway_writes(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    before = set(data.folder.rglob("*"))
    with (
        running_valkey(tmp_path / "valkey") as server,
        running_gateway(data.folder, server.url, failures_per_minute="1") as gateway,
    ):
        with httpx.Client(base_url=gateway.url, trust_env=False) as http:
            assert http.post("/v1/predictions", content=picture("red")).status_code == 200
            site = {"mode": "live", "model": "colours/1"}
            declared = http.put("/v1/projects/other/sites/default", json=site, headers={"If-None-Match": "*"})
            assert declared.status_code == 200, declared.text
            wrong = [http.get("/v1/queues", headers={"Authorization": "Bearer x"}).status_code for _ in range(70)]
            assert {401, 429} == set(wrong)
            counted = [
                line for line in http.get("/metrics").text.splitlines() if line.startswith("triage_limited_total")
            ]
            assert counted == [f'triage_limited_total{{limit="failures"}} {wrong.count(429):.1f}']
        # Rules are no secret, and the logs are of the test.
        made = (path for path in data.folder.rglob("*") if path not in before)
        found = [path for path in made if path.relative_to(data.folder).parts[0] not in ("rules", "logs")]
        assert {path.relative_to(data.folder).parts[0] for path in found} >= {"blobs", "journal", "control"}
        assert [path for path in found if path.stat().st_mode & OTHERS] == []

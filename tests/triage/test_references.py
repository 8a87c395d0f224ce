"""Images by reference: which uris name what, and a real S3 server behind the same rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import from_url

from tests.bundles import picture
from tests.services import make_data, raw, running_gateway, running_valkey
from tests.triage.object_store import S3, running_s3
from tests.triage.serving import problem
from triage.calling.references import References
from triage.errors import Busy, Forbidden, Invalid, SettingsError, TooLarge, Unavailable

STORES = {"scans": "file:///mnt/scans", "lab": "s3://bucket/prefix"}
REFERENCES = References(STORES)


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(["scans:", "lab:", "s3://bucket/prefix/", "..", ".", "/", "a", "%", "\\"]), max_size=6
    ).map("".join)
)
def test_a_uri_is_a_normal_key_in_a_named_store_or_refused(uri: str) -> None:
    try:
        name, key = REFERENCES.resolve(uri)
    except (Forbidden, Invalid) as error:
        key, name = str(error), ""
    assert "; " in key or (name in STORES and uri in (f"{name}:{key}", f"{STORES[name]}/{key}"))
    if name:
        assert all(part not in ("", ".", "..") for part in key.split("/"))
        assert not set(key) & set("%\\?#")


@pytest.mark.parametrize(
    ("stores", "says"),
    [
        ({"web": "http://example.com/x"}, "name a store as s3://, gs://, az://, file://"),
        ({"web": "https://bucket.s3.amazonaws.com/"}, "name a store as"),
        ({"s3": "s3://bucket"}, "'s3' names no store"),
        ({"Scans": "s3://bucket"}, "'Scans' names no store"),
        ({"scans": "file://host/mnt"}, "name a folder by its whole path"),
        ({"scans": "s3://"}, "name a bucket"),
        ({"scans": "s3://bucket/x?region=y"}, "name a store as"),
        ({"scans": "/mnt/scans"}, "name a store as"),
    ],
)
def test_a_setting_that_names_no_store_ends_the_start(stores: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        References(stores)


async def test_a_folder_that_is_away_is_unavailable(tmp_path: Path) -> None:
    gone = References({"scans": f"file://{tmp_path}/gone"})
    with pytest.raises(Unavailable, match="is away"):
        await gone.read("scans:a.png", "0" * 64, 10, lambda size: None)


async def test_what_is_held_is_told_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(100))
    scans = References({"scans": f"file://{tmp_path}"})

    def no_room(size: int) -> None:
        raise Busy(f"{size} bytes; later")

    with pytest.raises(Busy, match="100 bytes; later"):
        await scans.read("scans:a.png", "0" * 64, 100, no_room)
    with pytest.raises(TooLarge, match="more than 99 bytes"):
        await scans.read("scans:a.png", "0" * 64, 99, no_room)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One for this file, since a test ends it."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_an_image_in_a_bucket(s3: S3, tmp_path: Path) -> None:
    image = picture("red", salt=500)
    sha256 = hashlib.sha256(image).hexdigest()
    inside, outside = from_url(s3.url("scans")), from_url(s3.url("secret"))
    obstore.put(inside, "2026/a b.png", image)
    obstore.put(inside, "large.png", bytes(200_001))
    obstore.put(outside, "a.png", image)
    data = make_data(tmp_path / "data")
    settings = {"max_body_bytes": "200000", "references": json.dumps({"scans": s3.url("scans")})}
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_gateway(data.folder, valkey.url, **settings) as gateway,
        raw(gateway) as http,
    ):
        for uri in ("scans:2026/a b.png", f"{s3.url('scans')}/2026/a b.png"):
            reply = http.post("/v1/predictions", json={"uri": uri, "sha256": sha256})
            assert reply.status_code == 200, reply.text
            assert reply.json()["labels"][0]["id"] == "red"
        for uri, status, says in (
            ("scans:2026/none.png", 404, "there is no scans:2026/none.png"),
            ("scans:large.png", 413, "more than 200,000 bytes"),
            ("scans:../secret/a.png", 422, "not normal"),
            (f"{s3.url('secret')}/a.png", 403, "in no store"),
            (f"{s3.url('scans')}x/a.png", 403, "in no store"),
        ):
            problem(http.post("/v1/predictions", json={"uri": uri, "sha256": sha256}), status, says)
        problem(
            http.post("/v1/predictions", json={"uri": "scans:2026/a b.png", "sha256": "0" * 64}), 422, "another content"
        )
        s3.process.kill()
        problem(
            http.post("/v1/predictions", json={"uri": "scans:2026/a b.png", "sha256": sha256}), 503, "does not answer"
        )

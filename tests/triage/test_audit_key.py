"""The secret that draws audits is made once, is nobody else's to read, and a broken one is never replaced in silence."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.triage.object_store import S3
from triage.errors import SettingsError
from triage.store.audit_key import NAME, audit_key
from triage.store.places import open_objects
from triage.store.shared_key import there


def test_whoever_comes_first_makes_it_and_all_draw_alike(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(audit_key, [tmp_path / "control"] * 64))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert [path.name for path in (tmp_path / "control").iterdir()] == [NAME]
    assert stat.S_IMODE((tmp_path / "control" / NAME).stat().st_mode) == 0o600


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert audit_key(tmp_path / "a") != audit_key(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"secret", b"0" * 63, b"\xff" * 64, b"G" * 64])
def test_a_broken_key_is_said_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(SettingsError, match=r"audit\.key, which draws the audits, .+; "):
        audit_key(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_gateways_on_several_machines_share_one_in_a_bucket(s3: S3, tmp_path: Path) -> None:
    place = s3.url(f"{tmp_path.name}/control")
    assert not there(place, NAME)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(audit_key, [place] * 16))
    assert len(keys) == 1
    assert there(place, NAME)
    open_objects(place).put(NAME, b"secret")
    with pytest.raises(
        SettingsError, match=r"control/audit\.key, which draws the audits, does not hold 64 hex digits; "
    ):
        audit_key(place)

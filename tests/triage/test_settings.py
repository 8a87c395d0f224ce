"""Settings: argument > environment > file > default; each mistake is one line; the page lists every one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from triage.errors import SettingsError
from triage.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("TRIAGE_"):
            monkeypatch.delenv(name)


def file(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def refused(path: Path | None = None, **arguments: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(path, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_source_gives_way_to_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "port = 1001\nlease_s = 11\nthreads = 3\n")
    assert Settings.load().port == 8080
    assert Settings.load(path).port == 1001
    monkeypatch.setenv("TRIAGE_PORT", "1002")
    monkeypatch.setenv("TRIAGE_LEASE_S", "12")
    loaded = Settings.load(path, port=1003, lease_s=None)
    assert (loaded.port, loaded.lease_s, loaded.threads, loaded.suggestions) == (1003, 12, 3, 5)


def test_the_environment_is_read_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("triage_port", "1002")
    assert Settings.load(file(tmp_path, "port = 1001\n")).port == 1002


def test_folders_follow_from_the_data_folder_unless_named(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path)
    assert settings.journal_folder == tmp_path / "journal"
    assert places(settings) == (f"{tmp_path}/blobs", f"{tmp_path}/control", f"{tmp_path}/log")
    named = Settings.load(data=tmp_path, journal=tmp_path / "j", blobs=tmp_path / "b")
    assert named.journal_folder == tmp_path / "j"
    assert places(named) == (f"{tmp_path}/b", f"{tmp_path}/control", f"{tmp_path}/log")


def test_a_store_holds_what_is_not_named_apart(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path, store="s3://bucket/here/", control=tmp_path / "c")
    assert settings.journal_folder == tmp_path / "journal", "the journal is on a disk of this machine"
    assert places(settings) == ("s3://bucket/here/blobs", f"{tmp_path}/c", "s3://bucket/here/log")


def places(settings: Settings) -> tuple[str, str, str]:
    return settings.blob_place, settings.control_place, settings.log_place


def test_the_key_shows_nowhere(tmp_path: Path) -> None:
    settings = Settings.load(api_key="open sesame")
    assert "sesame" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "open sesame"
    assert "12345" not in refused(file(tmp_path, "api_key = 12345\n"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway"])
def test_a_development_key_is_for_loopback(host: str) -> None:
    assert refused(host=host, api_key="k" * 16) == (
        f"argument: host = '{host}': TRIAGE_API_KEY is a development key and counts on loopback only; unset it, and make "
        "keys with 'secondreader keys create --role admin'"
    )
    assert Settings.load(host=host).host == host


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"oidc_issuer": "https://id"}, "settings: oidc_issuer and oidc_audience are set together or not at all"),
        ({"oidc_audience": "us"}, "settings: oidc_issuer and oidc_audience are set together or not at all"),
        ({"proxy_header": "x-user"}, "settings: proxy_header is believed from nowhere; name the proxy's addresses in"),
        ({"proxy_networks": ["10.0.0.0/8"]}, "settings: proxy_header names no header; set it, or leave the other"),
        ({"proxy_header": "x-user", "proxy_networks": ["here"]}, "argument: proxy_networks.0 = 'here': value is not a"),
        ({"oidc_algorithms": ["none"]}, "argument: oidc_algorithms.0 = 'none': input should be 'RS256'"),
        ({"oidc_algorithms": ["HS256"]}, "argument: oidc_algorithms.0 = 'HS256': input should be 'RS256'"),
        ({"oidc_issuer": "id.example.org", "oidc_audience": "us"}, "argument: oidc_issuer = 'id.example.org': string"),
    ],
)
def test_half_a_way_in_is_refused(given: dict[str, object], says: str) -> None:
    assert refused(**given).startswith(says)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["api_key", "proxy_secret", "admin_key_sha256"])
def test_no_mistake_tells_a_secret(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = refused(file(tmp_path, f"{name} = 1234567\n"))
    assert name in told
    assert "1234567" not in told
    if name == "admin_key_sha256":
        monkeypatch.setenv("TRIAGE_ADMIN_KEY_SHA256", "sr_the_key_itself")
        assert "itself" not in refused()


@pytest.mark.parametrize("key", ["", "   "])
def test_an_empty_key_is_no_key(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`TRIAGE_API_KEY=$UNSET` must not open the service to everybody who sends no key."""
    monkeypatch.setenv("TRIAGE_API_KEY", key)
    assert "the key is empty; set one, or leave it out" in refused(host="0.0.0.0")
    assert "the key is empty" in refused()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "prot is not a known key; remove it or mend its spelling"),
        ('port = "x"', "port = 'x': input should be a valid integer"),
        ("port = 70000", "port = 70000: input should be less than or equal to 65535"),
        ('classifier = "triton"', "classifier = 'triton': input should be 'torchserve' or 'inprocess'"),
        ("classify_timeout_s = 0", "classify_timeout_s = 0: input should be greater than 0"),
        ('node = "a/b"', "node = 'a/b': string should match pattern"),
        ("port = ", "mend the TOML"),
        ("[gateway]\nport = 1", "gateway is not a known key"),
        ('source_fields = "a"', "source_fields = 'a': "),
    ],
)
def test_a_mistake_in_a_file_names_file_key_value_and_mend(tmp_path: Path, text: str, says: str) -> None:
    path = file(tmp_path, text)
    told = refused(path)
    assert told.startswith(f"{path}: ")
    assert says in told


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "no.toml")
        == f"{tmp_path / 'no.toml'}: No such file or directory; name an existing TOML file"
    )
    assert refused(tmp_path) == f"{tmp_path}: Is a directory; name an existing TOML file"
    (tmp_path / "latin.toml").write_bytes(b'node = "caf\xe9"')
    assert refused(tmp_path / "latin.toml") == f"{tmp_path / 'latin.toml'}: it is not UTF-8 text; save it as UTF-8"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRIAGE_PORT", "x", "TRIAGE_PORT: port = 'x': input should be a valid integer"),
        ("TRIAGE_SOURCE_FIELDS", "ward,scanner", "TRIAGE_SOURCE_FIELDS: source_fields = 'ward,scanner': "),
        ("TRIAGE_LEASE_S", "0", "TRIAGE_LEASE_S: lease_s = '0': input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable_and_not_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refused(file(tmp_path, "threads = 1")).startswith(says)


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_SOURCE_FIELDS", '["ward", "scanner"]')
    assert Settings.load().source_fields == ("ward", "scanner")


def test_the_page_names_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        told = rows[name].strip()
        if field.default_factory is not None or field.default in (None, ()):
            assert not told.startswith("`"), f"{name}: the page gives the default {told}"
        else:
            assert told == f"`{field.default}`", f"{name}: the page gives the default {told}"

"""Rules: content-addressed, refused when edited or when they are another bundle's, silent about nothing."""

from __future__ import annotations

import datetime
import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import bdtr

from model_store import rules as store
from model_store.bundle import Bundle
from model_store.errors import DocumentError
from model_store.rules import ClassRule, Rules, assist_rules
from tests import bundles
from tests.model_store.documents import changed, mistake


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def rules(bundle: Bundle) -> Rules:
    return bundles.rules(bundle)


def sealed(folder: Path, content: bytes) -> Path:
    """Where a rules file of this content would lie: a mistake of meaning and not of the digest."""
    return folder / f"{hashlib.sha256(content).hexdigest()}.json"


def test_what_is_written_is_read_and_found(tmp_path: Path, rules: Rules) -> None:
    path = store.write(tmp_path, rules)
    assert path == tmp_path / "rules" / f"{rules.digest.removeprefix('sha256:')}.json"
    assert store.read(path) == rules
    assert store.read(path).digest == rules.digest
    assert store.find(tmp_path, rules.digest) == rules
    before = path.stat().st_mtime_ns
    assert store.write(tmp_path, rules) == path
    assert path.stat().st_mtime_ns == before, "rules never change, so they are never written twice"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "rules", path]


def test_the_digest_is_the_same_on_every_machine_and_in_every_version(rules: Rules) -> None:
    """Records name rules by it for ever: a field that a later version adds must leave it as it is."""
    fixed = bundles.sealed(rules, bundle="sha256:" + "1" * 64, labels="sha256:" + "2" * 64)
    assert fixed.digest == "sha256:bee09d3c2b97744d0a3d3acc7874ec7dda287a1f39073d38fdcd6d1175e9b2bd"
    assert b'"schema_version": 1' in fixed.content()


def test_defaults_are_not_written_so_that_new_ones_change_no_digest(rules: Rules) -> None:
    spelled_out = rules.model_copy(update={"project": "default"})
    assert spelled_out.digest == rules.digest
    assert b"project" not in rules.content()
    assert rules.model_copy(update={"project": "chest"}).digest != rules.digest


@pytest.mark.parametrize("edit", [(b"0.9", b"0.8"), (b'"cpu"', b'"cuda"'), (b"}", b"} "), (b"\n", b"\n\n")])
def test_edited_rules_are_refused(tmp_path: Path, rules: Rules, edit: tuple[bytes, bytes]) -> None:
    path = store.write(tmp_path, rules)
    content = path.read_bytes()
    assert edit[0] in content
    mistake(store.read, path, content.replace(*edit, 1), "was changed after it was certified", "certify again")


def test_certifying_again_mends_what_was_edited(tmp_path: Path, rules: Rules) -> None:
    path = store.write(tmp_path, rules)
    path.write_bytes(rules.content().replace(b"0.9", b"0.8", 1))
    assert store.read(store.write(tmp_path, rules)) == rules


def test_rules_in_another_spelling_are_refused_even_under_their_own_digest(tmp_path: Path, rules: Rules) -> None:
    """Else one file would have two digests: its name's, and the one that records would carry."""
    content = rules.model_dump_json().encode()
    mistake(store.read, sealed(tmp_path, content), content, "certify again")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes__red__state": "auto"}, ["classes.red.state = 'auto'", "'automatic', 'assist' or 'human'"]),
        ({"classes__red__threshold": 1.5}, ["classes.red.threshold = 1.5", "less than or equal to 1"]),
        ({"classes__red__threshold": math.nan}, ["classes.red.threshold = nan"]),
        ({"classes__red__veto": math.nan}, ["classes.red.veto = nan"]),
        ({"classes__red__veto": math.inf}, ["classes.red.veto = inf", "finite"]),
        ({"classes__red__veto": -0.1}, ["classes.red.veto = -0.1"]),
        ({"classes__red__threshold": ...}, ["classes.red:", "needs a threshold and a certificate"]),
        ({"classes__red__certificate": ...}, ["classes.red:", "certify it or make it assist"]),
        ({"classes__red__absent_below": 0.95}, ["classes.red:", "present and absent at once; lower absent_below"]),
        ({"classes__red__certificate__bound": 0.94}, ["classes.red.certificate:", "below the target 0.95"]),
        ({"classes__red__certificate__errors": 201}, ["classes.red.certificate:", "201 errors among 200 firings"]),
        ({"classes__red__certificate__firings": 501}, ["classes.red.certificate:", "501 firings among 500 images"]),
        ({"classes__red__certificate__target": 1}, ["classes.red.certificate.target = 1"]),
        ({"classes__red__certificate__correction": "holm"}, ["classes.red.certificate.correction = 'holm'"]),
        (
            {"classes__red__certificate__firings": 30},
            ["classes.red.certificate:", "1 errors among 30 firings do not prove"],
        ),
        ({"classes__red__certificate__attempted": 10_000_000}, ["do not prove a precision of 0.96", "with more data"]),
        (
            {"classes__red__certificate__rule": "sha256:" + "0" * 64},
            ["red's certificate is of another rule", "certify again"],
        ),
        ({"classes__red__certificate__rule": ...}, ["classes.red.certificate.rule is missing"]),
        (
            {"classes__red__certificate__sites": ["ward"]},
            ["red was not certified for the site 'default'; certify with"],
        ),
        ({"classes__red__certificate__provider": "cuda"}, ["red was certified on the provider cuda", "are for cpu"]),
        ({"classes__red__certificate__precision": "int8"}, ["red was certified on the precision int8", "are for fp32"]),
        (
            {"classes__red__certificate__valid_until": "2025-01-01T00:00:00Z"},
            ["ends before it begins", "certify again"],
        ),
        ({"classes__red__certificate__valid_until": "2030-01-01T00:00:00"}, ["valid_until", "timezone"]),
        ({"classes__red__sampling": {"threshold": 0.5, "probability": 1}}, ["only an assist class gathers evidence"]),
        ({"classes__red__absent_below": 0.1}, ["absent_below and the certificate of absence go together"]),
        ({"classes__red__threshold": 0.8}, ["red's certificate is of another rule"]),
        ({"classes__blue__veto": 0.4}, ["red's certificate is of another rule (bundle, threshold, veto"]),
        ({"typicality_floor": 0.5}, ["red's certificate is of another rule"]),
        ({"conditions": [{"field": "view", "one_of": ["pa"]}]}, ["red's certificate is of another rule"]),
        ({"bundle": "sha256:" + "7" * 64}, ["red's certificate is of another rule"]),
        ({"project": "chest"}, ["red's certificate is of another rule"]),
        ({"typicality_floor": -1}, ["typicality_floor = -1"]),
        ({"typicality_floor": ...}, ["typicality_floor is missing; add it"]),
        ({"sites": []}, ["sites", "at least 1 item"]),
        ({"provider": "tpu"}, ["provider = 'tpu'", "'cpu' or 'cuda'"]),
        ({"bundle": "latest"}, ["bundle = 'latest'", "match pattern"]),
        ({"tresholds": {}}, ["tresholds is not a known key; remove it or mend its spelling"]),
    ],
    ids=str,
)
def test_each_mistake_is_one_line(tmp_path: Path, rules: Rules, changes: dict[str, Any], says: list[str]) -> None:
    content = changed(rules.content(), **changes)
    mistake(store.read, sealed(tmp_path, content), content, *says)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"], ids=repr)
def test_what_is_no_rules_file_at_all_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    mistake(store.read, sealed(tmp_path, content), content)


def test_a_copy_never_keeps_the_digest_of_its_original(rules: Rules) -> None:
    assert rules.digest
    copied = rules.model_copy(update={"sites": ("elsewhere",)})
    assert copied.digest != rules.digest
    assert copied.digest == "sha256:" + hashlib.sha256(copied.content()).hexdigest()
    assert rules.model_copy(deep=True).digest == rules.digest


def test_a_few_digits_name_rules_where_no_others_begin_with_them(tmp_path: Path, rules: Rules) -> None:
    path, digits = store.write(tmp_path, rules), rules.digest.removeprefix("sha256:")
    assert store.find(tmp_path, digits[:8]) == store.find(tmp_path, "sha256:" + digits[:63]) == rules
    (path.with_stem(digits[:8] + "0" * 56)).write_bytes(b"")
    with pytest.raises(DocumentError, match="begins 2 digests"):
        store.find(tmp_path, digits[:8])
    with pytest.raises(DocumentError, match="holds no rules 00000000"):
        store.find(tmp_path, "00000000")


def test_rules_have_ended_from_the_end_of_their_first_certificate_on(rules: Rules) -> None:
    assert rules.valid_until is not None
    assert rules.ended(rules.valid_until)
    assert not rules.ended(rules.valid_until - datetime.timedelta(microseconds=1))


def test_rules_that_are_not_there_say_what_to_do(tmp_path: Path, rules: Rules) -> None:
    with pytest.raises(DocumentError, match="certify the bundle, or name an existing rules file"):
        store.find(tmp_path, rules.digest)


@pytest.mark.parametrize(
    "digest", ["sha256:../../secret", "../secret", "", "sha256:" + "A" * 64, "sha256:" + "1" * 65, "1" * 7]
)
def test_a_digest_that_is_none_never_becomes_a_path(tmp_path: Path, digest: str) -> None:
    (tmp_path / "secret.json").write_text('"password"')
    with pytest.raises(DocumentError) as caught:
        store.find(tmp_path, digest)
    assert "is no digest of rules" in str(caught.value)
    assert "password" not in str(caught.value)


def test_rules_fit_their_own_bundle_and_no_other(tmp_path: Path, bundle: Bundle, rules: Rules) -> None:
    rules.check_fits(bundle.digest, bundle.manifest)
    other = bundles.make(tmp_path, version="2")
    with pytest.raises(DocumentError, match=r"not for colours/2 .*; certify this bundle"):
        rules.check_fits(other.digest, other.manifest)


@pytest.mark.parametrize(
    ("update", "says"),
    [
        ({"labels": "sha256:" + "3" * 64}, "speak of other labels"),
        ({"classes": {}}, "speak of other labels"),
        ({"classes": {"red": "human"}}, "red is human but the bundle has a head for it"),
        ({"classes": {"other": "assist"}}, "other is assist but the bundle has no head for it"),
    ],
    ids=str,
)
def test_rules_that_miss_or_invent_something_do_not_fit(
    bundle: Bundle, rules: Rules, update: dict[str, Any], says: str
) -> None:
    if update.get("classes"):
        made = {label: ClassRule(state=state) for label, state in update["classes"].items()}
        update = {"classes": {**rules.classes, **made}}
    with pytest.raises(DocumentError, match=f"{says}.*; certify this bundle"):
        rules.model_copy(update=update).check_fits(bundle.digest, bundle.manifest)


def test_assist_rules_fit_and_answer_nothing(tmp_path: Path, bundle: Bundle) -> None:
    made = assist_rules(bundle.digest, bundle.manifest, "cuda", "ward-3")
    made.check_fits(bundle.digest, bundle.manifest)
    assert made.sites == ("ward-3",)
    assert {label: rule.state for label, rule in made.classes.items()} == {
        "red": "assist", "green": "assist", "blue": "assist", "other": "human",
    }  # fmt: skip
    assert store.read(store.write(tmp_path, made)) == made


def test_a_certificate_is_immutable() -> None:
    certificate = bundles.certificate(target=0.9, attempted=1, firings=22, errors=0, bound=0.9, images=22)
    with pytest.raises(ValidationError):
        certificate.target = 0.5  # type: ignore[misc]


def test_two_members_of_an_exclusive_group_can_never_answer_at_once(bundle: Bundle, rules: Rules) -> None:
    unsafe = rules.classes["red"].model_copy(update={"veto": 0.95})
    with pytest.raises(DocumentError, match=r"red answers from 0\.9 but stops the others only from 0\.95"):
        rules.model_copy(update={"classes": {**rules.classes, "red": unsafe}}).check_fits(
            bundle.digest, bundle.manifest
        )


def test_the_rule_hash_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Certificates name their rule by it for ever."""
    from model_store.certificates import ground_hash, rule_hash

    ground = ground_hash(
        project="default", bundle="sha256:" + "1" * 64, labels="sha256:" + "2" * 64, typicality_floor=0.05,
        conditions=(), vetoes={"b": 0.5, "a": 2.0},
    )  # fmt: skip
    assert (
        rule_hash(ground, "fires", "a", 0.875)
        == "sha256:339d9a470422889d6cec3c11355edb096fdee5886f2f482bb6eee6f68f4382ff"
    )
    assert len({rule_hash(ground, "fires", "a", t) for t in (0.8, 0.9)} | {rule_hash(ground, "absent", "a", 0.8)}) == 3


def test_rules_end_with_the_first_of_their_certificates(rules: Rules) -> None:
    assert rules.valid_until == bundles.UNTIL
    sooner = bundles.WHEN.replace(year=2027)
    red = rules.classes["red"].model_copy(update={"certificate": bundles.certificate(valid_until=sooner)})
    assert bundles.sealed(rules, classes={**rules.classes, "red": red}).valid_until == sooner
    none = {
        label: rule.model_copy(update={"state": "assist", "certificate": None}) for label, rule in rules.classes.items()
    }
    assert rules.model_copy(update={"classes": none}).valid_until is None


@given(st.integers(1, 3000), st.integers(0, 200), st.floats(0.5, 0.999), st.floats(1e-4, 0.5))
def test_a_certificate_states_no_more_than_its_counts_prove(
    firings: int, errors: int, bound: float, delta: float
) -> None:
    """Whatever its bound, it is accepted just when the exact binomial tail there is at most delta."""
    errors = min(errors, firings)
    tail = float(bdtr(errors, firings, 1 - bound))
    proven = tail <= delta
    if abs(tail / delta - 1) < 1e-5:
        return
    try:
        bundles.certificate(
            target=0.5, bound=bound, firings=firings, errors=errors, images=3000, delta=delta, attempted=1
        )
    except ValidationError:
        assert not proven
    else:
        assert proven
    try:
        bundles.absence(
            target=0.5, bound=1 - bound, positives=firings, missed=errors, images=3000, delta=delta, attempted=1
        )
    except ValidationError:
        assert not proven
    else:
        assert proven

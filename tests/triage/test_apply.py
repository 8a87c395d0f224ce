"""`apply` and `diff` over a real gateway: twice changes nothing, each mistake is one sentence, exit codes are promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from model_store.errors import DocumentError
from secondreader import main
from tests.triage.serving import KEY, Served
from triage.control.declared import KNOWN, read

QUEUE = """
kind: queue
project: {project}
name: urgent
spec:
  sla_s: 600
"""
SITE = """
kind: site
project: {project}
name: ward
spec:
  mode: assist
  model: colours/1
---
kind: switch
project: {project}
spec:
  answering: false
  reason: 'no'
"""


def run(served: Served, *arguments: str, key: str = KEY) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", served.gateway.url, "--key", key])


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text.format(project=folder.name.replace("_", "-").lower()[:40]))
    return folder


def project(folder: Path) -> str:
    return folder.name.replace("_", "-").lower()[:40]


def test_applying_twice_changes_nothing_the_second_time(served: Served, tmp_path: Path) -> None:
    folder = written(tmp_path, a=SITE, b=QUEUE)
    before = run(served, "diff", "-f", str(folder))
    assert before.exit_code == 1
    assert "+model: colours/1" in before.output
    assert f"+++ {folder}/b.yaml" in before.output
    made = run(served, "apply", "-f", str(folder))
    assert made.exit_code == 0, made.output
    name = project(folder)
    assert made.output.splitlines() == [
        f"made site {name}/ward", f"made project_switch {name}", f"made queue {name}/urgent",
    ]  # fmt: skip
    assert served.http.get(f"/v1/projects/{name}/switch").json() == {"answering": False, "reason": "no"}
    again = run(served, "apply", "-f", str(folder), "--json")
    assert {each["did"] for each in json.loads(again.output)} == {"unchanged"}
    after = run(served, "diff", "-f", str(folder))
    assert (after.exit_code, after.output) == (0, "")


def test_only_what_differs_is_changed(served: Served, tmp_path: Path) -> None:
    folder = written(tmp_path, a=SITE)
    run(served, "apply", "-f", str(folder))
    path = folder / "a.yaml"
    path.write_text(path.read_text().replace("mode: assist", "mode: capture"))
    seen = run(served, "diff", "-f", str(path)).output.splitlines()
    assert "-mode: assist" not in seen, "it is the default, and not told"
    assert "+mode: capture" in seen
    changed = run(served, "apply", "-f", str(path))
    assert changed.output.splitlines() == [
        f"changed site {project(folder)}/ward", f"unchanged project_switch {project(folder)}",
    ]  # fmt: skip


def test_what_the_service_refuses_is_said_and_the_rest_is_applied(served: Served, tmp_path: Path) -> None:
    folder = written(tmp_path, a=SITE.replace("colours/1", "none/1"), b=QUEUE)
    result = run(served, "apply", "-f", str(folder))
    assert result.exit_code == 1
    assert "ward: no model 'none/1'" in result.output
    assert f"made queue {project(folder)}/urgent" in result.output


def test_nothing_is_sent_when_one_document_cannot_be(served: Served, tmp_path: Path) -> None:
    folder = written(tmp_path, a=SITE, b=QUEUE.replace("sla_s", "sla"))
    result = run(served, "apply", "-f", str(folder))
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {folder}/b.yaml: spec: sla is not a known key; ")
    assert served.http.get(f"/v1/projects/{project(folder)}/sites").json() == {"documents": []}
    assert run(served, "diff", "-f", str(folder)).exit_code == 2


def test_a_queue_comes_after_the_one_it_escalates_to(served: Served, tmp_path: Path) -> None:
    last = QUEUE.replace("urgent", "last")
    folder = written(tmp_path, a=SITE, b=f"{QUEUE}  escalate_to: last\n---{last}")
    result = run(served, "apply", "-f", str(folder))
    assert result.exit_code == 0, result.output
    name = project(folder)
    assert result.output.splitlines()[-2:] == [f"made queue {name}/last", f"made queue {name}/urgent"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("escalate_to: lst", "escalate_to = 'lst' is no other queue of the project; declare that one first"),
        ("escalate_to: urgent", "escalate_to = 'urgent' is no other queue of the project"),
        ("routes: [{labels: [rde]}]", "routes: 'rde' is no label of the project; there is red, green, blue, other"),
    ],
)
def test_a_queue_that_names_what_is_not_there_is_refused(served: Served, tmp_path: Path, line: str, says: str) -> None:
    folder = written(tmp_path, a=SITE)
    (folder / "b.yaml").write_text(f"{QUEUE.format(project=project(folder))}  {line}\n")
    result = run(served, "apply", "-f", str(folder))
    assert (result.exit_code, says in result.output) == (1, True), result.output
    assert served.http.get(f"/v1/projects/{project(folder)}/queues/urgent").status_code == 404


def test_exit_codes_and_sentences_of_what_is_not_there(served: Served, tmp_path: Path) -> None:
    folder = written(tmp_path, a=SITE)
    assert run(served, "apply").exit_code == 2
    assert run(served, "apply", "-f", str(tmp_path / "none")).exit_code == 2
    refused = run(served, "apply", "-f", str(folder), key="wrong")
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    away = CliRunner().invoke(main, ["diff", "-f", str(folder), "--url", "http://127.0.0.1:9"])
    assert away.exit_code == 2
    assert "nothing answers at http://127.0.0.1:9; start it with" in away.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: sight\nspec: {}", "kind = 'sight': there is "),
        ("kind: site\nname: a", "spec is missing; add it"),
        ("kind: site\nname: A\nspec: {}", "name = 'A': a site is named like "),
        ("kind: site\nspec: {}", "name = '': a site is named like "),
        ("kind: site\nname: a\nproject: A\nspec: {}", "project = 'A': names have small letters"),
        ("kind: site\nname: a\nspek: {}\nspec: {}", "spek is not a known key"),
        ("kind: switch\nname: a\nspec: {answering: true}", "there is one switch; leave name out"),
        ("kind: access\nproject: a\nspec: {}", "a access is the whole service's; leave project out"),
        ("kind: site\nname: a\nspec: {mode: live, mode: assist}", "'mode' stands twice"),
        ("kind: site\nname: a\nspec: {mode: [}", "; mend the file"),
        ("kind: key\nname: abcdefgh\nspec: {}", "kind = 'key': there is "),
        ("just words", "(whole document)"),
        ("- 1\n- 2", "(whole document)"),
    ],
)
def test_each_mistake_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as refused:
        read([path])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_a_document_that_stands_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("kind: switch\nspec: {answering: true}")
    with pytest.raises(DocumentError, match=r"b.yaml: switch stands in .*a.yaml already; remove one"):
        read([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match=r"it holds no .yaml or .yml or .json file"):
        read([tmp_path / "empty"])


def test_words_of_yaml_are_words_and_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: switch\nspec: {answering: false, reason: no}\n---\n---\n")
    (found,) = read([path])
    assert found.shown() == {"answering": False, "reason": "no"}
    other = tmp_path / "a.json"
    other.write_text(json.dumps([{"kind": "switch", "project": "p", "spec": {"answering": True}}]))
    assert [each.told for each in read([other])] == ["project_switch p"]


@pytest.mark.parametrize("kind", KNOWN.values(), ids=lambda kind: kind.name)
def test_every_kind_is_read_back_from_what_is_shown(kind: Any) -> None:
    assert issubclass(kind.model, BaseModel)
    assert kind.model.model_config.get("extra") == "forbid", "a misspelt key has to be a mistake"

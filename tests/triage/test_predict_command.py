"""`secondreader predict`: metadata goes with the images, and what could not be sent is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.bundles import picture
from tests.triage.serving import KEY, Served
from tests.triage.test_client import server
from triage.commands.predict import predict


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{n}.png" for n in range(6)]
    for n, path in enumerate(paths):
        path.write_bytes(picture("red" if n % 2 else "blue", salt=500 + n))
    return [str(path) for path in paths]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(predict, list(arguments))


def test_images_go_with_what_is_said_of_them(served: Served, files: list[str]) -> None:
    done = run(*files, "--url", served.gateway.url, "--key", KEY, "--case", "c9", "--meta", "scanner=x=1", "--json")
    assert done.exit_code == 0, done.output
    results = [json.loads(line) for line in done.output.splitlines()]
    assert [each["file"] for each in results] == files
    assert {each["case"] for each in results} == {"c9"}
    assert "automatic" in {each["route"] for each in results}


def test_a_service_that_breaks_off_is_told_in_one_sentence_with_the_files_that_were_not_sent(files: list[str]) -> None:
    with server((200, {}), None) as (url, came):
        done = run(*files, "--url", url, "--clients", "1", "--json")
    assert done.exit_code == 1
    *lines, error = done.output.splitlines()
    results = [json.loads(line) for line in lines]
    assert ["not_sent" in each for each in results] == [False, *[True] * 5]
    assert error.startswith("Error: the connection to http://127.0.0.1:")
    assert all(name in error for name in files[1:])
    assert files[0] not in error
    assert len({each["idempotency-key"] for each in came}) == 2


@pytest.mark.parametrize("meta", ["scanner", "=x1", "key=1"])
def test_metadata_that_is_none_is_a_wrong_use(files: list[str], meta: str) -> None:
    done = run(files[0], "--meta", meta)
    assert (done.exit_code, "Traceback" in done.output) == (2, False)

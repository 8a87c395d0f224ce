"""Photographs the reviewer's page on real images: `python -m scripts.screenshot_review` renews docs/images/review.png.

Takes the model and rules that `make demo ARGS=--once` left in build/demo/data (or those of `--data`), serves them from a
temporary folder, sends images of the sample's test stream and opens the page in Chromium. `--all FOLDER` writes every view:
light, dark, upright, phone, help, several groups, nothing to read.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from model_store import bundle as bundles
from model_store import rules as rule_files
from model_store.labels import Group, Label, LabelSchema
from tests.browser import opened, running_chromium
from tests.services import client, running_gateway, running_valkey
from training import sample
from triage.client import Client

ROOT = Path(__file__).parent.parent
LAPTOP, TABLET, PHONE = (1280, 800), (900, 1200), (390, 844)
STUDY = LabelSchema(
    labels=(
        *(Label(id=name.lower().replace(" ", "-"), name=name, group="findings") for name in (
            "Scratch", "Dent", "Stain", "Loose thread", "Missing button")),
        *(Label(id=name.lower(), name=name, group="quality") for name in ("Good", "Limited", "Poor")),
    ),
    groups=(Group(id="findings", kind="independent"), Group(id="quality")),
)  # fmt: skip


def photograph(
    browser: Browser, url: str, path: Path, size: tuple[int, int] = LAPTOP, dark: bool = False, keys: Sequence[str] = ()
) -> None:
    """Opens the page afresh, presses `keys` as a reviewer would, one image at a time, writes the picture."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    page, _ = opened(context, url)
    for key in keys:
        page.wait_for_selector("main[data-seen=true]")
        page.keyboard.press(key)
    page.wait_for_selector("main[data-seen=true], main[data-screen=empty]")
    page.wait_for_timeout(1000)  # numbers, thresholds
    page.screenshot(path=path)
    context.close()
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def declare(gateway: Client, project: str, **site: Any) -> None:
    gateway._call("PUT", f"/v1/projects/{project}/sites/default", json=site, headers={"If-None-Match": "*"})


def send(gateway: Client, wanted: int) -> list[str]:
    """Sends test images until so many wait for a person; the keys that answer them right, in the queue's order."""
    places = {label: str((place + 1) % 10) for place, label in enumerate(sample.schema().ids)}
    keys: dict[str, str] = {}
    for image in sample.images("test"):
        prediction = gateway.predict(image.encoded())
        if prediction["route"] == "review":
            keys[prediction["id"]] = places[min(image.present)]
        if len(keys) == wanted:
            break
    for item in gateway.lease("default.review", "ada", count=100):  # a sampling plan's, which would come first
        if item.blind:
            gateway.skip(item)
            del keys[item.item]
        else:
            gateway.give_back(item)
    return list(keys.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "build/demo/data")
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        for name in ("models", "rules", "keys"):
            shutil.copytree(given.data / name, data / name)
        bundle = bundles.find(data, "fashion/1")
        found = [rule_files.read(path) for path in (data / "rules").glob("*.json")]
        rules = next(each for each in found if each.bundle == bundle.digest)
        with (
            running_valkey(data) as valkey,
            running_gateway(data, valkey.url) as gateway,
            running_chromium() as browser,
        ):
            service = client(gateway)
            declare(service, "default", mode="live", model="fashion/1", rules=rules.digest, audit={"probability": 0})
            answers = send(service, 40)
            page = f"{gateway.url}/review"
            pressed = [key for answer in answers[:6] for key in (answer, "Enter")]
            photograph(browser, page, ROOT / "docs/images/review.png", keys=[*pressed, answers[6]])
            if given.all is None:
                return
            given.all.mkdir(parents=True, exist_ok=True)
            photograph(browser, page, given.all / "dark.png", dark=True, keys=answers[6])
            photograph(browser, page, given.all / "upright.png", TABLET, keys=answers[6])
            photograph(browser, page, given.all / "phone.png", PHONE, keys=[answers[6], "Enter"])
            photograph(browser, page, given.all / "help.png", dark=True, keys="?")
            declare(service, "study", mode="assist", labels=STUDY.model_dump())
            service.predict(sample.images("test")[7].encoded(), project="study", case="S-104")
            photograph(browser, f"{page}?queue=study.review", given.all / "groups.png", keys="1336")
            for item in service.lease("study.review", "grace"):
                service.skip(item)
            photograph(browser, f"{page}?queue=study.review", given.all / "last.png")
            for item in service.lease("study.review", "bob"):
                service.answer(item, outcome="unusable")
            photograph(browser, f"{page}?queue=study.review", given.all / "empty.png", dark=True)


if __name__ == "__main__":
    main()

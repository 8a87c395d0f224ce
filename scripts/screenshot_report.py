"""Takes the pictures of the report that the README shows: docs/images/report.png and plan.png.

python -m scripts.screenshot_report BUNDLE --data DATA     # after: secondreader plan and report of that bundle
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

from model_store import bundle
from tests.browser import running_chromium
from training import report

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1280, 1180


def take(page: Path, to: Path) -> list[Path]:
    """The top of the report, and its section about promises; returns what was written."""
    with running_chromium() as chromium:
        context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        shown = context.new_page()
        shown.goto(page.as_uri())
        taken = {
            "report.png": shown.screenshot(),
            "plan.png": shown.locator("section", has=shown.locator("#plan")).screenshot(),
        }
    written = []
    for name, content in taken.items():
        with Image.open(io.BytesIO(content)) as picture:  # few colours: a third of the bytes
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(to / name, optimize=True)
        written.append(to / name)
    return written


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bundle", help="name/version")
    arguments.add_argument("--data", type=Path, default=Path("data"))
    arguments.add_argument("--to", type=Path, default=IMAGES)
    given = arguments.parse_args()
    page = report.folder(bundle.find(given.data, given.bundle)).resolve() / "report.html"
    for path in take(page, given.to):
        print(path)


if __name__ == "__main__":
    main()

"""Which document is where: names in the store become places, and what no kind can have is a problem."""

from __future__ import annotations

from triage.control.kinds import FOLDERS, Place, misnamed, place_of
from triage.control.shelf import Text


def placed(texts: dict[str, Text], problems: dict[str, str]) -> dict[Place, Text]:
    """Each document at its place. What has none is told in `problems`, and what is not below `projects/` is none of ours."""
    found: dict[Place, Text] = {}
    for path, text in texts.items():
        place = place_of(path)
        if place is None:
            if path.startswith("projects/"):
                known = ", ".join(sorted(FOLDERS))
                problems[path] = f"{path} is of no kind that there is ({known}); rename its folder"
        elif misnamed(place):
            problems["/".join(filter(None, (place.project, place.name)))] = (
                f"{path}: names have small letters, digits, - and _ only; rename the file or its project's folder"
            )
        else:
            found[place] = text
    return found

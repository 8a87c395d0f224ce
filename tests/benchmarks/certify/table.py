"""What each part's figures have to reach: rows of measure, found, must reach, reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.benchmarks.certify import promise as promised
from tests.benchmarks.certify import speed as speeds

Row = tuple[str, str, str, bool]


ACCURATE = 0.91
"""The model's accuracy from which on so much coverage has to be reached. The shipped sample's has less to learn from."""


def promise(found: dict[str, Any]) -> Iterator[Row]:
    accurate, small = found["accuracy"] >= ACCURATE, found["data"] == "sample"
    yield (
        f"accuracy of the model, {found['population']:,} images ({found['data']}), {found['strangers']:.1%} strangers",
        f"{found['accuracy']:.3f}", "" if small else f">= {ACCURATE:g}", accurate or small,
    )  # fmt: skip
    for row in found["rows"]:
        what = f"target {row['target']:g}, {row['images']:,} images, {row['redraws']} redraws"
        yield (
            f"{what}: a class below its target",
            f"{row['broken']:.3f} (naive rule {row['naive_broken']:.3f}; {row['automatic']:.1f} classes)",
            f"<= {row['allowed']:.3f}", row["broken"] <= row["allowed"],
        )  # fmt: skip
        if row["target"] == promised.TARGET:
            least, asked = promised.SIZES[row["images"]], accurate or not small
            yield (
                f"{what}: coverage over the best found",
                f"{row['of_oracle']:.3f} ({row['coverage']:.3f} of {row['oracle']:.3f})",
                f">= {least:g}" if asked else "", row["of_oracle"] >= least or not asked,
            )  # fmt: skip


def monitor(found: dict[str, Any]) -> Iterator[Row]:
    alpha = found["promise"]["alpha"]
    alarm = found["false_alarms"]["at_0.05"]
    yield (
        "false alarms in 5,000 audits at exactly the promise", f"{alarm['share']:.4f} (± {alarm['standard_error']:.4f})",
        f"<= {alpha:g}", alarm["share"] <= alpha + 2 * alarm["standard_error"],
    )  # fmt: skip
    fresh = found["fresh_start"]
    yield (
        "median audits to alarm at 8, 10, 15, 25% error", " / ".join(f"{each['median']:g}" for each in fresh.values()),
        "<= 1.3 x 625 / 197 / 52 / 13", all(each["times_reference"] <= 1.3 for each in fresh.values()),
    )  # fmt: skip
    late = max(
        max(each["times_fresh"].values()) for each in found["after_10000_good_audits"].values() if "times_fresh" in each
    )
    yield "after 10,000 good audits, over a fresh start, at worst", f"{late:.2f}", "<= 3", late <= 3
    readers = found["suspended_within_3000_audits_of_2_percent_error"]["second_reader"]["share"]
    yield "suspended at 2% error with 5% reviewer error", f"{readers:.4f}", "<= 0.02", readers <= 0.02
    cost = found["cost"]
    yield (
        "state of a class, its update", f"{cost['state_bytes']} bytes, {cost['update_microseconds']:.1f} µs",
        "<= 1,024 bytes", cost["state_bytes"] <= 1024,
    )  # fmt: skip


def speed(found: dict[str, Any]) -> Iterator[Row]:
    done, one = found["certify"], found["decide"]
    yield (
        f"certify {done['images']:,} images x {done['classes']:,} classes ({done['automatic']} automatic)",
        f"{done['seconds']:.1f} s (processor {done['processor_seconds']:.1f} s), {done['peak_gib']:.2f} GiB",
        f"<= {speeds.MOST_SECONDS:g} s, {speeds.MOST_GIB:g} GiB",
        done["seconds"] <= speeds.MOST_SECONDS and done["peak_gib"] <= speeds.MOST_GIB,
    )  # fmt: skip
    for kind in ("exclusive", "independent"):
        taken = one[f"{kind}_microseconds"]
        yield (
            f"decide one image of {one['classes']:,} {kind} classes", f"{taken:.1f} µs",
            f"<= {speeds.MOST_MICROSECONDS:g} µs", taken <= speeds.MOST_MICROSECONDS,
        )  # fmt: skip

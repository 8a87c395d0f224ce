"""Which images look the same: perceptual hashes, and every pair of them within a Hamming radius.

A look is the 256-bit pHash of the decoded image (the signs of its 16x16 lowest frequencies). Of every image the middle is
hashed too, cut a little closer each time, so that a copy that somebody cropped all round is found at the radius of one that
was only saved anew. A copy cropped on one side alone is not found.

The search is exact. With `radius + 1` bands, two looks within the radius agree in at least one band, so that only looks
that share a band are compared (multi-index hashing: Norouzi, Punjani and Fleet, 2012). Bits are dealt to the bands at
random: neighbouring frequencies go together, and bands made of neighbours would be crowded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.decode import decode
from model_store.errors import ImageError
from model_store.manifest import ImageSpec

SIDE = 16
BITS = SIDE * SIDE
CLOSER = (0.015, 0.03, 0.045)
"""Share of each side that the closer cuts leave out, top, bottom, left and right."""
FLAT = 1.0
"""Standard deviation, in levels of 255, below which an image has no look: the signs of nothing are noise."""
_READ = 128
"""Pixels of the longer side down to which a JPEG may be decoded; the hash is made of 32x32."""
_AT_ONCE = 1 << 21
"""Candidates compared at once; each takes some 40 bytes."""
_DEAL = np.random.default_rng(2012).permutation(BITS)

Looks = tuple[bytes, ...]
"""Of the whole image first, then of its closer cuts; 32 bytes each. Empty: nothing to tell it by."""


def looks(data: bytes, spec: ImageSpec, closer: bool = True) -> Looks:
    """The looks of an encoded image, with or without its closer cuts.

    Empty when it is flat or cannot be read; those who need its pixels will say that.
    """
    try:
        pixels = decode(data, spec.model_copy(update={"height": _READ, "width": _READ, "reduce": True})).pixels
    except ImageError:
        return ()
    if pixels.dtype == np.uint16:  # deep images often use few of their levels, and hashes know no contrast
        grey = pixels[..., 0].astype(np.float32)
        spread = float(grey.std()) / 257
        image = Image.fromarray(((grey - grey.min()) * (255 / max(float(np.ptp(grey)), 1))).astype(np.uint8))
    else:
        image = Image.fromarray(pixels).convert("L")
        spread = float(np.asarray(image).std())
    if spread < FLAT:
        return ()
    width, height = image.size
    box = 4 * SIDE, 4 * SIDE
    cuts = (
        image.resize(box, Image.Resampling.BILINEAR, (width * cut, height * cut, width * (1 - cut), height * (1 - cut)))
        for cut in (CLOSER if closer else ())
    )
    return tuple(_look(each) for each in (image, *cuts))


def _look(image: Image.Image) -> bytes:
    return np.packbits(imagehash.phash(image, SIDE, highfreq_factor=2).hash).tobytes()


def pairs(found: Sequence[Looks], radius: int) -> list[tuple[int, int]]:
    """Every `(i, j)`, i < j, of images that look the same, one of them perhaps cut closer."""
    seen = [index for index, each in enumerate(found) if each]
    if not seen or not radius:
        return []
    own = np.array(seen)
    cuts = len(CLOSER) + 1
    i, j = within([found[k][0] for k in seen], [found[k][cut] for cut in range(cuts) for k in seen], radius)
    i, j = own[i], own[j % len(seen)]
    low, high = np.minimum(i, j), np.maximum(i, j)
    both = np.unique(np.stack([low, high], axis=1)[low < high], axis=0)
    return [(int(one), int(other)) for one, other in both]


def within(
    queries: Sequence[bytes], targets: Sequence[bytes], radius: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices `[P]` into queries and into targets of every pair of looks that differ in at most `radius` bits."""
    if not queries or not targets:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    asked, given = _dealt(queries), _dealt(targets)
    words = _words(asked), _words(given)
    bands = np.array_split(np.arange(BITS), radius + 1)
    with ThreadPoolExecutor(2) as pool:  # numpy lets go of the interpreter in all that takes long
        parts = list(pool.map(lambda band: _in_band(asked[:, band], given[:, band], words, radius), bands))
    found = np.unique(np.concatenate(parts))
    return found // len(targets), found % len(targets)


def _dealt(some: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """`[N, 256]` of 0 and 1, in the order in which bands take them."""
    packed = np.frombuffer(b"".join(some), np.uint8).reshape(len(some), BITS // 8)
    return np.ascontiguousarray(np.unpackbits(packed, axis=1)[:, _DEAL])


def _words(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """`[4, N]`: the bits as four words, each word's column in one piece."""
    return np.ascontiguousarray(np.packbits(bits, axis=1).view(np.uint64).T)


def _in_band(
    asked: npt.NDArray[np.uint8],
    given: npt.NDArray[np.uint8],
    words: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    radius: int,
) -> npt.NDArray[np.int64]:
    """`query * targets + target` of the pairs that agree in this band and are within the radius."""
    value = 1 << np.arange(asked.shape[1], dtype=np.int64)
    key, keys = asked @ value, given @ value
    order = np.argsort(keys, kind="stable")
    first = np.searchsorted(keys[order], key, "left")
    count = np.searchsorted(keys[order], key, "right") - first
    kept = [np.empty(0, np.int64)]
    for start, stop in _portions(count):
        i = np.repeat(np.arange(start, stop), count[start:stop])
        ends = np.cumsum(count[start:stop])
        j = order[np.arange(len(i)) + np.repeat(first[start:stop] - ends + count[start:stop], count[start:stop])]
        differ = np.zeros(len(i), np.uint16)
        for one, other in zip(*words, strict=True):
            differ = differ + np.bitwise_count(one[i] ^ other[j])
            near = differ <= radius
            i, j, differ = i[near], j[near], differ[near]
        kept.append(i * len(given) + j)
    return np.concatenate(kept)


def _portions(count: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of queries with about as many candidates as are compared at once."""
    before = np.concatenate([[0], np.cumsum(count)])
    start = 0
    while start < len(count):
        stop = max(start + 1, int(np.searchsorted(before, before[start] + _AT_ONCE, "right")) - 1)
        yield start, stop
        start = stop

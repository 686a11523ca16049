"""Match lists of PDQ hashes: find pictures similar to listed ones by a perceptual hash of 256 bits.

PDQ (Facebook, 2019) is the perceptual hash of ThreatExchange and of NCMEC's and StopNCII's lists; two hashes of the same picture differ in
at most 31 bits, and a hash of quality below 50 says nothing.
"""

import re
from functools import lru_cache

import numpy as np

from curate.errors import RecipeError
from curate.fetch.isolate import Isolated
from curate.sources.lines import lines

#: Bits in which a picture may differ from a listed one, and the quality from which on its hash counts.
DISTANCE, QUALITY = 31, 50

_HASH = re.compile(r"\s*([0-9a-fA-F]{64})(?![0-9a-fA-F])")


class PdqList:
    """A match list as the hook of `Fetch(match="pdq:FILE")`: whether a picture file matches it. A file that cannot be decoded does not.

    path: a text file with a hash of 64 hex digits at the beginning of each line, `#` begins a comment; local to each worker or any fsspec
    URL. RecipeError names an invalid line, or the missing package.
    """

    def __init__(self, path: str):
        try:
            import pdqhash
        except ImportError as e:
            raise RecipeError("PDQ hashes need the package pdqhash: pip install 'curate-multimodal[pdq]'") from e
        self.compute, self.listed, self.child = pdqhash.compute, read(path), Isolated()

    def __call__(self, data: bytes) -> bool:
        pixels = self.child.decode(data)
        if isinstance(pixels, str):
            return False
        bits, quality = self.compute(pixels)
        differing = np.bitwise_count(self.listed ^ np.packbits(np.asarray(bits, np.uint8)).view(np.uint64)).sum(axis=1)
        return quality >= QUALITY and int(differing.min()) <= DISTANCE


def read(path: str) -> np.ndarray:
    """Read the hashes of a list: uint64 (n, 4). RecipeError for an invalid line or an empty list."""
    found = []
    for number, line in enumerate(lines(path), 1):
        text = line.split("#", 1)[0]
        match = _HASH.match(text)
        if match is None and text.strip():
            raise RecipeError(f"{path}: line {number}: {text.strip()[:40]!r} is not a PDQ hash of 64 hex digits")
        found += [bytes.fromhex(match[1])] if match else []
    if not found:
        raise RecipeError(f"{path}: no PDQ hash in it")
    return np.frombuffer(b"".join(found), np.uint64).reshape(-1, 4)


@lru_cache(maxsize=4)
def pdq_list(path: str) -> PdqList:
    """The match list of a file, cached by process."""
    return PdqList(path)

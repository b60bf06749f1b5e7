"""Texts as counts of hashed words: a module beside the script, imported as usual."""

import re
import zlib

import torch


def hashed(text: str, buckets: int) -> torch.Tensor:
    """How often each bucket's words occur, scaled to length 1."""
    counts = torch.zeros(buckets)
    for word in re.findall(r"[\w']+", text.lower()):
        counts[zlib.crc32(word.encode()) % buckets] += 1
    return counts / counts.norm().clamp(min=1)

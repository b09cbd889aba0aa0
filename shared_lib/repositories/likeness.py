"""Perceptual hashes that differ little, found by an index: multi-index hashing.

Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing" (CVPR 2012): of two hashes that
differ in at most 4n + 3 bits, at least one of four quarters differs in at most n. So it is enough to look up, for each
quarter, all values that near; the whole distance is then counted for the few that are found.
"""

from itertools import combinations

_BITS = 16  # of a quarter


def probe(perceptual_hash: str, distance: int) -> list[int]:
    """Every value of `perceptual_quarters` that an image within so many bits may have. The hash is 64 digits 0 or 1."""
    masks = [
        sum(1 << bit for bit in flipped)
        for count in range(distance // 4 + 1)
        for flipped in combinations(range(_BITS), count)
    ]
    quarters = [int(perceptual_hash[at : at + _BITS], 2) for at in range(0, 4 * _BITS, _BITS)]
    return [(number << _BITS) + (quarter ^ mask) for number, quarter in enumerate(quarters) for mask in masks]

"""Chance that is the same for ever: fractions from sha256, so that holdouts, variants and spreads can be repeated."""

import hashlib


def fraction(text: str) -> float:
    """Turn a text into a fraction in [0, 1), spread evenly over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / (1 << 56)  # 7 bytes: exact in a float

"""A small table that is learnt at once."""

import itertools
from pathlib import Path

WORDS = {
    "billing": ("invoice", "refund", "charge", "card", "tax"),
    "shipping": ("parcel", "courier", "late", "address", "tracking"),
    "account": ("login", "password", "email", "profile", "locked"),
}
FRAMES = ("about my {} and {}", "please help with {} or {}", "{} was wrong, so was {}")


def write_table(path: Path) -> Path:
    """Sixty rows in three labels, each text another one."""
    rows = ["text,label"]
    for label, words in WORDS.items():
        pairs = itertools.islice(itertools.permutations(words, 2), 20)
        rows += [f'"{FRAMES[i % 3].format(*pair)}",{label}' for i, pair in enumerate(pairs)]
    path.write_text("\n".join(rows) + "\n")
    return path

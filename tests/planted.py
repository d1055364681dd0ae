"""Tables with a planted truth: texts whose words give their label away, more or less."""

import csv
import random
from pathlib import Path

TOPICS = {
    "billing": "invoice refund charge card tax receipt payment bank price fee total discount",
    "shipping": "parcel courier late address tracking delivery box van depot doorstep",
    "account": "login password email profile locked username settings avatar session code link",
    "product": "screen battery broken button cable noise colour manual spare hinge lens handle",
    "returns": "exchange send back unopened warranty swap wrong size policy days counter slip",
}
FILLERS = ("hello", "please", "could", "you", "i", "my", "the", "with", "about", "again", "since")


def rows(num_rows: int, *, seed: int = 0, clear: float = 1.0) -> list[tuple[str, str]]:
    """Texts with their labels; `clear`: the share of texts whose words are of their label."""
    draw = random.Random(seed)
    labels = list(TOPICS)
    out: dict[str, str] = {}
    while len(out) < num_rows:
        label = labels[len(out) % len(labels)]
        topic = label if draw.random() < clear else draw.choice(labels)
        words = draw.sample(TOPICS[topic].split(), 4) + draw.sample(FILLERS, 4)
        draw.shuffle(words)
        out.setdefault(" ".join(words), label)
    return list(out.items())


def flipped(
    some: list[tuple[str, str]], share: float, *, seed: int = 1
) -> tuple[list[tuple[str, str]], set[int]]:
    """The rows with a share of the labels turned into another one, and which rows these are."""
    draw = random.Random(seed)
    chosen = set(draw.sample(range(len(some)), round(share * len(some))))
    others = {label: [name for name in TOPICS if name != label] for label in TOPICS}
    turned = [
        (text, draw.choice(others[label]) if i in chosen else label)
        for i, (text, label) in enumerate(some)
    ]
    return turned, chosen


def write(path: Path, some: list[tuple[str, str]], **columns: list[str]) -> Path:
    """The rows as CSV with text, label and further columns; row i stands on line i + 2."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", *columns])
        for row, *more in zip(some, *columns.values(), strict=True):
            writer.writerow([*row, *more])
    return path

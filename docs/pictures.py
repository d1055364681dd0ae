"""Makes the pictures of "Overfitting, underfitting, too little data" from real runs.

`python docs/pictures.py FOLDER` does the runs, each in its folder, and draws; a run that is there
already is not done again. About ten minutes on two idle cores. Figures: docs/pictures/runs.json.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunesmith.pipeline.pages.charts import Line, curves

DOCS = Path(__file__).parent
TABLE = DOCS.parent / "examples" / "tickets.csv"
OUT = DOCS / "pictures"
PLAIN = ("--bootstrap", "100", "--no-baselines", "--no-advice", "--balance", "none")
WHOLE = ("--method", "full", "--no-learn-dev")
LONG = ("--early-stopping-patience", "99")
SOME = 240
"""Rows, where nothing depends on their number."""
CURVES = {
    "fits-well": (SOME, (*WHOLE, "--n-epochs", "3")),
    "overfits": (80, (*WHOLE, *LONG, "--n-epochs", "10", "--learning-rate-multiplier", "2")),
    "underfits": (
        SOME,
        (*WHOLE, *LONG, "--n-epochs", "3", "--learning-rate-multiplier", "0.1"),
    ),
}
MUDDLED = "underfits"
"""Of this one, every second label is drawn by lot."""
STYLE = """<style>
svg{font:13px ui-sans-serif,system-ui,sans-serif;background:#fff}
text{fill:#4a4339} .grid{stroke:#e4ded3;fill:none} polyline{fill:none;stroke-width:2}
.train{stroke:#b4641c} circle.train,text.train{fill:#b4641c;stroke:none}
.dev{stroke:#2b6a8f} circle.dev,text.dev{fill:#2b6a8f;stroke:none}
.chosen{stroke:#877e71;stroke-dasharray:4 3;fill:none}
.bar{fill:#b4641c} .bar.dev{fill:#2b6a8f;stroke:none}
@media (prefers-color-scheme:dark){svg{background:#1f1c18} text{fill:#cfc6b8}
.grid{stroke:#393329} .train{stroke:#e6a766} circle.train,text.train{fill:#e6a766}
.dev{stroke:#7fb8dc} circle.dev,text.dev{fill:#7fb8dc} .bar{fill:#e6a766} .bar.dev{fill:#7fb8dc}}
</style>"""


def main(place: Path) -> None:
    """Do what is not done, then draw."""
    parts = split(place)
    told: dict[str, Any] = {"curves": {}}
    for name, (rows, options) in CURVES.items():
        table = muddled(part(parts, rows)) if name == MUDDLED else part(parts, rows)
        told["curves"][name] = learned(done(place / name, table, options))
    first = place / "first"
    run(("run", str(TABLE), "--run-dir", str(first), "--method", "head"))
    growth = json.loads((first / "05-evaluate" / "report.json").read_text("utf-8"))["lessons"]
    told["growth"] = growth["growth"]["overall"]
    told["spent"] = {
        "the head, 704 rows": spent(first),
        "all, 240 rows, 3 times": spent(place / "fits-well"),
        "all, 80 rows, 10 times": spent(place / "overfits"),
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "runs.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    draw(told)


def split(place: Path) -> Path:
    """A folder with train.csv and validation.csv, made of the example table."""
    run(("prepare", str(TABLE), "--run-dir", str(place / "split"), "--balance", "none"))
    for side in ("train", "validation"):
        with (place / f"{side}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *examples(place / "split", side)])
    return place


def examples(place: Path, side: str) -> Iterator[tuple[str, str]]:
    for line in (place / "01-prepare" / f"{side}.jsonl").read_text("utf-8").splitlines():
        user, assistant = json.loads(line)["messages"][-2:]
        yield user["content"], assistant["content"]


def part(parts: Path, rows: int) -> Path:
    """The first rows of the training part, so that a larger table holds the smaller ones."""
    with (parts / "train.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))[: rows + 1]
    path = parts / f"train-{rows}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def muddled(table: Path) -> Path:
    """The same rows, with a label drawn by lot in every second one."""
    with table.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    labels, lot = sorted({label for _, label in rows}), random.Random(0)
    drawn = [(text, lot.choice(labels) if i % 2 else label) for i, (text, label) in enumerate(rows)]
    path = table.with_name(f"muddled-{table.name}")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *drawn])
    return path


def done(folder: Path, table: Path, options: Sequence[str]) -> Path:
    held_out = ("--validation", str(table.parent / "validation.csv"))
    run(("run", str(table), *held_out, "--run-dir", str(folder), *PLAIN, *options))
    return folder


def run(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "tunesmith", *arguments], check=True)


def result(folder: Path, verb: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / verb / "result.json").read_text("utf-8"))
    return found


def learned(folder: Path) -> dict[str, Any]:
    """Losses by step, the step that was kept, the score on held-out rows."""
    with (folder / "03-train" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    train = [(int(r["step"]), float(r["train_loss"])) for r in rows if r["train_loss"]]
    dev = [(int(r["step"]), float(r["valid_loss"])) for r in rows if r.get("valid_loss")]
    facts = result(folder, "03-train")["facts"]
    return {"train": train, "dev": dev, "kept": facts["chosen_step"], **scored(folder)}


def scored(folder: Path) -> dict[str, Any]:
    found = result(folder, "05-evaluate")
    told = {name: round(found["metrics"][name], 4) for name in ("accuracy", "f1_macro")}
    return {**told, "interval": [round(x, 4) for x in found["intervals"]["accuracy"]]}


def spent(folder: Path) -> dict[str, Any]:
    estimate = result(folder, "03-train")["facts"]["estimate"]
    return {"seconds": estimate["actual_seconds"], "memory": estimate["actual_memory"]}


def draw(told: dict[str, Any]) -> None:
    for name, found in told["curves"].items():
        size = max(1, len(found["train"]) // 40)
        lines = [
            Line(name="training loss", css="train", points=averaged(found["train"], size)),
            Line(name="held-out loss", css="dev", points=found["dev"]),
        ]
        title = f"Training and held-out loss by step: {name}"
        chart = curves(lines, marked=found["kept"], scale="loss", title=title)
        save(name, str(chart), ("training loss", "held-out loss"))
    points = list(zip(told["growth"]["sizes"], told["growth"]["scores"], strict=True))
    line = Line(name="accuracy", css="train", points=points)
    chart = curves([line], marked=None, scale="share", title="Accuracy by training rows")
    named = str(chart).replace(">step</text>", ">training rows</text>")
    save("more-rows", named, ("accuracy",))
    save("resources", bars(told["spent"]), ())


def averaged(points: Sequence[Sequence[float]], size: int) -> list[tuple[float, float]]:
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def bars(trainings: dict[str, dict[str, float]]) -> str:
    """Seconds and gigabytes of each training, as two bars."""
    most = {k: max(each[k] for each in trainings.values()) for k in ("seconds", "memory")}
    out = ['<svg viewBox="0 0 440 250" role="img" aria-label="Time and memory of three trainings">']
    for i, (name, each) in enumerate(trainings.items()):
        y = 30 + 54 * i
        out.append(f'<text x="8" y="{y + 24}">{name}</text>')
        for k, (what, css, said) in enumerate(
            (
                ("seconds", "bar", f"{each['seconds']:.0f} s"),
                ("memory", "bar dev", f"{each['memory'] / 1e9:.1f} GB"),
            )
        ):
            width, top = max(2.0, 180 * each[what] / most[what]), y + 20 * k
            out.append(f'<rect class="{css}" x="170" y="{top}" width="{width:.1f}" height="16"/>')
            out.append(f'<text x="{176 + width:.1f}" y="{top + 13}">{said}</text>')
    return "".join([*out, "</svg>"])


def save(name: str, chart: str, legend: Sequence[str]) -> None:
    words = "".join(
        f'<text class="{css}" x="420" y="{40 + 18 * i}" text-anchor="end">{said}</text>'
        for i, (css, said) in enumerate(zip(("train", "dev"), legend, strict=False))
    )
    head, _, rest = chart.partition(">")
    body = rest.removesuffix("</svg>")
    drawn = f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{body}{words}</svg>\n'
    (OUT / f"{name}.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

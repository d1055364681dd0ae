# ruff: noqa: E402
# %% [markdown]
# # From a messy table to two models, compared
#
# Run it as a script (`python examples/messy_table_to_two_models.py`), or cell by cell in an editor
# that knows `# %%`. It makes a folder `runs/messy` with a table as people send them, lets Tunesmith
# clean it, trains two classifiers on it, and says which is better and whether that may be chance.

# %%
from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLACE = Path("runs/messy")
TABLE = PLACE / "support.csv"
ROWS = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else 600


def tunesmith(*arguments: object) -> dict[str, Any]:
    """One command of Tunesmith with --json; what it prints for people goes to the terminal."""
    command = [sys.executable, "-m", "tunesmith", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# %% [markdown]
# ## The table
#
# The bundled tickets, made worse: labels in several spellings, markup and signatures in the texts,
# rows twice, rows without a label or a text, and columns that have nothing to do with it.

# %%
PLACE.mkdir(parents=True, exist_ok=True)
draw = random.Random(7)
with (HERE / "tickets.csv").open(encoding="utf-8", newline="") as file:
    tickets = list(csv.DictReader(file))
print(f"{len(tickets):,} tickets with the columns {', '.join(tickets[0])}")


def spoilt(row: dict[str, str], number: int) -> dict[str, str]:
    """The row as people send it."""
    text, label = row["message"], row["annotator_1"] or row["annotator_2"]
    if number % 7 == 0:
        label = draw.choice([label.upper(), f" {label} ", label.title()])
    if number % 11 == 0:
        text = f"<p>{text}</p><br>Sent from my phone"
    if number % 29 == 0:
        label = ""
    if number % 31 == 0:
        text = ""
    return {
        "No.": str(number),
        "Customer said": text,
        "Kind": label,
        "Agent": f"agent {number % 5}",
    }


messy = [spoilt(row, number) for number, row in enumerate(tickets[:ROWS], start=1)]
messy += messy[:: len(messy) // 20]
with TABLE.open("w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, list(messy[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(messy)
print(f"{TABLE}: {len(messy):,} rows")

# %% [markdown]
# ## What becomes of each row
#
# `prepare` reads it, finds the two columns, cleans, and says what it did. `fates` sums to the rows.

# %%
prepared = tunesmith(
    "prepare", TABLE, "--text", "Customer said", "--label", "Kind", "--run-dir", PLACE / "head"
)
for fate, number in prepared["fates"].items():
    print(f"{number:>6,}  {fate}")
print("labels:", ", ".join(prepared["labels"]))

# %% [markdown]
# ## Two models
#
# The first learns a linear head on the frozen encoder, in seconds. The second may change the
# encoder too. Both see the same training rows and are scored on the same held-out ones.

# %%
COLUMNS = ("--text", "Customer said", "--label", "Kind")
SMALL = ("--no-advice", "--bootstrap", 200)
first = tunesmith("run", TABLE, *COLUMNS, *SMALL, "--method", "head", "--run-dir", PLACE / "head")
second = tunesmith(
    "run", TABLE, *COLUMNS, *SMALL, "--method", "full", "--n-epochs", 1, "--run-dir", PLACE / "full"
)
for name, result in (("head", first), ("full", second)):
    low, high = result["intervals"]["accuracy"]
    print(f"{name}: {result['metrics']['accuracy']:.1%} right (95 % sure: {low:.1%} to {high:.1%})")

# %% [markdown]
# ## Which is better?
#
# The same rows, so the question is only where one is right and the other wrong.

# %%
compared = tunesmith("compare", PLACE / "head", PLACE / "full", "--html", PLACE / "compare.html")
for sentence in compared["verdict"]:
    print(sentence)
print(f"The report: {compared['report']}")

# %% [markdown]
# ## Use it
#
# `tunesmith serve` makes both answer over HTTP; `tunesmith chat` asks one from the terminal.

# %%
print(f'tunesmith chat {PLACE / "full"} "My card was charged twice"')

"""`python -m tunesmith.pipeline RUN_DIR [--until VERB] [--yes] [--max-cost AMOUNT]`: run, or go on
with, what RUN_DIR/config.toml describes. Money is spent where --yes allows it.

For machines: what happens goes to RUN_DIR/events.jsonl, one event a line, and how far something
long has come to RUN_DIR/progress.json, while it lasts. Exit status 0 when the run is complete, or
has come to the end of VERB; else 1 with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from tunesmith import config as configs
from tunesmith.errors import TunesmithError
from tunesmith.events import Event, EventWriter
from tunesmith.pipeline import Spending, keep_config, open_workshop, run
from tunesmith.pipeline.rundir import CONFIG, VERBS, RunDir

PROGRESS = "progress.json"
EVERY_SECONDS = 0.5
"""Between two writings of it."""


def main() -> None:
    """Run to the end, or leave with the reason why not."""
    parser = argparse.ArgumentParser(prog="python -m tunesmith.pipeline", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--until", choices=VERBS, default=VERBS[-1])
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--max-cost", type=float)
    asked = parser.parse_args()
    run_dir = RunDir(asked.run_dir)
    try:
        config = configs.load(run_dir.path / CONFIG)
        with closing(EventWriter(run_dir.writable("events.jsonl"))) as keep:
            spending = Spending(yes=asked.yes, max_cost=asked.max_cost)
            _run(config, run_dir, keep, asked.until, spending)
    except TunesmithError as error:
        sys.exit(str(error))


def _run(
    config: configs.RunConfig, run_dir: RunDir, keep: EventWriter, until: str, spending: Spending
) -> None:
    progress = Progress(run_dir)

    def report(event: Event) -> None:
        (progress if event.kind == "progress" else keep)(event)

    results = []
    try:
        with open_workshop(config.provider, run_dir, report, spending) as shop, closing(progress):
            for verb, result in zip(VERBS, run(config, shop), strict=True):
                progress.close()
                results.append(result)
                if verb == until != VERBS[-1]:
                    return
            keep_config(config, run_dir, results)
    except TunesmithError as error:
        keep(Event(kind="error", message=str(error)))
        raise
    keep(Event(kind="done", message="The run is complete"))


class Progress:
    """The file that says how far something long has come: the newest `progress` event."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._said = ""
        self._again_at = 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.message == self._said and now < self._again_at:
            return
        self._said, self._again_at = event.message, now + EVERY_SECONDS
        self._run_dir.write(PROGRESS, json.dumps(asdict(event), ensure_ascii=False))

    def close(self) -> None:
        """What it was about is over."""
        (self._run_dir.path / PROGRESS).unlink(missing_ok=True)


if __name__ == "__main__":
    main()

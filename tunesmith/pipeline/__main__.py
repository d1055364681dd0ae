"""`python -m tunesmith.pipeline RUN_DIR`: run, or go on with, what RUN_DIR/config.toml describes.

For machines: progress goes to RUN_DIR/events.jsonl, one event a line. Exit status 0 when the run
is complete, else 1 with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from tunesmith import config as configs
from tunesmith.errors import TunesmithError
from tunesmith.events import Event, EventWriter
from tunesmith.pipeline import keep_config, open_workshop, run
from tunesmith.pipeline.rundir import CONFIG, RunDir


def main() -> None:
    """Run to the end, or leave with the reason why not."""
    parser = argparse.ArgumentParser(prog="python -m tunesmith.pipeline", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    run_dir = RunDir(parser.parse_args().run_dir)
    try:
        config = configs.load(run_dir.path / CONFIG)
        with closing(EventWriter(run_dir.writable("events.jsonl"))) as keep:
            _run(config, run_dir, keep)
    except TunesmithError as error:
        sys.exit(str(error))


def _run(config: configs.RunConfig, run_dir: RunDir, keep: EventWriter) -> None:
    def report(event: Event) -> None:
        if event.kind != "progress":
            keep(event)

    try:
        with open_workshop(config.provider, run_dir, report) as shop:
            keep_config(config, run_dir, list(run(config, shop)))
    except TunesmithError as error:
        keep(Event(kind="error", message=str(error)))
        raise
    keep(Event(kind="done", message="The run is complete"))


if __name__ == "__main__":
    main()

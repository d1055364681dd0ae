"""`serve` as a process of its own, with stand-ins for training and for the loaded models.

Usage: serve_process.py DATA_DIR PORT [--with-parent]. Prints what is announced as one JSON line.
"""

import json
import sys
from concurrent.futures import Future
from pathlib import Path

from tunesmith.errors import TunesmithError
from tunesmith.server import serve as module
from tunesmith.serving.batch import Classification
from tunesmith.settings import Settings
from tunesmith.work import worker
from tunesmith.work.runner import LocalRunner

TRAINER = Path(__file__).parent.parent / "work" / "stand_in_trainer.py"


class Pool:
    """Answers at once; what the CPU time of a request is measured with."""

    def __init__(self, **_):
        self._labels = tuple(f"some label number {n}" for n in range(77))
        self._logprobs = [-0.01 * n - 1 for n in range(77)]

    def submit(self, model, folder, text):
        answer = Future()
        answer.set_result(Classification(self._labels, self._logprobs, 16, 0))
        return answer

    def close(self):
        pass


def announce(url, key):
    sys.stdout.write(json.dumps({"base_url": url, "key": key}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    module.EnginePool = Pool
    worker.LocalRunner = lambda: LocalRunner((sys.executable, str(TRAINER)))
    settings = Settings(data_dir=Path(sys.argv[1]))
    try:
        with_parent = "--with-parent" in sys.argv
        port = int(sys.argv[2])
        module.serve(settings, "127.0.0.1", port, with_parent=with_parent, announce=announce)
    except TunesmithError as error:
        sys.exit(str(error))

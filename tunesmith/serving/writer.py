"""A process in which causal models answer: `python -m tunesmith.serving.writer FD ...`.

It reads requests from a connection and writes what there is to tell about them after each pass, and
ends when the connection does.
Does not know: who asks, how answers are computed.
"""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection

import torch

from tunesmith.serving.causal.desk import Desk
from tunesmith.serving.causal.scheduler import Told
from tunesmith.serving.writers import Asked, Gone, Stop


def serve(line: Connection, desk: Desk) -> None:
    """Answer until the other end of the connection closes."""
    told: list[tuple[int, Told]] = []

    def tell(number: int, what: Told) -> None:
        told.append((number, what))

    while True:
        while not desk.is_busy or line.poll():
            try:
                message = line.recv()
            except EOFError:
                return
            if message is None:
                return
            if isinstance(message, Asked):
                desk.add(message.number, message.request, partial(tell, message.number))
            elif isinstance(message, Stop):
                desk.stop(message.number)
            elif isinstance(message, Gone):
                desk.forget(message.model)
        desk.step()
        if told:
            line.send(told)
            told.clear()


def main() -> None:
    """Read the arguments, and answer."""
    parser = argparse.ArgumentParser(prog="python -m tunesmith.serving.writer", description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-loaded", type=int, required=True)
    parser.add_argument("--cache-tokens", type=int, default=0)
    asked = parser.parse_args()
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # transformers' too, which loads the weights
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    torch.set_num_threads(asked.threads)
    desk = Desk(max_loaded=asked.max_loaded, cache_tokens=asked.cache_tokens)
    with Connection(asked.fd) as line:
        line.send("ready")
        with suppress(OSError):  # the server is gone
            serve(line, desk)
    os._exit(0)  # Python would take a second more to unload torch


if __name__ == "__main__":
    main()

"""Asks a process of its own about what runs have left; see `tunesmith.web.results.__main__`.

Does not know: the questions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import TunesmithError

LONGEST_SECONDS = 120.0
PIECE = 2**16
PREDICTIONS = Path("05-evaluate", "predictions.parquet")
AT_ONCE = asyncio.Semaphore(3)
"""Processes: each takes the memory of a table."""
COMMAND = (sys.executable, "-m", "tunesmith.web.results")

Question = Mapping[str, Any]


class Unanswered(TunesmithError):
    """The process could not tell."""


async def ask(*questions: Question) -> list[Any]:
    """The answers, in their order. Raises: Unanswered, with the reason in a sentence."""
    asked = json.dumps({"what": "answers", "questions": questions}).encode()
    async with AT_ONCE:
        process = await _start()
        try:
            out, _ = await asyncio.wait_for(process.communicate(asked), LONGEST_SECONDS)
            found = json.loads(out)
        except (TimeoutError, ValueError):
            raise Unanswered(
                "What the run has left cannot be read.", fix="See the server's log, and try again."
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
    if error := found.get("error"):
        raise Unanswered(error["what"], fix=error["fix"])
    answers: list[Any] = found["answers"]
    return answers


async def pieces(question: Question) -> AsyncGenerator[bytes]:
    """The answer in pieces, as it is written: of questions whose answer is a table."""
    async with AT_ONCE:
        process = await _start()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(question).encode())
            process.stdin.close()
            while piece := await process.stdout.read(PIECE):
                yield piece
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _start() -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe)

"""The command line: `main`.

Knows: the commands, exit codes, how an error is told. Heavy parts are imported by the commands
that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import typer

from tunesmith.cli import (
    admin,
    chat,
    compare,
    docs,
    evaluate,
    export,
    iterate,
    jobs,
    keys,
    migrate,
    models,
    projects,
    providers,
    run,
    serve,
    webhooks,
)
from tunesmith.errors import DataError, JobFailed, RequestError, TunesmithError

app = typer.Typer(
    help="From a table of text to a fine-tuned, evaluated and deployed language model.",
    add_completion=False,
    no_args_is_help=True,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "prepare": run.prepare,
    "upload": run.upload,
    "train": run.train,
    "deploy": run.deploy,
    "evaluate": evaluate.evaluate,
    "iterate": iterate.iterate,
    "serve": serve.serve,
    "chat": chat.chat,
    "compare": compare.compare,
    "export": export.export,
}
GROUPS = {
    "models": models.app,
    "jobs": jobs.app,
    "migrate": migrate.app,
    "keys": keys.app,
    "projects": projects.app,
    "providers": providers.app,
    "admin": admin.app,
    "webhooks": webhooks.app,
    "docs": docs.app,
}
for name, command in COMMANDS.items():
    of_runs = command.__module__ in (run.__name__, evaluate.__name__, iterate.__name__)
    app.command(name, rich_help_panel="Runs" if of_runs else "Models")(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel="Models")

# Usage errors of the command-line parser, which typer shows us only as the base of this one.
UsageError: type[Exception] = typer.BadParameter.__mro__[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 fine, 1 the work failed, 2 the request was
    wrong (or the job ended badly), 130 interrupted."""
    sys.excepthook = _last_words
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "█" is no reason to stop
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        # Not app(…): that would put typer's own last words in place of ours.
        command = typer.main.get_command(app)
        code = command.main(arguments, prog_name="tunesmith", standalone_mode=False)
    except TunesmithError as error:
        _tell(error, as_json="--json" in arguments)
        return 2 if isinstance(error, RequestError | JobFailed) else 1
    except UsageError as error:
        return _tell_usage(error, arguments)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): no reason to complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _tell(error: TunesmithError, *, as_json: bool) -> None:
    if as_json:
        said = {"type": type(error).__name__, "message": error.what, "fix": error.fix}
        if isinstance(error, DataError):
            said |= {"path": str(error.path or ""), "line": str(error.line or "")}
            said["message"] = str(error).removesuffix(error.fix).strip()
        print(json.dumps({"error": said}, ensure_ascii=False))
    fix = f"\n  fix: {error.fix}" if error.fix else ""
    what = str(error).removesuffix(error.fix).strip()
    print(f"error: {what}{fix}", file=sys.stderr)


def _tell_usage(error: Exception, arguments: Sequence[str]) -> int:
    said = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    if not arguments or not said:  # nothing was asked: the help is the answer
        print(context.get_help() if context else app.info.help)
        return 0
    path = context.command_path if context else "tunesmith"
    print(f"error: {said}\n  fix: See `{path} --help`.", file=sys.stderr)
    return 2


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What is said of an error that nobody expected: one line, and where the details are."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="tunesmith-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(kind, error, trace, file=file)
    print(
        f"error: Something in Tunesmith broke ({kind.__name__}: {error}).\n"
        f"  fix: This is a bug. Please report it with {Path(file.name)}.",
        file=sys.stderr,
    )

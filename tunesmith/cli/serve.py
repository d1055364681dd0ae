"""`tunesmith serve`: the server, in the foreground."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.web.site import Site


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 8000,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Jobs that train at the same time (if not given, TUNESMITH_WORKERS); 0 where they "
            "run elsewhere, by python -m tunesmith.work.",
        ),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web/--no-web", help="Serve pages too, where they are installed.")
    ] = True,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when standard input closes.", hidden=True)
    ] = False,
    announce_json: Annotated[
        bool, typer.Option("--announce-json", help="Print one line of JSON.", hidden=True)
    ] = False,
) -> None:
    """Serve the OpenAI API: files, fine-tuning jobs, models and chat completions; and the pages."""
    from tunesmith import settings as environment
    from tunesmith.server.serve import serve as serve_forever

    site = _site() if web and not with_parent else None

    def announce(base_url: str, key: str) -> None:
        if announce_json:
            print(json.dumps({"base_url": base_url, "key": key}), flush=True)
            return
        print(f"Serving at {base_url}, until Ctrl-C.", flush=True)
        if key:
            print(f"An admin key, shown only this once: {key}", flush=True)
        if site:
            once = ", already logged in (this link works once)" if key else ""
            print(f"In the browser{once}: {site.address(base_url, key)}", flush=True)

    settings = environment.load()
    if workers is not None:
        settings = replace(settings, workers=workers)
    extend = site.extend if site else None
    serve_forever(settings, host, port, with_parent=with_parent, announce=announce, extend=extend)


def _site() -> Site | None:
    """The pages, where NiceGUI is installed."""
    if importlib.util.find_spec("nicegui") is None:
        return None
    from tunesmith.web.site import Site

    return Site()

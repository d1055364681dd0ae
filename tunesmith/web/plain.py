"""Pages without NiceGUI: the log-in page and what is said when something is wrong.

They need no session and no socket. Does not know: who is logged in, why it went wrong.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from starlette.responses import HTMLResponse

ASSETS = Path(__file__).parent / "assets"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Tunesmith</title>
<link rel="icon" href="/assets/favicon.svg">
<script src="/assets/theme.js?{version}"></script>
<link rel="stylesheet" href="/assets/theme.css?{version}">
{head}
</head>
<body class="plain">
<main>
<p class="brand"><span class="mark" aria-hidden="true"></span>Tunesmith</p>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
LOG_IN = """{notice}
<form method="post" action="/login" autocomplete="on">
<input type="hidden" name="next" value="{next}">
<input type="hidden" name="once" value="">
<input type="text" name="username" value="Tunesmith" autocomplete="username" hidden>
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" autofocus required
 spellcheck="false" aria-describedby="key-hint">
<p id="key-hint" class="hint">It begins with <code>sk-</code>. Whoever runs this server makes one
 with <code>tunesmith keys create NAME</code>; the first was printed when the server started.</p>
<button type="submit" class="button primary">Log in</button>
</form>
"""


def version() -> str:
    """Changes when an asset does, so that browsers may keep them."""
    return str(max(path.stat().st_mtime_ns for path in ASSETS.iterdir()))


VERSION = version()


def page(title: str, body: str, *, head: str = "", status: int = 200) -> HTMLResponse:
    """A page of ours. `body` and `head` are HTML; the title is text."""
    text = PAGE.format(title=escape(title), body=body, head=head, version=VERSION)
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


def problem(status: int, title: str, text: str) -> HTMLResponse:
    """A page that says what is wrong."""
    body = f'<p>{escape(text)}</p>\n<p><a href="/">To the start</a></p>'
    return page(title, body, status=status)


def log_in(back: str, *, wrong: str = "", status: int = 200) -> HTMLResponse:
    """The log-in page; `back` is where to go then, `wrong` why the last try did not do."""
    notice = f'<p class="notice bad" role="alert">{escape(wrong)}</p>' if wrong else ""
    script = f'<script src="/assets/login.js?{VERSION}" defer></script>'
    body = LOG_IN.format(next=escape(back), notice=notice)
    return page("Log in", body, head=script, status=status)

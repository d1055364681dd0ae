"""Pages and answers as HTML, whole and safe to show: no scripts, nothing from elsewhere.

Does not know: HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape

from markdown_it.token import Token

from tunesmith.manual.answering import Answer
from tunesmith.manual.pages import FIRST, Page
from tunesmith.manual.passages import MARKDOWN, anchor_of

AWAY = ("http://", "https://", "mailto:", "#")


def page_html(page: Page, pages: Sequence[Page]) -> str:
    """A page of the documentation."""
    at = [each.name for each in pages].index(page.name)
    turns = [
        f'<a rel="{rel}" href="{href(pages[i].name)}">{mark.format(escape(pages[i].title))}</a>'
        for i, rel, mark in ((at - 1, "prev", "← {}"), (at + 1, "next", "{} →"))
        if 0 <= i < len(pages)
    ]
    foot = f'<a href="{page.name}.md">This page as Markdown</a>'
    turned = f'<nav class="turn" aria-label="Neighbouring pages">{"".join(turns)}</nav>'
    return _frame(page.title, body_html(page.text, pages) + turned, pages, here=page, foot=foot)


def answer_html(found: Answer, pages: Sequence[Page]) -> str:
    """An answer, with what it rests on."""
    parts = [f"<h1>{escape(found.question)}</h1>"]
    parts.append(f'<section class="answer">{body_html(found.text, pages)}</section>')
    if found.written_by:
        parts.append(
            f"<p><small>Written by {escape(found.written_by)} from the excerpts below.</small></p>"
        )
    for excerpt in found.excerpts:
        place = escape(" › ".join(excerpt.headings))
        parts.append(f'<h2><a href="{href(excerpt.page, excerpt.anchor)}">{place}</a></h2>')
        parts.append(f"<blockquote>{body_html(excerpt.text, pages)}</blockquote>")
    named = [f'<li><a href="{href(s.page)}">{escape(s.title)}</a></li>' for s in found.sources]
    head = "Sources" if found.is_documented else "Nearest pages"
    parts.append(f"<h2>{head}</h2><ul>{''.join(named)}</ul>")
    return _frame(found.question, "".join(parts), pages, asked=found.question)


def body_html(text: str, pages: Sequence[Page]) -> str:
    """Markdown as HTML: headings can be linked to, links between pages lead to HTML."""
    tokens = MARKDOWN.parse(text)
    names = {page.name for page in pages}
    level: Token | None = None
    for token in tokens:
        if token.type == "heading_open":
            level = token
        elif token.attrs.pop("style", "") == "text-align:right":  # a cell's; styles are ours alone
            token.attrSet("class", "right")
        elif token.type == "inline":
            if level is not None:
                level.attrSet("id", anchor_of(token.content))
                level = None
            _relink(token.children or [], names)
    html: str = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    # A table that is wider than the screen is scrolled by itself, by keyboard too.
    html = html.replace("<table>", '<div class="wide" tabindex="0"><table>')
    return html.replace("</table>", "</table></div>")


def href(page: str, anchor: str = "") -> str:
    """The address of a page as HTML, relative to the others."""
    return ("./" if page == FIRST else page) + (f"#{anchor}" if anchor else "")


def _relink(tokens: Sequence[Token], names: Collection[str]) -> None:
    """Links to pages lead to their HTML. What lies elsewhere in the source is not served: its name
    stays, without a link."""
    for token in tokens:
        if token.type != "link_open":
            continue
        target = str(token.attrGet("href"))
        page = re.fullmatch(r"(?:\./)?([\w-]+)\.md(?:#(.*))?", target)
        if page and page[1] in names:
            token.attrSet("href", href(page[1], page[2] or ""))
        elif not target.startswith(AWAY):
            del token.attrs["href"]


def _frame(
    title: str, body: str, pages: Sequence[Page], *, here: Page | None = None, asked: str = "",
    foot: str = "",
) -> str:  # fmt: skip
    """A whole document around `body`."""
    items = "".join(
        f'<li><a href="{href(page.name)}"{" aria-current=page" if page is here else ""}>'
        f"{escape(page.title)}</a></li>"
        for page in pages
    )
    source = f'\n<link rel="alternate" type="text/markdown" href="{here.name}.md">' if here else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · Tunesmith</title>
<link rel="stylesheet" href="style.css">
<link rel="icon" href="data:,">{source}
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header>
<a class="brand" href="./">Tunesmith</a>
<form action="./" role="search">
<input name="ask" type="search" required maxlength="400" value="{escape(asked)}"
 placeholder="Ask the documentation" aria-label="Ask the documentation">
<button>Ask</button>
</form>
</header>
<div class="columns">
<details class="pages"><summary>Pages</summary>
<nav aria-label="Pages"><ul>{items}</ul></nav></details>
<nav class="side" aria-label="All pages"><ul>{items}</ul></nav>
<main id="content">{body}</main>
</div>
<footer>{foot} <a href="llms.txt">For programs</a></footer>
</body>
</html>
"""


STYLE = """
:root{--paper:#faf8f4;--sheet:#fff;--ink:#211d18;--quiet:#635b50;--line:#ddd6ca;--accent:#8a4a12;
--sunk:#f2eee6;--focus:#1c5d9c;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#171512;--sheet:#1f1c18;--ink:#efe9df;
--quiet:#b5ab9c;--line:#393329;--accent:#e6a766;--sunk:#121110;--focus:#8cc4f0}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.6 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
a{color:var(--accent);text-underline-offset:.18em}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:1rem;top:-4rem;background:var(--sheet);padding:.5rem 1rem}
.skip:focus{top:.5rem}
header{display:flex;gap:1rem;align-items:center;justify-content:space-between;flex-wrap:wrap;
padding:.75rem max(1rem,calc((100vw - 72rem)/2));border-bottom:1px solid var(--line)}
.brand{font:600 1.2rem Georgia,serif;color:var(--ink);text-decoration:none}
form{display:flex;gap:.5rem;flex:1;max-width:30rem}
input{flex:1;min-width:0;font:inherit;padding:.4rem .7rem;color:inherit;background:var(--sheet);
border:1px solid var(--quiet);border-radius:6px}
button{font:inherit;padding:.4rem 1rem;color:var(--paper);background:var(--accent);border:0;
border-radius:6px;cursor:pointer}
.columns{display:flex;gap:2.5rem;max-width:72rem;margin:0 auto;padding:1.5rem 1rem}
nav ul{list-style:none;margin:0;padding:0}
nav li a{display:block;padding:.3rem .6rem;text-decoration:none;color:var(--quiet);
border-radius:6px}
nav li a:hover{color:var(--ink)}
nav li a[aria-current]{color:var(--ink);background:var(--sunk);font-weight:600}
.side{flex:0 0 14rem;position:sticky;top:1rem;align-self:flex-start;max-height:96vh;overflow:auto}
.pages{display:none}
main{flex:1;min-width:0}
main p,main li{max-width:70ch}
h1{font:500 2rem/1.2 Georgia,serif;margin:.2em 0 .7em;text-wrap:balance}
h2{font-size:1.25rem;margin:2em 0 .5em}
h3{font-size:1.05rem;margin:1.6em 0 .4em}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:.9em}
:not(pre)>code{background:var(--sunk);padding:.1em .3em;border-radius:4px;overflow-wrap:anywhere}
pre{background:var(--sunk);border:1px solid var(--line);border-radius:6px;padding:.8rem 1rem;
overflow-x:auto;line-height:1.45}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.93em}
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;
border-bottom:1px solid var(--line)}
.right{text-align:right}
td:first-child code{background:none;padding:0;overflow-wrap:normal}
img{width:36rem;max-width:100%;height:auto;border:1px solid var(--line);border-radius:6px}
blockquote{margin:.5rem 0;padding:.1rem 1rem;border-left:3px solid var(--line)}
.answer{background:var(--sheet);border:1px solid var(--line);border-radius:6px;padding:.3rem 1.2rem}
.turn{display:flex;justify-content:space-between;gap:1rem;flex-wrap:wrap;margin:3rem 0 0}
.turn [rel=next]{margin-left:auto}
footer{display:flex;gap:1.5rem;justify-content:center;padding:1.5rem;color:var(--quiet);
border-top:1px solid var(--line);font-size:.9rem}
@media (max-width:50rem){.side{display:none}.pages{display:block}
.columns{flex-direction:column;gap:1rem}.pages summary{cursor:pointer;padding:.3rem 0}
form{flex-basis:100%}h1{font-size:1.6rem}}
@media print{header,footer,.side,.pages,.turn{display:none}}
"""

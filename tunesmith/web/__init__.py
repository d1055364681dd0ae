"""The pages: everything a run needs, in a browser, for whoever never opens a terminal.

They are a client of what exists: the API (asked in process, `api.Api`), the store, and processes
`python -m tunesmith.pipeline`. NiceGUI and Starlette come no further than this package.

To add a page, write one module in `pages/` and name it in `pages.ALL`:

    from tunesmith.web.controls import table
    from tunesmith.web.layout import page
    from tunesmith.web.visit import Visit

    @page("/models", "Models")                     # the address; title, and h1 of the page
    async def models(visit: Visit) -> None:        # parameters behind visit come from the address
        rows = await visit.api.list("/models")
        table(("Name",), [(row["id"],) for row in rows], caption="Models")

The frame (header, navigation, main) is there already, and so is the heading: with an empty title
the page makes its own h1. An address that stands in `layout.NAVIGATION` appears in the header as
soon as it has a page.

What a page works with:

visit            who looks: `visit.caller` (key, role, project), `visit.api`, `visit.store` (of the
                 project), `visit.runs`, `visit.desk` (what all visits share), `visit.may_change`.
visit.api        get, post, delete, list, stream: the API, for this caller. Permissions are checked
                 there and nowhere else; raises `api.Refused` with the API's sentence.
off(call, …)     awaits work that blocks (store, files) in a thread. Page functions run on the one
                 event loop that answers the API too.
controls         tags, buttons, fields, tables, panels, notices, times. Texts of others (data,
                 labels, names, answers) go in as `text` or as keyword attributes and are shown as
                 text; never put them into `.props("…")`, `ui.html` or JavaScript.
dialogs          `confirm(…)` before what cannot be undone, with what depends on it.
glossary         `term("epoch")` shows a word that needs a hint, with the hint.
NotFound         raised anywhere in a page function: the page says so, with status 404. Any other
                 TunesmithError is shown as its sentences; in handlers of `button` and fields too.
desk.following   one reader a run for all pages that look at it (`following.Following`).

What is shown again and again while something goes on is changed in place (`tag.text = …`,
`tag.set(…)`), not made anew: each element that changes is sent to every browser that looks.
Styles are in assets/theme.css (tokens at the top), scripts in assets/page.js.
"""

"""/keys: the API keys of the project: who may do what, and for how long."""

from __future__ import annotations

import time
from typing import cast

from nicegui import ui

from tunesmith.errors import ConfigError
from tunesmith.server.errors import ApiError
from tunesmith.store.keys import Role
from tunesmith.store.rows import KeyRow, now
from tunesmith.web import dialogs, plain
from tunesmith.web.controls import (
    Cell,
    Tag,
    badge,
    button,
    choice_field,
    clear,
    facts,
    notice,
    panel,
    row,
    table,
    tag,
    text,
    text_field,
    when,
)
from tunesmith.web.layout import page
from tunesmith.web.lists import Listing
from tunesmith.web.visit import Visit, off

SCRIPT = f'<script src="/assets/copy.js?{plain.VERSION}" defer></script>'
ROLES = {
    "member": "Member: looks, asks models, and begins runs",
    "reader": "Reader: looks and asks models only",
    "admin": "Admin: also deletes and lends models, and makes keys",
}
SHORT = {"admin": "Admin", "member": "Member", "reader": "Reader"}
DAYS = {"": "Until it is revoked", "1": "1 day", "30": "30 days", "90": "90 days", "365": "1 year"}
SOON_SECONDS = 7 * 24 * 3600


@page("/keys", "Keys")
async def keys(visit: Visit, q: str = "", after: str = "", before: str = "") -> None:
    """The list, for admins; others see their own key."""
    mine = (await off(visit.store.projects.named, visit.caller.project)).name
    text(
        "A key is how a person or a program says who it is, on these pages and in the API. "
        f"All keys here belong to the project {mine!r} and see nothing of other projects.", "lead",
    )  # fmt: skip
    if visit.caller.role != "admin":
        await _own(visit)
        return
    ui.add_head_html(SCRIPT)
    counts = await off(visit.store.keys.counts, visit.caller.project)
    facts({f"{SHORT[role]}s": counts.get(role, 0) for role in SHORT})
    _new(visit)
    listing = Listing("/keys", {"q": q}, after=after, before=before)
    with panel("Keys of the project"):
        with tag("div", kind="filters", role="search"):
            listing.search("Search by name")
        found = await listing.read(
            lambda cursor: visit.store.keys.page(visit.caller.project, cursor, search=q)
        )
        if found.data:
            table(
                ("Name", "State", "Role", "Begins and ends with", "Made", "Actions"),
                [_cells(visit, one) for one in found.data],
                caption="Keys, the newest first",
                kind="runs",
            )
        else:
            text("No key is like that. Search for less.")
        listing.turn(found)
    with tag("p", kind="quiet small"):
        tag("span", "Where the server runs, ")
        tag("code", "tunesmith projects create NAME")
        tag("span", " makes a project, and ")
        tag("code", "tunesmith keys create NAME --project PROJECT")
        tag("span", " its first key.")


async def _own(visit: Visit) -> None:
    own = await off(visit.store.keys.of_project, visit.caller.id, visit.caller.project)
    with panel("Your key"):
        if own is None:
            text("You are logged in with a key of this server's own.")
        else:
            facts(
                {
                    "Name": own.name,
                    "Role": SHORT.get(own.role, own.role),
                    "Begins and ends with": own.prefix,
                    "Made": lambda: when(own.created_at),
                    "Ends": lambda: when(own.expires_at, form="full"),
                }
            )
        text("Keys are made and revoked by an admin of the project.", "quiet")


# --- making one -----------------------------------------------------------------------------------


def _new(visit: Visit) -> None:
    asked = {"name": "", "role": "member", "days": ""}

    def changed(name: str, value: str) -> None:
        asked[name] = value

    with panel("New key"):
        with tag("div", kind="filters"):
            field = text_field(
                "For whom or what", "", lambda value: changed("name", value), event="input",
                maxlength=100,
            )  # fmt: skip
            choice_field("May do", ROLES, "member", lambda value: changed("role", value))
            choice_field("Valid", DAYS, "", lambda value: changed("days", value))

            async def make() -> None:
                name = asked["name"].strip()
                field.refuse("" if name else "Say for whom or what it is.")
                if name:
                    await _make(visit, name, asked, made)

            button("Make a key", make, kind="primary", busy="Making …")
        made = tag("div", aria_live="polite")


async def _make(visit: Visit, name: str, asked: dict[str, str], box: Tag) -> None:
    _check_admin(visit, "make keys")
    if asked["role"] not in ROLES or asked["days"] not in DAYS:
        raise ConfigError("There is no such role or time.")
    lives = int(asked["days"] or 0) * 24 * 3600
    key, _ = await off(
        visit.store.keys.create,
        name,
        role=cast(Role, asked["role"]),
        project=visit.caller.project,
        expires_at=now() + lives if lives else None,
    )
    with clear(box), notice("It is shown this once: copy it now.", "good", title=name), row():
        tag("code", key, id="new-key", kind="secret")
        tag("button", "Copy", kind="button small", type="button", data_copy="new-key")
        tag("a", "Show it in the list", href="/keys")


# --- the list -------------------------------------------------------------------------------------


def _cells(visit: Visit, one: KeyRow) -> tuple[Cell, ...]:
    def state() -> None:
        if one.revoked_at:
            badge("Revoked")
        elif one.expires_at and one.expires_at <= time.time():
            badge("Over", "")
        elif one.expires_at:
            soon = one.expires_at < time.time() + SOON_SECONDS
            with tag("span", kind="row"):
                badge("Valid", "warn" if soon else "good")
                tag("span", "until", kind="quiet small")
                when(one.expires_at, form="full")
        else:
            badge("Valid", "good")

    def revoke() -> None:
        if not one.revoked_at:
            button("Revoke", lambda: _revoke(visit, one), kind="small danger",
                   aria_label=f"Revoke {one.name}")  # fmt: skip

    def name() -> None:
        tag("strong", one.name)
        if one.id == visit.caller.id:
            tag("span", " (yours)", kind="quiet")

    role = SHORT.get(one.role, one.role)
    return (name, state, role, one.prefix, lambda: when(one.created_at), revoke)


async def _revoke(visit: Visit, one: KeyRow) -> None:
    _check_admin(visit, "revoke keys")
    admins = (await off(visit.store.keys.counts, visit.caller.project)).get("admin", 0)
    says = ["Whoever uses it is logged out and refused within seconds. It cannot be undone."]
    if one.id == visit.caller.id:
        says.append("It is the key you are logged in with: you will be logged out.")
    if one.role == "admin" and admins == 1:
        says.append(
            "It is the project's only admin key. New keys can then be made by the command line "
            "only, where the server runs."
        )

    async def do() -> None:
        _check_admin(visit, "revoke keys")
        row_ = await off(visit.store.keys.of_project, one.id, visit.caller.project)
        if row_ is not None and not row_.revoked_at:
            await off(visit.store.keys.revoke, row_.id)
        ui.navigate.to("/keys")

    dialogs.confirm(f"Revoke {one.name}?", says, "Revoke", do)


def _check_admin(visit: Visit, what: str) -> None:
    """Raises: ApiError 403 for whoever is no admin, or is one no longer."""
    if visit.caller.role != "admin":
        raise ApiError(403, f"Only an admin of the project may {what}.")

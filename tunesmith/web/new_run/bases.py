"""Cards of base models: what each is good for, what it may be used for, whether it fits here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunesmith import catalog
from tunesmith.catalog import BaseModel, shelf
from tunesmith.errors import TunesmithError
from tunesmith.settings import Settings
from tunesmith.store.paging import Cursor
from tunesmith.store.rows import ModelRow
from tunesmith.store.store import Store
from tunesmith.web.controls import badge, choice_field, details, row, tag, text
from tunesmith.web.model_facts import named
from tunesmith.web.new_run.form import Form

OFFERED = 50
"""Models to go on from, the newest."""
ROOM = 10**9
"""Bytes of memory that training takes beside the model, roughly."""
FULL, ADDED = 16, 3
"""Bytes a parameter to tune all of a model (weights, gradients, AdamW's two moments, each of four
bytes), and to tune an addition to it (LoRA) with its own weights in two."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A base model as it can be chosen."""

    base: BaseModel
    is_here: bool
    """Whether its files are on this server."""


def cards(settings: Settings) -> list[Card]:
    """Every base model by name, those that are here first. Looks at the disk."""
    known = {**catalog.catalog(), **shelf.installed(settings.base_models_dir)}
    found = [Card(base=base, is_here=_is_here(base)) for base in known.values()]
    return sorted(found, key=lambda c: (not c.is_here, c.base.kind != "encoder", c.base.parameters))


def _is_here(base: BaseModel) -> bool:
    try:
        base.files()
    except TunesmithError:
        return False
    return True


def tuned(store: Store) -> list[ModelRow]:
    """Models of the project that training can go on from, the newest first."""
    return store.models.page(Cursor(limit=OFFERED)).data


def show(form: Form, found: list[Card], tuned: list[ModelRow]) -> None:
    """The part. Chosen is the one of the settings, or what an empty setting means."""
    here = [card for card in found if card.is_here]
    chosen = form.asked.train.base_model or _usual(form.task, here)
    with tag("fieldset", kind="bases"):
        tag("legend", "Base model", kind="unseen")
        for card in here:
            _card(form, card, chosen)
    _own(form, tuned)
    others = [card for card in found if not card.is_here]
    if others:
        with details(f"{len(others):,} more that this server can fetch"):
            text(
                "Whoever runs the server fetches one with `tunesmith models pull NAME`; then it "
                "can be chosen here.", "quiet",
            )  # fmt: skip
            with tag("div", kind="bases"):
                for card in others:
                    _card(form, card, "")


def _own(form: Form, tuned: list[ModelRow]) -> None:
    """Going on from a model that was tuned before."""
    bases = {card_name: base.kind for card_name, base in catalog.catalog().items()}
    writes = form.task in ("chat", "preference")
    fit = {m.id: named(m) for m in tuned if not (writes and bases.get(m.base_model) == "encoder")}
    now = form.asked.train.base_model or ""
    if not fit:
        return
    with details("Or go on from a model of yours", is_open=now in fit):

        async def choose(name: str) -> None:
            await form.change({"train": {"base_model": name or None}})

        choice_field(
            "Model", {"": "None: begin with a base model"} | fit, now if now in fit else "", choose,
            hint="Training begins with what that model has learned, not with the bare base model.",
        )  # fmt: skip


def _usual(task: str, here: list[Card]) -> str:
    """What is tuned where no base model is named."""
    if task == "classify" or not task:
        return catalog.DEFAULT
    return next((card.base.name for card in here if card.base.kind == "causal"), "")


def _card(form: Form, card: Card, chosen: str) -> None:
    base, why_not = card.base, _why_not(form.task, card)
    with tag("label", kind="base"):
        with row():
            if card.is_here:
                choice = tag(
                    "input", type="radio", name="base", value=base.name,
                    checked=base.name == chosen, disabled=bool(why_not),
                )  # fmt: skip

                async def choose() -> None:
                    await form.change({"train": {"base_model": base.name}}, by="bases")

                choice.on("change", choose, args=[])
            tag("strong", base.name)
        tag("span", base.description or "Kept on this server", kind="small")
        with tag("ul"):
            for fact in _facts(base):
                tag("li", fact)
        if why_not:
            tag("span", why_not, kind="small quiet")
        elif card.is_here:
            badge(*_room(base))


def _facts(base: BaseModel) -> list[str]:
    size = base.parameters
    many = f"{size / 1e9:.1f} billion" if size >= 1e9 else f"{size / 1e6:.0f} million"
    languages = ", ".join(base.languages) or "many languages"
    told = [f"{many} parameters" if size else "", f"languages: {languages}", base.licence]
    return [*filter(None, told), f"reads {base.max_length:,} tokens"]


def _why_not(task: str, card: Card) -> str:
    if card.base.kind == "encoder" and task in ("chat", "preference"):
        return "It puts labels on texts and writes none, so it cannot learn these answers."
    return ""


def _room(base: BaseModel) -> tuple[str, str]:
    """Whether it fits this machine, in words, and the mood of that. Rough: training measures."""
    left = memory_left()
    if not base.parameters or left is None:
        return "Fits if there is memory for it", ""
    full, added = (ROOM + each * base.parameters for each in (FULL, ADDED))
    if full <= left:
        return f"Fits: about {full / 1e9:.1f} of {left / 1e9:.0f} GB", "good"
    if base.kind == "causal" and added <= left:
        return f"Fits with LoRA: about {added / 1e9:.1f} of {left / 1e9:.0f} GB", "warn"
    return f"Too large: about {min(full, added) / 1e9:.0f} GB, {left / 1e9:.0f} GB are free", "bad"


def memory_left() -> int | None:
    """Bytes of memory that are free on this machine; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None

"""Every setting that a page may change, made from the config dataclasses: the control from the
field's type, the sentence from the line under it, the reason of its default from there too."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

from tunesmith import config as configs
from tunesmith.config import RunConfig
from tunesmith.web.controls import (
    Field,
    choice_field,
    details,
    grid,
    switch_field,
    text,
    text_field,
)
from tunesmith.web.drafts import in_words, may_choose
from tunesmith.web.new_run.form import Form
from tunesmith.web.setting_names import title

SECTIONS = {
    "prepare": ("The data", "How rows become examples."),
    "train": ("Training", "How the model learns from them."),
    "evaluate": ("Checking", "How it is found out how good the model is."),
    "deploy": ("Putting to use", "The proof that it answers as it was trained."),
}
FIRST = {"prepare": ("task", "text", "label"), "train": ("base_model",)}
"""Settings that the page has asked for above."""
CHOSEN = "chosen for you"


def show(form: Form) -> None:
    """The part."""
    for section, (name, says) in SECTIONS.items():
        part = getattr(form.asked, section)
        shown = [
            field for field in dataclasses.fields(part)
            if may_choose(section, field.name) and field.name not in FIRST.get(section, ())
        ]  # fmt: skip
        changed = sum(getattr(part, field.name) != _usual(section, field) for field in shown)
        with details(
            f"{name} · {len(shown)} settings" + (f", {changed} changed" if changed else "")
        ):
            text(says, "quiet")
            with grid():
                for field in shown:
                    _setting(form, section, field)


def _usual(section: str, field: dataclasses.Field[Any]) -> Any:
    return getattr(getattr(RunConfig(), section), field.name)


def _setting(form: Form, section: str, field: dataclasses.Field[Any]) -> Field:
    """The control of one setting."""
    part = getattr(form.asked, section)
    of_part: type = type(part)
    kind, is_open = _kind(typing.get_type_hints(of_part)[field.name])
    says = in_words(configs.help_of(of_part)[field.name])
    now, usual = getattr(part, field.name), _usual(section, field)
    hint = f"{says} {_default(usual)}".strip()
    name = title(field.name)

    def choose(value: Any) -> Any:
        return form.change({section: {field.name: _read(value, kind)}}, by="advanced")

    if kind is bool and not is_open:
        return switch_field(name, bool(now), choose, hint=hint)
    if kind is bool:
        options = {"": f"– {CHOSEN} –", "yes": "yes", "no": "no"}
        value = "" if now is None else "yes" if now else "no"
        return choice_field(name, options, value, choose, hint=hint)
    if typing.get_origin(kind) is Literal:
        options = {each: each for each in typing.get_args(kind)}
        return choice_field(name, options, now, choose, hint=hint)
    is_number = kind in (int, float)
    value = ", ".join(now) if isinstance(now, tuple) else "" if now is None else f"{now}"
    return text_field(
        name, value, choose, hint=hint, inputmode="decimal" if is_number else None,
        placeholder=CHOSEN if usual is None else None,
    )  # fmt: skip


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of a setting, and whether it may be left to Tunesmith."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(hint) if each is not type(None)]
        return kinds[0], True
    return hint, False


def _read(value: Any, kind: Any) -> Any:
    """What was typed or chosen, as the setting has it. What is none is refused by `config`."""
    if isinstance(value, bool):
        return value
    given = str(value).strip()
    if typing.get_origin(kind) is tuple:
        return [part.strip() for part in given.split(",") if part.strip()]
    if not given:
        return None
    if kind is bool:
        return given == "yes"
    try:
        return int(given) if kind is int else float(given) if kind is float else given
    except ValueError:
        return given


def _default(usual: Any) -> str:
    if usual is None or usual == ():
        return ""
    said = {True: "on", False: "off"}.get(usual, usual) if isinstance(usual, bool) else usual
    return f"Usually {said}."

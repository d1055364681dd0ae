"""Providers as rows of providers.toml: where each listens, what it can do, what it costs.

A user's own providers.toml in the data folder adds rows and replaces single facts.
Knows: the form of these files. Does not know: how anybody is asked, or who is behind a row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tunesmith.errors import ConfigError, nearest, storage_error
from tunesmith.providers.provider import Capabilities, Fact

FILE = "providers.toml"
SECTIONS: dict[str, tuple[str, ...]] = {
    "tunes": (
        "methods", "hyperparameters", "options", "catalog", "samples", "pauses", "metadata",
        "poll_seconds", "reason",
    ),
    "answers": (
        "deploys", "deploying", "top_logprobs", "lists", "choices", "token_ids", "embeddings",
        "first_requests",
    ),
    "limits": ("file_bytes", "part_bytes", "upload_bytes", "least_examples"),
    "prices": ("free", "currency"),
}  # fmt: skip
"""Section of a row → the capabilities that it holds."""
LISTS = ("models", "ends")
FACT = tuple(f.name for f in fields(Fact))
OFF = dict.fromkeys(
    ("options", "catalog", "samples", "pauses", "metadata", "deploys", "lists", "choices",
     "token_ids", "embeddings", "free"), False,
)  # fmt: skip
"""What nobody says a provider can, it cannot."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How a provider is reached, and where address and key are looked for."""

    base_url: str = ""
    """Empty: it has to be given."""
    path: str = "/v1"
    """Of an address that is given without one."""
    model_path: str = ""
    """Put before the path of requests to a model, with `{model}` for its name."""
    header: str = "Authorization"
    query: Mapping[str, str] = field(default_factory=dict)
    address_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    key_comes_from: str = "of that server"
    needs_key: bool = True
    starts: bool = False
    """Where no address is given, a server is started."""
    otherwise: str = ""
    """The row that holds where a server turns out not to be Tunesmith's."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A provider."""

    name: str
    title: str
    api: str = "openai"
    """What it speaks; one class in `providers.APIS`."""
    reach: Reach
    can: Capabilities
    sources: Mapping[str, Fact]
    """Section → where its facts are from, and since when."""


def names(data_dir: Path) -> list[str]:
    """All providers, ours first. Raises: ConfigError for a file of the user's that is wrong."""
    return list(_tables(data_dir))


def find(name: str, data_dir: Path) -> Row:
    """The row of that name.

    Raises: ConfigError, with the nearest name where there is none, or where a file is wrong.
    """
    tables = _tables(data_dir)
    if name not in tables:
        raise ConfigError(f"There is no provider named {name!r}.", fix=nearest(name, tables))
    return _row(name, _inherited(name, tables, ()), data_dir / FILE)


def _tables(data_dir: Path) -> dict[str, Any]:
    ours = _read(Path(__file__).with_name(FILE))
    place = data_dir / FILE
    return _merged(ours, _read(place)) if place.is_file() else dict(ours)


@cache
def _parsed(path: Path, _changed: int) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise storage_error(error, path) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", fix="Correct that line.") from None


def _read(path: Path) -> dict[str, Any]:
    return _parsed(path, path.stat().st_mtime_ns)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables laid over each other; of lists, what is above comes first."""
    found = dict(below)
    for name, value in above.items():
        there = found.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            found[name] = _merged(there, value)
        elif name in LISTS and isinstance(there, list):
            found[name] = [*value, *there]
        else:
            found[name] = value
    return found


def _inherited(name: str, tables: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    table = tables.get(name)
    if not isinstance(table, dict) or name in seen:
        raise ConfigError(
            f"The provider {seen[-1] if seen else name!r} is like {name!r}, which "
            "is no other provider.",
            fix=nearest(name, tables),
        )
    like = table.get("like")
    if like is None:
        return table
    return _merged(_inherited(like, tables, (*seen, name)), {**table, "like": like})


def _row(name: str, table: Mapping[str, Any], place: Path) -> Row:
    rest = dict(table)
    rest.pop("like", None)
    title, api = rest.pop("title", name), rest.pop("api", "openai")
    facts: dict[str, Any] = {"title": title, **OFF}
    sources: dict[str, Fact] = {}
    sections = {"reach": tuple(f.name for f in fields(Reach)), **SECTIONS}
    reach: dict[str, Any] = {}
    for section, known in sections.items():
        found = rest.pop(section, {})
        if not isinstance(found, dict):
            raise ConfigError(f"{section!r} in [{name}] of {place} is no section.")
        found = dict(found)
        if found:
            source = {key: found.pop(key) for key in FACT if key in found}
            sources[section] = _fitting(Fact, source, f"[{name}.{section}]", place)
        if wrong := [key for key in found if key not in known]:
            raise ConfigError(
                f"There is no {wrong[0]!r} in [{name}.{section}] of {place}.",
                fix=nearest(wrong[0], known),
            )
        (reach if section == "reach" else facts).update(found)
    facts |= {key: rest.pop(key) for key in LISTS if key in rest}
    if rest:
        raise ConfigError(
            f"There is no section {next(iter(rest))!r} in [{name}] of {place}.",
            fix=nearest(next(iter(rest)), [*sections, *LISTS]),
        )
    if "hyperparameters" in facts:
        ranges = dict(facts["hyperparameters"])
        facts["hyperparameters"] = {key: _ends(value) for key, value in ranges.items()}
    facts["train"] = bool(facts.setdefault("methods", ()))
    return Row(
        name=name,
        title=title,
        api=api,
        reach=_fitting(Reach, reach, f"[{name}.reach]", place),
        can=_fitting(Capabilities, facts, f"[{name}]", place),
        sources=sources,
    )


def _ends(value: Any) -> Any:
    """[least, most], where "none" stands for no end."""
    return [None if end == "none" else end for end in value] if isinstance(value, list) else value


def _fitting(kind: type[Any], found: Mapping[str, Any], what: str, place: Path) -> Any:
    """`found` as a `kind`. Raises: ConfigError that names what does not fit."""
    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{place}: {where} of {what} does not fit: {first['msg'].lower()}.",
            fix="Every section needs as_of (a date) and source; `tunesmith providers show openai` "
            "shows a whole row.",
        ) from None

"""Options of commands, made from the config dataclasses: one option a field, its help the line
under it.

Knows: fields and how an option is written. Does not know: any particular field, save a few names.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tunesmith import config as configs
from tunesmith.config import RunConfig
from tunesmith.errors import NotFound

Given = dict[str, dict[str, Any]]
"""Section → field → value, of the options that were given."""

NAMES = {"provider.name": "provider"}
FILES = {"prepare": ("table", "validation", "review"), "evaluate": ("schema",)}
PERHAPS_FILES = {"train": ("base_model",), "evaluate": ("judge_rubric", "against", "no_worse_than")}
"""Of these, only what is there is a path; else it is a name or a text."""


def takes_config(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command's `given` becomes one option for each field of `sections`.

    A field that has the name of one of the command's own parameters is left to the command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        made = {
            _option(section, field): (section, field.name)
            for section in sections
            for field in _fields(section)
            if field.name not in own
        }
        place = {option.name: key for option, key in made.items()}

        # The one place where parameters are not written down: they are made from the fields.
        def with_options(**values: Any) -> None:
            given: Given = {}
            for name, (section, field) in place.items():
                if (value := values.pop(name)) is not None and value != []:
                    given.setdefault(section, {})[field] = _parts(value, section, field)
            command(given=given, **values)

        parameters = [p for name, p in own.items() if name != "given"]
        parameters += made
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        for name in ("__name__", "__doc__", "__module__"):
            setattr(with_options, name, getattr(command, name))
        return with_options

    return decorate


def asked(
    given: Given, *, base: RunConfig, overrides: list[str], seed: int | None = None
) -> RunConfig:
    """`base` with the options given and `--set` entries laid over it, paths made absolute.

    Raises: ConfigError for an impossible value.
    """
    config = configs.overlay(base, given, "The command line")
    if seed is not None:
        seeds: Given = {"prepare": {"seed": seed}, "train": {"seed": seed}}
        config = configs.overlay(config, seeds, "--seed")
    config = configs.override(config, overrides)
    paths: Given = {"prepare": {}, "train": {}, "evaluate": {}}
    for section, names in FILES.items():
        for name in names:
            if (value := getattr(getattr(config, section), name)) and "://" not in value:
                paths[section][name] = str(Path(value).expanduser().absolute())
    for section, names in PERHAPS_FILES.items():
        for name in names:
            value = getattr(getattr(config, section), name)
            if isinstance(value, tuple):
                paths[section][name] = tuple(map(_absolute, value))
            elif value:
                paths[section][name] = _absolute(value)
    return configs.overlay(config, paths, "The paths")


def _absolute(value: str) -> str:
    """The path, where there is something; else the name or text that it is."""
    return str(Path(value).expanduser().absolute()) if _exists(value) else value


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError):  # too long for a path, or with characters that none has
        return False


def of_run_dir(run_dir: Path, config_file: Path | None) -> RunConfig:
    """What the run directory (or, if given, `--config`) asks for.

    Raises: NotFound where there is no run.
    """
    found = config_file or run_dir / "config.toml"
    if config_file is None and not found.is_file():
        raise NotFound(
            f"There is no run in {run_dir}: it has no config.toml.",
            fix="Begin one with: tunesmith run TABLE",
        )
    return configs.load(found)


def _parts(value: Any, section: str, name: str) -> Any:
    """An option that may be given several times: all parts, also those joined by commas, unless
    parts may hold commas."""
    if not isinstance(value, list):
        return value
    whole = next(f for f in _fields(section) if f.name == name).metadata.get("whole")
    return value if whole else [part for each in value for part in each.split(",") if part]


def _fields(section: str) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(getattr(RunConfig(), section))


def _option(section: str, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """A keyword parameter that typer makes an option of; None means: not given."""
    part: type = type(getattr(RunConfig(), section))
    kind, metavar = _kind(typing.get_type_hints(part)[field.name])
    name = NAMES.get(f"{section}.{field.name}", field.name)
    flag = "--" + name.replace("_", "-")
    says = configs.help_of(part)[field.name]
    if isinstance(field.default, int | float | str) and kind is not bool:
        says += f" Default: {field.default}."
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=says,
        metavar=metavar,
        show_default=False,
        rich_help_panel=section,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _kind(hint: Any) -> tuple[Any, str | None]:
    """The type typer shall read, and what stands for the value in `--help`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return str, "|".join(args)
    if origin is tuple:
        return list[str], "A,B,…"
    if args:  # X | None
        return _kind(next(a for a in args if a is not type(None)))
    return hint, None

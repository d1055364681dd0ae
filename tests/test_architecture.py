"""The arrows between packages point down, and heavy libraries stay where they belong."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "tunesmith"

# Each level may import the levels before it. Packages of one level do not see each other.
LEVELS = [
    {"errors"},
    {"catalog"},
    {"config", "settings", "events", "wire"},
    {"data", "hub"},
    {"metrics", "manual"},
    {"model", "store", "providers"},
    {"pipeline", "work", "training", "serving"},
    {"server"},
    {"web"},
    {"cli"},
]
# The same inside `data`, for its packages and the modules beside them.
DATA_LEVELS = [
    {"findings"},
    {"receipt"},
    {"checks", "journal", "texts", "reading", "likeness"},
    {"columns", "sides", "chat"},
    {"labels"},
]
WALLS = {
    "pipeline": {"store", "model"},
    "server": {"providers", "pipeline", "model", "training"},
    "web": {"providers", "pipeline", "model", "training"},
    "training": {"store"},
    "serving": {"store"},
}
HOMES = {
    "torch": {"model", "training", "serving"},
    "transformers": {"model"},
    "peft": {"model"},
    "llguidance": {"serving"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "fastapi": {"server", "web"},
    "starlette": {"server", "web"},
    "nicegui": {"web"},
    "openai": {"providers"},
    "huggingface_hub": {"hub"},
    "typer": {"cli"},
    "rich": {"cli"},
    "markdown_it": {"manual"},
    "polars": {"data", "pipeline"},
    "sklearn": {"metrics"},
    "optuna": {"pipeline"},
}
ENTRANCES = {"__init__", "__main__"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    """The package or top-level module a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every absolute module name a file imports, inside functions too, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module
            yield node.module, node.lineno
            if node.module in {"tunesmith", "tunesmith.data"}:
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", node.lineno


def level(part: str, levels: list[set[str]] = LEVELS) -> int:
    return next(i for i, names in enumerate(levels) if part in names)


def test_every_part_has_a_level():
    known = set().union(*LEVELS) | ENTRANCES
    assert {part_of(path) for path in modules()} <= known


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down(path):
    part = part_of(path)
    if part in ENTRANCES:
        return
    for name, line in imports(path):
        if not name.startswith("tunesmith."):
            continue
        target = name.split(".")[1]
        if target == part or target.startswith("__"):
            continue
        assert level(target) < level(part), f"{path}:{line}: {part} must not import {target}"
        assert target not in WALLS.get(part, set()), f"{path}:{line}: wall: {part} | {target}"


def data_modules() -> list[Path]:
    return sorted(set((ROOT / "data").rglob("*.py")) - {ROOT / "data" / "__init__.py"})


def part_of_data(path: Path) -> str:
    return path.relative_to(ROOT / "data").with_suffix("").parts[0]


def test_every_part_of_data_has_a_level():
    assert {part_of_data(path) for path in data_modules()} == set().union(*DATA_LEVELS)


@pytest.mark.parametrize("path", data_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down_inside_data(path):
    part = part_of_data(path)
    for name, line in imports(path):
        if not name.startswith("tunesmith.data."):
            continue
        target = name.split(".")[2]
        if target != part:
            assert level(target, DATA_LEVELS) < level(part, DATA_LEVELS), (
                f"{path}:{line}: in data, {part} must not import {target}"
            )


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_at_home(path):
    part = part_of(path)
    for name, line in imports(path):
        home = HOMES.get(name.split(".")[0])
        assert home is None or part in home, f"{path}:{line}: {name} belongs in {home}"


def test_no_drawers():
    drawers = {"utils", "helpers", "common", "misc", "manager", "util", "helper"}
    for path in modules():
        assert not drawers & set(path.relative_to(ROOT).with_suffix("").parts), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert not node.name.lower().endswith(("manager", "helper", "utils")), path


def test_every_module_says_its_job():
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path

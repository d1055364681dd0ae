"""What the pages say is so: options, settings, error sentences, commands, links."""

import ast
import dataclasses
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith import config, settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), *(ROOT / n for n in ("README.md", "CONTRIBUTING.md"))])
OPTIONS = {
    "prepare": (config.PrepareConfig, {"table"}),
    "upload": (config.ProviderConfig, set()),
    "train": (config.TrainConfig, set()),
    "deploy": (config.DeployConfig, set()),
    "evaluate": (config.EvaluateConfig, set()),
    "iterate": (config.IterateConfig, set()),
}


def by_name(path: Path) -> str:
    return path.name


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def table(text: str, head: str) -> dict[str, tuple[str, str]]:
    """First name in the first cell → (default, meaning), of the table with that first heading."""
    lines = text[text.index(f"| {head}") :].splitlines()[2:]
    rows = (line.strip("|").split(" | ") for line in lines[: lines.index("")])
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0].split(",")[0].strip("`"): (row[1].strip("`"), row[2]) for row in cells}


def shown(default: object) -> str:
    if default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_option_is_on_its_page(verb):
    kind, left_out = OPTIONS[verb]
    told = config.help_of(kind)
    expected = {
        "--provider" if (verb, f.name) == ("upload", "name") else "--" + f.name.replace("_", "-"): (
            shown(f.default),
            told[f.name],
        )
        for f in dataclasses.fields(kind)
        if f.name not in left_out
    }
    assert table(read(f"docs/{verb}.md"), "option") == expected


def test_every_setting_is_on_the_servers_page():
    told = config.help_of(settings.Settings)
    expected = {
        settings.PREFIX + f.name.upper(): (shown(f.default), told[f.name])
        for f in dataclasses.fields(settings.Settings)
    }
    assert table(read("docs/server.md"), "variable") == expected


def test_troubleshooting_quotes_real_sentences():
    code = " ".join(written(ROOT / "tunesmith"))
    quoted = re.findall(r"\*\*(.+?)\*\*", read("docs/troubleshooting.md").split("## No error")[0])
    quoted += re.findall(r"^- \*(.+?)\*", read("docs/troubleshooting.md"), re.M)
    assert len(quoted) > 40
    for sentence in quoted:
        words = [re.sub(r"^\W+|[.,:;]+$", "", word) for word in sentence.split()]
        threes = (" ".join(words[i : i + 3]) for i in range(len(words) - 2))
        assert any(three in code for three in threes if "…" not in three), sentence


def written(folder: Path) -> Iterator[str]:
    """Every piece of text in the code."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield " ".join(node.value.split())


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists() or other.name == "report.png", target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.M)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings
            }


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_commands_exist(page):
    from typer.main import get_command

    from tunesmith.cli import app

    text = page.read_text(encoding="utf-8")
    for line in "\n".join(blocks(text, "sh") + blocks(text, "console")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", read("Makefile"), re.M), line
        if words[:1] != ["tunesmith"]:
            continue
        command, rest = get_command(app), words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        assert command.name != "tunesmith", line
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        assert {w for w in rest if w.startswith("--")} <= known, line


def test_the_readmes_python_calls_what_the_sdk_has():
    (code,) = blocks(read("README.md"), "python")
    compile(code, "README.md", "exec")
    assert "base_url=" in code


def test_every_call_of_the_api_is_on_its_page():
    from tunesmith.server.openapi import CALLS

    named = re.findall(r"^\| `((?:GET|POST|DELETE) \S+)` \|", read("docs/openai-api.md"), re.M)
    assert named == list(CALLS)


def test_every_command_is_on_the_page_of_commands():
    """Where this fails, a command has changed: run `python docs/commands.py`."""
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs/commands.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert read("docs/commands.md") == made.text()


def test_every_page_can_be_reached_from_the_first():
    seen, waiting = set(), ["index.md"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        linked = re.findall(r"\]\(([\w-]+\.md)", read(f"docs/{name}"))
        waiting += [other for other in linked if other not in seen]
    assert seen == {path.name for path in ROOT.glob("docs/*.md")}


def test_every_picture_is_there_and_described():
    for page in ROOT.glob("docs/*.md"):
        for told, picture in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / picture).is_file(), picture
            assert len(told) > 20, picture


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_python_and_toml_of_the_pages_can_be_read(page):
    import tomllib

    text = page.read_text(encoding="utf-8")
    for code in blocks(text, "python"):
        compile(code, page.name, "exec")
    for code in blocks(text, "toml"):
        tomllib.loads(code)


def test_what_the_first_page_shows_of_the_run_is_what_it_prints():
    code = " ".join(written(ROOT / "tunesmith"))
    for words in ("labelled correctly", "On the same rows: "):
        assert words in read("docs/index.md") and words in code

"""Rows of providers: every fact has a date and a source, and a user's own rows come on top."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from tunesmith.errors import ConfigError
from tunesmith.providers import rows

OURS = tomllib.loads((Path(rows.__file__).parent / rows.FILE).read_text())


def own(tmp_path: Path, text: str) -> Path:
    (tmp_path / rows.FILE).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", OURS)
def test_every_fact_has_a_date_and_a_source(name, tmp_path):
    found = rows.find(name, tmp_path)
    facts = [*found.sources.values(), *found.can.models, *found.can.ends]
    assert facts and all(fact.source and fact.as_of <= date(2026, 11, 30) for fact in facts)
    given = [section for section, value in OURS[name].items() if isinstance(value, dict)]
    assert set(given) <= set(found.sources)


def test_models_are_found_by_their_names_and_by_those_of_their_children(tmp_path):
    can = rows.find("openai", tmp_path).can
    assert can.model("gpt-4.1-mini-2025-04-14").training == 5
    assert can.model("ft:gpt-4.1-nano-2025-04-14:org::abc").closes == date(2026, 10, 23)
    assert can.model("gpt-4o-2024-05-13").methods == ()
    assert can.model("minilm-l6") is None


def test_what_nobody_says_a_provider_can_it_cannot(tmp_path):
    can = rows.find("compatible", tmp_path).can
    assert not (can.options or can.catalog or can.choices or can.free or can.pauses)
    assert rows.find("local", tmp_path).can.free


def test_a_users_rows_come_on_top(tmp_path):
    place = own(
        tmp_path,
        """
        [openai.limits]
        part_bytes = 1000
        [[openai.models]]
        name = "gpt-4.1-mini*"
        training = 1.0
        as_of = 2026-11-01
        source = "our contract"
        [ours]
        like = "openai"
        title = "Our gateway"
        [ours.reach]
        base_url = "https://gateway.example/v1"
        """,
    )
    changed, ours = rows.find("openai", place).can, rows.find("ours", place)
    assert (changed.part_bytes, changed.file_bytes) == (1000, 512 * 1024 * 1024)
    assert changed.model("gpt-4.1-mini").training == 1 and changed.model("gpt-4o").training == 25
    assert ours.reach.key_variables == ("OPENAI_API_KEY",) and ours.title == "Our gateway"
    assert ours.can.ends and rows.names(place)[-1] == "ours"


@pytest.mark.parametrize(
    "text, words",
    [
        ("[openai", "is not TOML"),
        ("[openai.limits]\npart_byte = 1", "'part_bytes'"),
        ("[openai.limit]\npart_bytes = 1", "'limits'"),
        ("[openai]\nlimits = 3", "is no section"),
        ('[openai.limits]\npart_bytes = "many"', "part_bytes"),
        ("[new.tunes]\nmethods = ['supervised']", "as_of"),
        ("[openai.tunes.hyperparameters]\nn_epochs = 3", "hyperparameters"),
        ("[openai]\nlike = 'opanai'", "which is no other provider"),
        ("[openai]\nlike = 'openai'", "which is no other provider"),
    ],
)
def test_what_is_wrong_in_a_users_file_is_named(tmp_path, text, words):
    place = own(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        for name in rows.names(place):
            rows.find(name, place)
    assert words in str(caught.value)

"""Names of files, and which settings sentences propose and a page may choose."""

import pytest

from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError
from tunesmith.web.drafts import choose, in_words, may_choose, proposals, safe_name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("tickets.csv", "tickets.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\rows.xlsx", "rows.xlsx"),
        ("..", "table"),
        ("", "table"),
        (".hidden.csv", "hidden.csv"),
        ("a\x00b\n.csv", "a_b_.csv"),
        ("<img src=x onerror=alert(1)>.csv", "_img src=x onerror=alert(1)_.csv"),
        ("Größe und Maß.csv", "Größe und Maß.csv"),
        ("\u202excod.csv", "_xcod.csv"),
    ],
)
def test_names_are_made_safe(given, kept):
    assert safe_name(given) == kept


def test_long_names_keep_their_ending():
    name = safe_name("ä" * 500 + ".csv")
    assert len(name.encode()) <= 120 and name.endswith(".csv")
    assert len(safe_name("x." + "y" * 500)) <= 120


def test_a_sentence_proposes_the_settings_it_names():
    asked = RunConfig()
    assert proposals("Leave them out with --rare-labels drop.", asked) == {
        "Rare labels: drop": {"prepare": {"rare_labels": "drop"}}
    }
    assert proposals("If so: --merge 'Neative=Negative'", asked) == {
        "Merge: Neative=Negative": {"prepare": {"merge": ["Neative=Negative"]}}
    }
    assert proposals("--near-duplicates 0.8 asks for it", asked) == {
        "Near duplicates: 0.8": {"prepare": {"near_duplicates": 0.8}}
    }
    assert proposals("Choose one with --label NAME.", asked) == {}
    assert proposals("Try --base-url http://evil.example", asked) == {}
    assert proposals("--table /etc/passwd", asked) == {}
    assert proposals("--rare-labels perhaps", asked) == {}


def test_what_is_set_already_is_not_proposed():
    asked = choose(RunConfig(), {"prepare": {"rare_labels": "drop"}})
    assert proposals("as --rare-labels drop asks", asked) == {}


def test_sentences_are_told_in_the_words_of_the_page():
    assert in_words("Leave them out with --rare-labels drop.") == (
        "Leave them out with “Rare labels: drop”."
    )
    assert in_words("Choose one with --label NAME.") == "Choose one with “Label”."
    assert in_words("Nothing -- at all") == "Nothing -- at all"


@pytest.mark.parametrize(
    "name", ["prepare.table", "prepare.validation", "evaluate.judge_url", "provider.base_url"]
)
def test_settings_that_reach_beyond_the_run_cannot_be_chosen(name):
    section, field = name.split(".")
    assert not may_choose(section, field)
    with pytest.raises(ConfigError, match="cannot be chosen here"):
        choose(RunConfig(), {section: {field: "x"}})


def test_impossible_values_are_refused_by_the_settings_themselves():
    with pytest.raises(ConfigError, match="a whole number is needed"):
        choose(RunConfig(), {"train": {"n_epochs": "many"}})

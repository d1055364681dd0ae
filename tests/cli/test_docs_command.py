"""`tunesmith docs`: pages and answers in the terminal, without a server."""

import json

import pytest


@pytest.fixture(autouse=True)
def without_encoder(monkeypatch):
    monkeypatch.setattr("tunesmith.cli.docs._encoder", lambda: None)


def test_all_pages_are_listed(here):
    ended = here("docs", "list")
    names = [line.split()[0] for line in ended.out.splitlines()]
    assert ended.code == 0 and names[0] == "index" and {"train", "security"} <= set(names)
    listed = json.loads(here("docs", "list", "--json").out)
    assert [one["page"] for one in listed] == names


def test_a_page_is_shown(here):
    assert here("docs", "show", "train").out.startswith("# train\n")
    assert here("docs", "show", "train.md").out.startswith("# train\n")
    wrong = here("docs", "show", "trian")
    assert wrong.code == 2 and "Did you mean 'train'" in wrong.err


def test_a_question_is_answered_with_its_pages(here):
    ended = here("docs", "ask", "How do I revoke an API key?")
    assert ended.code == 0
    assert "tunesmith keys revoke" in ended.out and "\nSources:\n" in ended.out
    assert "tunesmith docs show server" in ended.out
    assert "by words alone" in ended.out
    known = json.loads(here("docs", "ask", "How do I revoke an API key?", "--json").out)
    assert known["is_documented"] and known["excerpts"]


def test_what_is_not_there_is_not_documented(here):
    ended = here("docs", "ask", "zebra crossing etiquette")
    assert ended.out.startswith("Not documented.\n\nNearest pages:\n")


def test_an_empty_question_is_refused(here):
    ended = here("docs", "ask", " ")
    assert ended.code == 2 and "The question is empty" in ended.err

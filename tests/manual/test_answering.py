"""Answers: sentences of the pages themselves, their excerpts and sources, or that there is none."""

from dataclasses import replace

import pytest

from tunesmith.manual import pages
from tunesmith.manual.answering import NOTHING, answer, as_markdown, prompt, worded
from tunesmith.manual.passages import passages
from tunesmith.manual.ranking import Index


@pytest.fixture(scope="module")
def manual():
    found = pages.read(pages.folder())
    return Index(passages(found)), found


QUESTIONS = ["How do I revoke an API key?", "What is early stopping?", "split by label"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_sentence_of_an_answer_stands_in_the_pages(manual, question):
    found = answer(question, *manual)
    assert found.is_documented and found.excerpts and not found.written_by
    said = {s.rstrip(".") for p in manual[0].passages for s in p.sentences}
    code = {c for p in manual[0].passages for c in p.code}
    prose, _, block = found.text.partition("\n\n```\n")
    assert not block or block.removesuffix("\n```") in code
    while prose:
        longest = max((s for s in said if s and prose.startswith(s)), key=len, default="")
        assert longest, prose
        prose = prose[len(longest) :].lstrip(". ")


def test_excerpts_are_the_pages_own_and_say_where_they_stand(manual):
    found = answer("How do I revoke an API key?", *manual)
    texts = {page.name: page.text for page in manual[1]}
    for excerpt in found.excerpts:
        assert excerpt.text.splitlines()[-1] in texts[excerpt.page]
    best = found.excerpts[0]
    assert best.anchor in ("api-keys", "tunesmith-keys-revoke")
    assert "revoke" in found.text
    assert found.sources[0].page == best.page
    assert len({source.page for source in found.sources}) == len(found.sources) == 3


def test_what_is_not_there_is_not_documented(manual):
    found = answer("zebra crossing etiquette", *manual)
    assert (found.is_documented, found.text, found.excerpts) == (False, NOTHING, ())
    assert found.sources  # the nearest pages


def test_a_question_is_read_to_a_length(manual):
    assert len(answer("key " * 1000, *manual).question) <= 400


def test_a_model_words_it_from_the_excerpts_alone(manual):
    found = answer("How do I revoke an API key?", *manual)
    system, user = prompt(found)
    assert system["role"] == "system" and NOTHING in system["content"]
    assert all(excerpt.text in user["content"] for excerpt in found.excerpts)
    told = worded(found, " Type `tunesmith keys revoke NAME`. ", "writer")
    assert told == replace(found, text="Type `tunesmith keys revoke NAME`.", written_by="writer")


@pytest.mark.parametrize("text", ["", "Not documented.", "Not documented"])
def test_a_model_may_say_that_the_excerpts_do_not_answer(manual, text):
    told = worded(answer("How do I revoke an API key?", *manual), text, "writer")
    assert (told.is_documented, told.text, told.excerpts) == (False, NOTHING, ())


def test_as_markdown_it_names_its_sources(manual):
    told = as_markdown(answer("How do I revoke an API key?", *manual))
    assert told.startswith("# How do I revoke an API key?\n\n")
    assert "](commands.md#tunesmith-keys-revoke)" in told and "\n## Sources\n" in told
    assert "\n## Nearest pages\n" in as_markdown(answer("zebra crossing etiquette", *manual))

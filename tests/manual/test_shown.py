"""Pages as HTML: whole, safe, and every link in them leads somewhere that is served."""

import re

import pytest

from tunesmith.manual import pages, shown
from tunesmith.manual.answering import answer
from tunesmith.manual.passages import passages
from tunesmith.manual.ranking import Index

ALL = pages.read(pages.folder())


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    html = shown.page_html(page, ALL)
    ids = {p.name: set(re.findall(r' id="([^"]+)"', shown.body_html(p.text, ALL))) for p in ALL}
    names = {"./": "index", **{p.name: p.name for p in ALL if p.name != "index"}}
    for target in re.findall(r'<a [^>]*href="([^"]+)"', html):
        name, _, anchor = target.partition("#")
        if not name or name in names:
            known = ids[names[name]] if name else {*ids[page.name], "content"}
            assert not anchor or anchor in known, target
        else:
            assert name in ("llms.txt", f"{page.name}.md") or name.startswith("http"), target
    for source in re.findall(r'<img src="([^"]+)"', html):
        assert (pages.folder() / source).is_file(), source


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_nothing_is_run_and_nothing_comes_from_elsewhere(page):
    html = shown.page_html(page, ALL)
    assert "<script" not in html and " style=" not in html
    loaded = re.findall(r'<(?:link|img|iframe|source)[^>]*(?:href|src)="([^"]+)"', html)
    assert not [target for target in loaded if target.startswith(("http", "//"))]
    assert html.count("<h1") == 1 and 'lang="en"' in html and 'name="viewport"' in html


def test_what_was_asked_is_shown_and_does_nothing():
    hostile = '"><script>alert(1)</script> revoke key'
    found = answer(hostile, Index(passages(ALL)), ALL)
    html = shown.answer_html(found, ALL)
    assert "<script" not in html and "&lt;script&gt;" in html


def test_html_in_a_page_stays_text():
    assert "&lt;b&gt;" in shown.body_html("a <b>bold</b> word", ALL)


def test_what_lies_outside_of_the_pages_is_named_without_a_link():
    assert "href" not in shown.body_html("[the README](../README.md)", ALL)
    assert 'href="train#options"' in shown.body_html("[x](train.md#options)", ALL)

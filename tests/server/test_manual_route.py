"""The documentation over HTTP: pages, Markdown, answers in the form that is asked for; no key."""

import re

import httpx
import pytest

QUESTION = {"ask": "How do I revoke an API key?"}


@pytest.fixture
def docs(shared):
    with httpx.Client(base_url=shared.url.removesuffix("/v1")) as client:
        yield client


def accepting(kind):
    return {"accept": kind}


BROWSER = accepting("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def test_the_first_page_needs_no_key_and_loads_nothing_from_elsewhere(docs):
    assert docs.get("/docs").headers["location"] == "/docs/"
    reply = docs.get("/docs/", headers=BROWSER)
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/html")
    assert "<h1" in reply.text and "<script" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    (style,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', reply.text)
    assert docs.get(f"/docs/{style}").headers["content-type"].startswith("text/css")


def test_a_page_is_there_as_html_as_markdown_and_as_json(docs):
    html = docs.get("/docs/train", headers=BROWSER)
    assert "<table>" in html.text and 'id="options"' in html.text
    text = docs.get("/docs/train.md")
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.text.startswith("# train\n")
    assert docs.get("/docs/train.md", headers=BROWSER).text == text.text
    known = docs.get("/docs/train", headers=accepting("application/json")).json()
    assert (known["name"], known["text"]) == ("train", text.text)


def test_the_list_for_programs(docs):
    told = docs.get("/docs/llms.txt")
    assert told.headers["content-type"].startswith("text/plain")
    for name in re.findall(r"\]\(([\w-]+\.md)\)", told.text):
        assert docs.get(f"/docs/{name}").status_code == 200, name


def test_a_question_is_answered_in_every_form(docs):
    found = docs.get("/docs/server.md", params=QUESTION, headers=accepting("application/json"))
    known = found.json()
    assert known["question"] == QUESTION["ask"] and known["is_documented"]
    assert known["text"] and known["excerpts"][0]["text"] and known["sources"][0]["page"]
    text = docs.get("/docs/server.md", params=QUESTION)
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.text.startswith(f"# {QUESTION['ask']}\n")
    html = docs.get("/docs/", params=QUESTION, headers=BROWSER).text
    assert '<section class="answer">' in html and f'value="{QUESTION["ask"]}"' in html
    assert docs.get("/docs/server.md", params=QUESTION, headers=BROWSER).text == html
    empty = docs.get("/docs/", params={"ask": " "}, headers=BROWSER).text
    assert 'class="answer"' not in empty


def test_the_gate_of_the_pages_lets_the_documentation_through():
    from tunesmith.web.gate import is_api

    assert all(map(is_api, ("/docs", "/docs/", "/docs/train.md", "/docs/pictures/x.svg")))


def test_pictures_are_served_and_nothing_else_of_the_disk(docs):
    pictures = re.findall(r"\((pictures/[\w-]+\.svg)\)", docs.get("/docs/fitting.md").text)
    assert pictures
    for picture in pictures:
        assert docs.get(f"/docs/{picture}").headers["content-type"] == "image/svg+xml"
    for wrong in ("../pyproject.toml", "..%2f..%2fpyproject.toml", "commands.py", "pictures/x.svg",
                  "%2e%2e/docs/report.png/../../README.png", "none.md"):  # fmt: skip
        assert docs.get(f"/docs/{wrong}").status_code in (404, 308), wrong


def test_a_page_that_is_not_there_gets_the_nearest_name(docs):
    reply = docs.get("/docs/trian.md")
    assert reply.status_code == 404
    assert "Did you mean 'train'" in reply.json()["error"]["message"]


def test_the_description_stays_and_leaves_the_documentation_out(docs):
    assert not [p for p in docs.get("/openapi.json").json()["paths"] if p.startswith("/docs")]
    assert docs.get("/redoc").status_code == 404


def test_vectors_are_made_once_and_answers_remembered(start):
    server = start()
    with httpx.Client(base_url=server.url.removesuffix("/v1")) as client:
        first = client.get("/docs/", params=QUESTION, headers=accepting("application/json"))
        asked = len(server.pool.asked)
        again = client.get("/docs/", params=QUESTION, headers=accepting("application/json"))
    assert first.json() == again.json()
    assert len(server.pool.asked) == asked
    assert max(len(texts) for _, _, texts in server.pool.asked) > 300  # the passages, at one go
    assert list(server.settings.manual_dir.glob("*.npy"))


def test_a_model_of_the_server_words_the_answer_from_the_excerpts(start):
    server = start(docs_model="writer")
    model = server.causal()
    object.__setattr__(server.settings, "docs_model", model)
    server.writers.text = "Type tunesmith keys revoke."
    with httpx.Client(base_url=server.url.removesuffix("/v1")) as client:
        known = client.get("/docs/", params=QUESTION, headers=accepting("application/json")).json()
        html = client.get("/docs/", params=QUESTION, headers=BROWSER).text
    assert (known["text"], known["written_by"]) == ("Type tunesmith keys revoke.", model)
    assert f"Written by {model}" in html
    (ask,) = server.writers.asked
    assert ask is not None


def test_a_model_that_is_not_there_leaves_the_documentations_own_words(start):
    server = start(docs_model="nobody")
    with httpx.Client(base_url=server.url.removesuffix("/v1")) as client:
        known = client.get("/docs/", params=QUESTION, headers=accepting("application/json")).json()
    assert known["is_documented"] and known["text"] and known["written_by"] == ""

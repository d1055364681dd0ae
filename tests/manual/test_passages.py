"""Pages cut into passages: nothing is lost, rows become sentences, code stays with its text."""

import re

import pytest

from tunesmith.manual import pages
from tunesmith.manual.pages import Page
from tunesmith.manual.passages import anchor_of, passages

TEXT = """# title

First sentence, with `code`. Second one, [linked](other.md#part): see there!

```sh
tunesmith run
```

## A part: of `it`

| option | default | meaning |
|---|---|---|
| `--seed` | `0` | Same seed, same [result](x.md). |
| `--json` | | One object. |

**An error.** What to do.

**Another … error.** Do this. Then that.

### Below

- one
- two

## Next
"""


@pytest.fixture
def cut():
    return passages([Page(name="p", title="title", summary="", text=TEXT)])


def test_what_stands_under_one_heading_goes_together(cut):
    first, rows, *errors, below = cut
    assert first.headings == ("title",) and first.anchor == ""
    assert first.sentences == (
        "First sentence, with `code`.",
        "Second one, linked: see there!",
    )
    assert first.code == ("tunesmith run",)
    assert first.source.endswith("```sh\ntunesmith run\n```")
    assert below.headings == ("title", "A part: of it", "Below")
    assert below.sentences == ("one", "two") and below.source == "- one\n- two"
    assert rows.anchor == "a-part-of-it"


def test_rows_become_sentences_and_keep_their_head(cut):
    rows = cut[1]
    assert rows.sentences == (
        "`--seed`: Same seed, same result. (default: `0`)",
        "`--json`: One object.",
    )
    assert rows.source.startswith("| option | default | meaning |\n|---|---|---|\n| `--seed`")


def test_what_begins_in_bold_stands_alone(cut):
    errors = [p.sentences[0] for p in cut[2:4]]
    assert errors == ["**An error.**", "**Another … error.**"]


def test_a_paragraph_that_is_code_is_code():
    text = "# t\n\nEnd it.\n\n`keys revoke NAME`\n"
    (found,) = passages([Page(name="p", title="t", summary="", text=text)])
    assert (found.sentences, found.code) == (("End it.",), ("keys revoke NAME",))


def test_a_passage_is_read_with_its_headings_and_without_marks(cut):
    assert cut[1].text == (
        "title: A part: of it. --seed: Same seed, same result. (default: 0) --json: One object."
    )


def test_no_word_of_the_documentation_is_lost():
    for page in pages.read(pages.folder()):
        held = " ".join(f"{p.text} {p.source}" for p in passages([page]))
        kept = set(re.findall(r"\w+", held))
        assert set(re.findall(r"\w+", page.text)) <= kept | {"text", "json"}, page.name


def test_no_passage_is_longer_than_the_encoder_reads():
    found = passages(pages.read(pages.folder()))
    long = [p for p in found if len(p.text.split()) > 230]
    assert not long, [(p.headings, len(p.text.split())) for p in long]


def test_anchors_are_those_of_the_headings():
    assert anchor_of("What is `TUNESMITH_X`, then?") == "what-is-tunesmith_x-then"

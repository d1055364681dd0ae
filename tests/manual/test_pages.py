"""Pages: their order, titles and summaries; where they lie in a checkout and once installed."""

import shutil

import pytest

from tunesmith.errors import NotFound
from tunesmith.manual import pages


@pytest.fixture(scope="module")
def all_pages():
    return pages.read(pages.folder())


def test_the_first_page_comes_first_and_then_those_it_links_to(all_pages):
    names = [page.name for page in all_pages]
    assert names[0] == "index"
    after = ["beginners", "prepare", "iterate", "compare", "models", "server", "architecture"]
    assert [name for name in names if name in after] == after
    assert sorted(names) == sorted(path.stem for path in pages.folder().glob("*.md"))


def test_every_page_has_a_title_and_says_what_it_is_for(all_pages):
    for page in all_pages:
        assert page.title and "#" not in page.title, page.name
        assert 20 < len(page.summary) < 500 and "](" not in page.summary, page.name


def test_the_overview_for_programs_names_every_page(all_pages):
    told = pages.overview(all_pages)
    assert told.startswith("# Tunesmith\n\n> ")
    assert all(f"]({page.name}.md): " in told for page in all_pages)
    assert "?ask=" in told


def test_a_wrong_name_gets_the_nearest(all_pages):
    assert pages.find(all_pages, "train").title == "train"
    with pytest.raises(NotFound, match="Did you mean 'train'"):
        pages.find(all_pages, "trian")


def test_an_installed_package_has_the_pages_inside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "tunesmith" / "manual"
    monkeypatch.setattr(pages, "CHECKOUT", package.parent.parent)
    monkeypatch.setattr(pages, "PACKED", package / "docs")
    with pytest.raises(NotFound, match="Install Tunesmith again"):
        pages.folder()
    shutil.copytree(pages.HERE.parent.parent / "docs", package / "docs")
    assert pages.folder() == package / "docs"
    # Somebody else's `docs` beside the package is none of ours.
    (tmp_path / "site-packages" / "docs").mkdir()
    (tmp_path / "site-packages" / "docs" / "index.md").write_text("# Other\n")
    assert pages.folder() == package / "docs"

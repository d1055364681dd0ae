"""Packed files, URLs, and sources that would fill the memory."""

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import fsspec
import polars as pl
import pytest

from tunesmith.data.reading import content
from tunesmith.data.reading.content import files_of, is_url, open_source, require_file
from tunesmith.data.reading.readers import read
from tunesmith.errors import ConfigError, DataError, MissingExtra, NotFound, StorageError

Write = Callable[..., Path]

PLAIN = b"text\tlabel\nhello there\tgreeting\nbye, now\tparting\n"


@pytest.mark.parametrize("name", ["table.tsv.gz", "table.tsv", "table"])
def test_a_packed_table_is_known_by_its_mark(write: Write, name: str) -> None:
    table = read(write(gzip.compress(PLAIN), name))
    assert table.columns.rows() == [("hello there", "greeting"), ("bye, now", "parting")]
    assert (table.decisions[0].what, table.decisions[0].value) == ("unpacked", "gzip")


def test_the_name_counts_without_the_ending_of_the_packing(write: Write) -> None:
    assert open_source(write(gzip.compress(PLAIN), "Table.JSONL.GZ")).suffix == ".jsonl"


def test_other_formats_are_unpacked_too(write: Write, tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"], "label": [1]}).write_parquet(tmp_path / "table.parquet")
    raw = (tmp_path / "table.parquet").read_bytes()
    assert read(write(gzip.compress(raw), "packed")).columns.rows() == [("a", "1")]


def test_zstd(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(b"\x28\xb5\x2f\xfd whatever", "table.csv.zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match="pip install zstandard"):
        read(path)
    monkeypatch.undo()
    zstandard = pytest.importorskip("zstandard")
    with pytest.raises(DataError, match="zstd file is cut short or damaged"):
        read(path)
    two_frames = zstandard.compress(PLAIN[:20]) + zstandard.compress(PLAIN[20:])
    assert read(write(two_frames, "table.tsv.zst")).columns.height == 2


@pytest.mark.parametrize("place", [20, 60])
def test_a_damaged_gzip_file(write: Write, place: int) -> None:
    raw = gzip.compress(PLAIN * 3 + bytes(range(32, 127)))
    for damaged in (raw[:place], raw[:place] + b"!!!!" + raw[place + 4 :]):
        with pytest.raises(DataError, match="cut short or damaged") as caught:
            read(write(damaged, "table.csv.gz"))
        assert caught.value.fix


def test_a_file_made_to_fill_the_memory_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(gzip.compress(b"text,label\n" + b"a,b\n" * 2_000_000), "table.csv.gz")
    assert read(path).columns.height == 2_000_000
    monkeypatch.setattr(content, "SUSPICIOUS_BYTES", 4_000_000)
    with pytest.raises(DataError, match="200 times as many bytes"):
        read(path)
    monkeypatch.setattr(content, "LARGEST", 2_000_000)
    with pytest.raises(DataError, match="more than 0.0 GB once unpacked"):
        read(path)


def test_too_much_is_noticed_before_all_is_unpacked(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = zlib.compressobj(wbits=31)
    raw = endless.compress(bytes(50_000_000)) + endless.flush()
    seen = []
    check_size = content.check_size
    monkeypatch.setattr(content, "SUSPICIOUS_BYTES", 5_000_000)
    monkeypatch.setattr(content, "check_size", lambda *a: (seen.append(a[0]), check_size(*a)))
    with pytest.raises(DataError, match="200 times"):
        read(write(raw, "bomb.gz"))
    assert max(seen) < 15_000_000


def test_urls(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_bytes(PLAIN)
    assert read(f"file://{tmp_path}/table.tsv").columns.height == 2
    with fsspec.open("memory://folder/table.tsv.gz", "wb") as file:
        file.write(gzip.compress(PLAIN))
    table = read("memory://folder/table.tsv.gz")
    assert table.columns.height == 2
    assert table.path == Path("table.tsv.gz")
    with pytest.raises(NotFound, match="nothing at memory://…/table.csv"):
        read("memory://folder/table.csv")


def test_urls_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="read from htp:// URLs. Did you mean 'http'"):
        read("htp://host/table.csv")
    with pytest.raises(StorageError, match="file://…/.* cannot be read: IsADirectoryError"):
        read(f"file://{tmp_path}")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match="pip install fsspec"):
        read("memory://folder/table.csv")


def test_a_library_that_a_scheme_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(MissingExtra, match="adlfs"):
        read("abfs://container/table.csv")


def test_a_download_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open("memory://large.csv", "wb") as file:
        file.write(b"text,label\n" + b"x" * 3_000_000)
    monkeypatch.setattr(content, "LARGEST", 2_000_000)
    with pytest.raises(DataError, match="more than"):
        read("memory://large.csv")


def test_the_files_behind_a_source(write: Write, tmp_path: Path) -> None:
    path = write(PLAIN)
    assert files_of(path) == (path,)
    assert files_of(tmp_path) == (path,)
    assert files_of("s3://bucket/table.csv") == ()
    assert is_url("s3://bucket/table.csv")
    assert not is_url("folder/table.csv")
    require_file("s3://bucket/table.csv")
    with pytest.raises(NotFound):
        require_file("nowhere.csv")

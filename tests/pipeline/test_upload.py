"""upload: each content travels once, and ids are asked for before they are counted on."""

from dataclasses import replace

from tunesmith import pipeline
from tunesmith.pipeline import RunDir


def test_files_travel_once(config, shop, provider):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    first = pipeline.upload(prepared, shop)
    assert first.num_sent == 2
    assert provider.contents[first.train_file].count(b"\n") == prepared.num_train
    assert pipeline.upload(prepared, shop) == first
    assert provider.calls["upload"] == 2


def test_a_file_that_is_gone_from_the_server_travels_again(config, shop, provider):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    first = pipeline.upload(prepared, shop)
    del provider.files[first.validation_file]
    second = pipeline.upload(prepared, replace(shop, run_dir=RunDir(shop.run_dir.path)))
    assert second.train_file == first.train_file
    assert second.validation_file in provider.files
    assert second.num_sent == 1


def test_only_the_file_that_changed_travels(config, shop, provider):
    prepared = pipeline.prepare(config.prepare, shop.run_dir, shop.report)
    first = pipeline.upload(prepared, shop)
    path = shop.run_dir.path / prepared.validation
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(True)[0])
    second = pipeline.upload(prepared, shop)
    assert second.train_file == first.train_file
    assert second.validation_file != first.validation_file
    assert provider.calls["upload"] == 3

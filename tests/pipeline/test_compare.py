"""compare: the same rows for all, honest ones, and sentences that say how sure it is."""

import json
import re
from dataclasses import replace
from pathlib import Path

import planted
import pytest
from html_page import Page

from tunesmith import pipeline
from tunesmith.config import PrepareConfig, RunConfig
from tunesmith.errors import ConfigError, DataError, NotFound, NotOffered
from tunesmith.pipeline import RunDir, Workshop
from tunesmith.pipeline.compare import compare
from tunesmith.pipeline.evaluating.labels.compare_report import changed, write_compare


@pytest.fixture
def finish(tmp_path, provider, told):
    """A run of its own on some rows, finished; its folder."""

    def run(name, some, *, seed=0) -> str:
        table = planted.write(tmp_path / f"{name}.csv", some)
        prepare = PrepareConfig(table=str(table), seed=seed, balance="none")
        config = RunConfig(prepare=prepare)
        quick = replace(config.evaluate, bootstrap=50, baselines=False, advice=False)
        place = tmp_path / name
        shop = Workshop(run_dir=RunDir(place), provider=provider, report=told)
        list(pipeline.run(replace(config, evaluate=quick), shop))
        return str(place)

    return run


def forget(provider, model, *labels):
    """A model that knows only some of the labels of another one."""
    words = provider.tuned[model]
    provider.tuned["ft:weak"] = {label: words[label] for label in labels}
    return "ft:weak"


def test_kept_answers_are_not_asked_for_again_and_others_are(finish, provider, told):
    run = finish("one", planted.rows(300))
    model = next(iter(provider.tuned))
    weak = forget(provider, model, "billing", "shipping", "account")
    before = provider.calls["classify"]
    found = compare([run, weak], provider, told)
    assert provider.calls["classify"] - before == 60, "only the one without a run"
    first, second = found.models
    assert first.metrics["accuracy"] == 1.0
    assert second.metrics["accuracy"] == pytest.approx(0.6)
    (duel,) = found.duels
    assert duel.comparison.verdict == "worse" and len(duel.flips.broken) == 24
    assert found.verdict[0].startswith(f"ft:weak is 40.0 points worse than {run} (95 % sure: −")
    assert found.rows.lines[0] > 1


def test_rows_that_another_run_was_trained_on_are_left_out(finish, provider, told):
    some = planted.rows(300)
    one, other = finish("one", some), finish("other", some, seed=1)
    found = compare([one, other], provider, told)
    assert 30 <= found.num_left_out < 60
    assert len(found.rows.texts) == 60 - found.num_left_out
    trained = (Path(other) / "01-prepare/train.jsonl").read_text()
    assert not any(json.dumps(text) in trained for text in found.rows.texts)
    assert "left out, since one of the models was trained" in found.verdict[-1]
    assert "not decided with these" in found.verdict[0]


def test_rows_come_from_a_file_and_models_need_no_run(finish, provider, told, tmp_path):
    finish("one", planted.rows(300))
    model = next(iter(provider.tuned))
    weak = forget(provider, model, "billing", "shipping")
    weaker = provider.tuned["ft:weaker"] = {"billing": provider.tuned[model]["billing"]}
    assert weaker
    table = planted.write(tmp_path / "fresh.csv", planted.rows(100, seed=8))
    found = compare([model, weak, "ft:weaker"], provider, told, data=table)
    assert [round(one.metrics["accuracy"], 1) for one in found.models] == [1.0, 0.4, 0.2]
    assert found.rows.lines == list(range(2, 102))
    chats = tmp_path / "fresh.jsonl"
    chats.write_text(
        "".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": text},
                        {"role": "assistant", "content": label},
                    ]
                }
            )
            + "\n"
            for text, label in planted.rows(40, seed=9)
        )
    )
    found = compare([model, weak], provider, told, data=chats)
    assert len(found.rows.texts) == 40


def test_what_cannot_be_compared_says_what_to_do(finish, provider, told, tmp_path):
    run = finish("one", planted.rows(300))
    model = next(iter(provider.tuned))
    with pytest.raises(ConfigError, match="One model alone"):
        compare([run], provider, told)
    with pytest.raises(ConfigError, match="is no run"):
        compare([model, run], provider, told)
    with pytest.raises(NotFound, match="no run in"):
        compare([run, str(tmp_path)], provider, told)
    with pytest.raises(NotFound):
        compare([run, "ft:gone"], provider, told)
    (tmp_path / "one/04-deploy/result.json").unlink()
    with pytest.raises(NotFound, match="deployed no model yet"):
        compare([run, model], provider, told)


def test_a_run_whose_every_row_was_learned_elsewhere_cannot_be_the_measure(
    finish, provider, told, tmp_path
):
    run = finish("one", planted.rows(300))
    taught = (Path(run) / "01-prepare/train.jsonl").read_text().splitlines()[:20]
    rows = [[m["content"] for m in json.loads(line)["messages"]] for line in taught]
    table = planted.write(tmp_path / "again.csv", [(text, label) for text, label in rows])
    with pytest.raises(DataError, match="Every row is one that a model was trained on"):
        compare([run, next(iter(provider.tuned))], provider, told, data=table)


def test_models_that_write_are_refused(tmp_path, provider, told):
    table = tmp_path / "chat.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(30)
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shop = Workshop(run_dir=RunDir(tmp_path / "chat"), provider=provider, report=told)
    config = RunConfig(prepare=PrepareConfig(table=str(table), task="chat"))
    list(pipeline.run(config, shop))
    with pytest.raises(NotOffered, match="only models of labels"):
        compare([str(tmp_path / "chat"), "ft:x"], provider, told)


def test_several_models_are_held_to_a_stricter_measure(finish, provider, told):
    run = finish("one", planted.rows(300))
    model = next(iter(provider.tuned))
    gate = provider.classify

    def classify(name, texts, *, concurrency):
        for i, answer in gate(model, texts, concurrency=concurrency):
            wrong = i < 6 and name.startswith("ft:b")
            yield i, replace(answer, label="returns" if wrong else answer.label)

    provider.classify = classify
    alone = compare([run, "ft:b"], provider, told).duels[0].comparison
    several = compare([run, "ft:b", "ft:b2", "ft:b3"], provider, told).duels
    assert alone.p_value == pytest.approx(several[0].comparison.p_value / 3)
    assert (alone.verdict, several[0].comparison.verdict) == ("worse", "undecided")


def test_the_page_is_complete_in_itself(finish, provider, told, tmp_path):
    run = finish("one", planted.rows(300))
    weak = forget(provider, next(iter(provider.tuned)), "billing", "shipping", "account")
    found = compare([run, weak], provider, told)
    write_compare(found, tmp_path / "compare.html")
    html = (tmp_path / "compare.html").read_text()
    page = Page(html)
    assert not re.search(r"https?://|url\(|@import|<link|<img|<iframe|<script", html)
    assert "Good to bad: 24" in page.words and "ft:weak against" in page.words
    assert [c.label for c in changed(found, 1)][:2] == ["product", "returns"]

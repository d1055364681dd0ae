"""migrate, part by part: names, endings, what a file teaches, recipes, the manifest."""

import json
import time
from dataclasses import replace
from datetime import date

import pytest

from tunesmith import config
from tunesmith.errors import ProviderError, StateError, StorageError
from tunesmith.pipeline.migrating import fetching
from tunesmith.pipeline.migrating.endings import base_of, ending, is_tuned
from tunesmith.pipeline.migrating.listing import Listed, every, note
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, safe_id, safe_name
from tunesmith.pipeline.migrating.recipes import write_recipes
from tunesmith.pipeline.migrating.taught import LONG_SYSTEM, look, write_table
from tunesmith.providers.account import Owner

TODAY = date(2026, 11, 26)
CLOSES = {"gpt-4o-mini-2024-07-18": date(2027, 1, 14), "gpt-3.5-turbo-0125": date(2026, 10, 23)}


def chat(user, answer, *, system="", **more):
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def labelled(rows=20, labels=("late", "broken"), system=""):
    return [chat(f"mail {n}", labels[n % len(labels)], system=system) for n in range(rows)]


@pytest.fixture
def write(tmp_path):
    def write(lines, name="t.jsonl"):
        path = tmp_path / name
        told = (one if isinstance(one, str) else json.dumps(one) for one in lines)
        path.write_text("".join(line + "\n" for line in told), encoding="utf-8")
        return path

    return write


# --- names and endings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, kept",
    [
        ("train.jsonl", "train.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\Ünï mail.jsonl", "Ünï mail.jsonl"),
        ("..", "file"),
        ("", "file"),
        (".hidden", "hidden"),
        ("a\nb\x00c.csv", "a_b_c.csv"),
        ("x" * 300 + ".jsonl", "x" * 100 + ".jsonl"),
    ],
)
def test_names_of_others_stay_in_their_folder(given, kept):
    assert safe_name(given) == kept
    assert "/" not in safe_id(f"../{given}")


def test_models_end_with_their_base_model():
    told = ending("ft:gpt-4o-mini-2024-07-18:acme:mail:Abc", CLOSES.get, TODAY)
    assert (told.base, told.on, told.is_over) == ("gpt-4o-mini-2024-07-18", "2027-01-14", False)
    assert "ends on 2027-01-14, in 49 days" in told.says
    over = ending("ft:gpt-3.5-turbo-0125:acme::Abc:ckpt-step-10", CLOSES.get, TODAY)
    assert over.is_over
    assert over.says.startswith("It ended on 2026-10-23")
    assert (
        "in 1 day," in ending("ft:gpt-4o-mini-2024-07-18:a::b", CLOSES.get, date(2027, 1, 13)).says
    )
    assert (
        "ends today" in ending("ft:gpt-4o-mini-2024-07-18:a::b", CLOSES.get, date(2027, 1, 14)).says
    )
    assert "No closing date is known" in ending("ft:minilm-l6:local::b", CLOSES.get, TODAY).says
    assert "nobody can tell" in ending("my-model", CLOSES.get, TODAY).says


def test_tuned_models_are_told_by_their_names():
    assert is_tuned("ft:gpt-4o:acme::Abc")
    assert is_tuned("curie:ft-acme-2023-01-01")
    assert not is_tuned("gpt-4o")
    assert base_of("curie:ft-acme-2023-01-01") == "curie"


# --- what a file teaches --------------------------------------------------------------------------


def test_few_short_answers_are_labels(write):
    found = look(write(labelled(system="Sort.")))
    assert (found.task, found.labels) == ("classify", {"broken": 10, "late": 10})
    assert found.system == "Sort."


@pytest.mark.parametrize(
    "lines",
    [
        [chat(f"mail {n}", f"answer {n}") for n in range(20)],
        [chat(f"mail {n}", "always the same") for n in range(20)],
        [chat(f"mail {n}", "long " * 20 if n % 2 else "short") for n in range(20)],
        [chat(f"mail {n}", '{"a": 1}' if n % 2 else '{"a": 2}') for n in range(20)],
        [chat(f"mail {n}", "yn"[n % 2], tools=[{"type": "function", "function": {"name": "f"}}])
         for n in range(20)],
        [{"messages": chat("a", "b")["messages"] + chat("c", "yn"[n % 2])["messages"]}
         for n in range(20)],
    ],
    ids=["different", "one", "long", "json", "tools", "several turns"],
)  # fmt: skip
def test_all_else_is_written(write, lines):
    assert look(write(lines)).task == "chat"


def test_pairs_and_completions_are_told_apart(write):
    pair = {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello"}],
        "non_preferred_output": [{"role": "assistant", "content": "What"}],
    }
    assert look(write([pair] * 12)).task == "preference"
    assert look(write([{"prompt": "a", "completion": "b"}] * 12)).task == "completions"


def test_rows_of_a_table_keep_their_lines(write, tmp_path):
    path = write([*labelled(12), "no JSON", chat("mail", "rare")])
    taught = look(path)
    lost = write_table(path, tmp_path / "table.jsonl", taught, system=True)
    rows = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert lost == 2
    assert len(rows) == 14
    assert rows[0] == {"text": "mail 0", "label": "late"}
    assert rows[12:] == [{"text": None, "label": None}] * 2


# --- recipes --------------------------------------------------------------------------------------


def job_of(manifest, write, lines, *, validation=None, **about):
    """The manifest with one job that succeeded on these lines."""
    files = {"training_file": lines, "validation_file": validation}
    told = {"status": "succeeded", "method": "supervised", "model": "gpt-4o-mini-2024-07-18",
            "fine_tuned_model": "ft:gpt-4o-mini-2024-07-18:acme::A", "seed": 3,
            **about}  # fmt: skip
    for what, content in files.items():
        if content is None:
            continue
        path = write(content, f"{what}.jsonl")
        asset = Asset(id=f"file-{what}", state="downloaded", path=path.name)
        manifest.put("files", asset)
        told[what] = asset.id
    manifest.put("jobs", Asset(id="ftjob-1", path="jobs/ftjob-1.json", about=told))
    return manifest


def recipe_of(manifest, base_model=None, **job):
    place = manifest.folder / "jobs" / "ftjob-1.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(job))
    (found,) = write_recipes(
        manifest, base_model=base_model, base_models_dir=manifest.folder / "none"
    )
    return found


def supervised(**values):
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": values}}}


def test_a_recipe_of_labels_carries_over_what_means_something(write, tmp_path):
    manifest = job_of(Manifest(tmp_path), write, labelled(), validation=labelled(6),
                      user_provided_suffix="mail")  # fmt: skip
    given = supervised(n_epochs=4, batch_size=2, learning_rate_multiplier=1.8)
    found = recipe_of(manifest, **given)
    assert (found.task, found.base_model, found.scored_on) == (
        "classify",
        "minilm-l6",
        "validation",
    )
    text = (tmp_path / found.path).read_text()
    run = config.load(tmp_path / found.path)
    assert (run.train.n_epochs, run.train.seed, run.train.suffix) == (4, 3, "mail")
    assert run.train.batch_size is None
    assert "was 1.8 there" in text
    assert run.prepare.task == "classify"
    assert run.prepare.validation == str(tmp_path / "tables" / "ftjob-1.validation.jsonl")


def test_a_recipe_of_written_answers_takes_the_files_as_they_are(write, tmp_path):
    lines = [chat(f"mail {n}", f"answer {n}") for n in range(20)]
    found = recipe_of(job_of(Manifest(tmp_path), write, lines), **supervised(n_epochs="auto"))
    run = config.load(tmp_path / found.path)
    assert run.prepare.table == str(tmp_path / "training_file.jsonl")
    assert run.train.n_epochs is None
    assert "tunesmith models pull" in found.base_reason
    assert "had no validation file" in (tmp_path / found.path).read_text()


def test_an_encoder_is_not_taken_for_written_answers(write, tmp_path):
    lines = [chat(f"mail {n}", f"answer {n}") for n in range(20)]
    found = recipe_of(job_of(Manifest(tmp_path), write, lines), base_model="minilm-l6")
    assert found.base_model == "qwen2.5-0.5b-instruct"


def test_a_long_system_message_is_left_out_of_texts_to_label(write, tmp_path):
    lines = labelled(system="word " * (LONG_SYSTEM + 1))
    found = recipe_of(job_of(Manifest(tmp_path), write, lines))
    assert "word" not in (tmp_path / "tables" / "ftjob-1.jsonl").read_text()
    assert "ask the new model without it" in (tmp_path / found.path).read_text()


@pytest.mark.parametrize(
    "lines, about, why",
    [
        ([{"prompt": "a", "completion": "b"}] * 12, {}, "prompts and completions"),
        (labelled(), {"method": "reinforcement"}, "grader"),
        (["broken"] * 12, {}, "0 usable examples"),
        (labelled(12), {}, "too few to hold some out"),
        ([chat([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], f"n {n}")
          for n in range(12)], {}, "pictures"),
    ],
    ids=["completions", "reinforcement", "broken", "few", "pictures"],
)  # fmt: skip
def test_where_there_can_be_no_recipe_it_is_told_why(write, tmp_path, lines, about, why):
    found = recipe_of(job_of(Manifest(tmp_path), write, lines, **about))
    assert why in found.why_not
    assert not found.path


# --- listing and fetching -------------------------------------------------------------------------


class Lists:
    """An account whose lists have pages of two; `more` says whether it tells that there is more."""

    def __init__(self, num, *, more=True):
        self.entries = [{"id": f"file-{n}", "filename": "a", "bytes": 3} for n in range(num)]
        self.more = more

    def page(self, path, *, after=None, limit=None):
        ids = [one["id"] for one in self.entries]
        start = ids.index(after) + 1 if after else 0
        data = self.entries[start : start + 2]
        has_more = {"has_more": start + 2 < len(ids)} if self.more else {}
        return {"object": "list", "data": data, **has_more}


@pytest.mark.parametrize("more", [True, False])
def test_lists_are_read_to_their_last_page(more):
    assert [one["id"] for one in every(Lists(5, more=more), "/files")] == [
        f"file-{n}" for n in range(5)
    ]


def test_what_is_no_list_is_an_error():
    lists = Lists(1)
    lists.page = lambda *_, **__: {"detail": "no"}
    with pytest.raises(ProviderError, match="no list"):
        list(every(lists, "/files"))


class Contents:
    """An account of files that answers as it is told."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def owner(self):
        return Owner()

    def download(self, file_id, into):
        self.asked.append(file_id)
        into.write(self.answer(file_id))


def listed(num):
    return Listed(owner=Owner(), files=tuple(Lists(num).entries), jobs=(), models=())


def fetched(manifest, account, told):
    found = fetching.Fetching(manifest, account, told)
    found.fetch(list(fetching.missing(manifest, told)), concurrency=2)
    return found


def test_a_file_that_fails_now_is_told_and_the_others_come(tmp_path, told):
    def answer(file_id):
        if file_id == "file-1":
            raise ProviderError("The server failed (500): no.", status=500)
        return b"abc"

    manifest = Manifest(tmp_path)
    note(listed(3), manifest)
    found = fetched(manifest, Contents(answer), told)
    assert [name for name, _ in found.failed] == ["file-1"]
    assert manifest["files"]["file-1"].state == "listed"
    assert manifest.counts()["files"] == {"listed": 1, "downloaded": 2, "unavailable": 0}
    again = Contents(lambda _: b"abc")
    fetched(Manifest.load(tmp_path), again, told)
    assert again.asked == ["file-1"]


def test_a_server_that_is_gone_ends_the_start_and_nothing_is_lost(tmp_path, told):
    class Gone(Contents):
        def owner(self):
            raise ProviderError("Nobody answers.")

    def answer(file_id):
        if file_id == "file-2":
            while not [path for path in tmp_path.glob("files/*/*") if path.suffix != ".part"]:
                time.sleep(0.001)  # another one is there first
            raise ProviderError("Nobody answers.")
        return b"abc"

    manifest = Manifest(tmp_path)
    note(listed(3), manifest)
    with pytest.raises(ProviderError, match="Nobody answers"):
        fetched(manifest, Gone(answer), told)
    assert any(one.state == "downloaded" for one in Manifest.load(tmp_path)["files"].values())


def test_another_size_than_listed_is_told(tmp_path, told):
    manifest = Manifest(tmp_path)
    note(listed(1), manifest)
    account = Contents(lambda _: b"four")
    fetched(manifest, account, told)
    (asset,) = manifest["files"].values()
    assert (asset.state, asset.bytes) == ("downloaded", 4)
    assert "lists it with 3 bytes" in asset.reason
    assert len(account.asked) == 2


def test_what_the_account_has_lost_since_stays_here(tmp_path, told):
    manifest = Manifest(tmp_path)
    note(listed(2), manifest)
    fetched(manifest, Contents(lambda _: b"abc"), told)
    note(listed(1), manifest)
    kept = manifest["files"]["file-1"]
    assert kept.state == "downloaded"
    assert "no longer" in kept.reason
    assert not list(fetching.missing(manifest, told))


def test_only_the_purposes_asked_for(tmp_path, told):
    manifest = Manifest(tmp_path)
    entries = [{**one, "purpose": p} for one, p in
               zip(Lists(2).entries, ("batch", "fine-tune"), strict=True)]  # fmt: skip
    note(replace(listed(2), files=tuple(entries)), manifest)
    (one,) = fetching.missing(manifest, told, purposes=("fine-tune",))
    assert one.asset.id == "file-1"
    assert "--purpose" in manifest["files"]["file-0"].reason


def test_a_disk_without_room_is_told_before_anything_is_fetched(tmp_path, told):
    manifest = Manifest(tmp_path)
    note(listed(1), manifest)
    manifest.put("files", replace(manifest["files"]["file-0"], bytes=10**18))
    account = Contents(lambda _: b"abc")
    with pytest.raises(StorageError, match="has room for"):
        fetched(manifest, account, told)
    assert account.asked == []


def test_two_starts_do_not_work_in_one_folder(tmp_path):
    with (
        Manifest(tmp_path).lock(),
        pytest.raises(StateError, match="Another process"),
        Manifest(tmp_path).lock(),
    ):
        raise AssertionError


def test_a_broken_manifest_is_told(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StorageError, match="no manifest"):
        Manifest.load(tmp_path)

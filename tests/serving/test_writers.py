import asyncio
import math
import os
import signal

import pytest
import tiny_causal
from causal_desk import GREEDY, HELLO, UNENDING, Asking

from tunesmith.errors import ConfigError, NotOffered, ProviderError, StateError
from tunesmith.model.cards import CausalCard
from tunesmith.serving.batch import Classification
from tunesmith.serving.writers import Writers
from tunesmith.serving.writing import Ask, Began, Choose, Drawing, Ended, Piece


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_causal.tiny(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="module")
def writers():
    writers = Writers(max_loaded=2, threads=1)
    yield writers
    writers.close()


def ask(folder, **options):
    options.setdefault("drawing", Drawing(seed=1))
    if "prompt" not in options:
        options.setdefault("messages", HELLO)
    return Ask(model="tiny", folder=folder, **options)


async def all_of(writers, asked):
    return [event async for event in writers.write(asked)]


def text(events, choice=0):
    return "".join(e.text for e in events if isinstance(e, Piece) and e.choice == choice)


def test_an_answer_comes_event_by_event(writers, folder):
    events = asyncio.run(all_of(writers, ask(folder, most=12, n=2, drawing=GREEDY, top=1)))
    assert isinstance(events[0], Began)
    assert sum(isinstance(event, Ended) for event in events) == 2
    own = Asking().answer(folder, most=12, drawing=GREEDY, top=1)
    assert text(events, 0) == text(events, 1) == own.text()
    tokens = [t for e in events if isinstance(e, Piece) and e.choice == 1 for t in e.tokens]
    assert tokens == own.tokens()


def test_tokens_are_counted(folder):
    writers = Writers(max_loaded=1, threads=1)
    assert (writers.read_tokens, writers.written_tokens) == (0, 0)
    events = asyncio.run(all_of(writers, ask(folder, most=7, n=2)))
    writers.close()
    assert writers.read_tokens == events[0].prompt_tokens
    assert writers.written_tokens == sum(
        e.completion_tokens for e in events if isinstance(e, Ended)
    )


def test_many_are_answered_at_once(writers, folder):
    async def together():
        asked = [ask(folder, most=5 + i, drawing=Drawing(seed=i)) for i in range(20)]
        return await asyncio.gather(*(all_of(writers, one) for one in asked))

    answers = asyncio.run(together())
    again = asyncio.run(all_of(writers, ask(folder, most=12, drawing=Drawing(seed=7))))
    assert text(answers[7]) == text(again)


def test_what_is_wrong_is_raised_where_it_was_asked(writers, folder, tmp_path):
    async def together():
        wrong = ask(folder, prompt=[9] * 600), ask(folder, schema={"not": {}}), ask(tmp_path)
        runs = (all_of(writers, one) for one in (*wrong, ask(folder, most=3)))
        return await asyncio.gather(*runs, return_exceptions=True)

    long, schema, gone, fine = asyncio.run(together())
    assert isinstance(long, ConfigError)
    assert long.param == "prompt"
    assert (long.prompt_tokens, long.context) == (600, 512)
    assert isinstance(schema, NotOffered)
    assert "gone" in str(gone)
    assert isinstance(fine[-1], Ended)


def test_an_answer_that_nobody_reads_any_more_is_not_written(writers, folder):
    async def some_of_one():
        stream = writers.write(ask(folder, n=3, drawing=Drawing(bias=UNENDING)))
        async for event in stream:
            if isinstance(event, Piece):
                break
        await stream.aclose()
        written = writers.written_tokens
        other = await all_of(writers, ask(folder, most=20))
        return other, writers.written_tokens - written

    other, written = asyncio.run(some_of_one())
    assert written == other[-1].completion_tokens
    assert not writers._process._takers


def test_a_task_that_is_cancelled_stops_its_answer(writers, folder):
    async def cancelled():
        endless = ask(folder, drawing=Drawing(bias=UNENDING))
        task = asyncio.create_task(all_of(writers, endless))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not writers._process._takers


def test_labels_are_chosen_among(writers, folder, tmp_path):
    chooser = tiny_causal.tiny(tmp_path / "chooser", "llama")
    card = CausalCard(
        base_model="t", base_folder="", method="full", max_length=64, labels=("a", "b", "c")
    )
    card.save(chooser)
    before = writers.read_tokens
    futures = [
        writers.choose(Choose(model="chooser", folder=chooser, messages=HELLO)) for _ in range(3)
    ]
    found = [future.result(30) for future in futures]
    assert all(isinstance(answer, Classification) for answer in found)
    assert sum(map(math.exp, found[0].logprobs)) == pytest.approx(1)
    assert writers.read_tokens - before == sum(answer.prompt_tokens for answer in found)
    with pytest.raises(NotOffered):
        writers.choose(Choose(model="tiny", folder=folder, messages=HELLO)).result(30)


def test_a_choice_that_is_cancelled_is_not_made(writers, folder):
    future = writers.choose(Choose(model="tiny", folder=folder, messages=HELLO))
    if future.cancel():
        assert not writers._process._takers


def test_a_process_that_dies_fails_its_requests_and_is_started_again(folder):
    writers = Writers(max_loaded=1, threads=1)

    async def killed():
        endless = ask(folder, drawing=Drawing(bias=UNENDING))
        streams = [writers.write(endless) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        os.kill(writers._process._process.pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(ProviderError, match="exit status -9.*new one is being started"):
                async for _ in stream:
                    pass
        return await all_of(writers, ask(folder, most=3))

    assert isinstance(asyncio.run(killed())[-1], Ended)
    writers.close()


def test_a_server_that_stops_tells_those_who_wait(folder):
    writers = Writers(max_loaded=1, threads=1)

    async def closed():
        endless = ask(folder, drawing=Drawing(bias=UNENDING))
        stream = writers.write(endless)
        await anext(stream)
        await asyncio.to_thread(writers.close)
        with pytest.raises(StateError, match="stopping"):
            async for _ in stream:
                pass
        with pytest.raises(StateError, match="stopping"):
            await anext(writers.write(ask(folder)))

    asyncio.run(closed())
    with pytest.raises(StateError):
        writers.choose(Choose(model="tiny", folder=folder, messages=HELLO))


def test_nothing_is_started_before_it_is_asked(folder):
    writers = Writers(max_loaded=1)
    writers.write(ask(folder))
    writers.forget("anything")
    assert writers._process is None
    writers.close()


def test_a_model_that_is_forgotten_is_dropped(writers, tmp_path):
    import shutil

    folder = tiny_causal.tiny(tmp_path / "tiny", "llama")
    shutil.copytree(folder, tmp_path / "kept")
    asyncio.run(all_of(writers, ask(folder, most=2)))
    shutil.rmtree(folder)
    writers.forget("tiny")
    with pytest.raises(Exception, match="gone"):
        asyncio.run(all_of(writers, ask(folder, most=2)))

import math
from collections import Counter

import pytest
import torch

from tunesmith.serving.causal.sampling import Sampler, draw
from tunesmith.serving.writing import Drawing

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])
SHARES = LOGITS.softmax(0).tolist()


def drawn(times, logits=LOGITS, **options):
    sampler = Sampler(Drawing(**{"seed": 7, **options}))
    return [draw(logits[None], [sampler])[0].id for _ in range(times)]


def shares(ids):
    counts = Counter(ids)
    return [counts[i] / len(ids) for i in range(len(LOGITS))]


def test_at_temperature_0_the_most_probable_token_is_taken():
    assert drawn(5, temperature=0) == [0] * 5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_come_as_often_as_they_are_probable(temperature):
    expected = (LOGITS / temperature).softmax(0).tolist()
    assert shares(drawn(4000, temperature=temperature)) == pytest.approx(expected, abs=0.025)


def test_only_the_nucleus_is_drawn_from():
    found = shares(drawn(3000, top_p=SHARES[0] + SHARES[4] - 0.01))
    both = SHARES[0] + SHARES[4]
    assert found == pytest.approx([SHARES[0] / both, 0, 0, 0, SHARES[4] / both], abs=0.03)
    assert set(drawn(50, top_p=0)) == {0}


def test_a_nucleus_of_very_many_tokens_is_found():
    flat = torch.zeros(5000)
    flat[:10] = -50.0
    found = drawn(3000, logits=flat, top_p=0.5)
    assert min(found) >= 10
    assert len(set(found)) > 1000
    assert len(set(found)) <= 2496


def test_a_seed_gives_the_same_tokens_whatever_else_is_drawn():
    alone = drawn(30)
    sampler, others = Sampler(Drawing(seed=7)), [Sampler(Drawing()) for _ in range(3)]
    beside = []
    for _ in range(30):
        rows = torch.stack([LOGITS.flip(0), LOGITS, LOGITS, LOGITS])
        beside.append(draw(rows, [others[0], sampler, *others[1:]])[1].id)
    assert beside == alone
    assert drawn(30, seed=8) != alone


def test_each_choice_of_a_request_is_another():
    one, other = (Sampler(Drawing(seed=7), number=number) for number in (0, 1))
    rows = torch.stack([LOGITS, LOGITS])
    pairs = [tuple(d.id for d in draw(rows, [one, other])) for _ in range(30)]
    assert any(a != b for a, b in pairs)


def test_penalties_are_per_time_and_once():
    drawing = Drawing(temperature=0, frequency_penalty=0.3, presence_penalty=0.2)
    sampler = Sampler(drawing)
    found = []
    for _ in range(6):
        token = draw(LOGITS[None], [sampler])[0].id
        sampler.note(token)
        found.append(token)
    logits, expected = LOGITS.tolist(), []
    for _ in range(6):
        counts = Counter(expected)
        now = [v - 0.3 * counts[i] - 0.2 * (counts[i] > 0) for i, v in enumerate(logits)]
        expected.append(max(range(5), key=now.__getitem__))
    assert found == expected
    assert len(set(found)) > 1


def test_a_bias_is_added_and_log_probabilities_are_the_models_own():
    sampler = Sampler(Drawing(temperature=0, bias={3: 100.0}), top=2)
    (token,) = draw(LOGITS[None], [sampler])
    assert token.id == 3
    assert token.logprob == pytest.approx(math.log(SHARES[3]), abs=1e-5)
    assert [i for i, _ in token.top] == [0, 4]
    assert token.top[0][1] == pytest.approx(math.log(SHARES[0]), abs=1e-5)


def test_what_is_ruled_out_never_comes():
    sampler = Sampler(Drawing(seed=1, temperature=2))
    sampler.allowed = torch.tensor([False, True, True, False])  # and none beyond
    assert {draw(LOGITS[None], [sampler])[0].id for _ in range(200)} == {1, 2}


def test_log_probabilities_are_told_to_those_who_asked():
    samplers = [Sampler(Drawing(temperature=0), top=top) for top in (None, 0, 3)]
    silent, own, top = draw(LOGITS.repeat(3, 1), samplers)
    assert math.isnan(silent.logprob)
    assert own.logprob == pytest.approx(math.log(SHARES[0]), abs=1e-5)
    assert (own.top, len(top.top)) == ([], 3)


def test_logits_that_are_no_numbers_are_told():
    rows = torch.stack([LOGITS, LOGITS * torch.nan])
    good, bad = draw(rows, [Sampler(Drawing(temperature=0)) for _ in range(2)])
    assert (good.is_number, bad.is_number) == (True, False)


def test_a_share_that_rounds_to_nothing_is_never_drawn():
    logits = torch.full((50_000,), -torch.inf)
    logits[[3, 70, 49_000]] = torch.tensor([0.0, 1.0, 0.5])
    assert set(drawn(300, logits=logits)) <= {3, 70, 49_000}

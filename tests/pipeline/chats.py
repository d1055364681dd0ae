"""Chat tables for tests: notes whose answers are JSON, talk, calls, and pairs of answers."""

import json
from pathlib import Path

NOUNS = ("bicycle", "tent", "stove", "lantern", "climbing rope", "jacket", "boots", "folding map")
STORIES = (
    "broke on the second day in the hills",
    "came a week late and in the wrong colour",
    "has a small hole near the left seam",
    "works well and my children love it",
    "smells of paint, which gives me headaches",
)


def note(i: int) -> tuple[str, str]:
    """A message and the record that answers it."""
    noun, story = NOUNS[i % len(NOUNS)], STORIES[(i * 7) % len(STORIES)]
    record = {"product": noun, "order": f"A{1000 + i * 37}", "late": "late" in story}
    words = " ".join(f"{noun[:2]}{i * j % 89}" for j in range(3, 9))  # no two are nearly alike
    return f"My {noun} of order A{1000 + i * 37} {story}. {words}", json.dumps(record)


def write_notes(path: Path, number: int = 40) -> Path:
    """Notes with JSON records as answers."""
    return _write(path, [_chat(*note(i)) for i in range(number)])


def write_talk(path: Path, number: int = 40) -> Path:
    """Prompts with answers in plain words, too long to be matched letter for letter."""
    rows = []
    for i in range(number):
        text, _ = note(i)
        answer = f"We are sorry about the {NOUNS[i % len(NOUNS)]}; number {i} will be sent again."
        rows.append(_chat(text, answer))
    return _write(path, rows)


def write_calls(path: Path, number: int = 40) -> Path:
    """Conversations that end in a call of a function."""
    parameters = {"type": "object", "properties": {"order": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "track", "parameters": parameters}}
    rows = []
    for i in range(number):
        arguments = json.dumps({"order": f"A{1000 + i * 37}"})
        called = {"name": "track", "arguments": arguments}
        call = {"id": f"call_{i}", "type": "function", "function": called}
        answer = {"role": "assistant", "content": None, "tool_calls": [call]}
        user = {"role": "user", "content": note(i)[0]}
        rows.append({"messages": [user, answer], "tools": [tool]})
    return _write(path, rows)


def write_pairs(path: Path, number: int = 40) -> Path:
    """Prompts with a better and a worse answer each."""
    rows = []
    for i in range(number):
        text, _ = note(i)
        rows.append(
            {
                "input": {"messages": [{"role": "user", "content": text}]},
                "preferred_output": [{"role": "assistant", "content": f"Gladly, case {i}."}],
                "non_preferred_output": [{"role": "assistant", "content": f"No. Not case {i}."}],
            }
        )
    return _write(path, rows)


def _chat(text: str, answer: str) -> dict[str, object]:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

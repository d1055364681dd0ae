"""A desk that answers in this process, and what it told, request by request."""

from pathlib import Path

from tunesmith.serving.batch import Classification
from tunesmith.serving.causal.desk import Desk
from tunesmith.serving.writing import Ask, Began, Choose, Drawing, Ended, Piece

GREEDY = Drawing(temperature=0)
UNENDING = dict.fromkeys((1, 4, 5), -100.0)
"""A bias with which the tiny Llama never ends an answer by itself."""
HELLO = ({"role": "user", "content": "Where is my parcel?"},)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Answer:
    """What was told about one request."""

    def __init__(self, events):
        self.events = events

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def pieces(self, choice=0):
        return [piece for piece in self.of(Piece) if piece.choice == choice]

    def text(self, choice=0):
        return "".join(piece.text for piece in self.pieces(choice))

    def tokens(self, choice=0):
        return [token for piece in self.pieces(choice) for token in piece.tokens]

    def ids(self, choice=0):
        return [token.id for token in self.tokens(choice)]

    def ended(self, choice=0):
        assert not self.of(Exception)
        (ended,) = (end for end in self.of(Ended) if end.choice == choice)
        return ended

    @property
    def began(self):
        (began,) = self.of(Began)
        return began

    @property
    def error(self):
        (error,) = self.of(Exception)
        return error

    @property
    def classification(self):
        (found,) = self.of(Classification)
        return found


class Asking:
    """A desk, and requests to it."""

    def __init__(self, **options):
        self.desk = Desk(**{"max_loaded": 2, **options})
        self.number = 0

    def ask(self, folder, **options):
        """Ask, greedily for an answer to "Where is my parcel?" unless told otherwise."""
        options.setdefault("drawing", GREEDY)
        if "prompt" not in options:
            options.setdefault("messages", HELLO)
        return self.add(Ask(model=Path(folder).name, folder=Path(folder), **options))

    def choose(self, folder, messages=HELLO, labels=()):
        place = Path(folder)
        return self.add(Choose(model=place.name, folder=place, messages=messages, labels=labels))

    def add(self, request):
        self.number += 1
        answer = Answer([])
        self.desk.add(self.number, request, answer.events.append)
        return answer

    def run(self, passes=10_000):
        """Compute until nothing is left to do, or so many passes."""
        done = 0
        while self.desk.is_busy and done < passes:
            self.desk.step()
            done += 1
        return done

    def answer(self, folder, **options):
        answer = self.ask(folder, **options)
        self.run()
        return answer

"""`python -m tunesmith.web.results`: the answer to one question about what runs have left.

The question is a JSON object on standard input, with `what` it is, the `folder` of the run and
what the functions below say; the answer is JSON, but for `csv`, which is a table.
Does not know: who asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tunesmith.errors import TunesmithError

Asked = Mapping[str, Any]

PLACES = {
    "report": "reports", "suspects": "reports", "csv": "reports", "rows": "labels",
    "sureness": "labels", "answers": "written", "against": "comparing", "compare": "comparing",
}  # fmt: skip
"""Question → the module whose function of that name answers it. Each is loaded when it is asked:
that takes longer than most answers."""


def main() -> None:
    """Answer, on standard output."""
    asked = json.load(sys.stdin)
    try:
        if asked["what"] == "csv":
            sys.stdout.writelines(_answer(asked))
            return
        found = [_answer(one) for one in asked["questions"]]
        answer: dict[str, Any] = {"answers": found}
    except TunesmithError as error:
        answer = {"error": {"what": error.what, "fix": error.fix}}
    json.dump(answer, sys.stdout, ensure_ascii=False)


def _answer(asked: Asked) -> Any:
    module = import_module(f"tunesmith.web.results.{PLACES[asked['what']]}")
    return getattr(module, asked["what"])(asked)


if __name__ == "__main__":
    main()

"""`python -m tunesmith.web.results`: the answer to one question about what runs have left.

The question is a JSON object on standard input, with `what` it is, the `folder` of the run and
what the functions below say; the answer is JSON, but for `csv`, which is a table.
Does not know: who asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.errors import TunesmithError
from tunesmith.web.results import comparing, labels, reports, written

Asked = Mapping[str, Any]

QUESTIONS: dict[str, Callable[[Asked], Any]] = {
    "report": reports.report,
    "suspects": reports.suspects,
    "rows": labels.rows,
    "sureness": labels.sureness,
    "answers": written.answers,
    "against": comparing.against,
    "compare": comparing.compare,
}


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        if asked["what"] == "csv":
            reports.write_csv(asked, sys.stdout)
            return
        found = [QUESTIONS[one["what"]](one) for one in asked["questions"]]
        answer: dict[str, Any] = {"answers": found}
    except TunesmithError as error:
        answer = {"error": {"what": error.what, "fix": error.fix}}
    json.dump(answer, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()

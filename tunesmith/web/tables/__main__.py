"""`python -m tunesmith.web.tables`: work with a whole table, outside of the server.

Its input is a JSON object, `do` being what to do: index, indexes,
find, requests or answers; its output is
one, too. Does not know: who asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tunesmith.web.tables import scan


def main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    folder = Path(asked["folder"])
    found: Any = None
    if asked["do"] == "index":
        found = {"count": scan.index(Path(asked["source"]), folder).count}
    elif asked["do"] == "indexes":
        found = [scan.index(Path(one[0]), Path(one[1])).count for one in asked["tables"]]
    elif asked["do"] == "find":
        numbers, until = scan.find(folder, asked["words"], asked["after"])
        found = {"numbers": numbers, "until": until}
    elif asked["do"] == "requests":
        from tunesmith.web.many import table

        found = table.write_requests(Path(asked["source"]), folder, asked["ask"])
    elif asked["do"] == "answers":
        from tunesmith.web.many import table

        found = table.write_answers(folder, asked["column"], asked["parts"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

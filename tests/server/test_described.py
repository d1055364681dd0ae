"""The server against its own description: schemathesis makes up requests, good and bad ones."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tunesmith.server.openapi import CALLS, DIRECT

HOOKS = Path(__file__).with_name("described_hooks.py")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
CASES = 5_000
LINE = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n'
EVAL = {
    "data_source_config": {"type": "custom", "item_schema": {}},
    "testing_criteria": [
        {"type": "string_check", "name": "c", "operation": "eq", "input": "a", "reference": "a"}
    ],
}


def things(server) -> dict[str, str]:
    """Ids of one thing of each kind."""
    client = server.client
    job = server.tuned()
    model = job.fine_tuned_model
    ask = {"model": model, "messages": [{"role": "user", "content": "refund"}]}
    about = {"filename": "t.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl"}
    batch_file = client.files.create(file=("b.jsonl", LINE), purpose="batch").id
    batch = client.batches.create(
        input_file_id=batch_file, endpoint="/v1/chat/completions", completion_window="24h"
    )
    deadline = time.monotonic() + 10
    while client.batches.retrieve(batch.id).status not in ("completed", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    other = server.store.projects.create("other").id
    tested = client.evals.create(**EVAL)
    source = {"type": "file_content", "content": [{"item": {"a": "b"}}]}
    run = client.evals.runs.create(tested.id, data_source={"type": "jsonl", "source": source})
    named = {"run_id": run.id, "eval_id": tested.id}
    while client.evals.runs.retrieve(**named).status != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    permissions = client.fine_tuning.checkpoints.permissions
    return {
        "file_id": server.upload(),
        "input_file_id": batch_file,
        "job_id": job.id,
        "model": model,
        "writer": server.causal(),
        "checkpoint": model,
        "permission_id": permissions.create(model, project_ids=[other]).data[0].id,
        "upload_id": client.uploads.create(bytes=2, **about).id,
        "completion_id": client.chat.completions.create(**ask, store=True).id,
        "response_id": client.responses.create(model=model, input="refund").id,
        "batch_id": batch.id,
        **named,
        "item_id": client.evals.runs.output_items.list(**named).data[0].id,
    }


def test_the_table_names_every_route_and_no_other(shared):
    described = shared.http.get("/../openapi.json").json()
    routes = {f"{m.upper()} {p}" for p, ways in described["paths"].items() for m in ways}
    assert routes == set(CALLS)
    assert set(DIRECT) < routes
    assert described["openapi"].startswith("3.1")


def test_nothing_made_up_breaks_the_server_or_its_word(start, tmp_path):
    first = start(max_file_bytes=1_000_000)
    known = things(first)
    server = start(
        worker=False, workers=0, max_file_bytes=1_000_000
    )  # nobody works on what is made
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/../openapi.json"),
        *("-H", f"Authorization: Bearer {server.client.api_key}"),
        *("--checks", ",".join(CHECKS), "--seed", "1", "--no-shrink", "--max-examples", "80"),
        *("--suppress-health-check", "all", "--continue-on-failure", "--no-color"),
        *("--report", "json", "--report-json-path", str(report)),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"KNOWN": json.dumps(known), "SCHEMATHESIS_HOOKS": str(HOOKS)},
        cwd=tmp_path,  # where it leaves its notes
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-8_000:]
    told = json.loads(report.read_text())
    assert told["test_cases"]["generated"] >= CASES
    rates = told["valid_rates"].values()
    accepted = [sum(phase["accepted"] for phase in rate.values()) for rate in rates]
    assert sum(number > 0 for number in accepted) > 20, told["valid_rates"]  # not all refused

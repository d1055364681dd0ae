"""Random requests to every route of the server: mostly nonsense, some nearly right."""

import json
import socket
from http.client import HTTPResponse
from urllib.parse import quote

ODD = [
    *(None, True, False, 0, -1, 2**31, 2**63, 2**70, 1e308, -0.0, 0.5, "", " ", "x", "null"),
    *("file-x", "ft:m::", "a/b", "../..", "\x00", "ä🙂", "1" * 5000, [], [[]], [None], {}),
    *({"a": {"b": [1]}}, {"": ""}, [{"role": "user", "content": "x"}], "minilm-l6", "fine-tune"),
]
NAMES = [
    *("model", "messages", "training_file", "validation_file", "seed", "suffix", "metadata", "n"),
    *("hyperparameters", "method", "tunesmith", "purpose", "filename", "bytes", "mime_type", "md5"),
    *("part_ids", "input", "prompt", "temperature", "top_p", "top_logprobs", "logprobs", "stream"),
    *("tools", "tool_choice", "functions", "function_call", "seed", "logit_bias", "stop"),
    *("endpoint", "input_file_id", "completion_window", "grader", "model_sample", "project_ids"),
    *("data_source", "data_source_config", "testing_criteria", "name"),
    *(
        "response_format",
        "text",
        "store",
        "previous_response_id",
        "expires_after",
        "encoding_format",
    ),
]
QUERY = ["limit", "after", "order", "purpose", "metadata[a]", "metadata", "model", "include[]", "ä"]
QUERY += ["order_by", "status"]
CHECK = {"type": "string_check", "operation": "eq", "name": "a", "input": "a", "reference": "hi"}
CONTENT = {"type": "file_content", "content": [{"item": {"a": "hi"}}]}
SAY = {"type": "template", "template": [{"role": "user", "content": "{{ item.a }}"}]}
IDS = ["file-x", "ftjob-1", "%00", "%2F", "..", "%ff", "ft:a:b::c", "a%3Ab", "%", "%zz", "a/b/c"]
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "PURGE", "BREW"]
TYPES = ["application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/x", ""]
SAMPLES = [
    {"model": "MODEL", "messages": [{"role": "user", "content": "hi"}], "logprobs": True, "n": 2},
    {"model": "MODEL", "prompt": "hi", "max_tokens": 3, "echo": True},
    {"model": "MODEL", "input": [{"role": "user", "content": "hi"}], "store": True},
    {"model": "WRITER", "messages": [{"role": "user", "content": "hi"}], "tools": [], "stop": "x"},
    {"model": "WRITER", "prompt": ["hi", "ho"], "best_of": 2, "logprobs": 1, "stream": True},
    {"model": "WRITER", "input": "hi", "tools": [], "tool_choice": "auto", "stream": True},
    {"model": "minilm-l6", "input": ["a", "b"], "encoding_format": "base64"},
    {"model": "minilm-l6", "training_file": "FILE", "metadata": {"a": "b"}, "suffix": "s"},
    {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"},
    {"input_file_id": "FILE", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    {"grader": {"type": "string_check", "operation": "eq", "name": "a", "input": "a"}, "item": {}},
    {"part_ids": ["part_x"], "project_ids": ["proj_default"], "metadata": {}},
    {"data_source_config": {"type": "custom", "item_schema": {}}, "testing_criteria": [CHECK]},
    {"data_source": {"type": "completions", "model": "MODEL", "source": CONTENT}},
    {"data_source": {"type": "jsonl", "source": CONTENT}, "input_messages": SAY},
]


class Requests:
    """Random requests to `routes`, pairs of method and path; `known` stands for words in them."""

    def __init__(self, random, routes, key, known):
        self._random, self._routes, self._key, self._known = random, routes, key, known

    def one(self):
        """The method and the bytes of a request."""
        random = self._random
        method, path = random.choice(self._routes)
        if random.random() < 0.1:
            method = random.choice(METHODS)
        body, kind = self._body(), random.choice(TYPES[:1] * 6 + TYPES)
        if kind.startswith("multipart") and random.random() < 0.8:
            body = self._form()
        lines = [f"{method} {self._path(path)} HTTP/1.1".encode(), b"host: x"]
        if random.random() < 0.97:
            lines.append(f"authorization: Bearer {self._key}".encode())
        lines += [b"content-type: " + kind.encode()] * (kind != "")
        if random.random() < 0.2:
            lines.append(
                random.choice(NAMES).encode() + b": " + self._noise(40).translate(PRINTABLE)
            )
        if random.random() < 0.1:
            lines.append(b"transfer-encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            lines.append(b"content-length: %d" % len(body))
        return method, b"\r\n".join([*lines, b"", body])

    def _path(self, template):
        random = self._random
        while "{" in template:
            before, _, rest = template.partition("{")
            some = [*IDS, *map(quote, self._known.values())]
            template = before + random.choice(some) + rest.partition("}")[2]
        if random.random() < 0.1:
            spoilt = (
                template.replace("/", "//", 1),
                template + "/",
                template + quote(self._noise(9)),
            )
            template = random.choice(spoilt)
        if random.random() < 0.3:
            name, value = random.choice(QUERY), quote(str(random.choice([*ODD, *IDS])), safe="%")
            template += f"?{quote(name)}={value}"
        return template

    def _body(self):
        random = self._random
        shape = random.random()
        if shape < 0.1:
            return b""
        if shape < 0.25:
            return self._noise(300)
        if shape < 0.35:
            return json.dumps(random.choice(ODD)).encode()
        data = json.loads(json.dumps(random.choice(SAMPLES)))
        for _ in range(random.choice((0, 0, 1, 1, 2, 4))):
            data[random.choice([*data, *NAMES])] = random.choice(ODD)
        text = json.dumps(data)
        for word, meant in self._known.items():
            text = text.replace(word, meant)
        if shape > 0.97:
            text = text.replace("hi", "\\ud800")
        body = text.encode()
        return body[: random.randrange(len(body) + 1)] if shape > 0.93 else body

    def _form(self):
        random = self._random
        fields = [
            (name, random.choice([self._noise(50), b"fine-tune", b"{}\n", b"created_at", b"3600"]))
            for name in random.sample(["file", "purpose", "data", "expires_after[anchor]", "a"], 3)
        ]
        parts = []
        for name, value in fields:
            file = '; filename="a.jsonl"' if name in ("file", "data") else ""
            head = f'--b\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'
            parts.append(head.encode() + value + b"\r\n")
        return b"".join(parts) + random.choice([b"--b--\r\n", b"--b--", b"--b", b""])

    def _noise(self, most):
        return self._random.randbytes(self._random.randrange(most))


PRINTABLE = bytes(c if c >= 32 and c != 127 else 46 for c in range(256))


class Connection:
    """A connection that is opened again whenever the server has hung up."""

    def __init__(self, host, port):
        self._address, self._socket = (host, port), None

    def ask(self, method, request):
        """The reply to the bytes of a request, and its body."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=20)
        self._socket.sendall(request)
        reply = HTTPResponse(self._socket, method=method)
        reply.begin()
        body = reply.read()
        if reply.will_close:
            self.close()
        return reply, body

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

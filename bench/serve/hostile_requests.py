"""Seeded hostile requests: the bytes to send, how to send them, and whether an answer is required.

Each function is a kind of attack. It takes a random generator and returns an `Attack`.
"""

import gzip
import json
import random
from dataclasses import dataclass, field

import texts

POSTS = (
    "/v1/embeddings", "/v1/classify", "/v1/train", "/v1/segment", "/v1/similarity", "/embed",
    "/embed_all", "/api/embed", "/api/embeddings", "/api/show", "/v1/embed", "/v2/embed",
)
GETS = ("/v1/models", "/v1/models/x", "/v1/classifiers", "/info", "/api/tags", "/metrics", "/")

# Good bodies to start from.
BODIES = {
    "/v1/embeddings": {"input": ["a text", "another"], "task": "separation", "dimensions": 64,
                       "late_chunking": False, "normalized": True, "embedding_type": "float"},
    "/v1/classify": {"input": ["a text"], "labels": ["one", "two"]},
    "/v1/train": {"input": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}],
                  "num_iters": 1},
    "/v1/segment": {"content": "One sentence. Another.", "max_chunk_length": 10},
    "/v1/similarity": {"input": ["a", "b"], "query": "c"},
    "/embed": {"inputs": ["a", "b"], "truncate": True, "prompt_name": "separation"},
    "/embed_all": {"inputs": "a"},
    "/api/embed": {"model": "starter", "input": ["a", "b"], "dimensions": 32},
    "/api/embeddings": {"model": "starter", "prompt": "a"},
    "/api/show": {"model": "starter"},
    "/v1/embed": {"texts": ["a"], "model": "starter"},
    "/v2/embed": {"texts": ["a"], "model": "starter", "input_type": "search_document",
                  "embedding_types": ["float"]},
}

# JSON values that replace values of a good body.
VALUES = (
    "null", "true", "[]", "{}", '""', '"x"', "0", "-0", "-1", "1.5", "1e308", "-1e308", "1e400",
    "1e-400", "9007199254740993", "18446744073709551615", "18446744073709551616",
    "-9223372036854775809", "9" * 400, "0." + "3" * 400, "NaN", "Infinity", "0x10", "01", "1_0",
    '"\\ud800"', '"\\u0000"', "[null]", "[[]]", "[[[]]]", "[{}]", '[{"text":null}]', "[[1],[2]]",
    "[4294967296]", "[-1]", "[1e3]", '["a",["b"]]', '{"text":{"text":"a"}}', "'x'", "undefined",
)

TEXTS = (
    "", " ", "\t\n\r", "\0", "\u200b" * 50, "\u202e reversed", "e" + "\u0301" * 3000, "🦀" * 500,
    "👩‍👩‍👧‍👦" * 100, "\ufeff", "\uffff", "𝕿" * 500, "ﷺ" * 500, "½" * 300, "<s></s><pad><mask><unk>" * 20, "▁" * 500, "\n" * 5000,
    "'; DROP TABLE texts; --", "../../etc/passwd", "%s%n%x", "${jndi:ldap://x}",
)


# Texts over the limit of 8192 tokens, or long in another way. They must be rare: otherwise they fill
# the queue, and other requests are refused before they are read.
LONG_TEXTS = ("x" * 60_000, "a " * 20_000, "的" * 20_000, "\u0301" * 20_000)
LONG_SHARE = 0.03


@dataclass
class Attack:
    """The parts of a request, which are sent one after the other."""

    kind: str
    parts: list[bytes]
    # Seconds before each part but the first.
    pause: float = 0.0
    # The client disconnects after the parts, without reading.
    leaves: bool = False
    # Not a complete HTTP request, so the connection may end without an answer.
    silence: bool = False
    # The answer has no body.
    head: bool = False
    # The valid statuses; if empty, any that is not a failure of the server.
    expected: tuple[int, ...] = field(default=())


def request(path, body=b"", method="POST", headers=(), length=None):
    length = len(body) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def path_and_body(chance):
    path = chance.choice(POSTS)
    return path, json.dumps(BODIES[path]).encode()


def broken_json(chance):
    """A good body with bytes changed, deleted, duplicated or cut off."""
    path, body = path_and_body(chance)
    body = bytearray(body)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(body)) if body else 0
        match chance.randrange(5):
            case 0:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del body[at : at + chance.randint(1, 10)]
            case 2:
                body[at:at] = body[at : at + chance.randint(1, 30)]
            case 3:
                body[at:at] = chance.choice(b'{}[],:"\\').to_bytes()
            case 4:
                del body[at:]
    return Attack("broken JSON", [request(path, bytes(body))])


def wrong_values(chance):
    """Values of any type in any field."""
    path, _ = path_and_body(chance)
    fields = {name: json.dumps(value) for name, value in BODIES[path].items()}
    names = [*fields, "model", "user", "é", ""]
    for _ in range(chance.randint(1, 3)):
        fields[chance.choice(names)] = chance.choice(VALUES)
    pairs = [f"{json.dumps(name)}:{value}" for name, value in fields.items()]
    if chance.random() < 0.2:
        pairs += pairs[:1]
    return Attack("wrong values", [request(path, ("{" + ",".join(pairs) + "}").encode())])


def deep_nesting(chance):
    path, _ = path_and_body(chance)
    name = chance.choice([*BODIES[path], "unknown"])
    depth = chance.choice((64, 127, 128, 129, 1000, 20_000, 200_000))
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ('[{"text":', "}]")))
    inside = opening * depth + "1" + (closing * depth if chance.random() < 0.7 else "")
    return Attack("deep nesting", [request(path, f'{{"{name}":{inside}}}'.encode())])


def wrong_encoding(chance):
    path, body = path_and_body(chance)
    text = body.decode()
    kind = chance.randrange(8)
    if kind == 0:
        return Attack("gzip", [request(path, gzip.compress(body), headers=[
            "Content-Encoding: gzip"])], expected=(415,))
    bodies = [
        gzip.compress(body),
        text.encode("utf-16"),
        text.encode("utf-32"),
        b"\xef\xbb\xbf" + body,
        body.replace(b"a", b"\xff\xfe", 2),
        body.replace(b"a", b"\xed\xa0\x80", 1),
        body.replace(b"a", b"\xc0\x80", 1),
    ]
    headers = chance.choice(((), ("Content-Encoding: br",), ("Content-Encoding: \x80",)))
    return Attack("wrong encoding", [request(path, bodies[kind - 1], headers=headers)],
                  silence=headers[-1:] == ("Content-Encoding: \x80",))


def strange_text(chance):
    """A text that is hard to tokenize, or an empty one, in a good body."""
    text = chance.choice(LONG_TEXTS if chance.random() < LONG_SHARE else TEXTS)
    path = chance.choice(POSTS)
    body = json.dumps(replaced(BODIES[path], text), ensure_ascii=chance.random() < 0.5)
    return Attack("strange text", [request(path, body.encode("utf-8", "surrogatepass"))])


def replaced(value, text):
    """`value` with `text` in place of each of its texts."""
    if isinstance(value, list):
        return [replaced(one, text) for one in value]
    if isinstance(value, dict):
        kept = ("task", "model", "embedding_type", "input_type", "embedding_types", "prompt_name")
        return {k: v if k in kept else replaced(v, text) for k, v in value.items()}
    return text if isinstance(value, str) else value


def many_items(chance):
    count = chance.choice((513, 2048, 2049, 20_000))
    item = chance.choice(('"a"', "[1]", '["a"]', "1", '{"text":"a"}', "null"))
    body = '{"input":[' + ",".join([item] * count) + "]}"
    path = chance.choice(("/v1/embeddings", "/v1/classify", "/v1/similarity", "/api/embed"))
    return Attack("many items", [request(path, body.encode())])


def slow_body(chance):
    """A body in pieces, which is completed in time or never."""
    path, body = path_and_body(chance)
    cuts = sorted(chance.sample(range(1, len(body)), 4))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)])]
    sent = [request(path, pieces[0], length=len(body)), *pieces[1:]]
    if chance.random() < 0.5:
        return Attack("slow body", sent, pause=0.02)
    return Attack("body without end", sent[:2], pause=0.05, expected=(408,))


def slow_head(chance):
    head = request(*path_and_body(chance))
    return Attack("head without end", [head[: chance.randint(1, 40)]], silence=True)


def gone(chance):
    """The client disconnects: within the head, within the body, or before the answer."""
    if chance.random() < 0.5:
        body = texts.body([texts.sentence(chance, 300)] * chance.randint(1, 8))
        whole = request("/v1/embeddings", body)
    else:
        whole = request(*path_and_body(chance))
    sent = whole if chance.random() < 0.5 else whole[: chance.randrange(len(whole))]
    return Attack("gone", [sent], leaves=True, silence=True)


def bad_http(chance):
    path, body = path_and_body(chance)
    good = request(path, body)
    return Attack("bad HTTP", [chance.choice((
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        chance.randbytes(chance.randint(1, 2000)) + b"\r\n\r\n",
        good.replace(b"Content-Length: ", b"Content-Length: -"),
        good.replace(b"Content-Length: ", b"Content-Length: 9" + b"9" * 30),
        good.replace(b"Content-Length", b"Content-Length: 3\r\nContent-Length"),
        good.replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nContent-Length: "),
        good.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"),
        good.replace(b"Host: localhost", b"X: " + b"x" * 500_000),
        good.replace(b"Host: localhost", b"\r\n".join([b"X-%d: y" % i for i in range(500)])),
        good.replace(b"POST /", b"POST /" + b"y" * 100_000),
        good.replace(b" HTTP/1.1", b"\x00 HTTP/1.1"),
        good.replace(b"Host: localhost", b"Host: \x00\x01"),
        good.replace(b"Host: localhost", b": x"),
    ))], silence=True)


def only_head(chance):
    path, _ = path_and_body(chance)
    return Attack("HEAD", [request(chance.choice((path, *GETS)), method="HEAD")], head=True)


def strange_http(chance):
    """Valid HTTP that clients seldom send: each request must be answered."""
    path, body = path_and_body(chance)
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    chunked = request(path, body).replace(
        b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    return Attack("strange HTTP", [chance.choice((
        request(path, body, method=chance.choice(("PUT", "PATCH", "DELETE", "TRACE", "FOO"))),
        request(path, body).replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("http://other.example" + path, body),
        request(path + "?" + "q=%00&" * 1000, body),
        request("/task/%00" + path, body),
        request("/task/" + "x" * 5000 + path, body),
        request("/task//" + path, body),
        request("/task/separation/task/separation" + path, body),
        request(path + chance.choice(("/", "//", "/..", "%2e%2e", ";x", "%ff", "/%")), body),
        request(chance.choice(GETS) + "/../../../../etc/passwd", method="GET"),
        request("/v1/classifiers/" + chance.choice(("..%2f..%2fx", "%00", "x" * 5000, ".", "*")),
                method="DELETE"),
        request("*", method="OPTIONS"),
        chunked[: -len(body)] + chunks + b"0\r\n\r\n",
        request(path, body).replace(b"application/json", chance.choice((
            b"text/plain", b"multipart/form-data", b"x" * 3000))),
    ))])


def strange_headers(chance):
    path, body = path_and_body(chance)
    headers = [chance.choice((
        "Authorization: Bearer " + "x" * 5000,
        "Authorization: \u00e9\u00e9",
        "Authorization: Bearer",
        "X-Request-Id: " + "y" * 1000,
        "X-Request-Id: a b\"c{}",
        "X-Jina-Task: " + chance.choice(("nothing", "é", "", "x" * 1000)),
        "traceparent: 00-" + "f" * 32 + "-" + "0" * 16 + "-zz",
        "traceparent: " + "-" * 1000,
        "Origin: null",
        "Accept: application/xml",
        "Accept-Encoding: " + "gzip, " * 500,
        "Expect: 100-continue",
        "Expect: nonsense",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Range: bytes=0-1",
        "If-None-Match: *",
        "X-Forwarded-For: " + "1.2.3.4, " * 200,
    )) for _ in range(chance.randint(1, 3))]
    return Attack("strange headers", [request(path, body, headers=headers)])


def huge_body(chance):
    """A body over the limit."""
    body = b'{"input":"' + b"x" * chance.choice((1_100_000, 3_000_000)) + b'"}'
    return Attack("huge body", [request("/v1/embeddings", body)], expected=(413,))


# The kinds, and the weight of each.
KINDS = (
    (broken_json, 25), (wrong_values, 25), (deep_nesting, 6), (wrong_encoding, 8),
    (strange_text, 8), (many_items, 2), (slow_body, 4), (slow_head, 1), (gone, 8), (bad_http, 5),
    (strange_http, 5), (only_head, 1), (strange_headers, 5), (huge_body, 1),
)


def attack(seed, number):
    """Request `number` of a run with `seed`, which does not depend on other requests."""
    chance = random.Random(f"{seed}/{number}")
    [kind] = chance.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
    return kind(chance)

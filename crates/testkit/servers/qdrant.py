"""A stand-in for Qdrant's server, which is not in the package registries: qdrant.py DIRECTORY PORT.

Implements the parts of the published HTTP interface that kokeshi uses. Request bodies are checked by the models
that Qdrant generates from its specification of that interface, which reject unknown fields; the responses are
those of the local mode of Qdrant's own client. It does not show how the real server behaves under load, with its
indexes or with its quantization.
"""

import json
import re
import sys
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

from pydantic import ValidationError
from qdrant_client import QdrantClient, models

warnings.simplefilter("ignore")
ROUTES = []


def route(method, path, body=None):
    """Registers a handler of requests whose body is a `body`."""
    return lambda handler: ROUTES.append((method, re.compile(f"^{path}$"), body, handler)) or handler


NAME = r"/collections/([^/?]+)"
# Payload indexes, which the local mode does not store.
INDEXES = {}


@route("GET", "/collections")
def collections(client):
    return client.get_collections()


@route("GET", NAME)
def collection(client, name):
    info = client.get_collection(name)
    return info.model_copy(update={"payload_schema": INDEXES.get(name, {})})


@route("PUT", NAME, models.CreateCollection)
def create(client, name, body):
    return client.create_collection(
        name, vectors_config=body.vectors, sparse_vectors_config=body.sparse_vectors,
        quantization_config=body.quantization_config)


@route("DELETE", NAME)
def delete(client, name):
    INDEXES.pop(name, None)
    return client.delete_collection(name)


@route("PUT", NAME + r"/index\?wait=true", models.CreateFieldIndex)
def index(client, name, body):
    kind = body.field_schema
    is_name = isinstance(kind, str)
    INDEXES.setdefault(name, {})[body.field_name] = models.PayloadIndexInfo(
        data_type=kind if is_name else kind.type, params=None if is_name else kind, points=0)
    return client.create_payload_index(name, body.field_name, kind)


@route("PUT", NAME + r"/points\?wait=true", models.PointsList)
def upsert(client, name, body):
    return client.upsert(name, body.points)


@route("POST", NAME + r"/points/delete\?wait=true", models.FilterSelector)
def delete_points(client, name, body):
    return client.delete(name, body)


@route("POST", NAME + "/points/count", models.CountRequest)
def count(client, name, body):
    return client.count(name, count_filter=body.filter, exact=body.exact)


@route("POST", NAME + "/points/scroll", models.ScrollRequest)
def scroll(client, name, body):
    points, after = client.scroll(
        name, scroll_filter=body.filter, limit=body.limit, offset=body.offset,
        with_payload=body.with_payload, with_vectors=body.with_vector)
    return models.ScrollResult(points=points, next_page_offset=after)


@route("POST", NAME + "/points/query", models.QueryRequest)
def query(client, name, body):
    return client.query_points(
        name, query=body.query, using=body.using, query_filter=body.filter, limit=body.limit,
        search_params=body.params, with_payload=body.with_payload)


@route("GET", "/aliases")
def aliases(client):
    return client.get_aliases()


@route("POST", "/collections/aliases", models.ChangeAliasesOperation)
def change_aliases(client, body):
    return client.update_collection_aliases(body.actions)


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        text = self.rfile.read(length)
        for method, path, model, handler in ROUTES:
            found = path.match(self.path)
            if method == self.command and found:
                return self.run(found.groups(), model, handler, text)
        self.send(405, {"status": {"error": f"{self.command} {self.path} is not a request of the interface"}})

    def run(self, names, model, handler, text):
        known = [collection.name for collection in client.get_collections().collections]
        known += [alias.alias_name for alias in client.get_aliases().aliases]
        if names and handler not in (create, delete) and names[0] not in known:
            return self.send(404, {"status": {"error": f"Not found: Collection `{names[0]}`"}})
        try:
            arguments = [model.model_validate_json(text)] if model else []
            result = handler(client, *names, *arguments)
        except (ValidationError, ValueError) as error:
            return self.send(400, {"status": {"error": str(error)}})
        result = result if isinstance(result, bool) else result.model_dump(mode="json")
        self.send(200, {"result": result, "status": "ok", "time": 0.0})

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

    do_GET = do_PUT = do_POST = do_DELETE = answer


client = QdrantClient(path=sys.argv[1])
HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()

"""Another program that keeps points in a server: application.py KIND PORT.

It knows nothing of kokeshi, and uses the engine's own client where there is one. It reads commands from standard
input, one JSON value per line, and answers each with a line of JSON. Its collections have texts in `body`, the
document of each in `book`, its index there in `number`, and, where the engine supports it, further vectors.
"""

import json
import sys
import urllib.request


class Qdrant:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method, data=json.dumps(body).encode() if body else None,
            headers={"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["result"]

    def make(self, name, width, alias):
        self.call("PUT", f"/collections/{name}", {
            "vectors": {"text": {"size": width, "distance": "Cosine"}, "image": {"size": 2, "distance": "Dot"}},
            "sparse_vectors": {"words": {}},
            "on_disk_payload": True,
            "hnsw_config": {"m": 24},
        })
        index = {"field_name": "number", "field_schema": {"type": "integer", "range": True, "lookup": False}}
        self.call("PUT", f"/collections/{name}/index?wait=true", index)
        if alias:
            actions = [{"create_alias": {"collection_name": name, "alias_name": alias}}]
            self.call("POST", "/collections/aliases", {"actions": actions})

    def put(self, name, points):
        points = [{
            "id": point["id"],
            "vector": {"text": point["vector"], "image": [point["id"], 1],
                       "words": {"indices": [point["id"], 99], "values": [0.5, 0.25]}},
            "payload": {key: point[key] for key in ("body", "book", "number")},
        } for point in points]
        self.call("PUT", f"/collections/{name}/points?wait=true", {"points": points})

    def delete(self, name, ids):
        self.call("POST", f"/collections/{name}/points/delete?wait=true", {"filter": {"must": [{"has_id": ids}]}})

    def all(self, name):
        body = {"limit": 1000, "with_payload": True, "with_vector": True}
        points = self.call("POST", f"/collections/{name}/points/scroll", body)["points"]
        return [{
            "id": point["id"], **point["payload"], "vector": point["vector"]["text"],
            "other": [point["vector"]["image"], point["vector"]["words"]],
        } for point in points]

    def shape(self, name):
        info = self.call("GET", f"/collections/{name}")
        params = info["config"]["params"]
        del params["vectors"]["text"]["datatype"]
        return {"params": params, "index": info["config"]["hnsw_config"]["m"],
                "fields": {name: kind["params"] or kind["data_type"] for name, kind in info["payload_schema"].items()}}


class Chroma:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/api/v2/tenants/default_tenant/databases/default_database/collections"

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method, data=json.dumps(body).encode() if body else None,
            headers={"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def id(self, name):
        return self.call("GET", f"/{name}")["id"]

    def make(self, name, width, alias):
        self.call("POST", "", {"name": name, "metadata": {"of": "an application"},
                               "configuration": {"hnsw": {"space": "ip", "max_neighbors": 24}}})

    def put(self, name, points):
        column = lambda value: [value(point) for point in points]
        self.call("POST", f"/{self.id(name)}/upsert", {
            "ids": column(lambda point: f"id-{point['id']}"),
            "documents": column(lambda point: point["body"]),
            "embeddings": column(lambda point: point["vector"]),
            "metadatas": column(lambda point: {key: point[key] for key in ("book", "number")}),
        })

    def delete(self, name, ids):
        self.call("POST", f"/{self.id(name)}/delete", {"ids": [f"id-{id}" for id in ids]})

    def all(self, name):
        body = {"limit": 1000, "include": ["documents", "metadatas", "embeddings"]}
        info = self.call("POST", f"/{self.id(name)}/get", body)
        rows = zip(info["ids"], info["documents"], info["metadatas"], info["embeddings"])
        return [{"id": int(id[3:]), "body": body, **fields, "vector": vector} for id, body, fields, vector in rows]

    def shape(self, name):
        info = self.call("GET", f"/{name}")
        index = info["configuration_json"]["hnsw"]
        return {"metadata": info["metadata"], "space": index["space"], "index": index["max_neighbors"]}


class Milvus:
    def __init__(self, port):
        from pymilvus import MilvusClient

        self.client = MilvusClient(uri=f"http://127.0.0.1:{port}")

    def make(self, name, width, alias):
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("body", DataType.VARCHAR, max_length=2000)
        schema.add_field("book", DataType.VARCHAR, max_length=100, nullable=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=width)
        schema.add_field("image", DataType.FLOAT_VECTOR, dim=2)
        indexes = self.client.prepare_index_params()
        indexes.add_index("embedding", index_type="HNSW", metric_type="COSINE", params={"M": 24, "efConstruction": 90})
        indexes.add_index("image", index_type="FLAT", metric_type="L2")
        self.client.create_collection(name, schema=schema, index_params=indexes)
        if alias:
            self.client.create_alias(name, alias)

    def put(self, name, points):
        self.client.upsert(name, [{
            "key": point["id"], "body": point["body"], "book": point["book"], "number": point["number"],
            "embedding": point["vector"], "image": [point["id"], 1.0],
        } for point in points])

    def delete(self, name, ids):
        self.client.delete(name, ids=ids)

    def all(self, name):
        fields = ["key", "body", "book", "number", "embedding", "image"]
        rows = self.client.query(name, filter="key >= 0", output_fields=fields, limit=1000,
                                 consistency_level="Strong")
        return [{
            "id": row["key"], "body": row["body"], "book": row["book"], "number": row["number"],
            "vector": list(map(float, row["embedding"])), "other": list(map(float, row["image"])),
        } for row in rows]

    def shape(self, name):
        info = self.client.describe_collection(name)
        fields = [(field["name"], str(field["type"]), field.get("nullable")) for field in info["fields"]]
        indexes = [self.client.describe_index(name, index) for index in self.client.list_indexes(name)]
        kinds = sorted((index["field_name"], index["index_type"], index["metric_type"]) for index in indexes)
        return {"fields": fields, "dynamic": info["enable_dynamic_field"], "indexes": kinds}


def main():
    engine = {"qdrant": Qdrant, "chroma": Chroma, "milvus": Milvus}[sys.argv[1]](int(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(engine, command.pop("do"))(**command)
        if isinstance(answer, list):
            answer.sort(key=lambda point: point["id"])
        print(json.dumps(answer), flush=True)


main()

# test/integration/gateway_lib.py: a cluster with a usherd and two tenants, and what its replies must be like.
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}


def is_kind(value, kind):
    return isinstance(value, KINDS[kind]) and (kind in ("boolean",) or not isinstance(value, bool))


def fault(document, schema, value):
    """What of the value does not fit the schema (of the keywords that ours have), or None."""
    if "$ref" in schema:
        at = document
        for part in schema["$ref"].split("/")[1:]:
            at = at[part]
        return fault(document, at, value)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_kind(value, kind) for kind in kinds):
        return "%r is no %s" % (value, " or ".join(kinds))
    if "const" in schema and value != schema["const"]:
        return "%r is not %r" % (value, schema["const"])
    if "enum" in schema and value not in schema["enum"]:
        return "%r is none of %r" % (value, schema["enum"])
    for word, least in (("anyOf", 1), ("oneOf", 1)):
        fits = sum(not fault(document, part, value) for part in schema.get(word, []))
        if word in schema and (fits < least or (word == "oneOf" and fits > 1)):
            return "%r fits %d of %s" % (value, fits, word)
    if isinstance(value, str) and not (schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30)):
        return "%r is of another length" % value
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return "%r does not match" % value
    if is_kind(value, "number") and not (schema.get("minimum", value) <= value <= schema.get("maximum", value)):
        return "%r is out of range" % value
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return "%r has another length" % value
        return next(filter(None, (fault(document, schema.get("items", {}), item) for item in value)), None)
    if isinstance(value, dict):
        if len(value) > schema.get("maxProperties", len(value)):
            return "%r has too many members" % value
        for name in schema.get("required", []):
            if name not in value:
                return "%s is missing" % name
        for name, item in value.items():
            part = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            wrong = "%s is unknown" % name if part is False else fault(document, part, item)
            if wrong:
                return wrong
    return None


class Api:
    """c is a client of the tenant default with all scopes, acme one of another tenant."""

    def __init__(self, conf=None, **settings):
        conf = dict({"usher.partition_size": "1000", "track_functions": "all"}, **(conf or {}))
        self.cluster = lib.Cluster(lib.work_directory(), conf=conf).initdb().start().create()
        self.cluster.rows("SELECT usher.create_tenant('acme')")
        self.daemon = usherd.Usherd(self.cluster, **settings).start()
        self.c = self.daemon.client()
        self.acme = self.daemon.client(tenant="acme")

    def problem(self, reply, status, kind):
        ensure(reply.status == status, "%s instead of %d %s" % (reply, status, kind))
        ensure(reply.headers["content-type"] == "application/problem+json", "a problem of type %s" % reply.headers["content-type"])
        problem = reply.json()
        ensure(problem["type"].endswith("/" + kind), "%s is not %s" % (problem["type"], kind))
        ensure(problem["status"] == status and problem["request_id"] == reply.headers["request-id"], "%s" % problem)
        return problem

    def fine(self, reply, status=200):
        ensure(reply.status == status, "%s instead of %d" % (reply, status))
        return reply.json() if reply.body else None

    def poll(self, client, name, **body):
        return self.fine(client.post("/v1/subscriptions/%s/poll" % name, dict({"member": "m"}, **body)))

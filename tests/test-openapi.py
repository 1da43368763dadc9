#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks docs/openapi.json: that it is whole, and speaks of what agentd answers. Prints TAP.

usage: test-openapi.py TEST-API

The endpoints and their parameters are those of the table in agentd/api.c, the kinds of events those of agentd/event.c;
docs/api.md names the same endpoints. The answers that agentd/test-api.c gets are as it says; tests/box/test_api.py does the
same with a running agentd.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import jsonschema
except ImportError:
    jsonschema = None

TOP = Path(__file__).resolve().parent.parent
METHODS = ["get", "put", "post", "delete"]
# What may leave keys out: what clients send, and what is only there if it was asked for.
OPTIONAL = {"RunRequest", "DisableRequest", "Difference"}
# What may have keys that are not named.
OPEN = {"Facts"}

document = json.loads((TOP / "docs/openapi.json").read_text())
components = document["components"]
results = []


def result(name, problems):
    results.append(not problems)
    print(f"{'not ok' if problems else 'ok'} {len(results)} - {name}")
    for problem in problems:
        print(f"# {problem}")


def skip(name, why):
    results.append(True)
    print(f"ok {len(results)} - {name} # SKIP {why}")


def walk(node, path=""):
    """(path, object) of each JSON object, but for examples, which may hold anything."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            if key not in ("example", "examples"):
                yield from walk(value, f"{path}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, f"{path}/{i}")


def resolve(node):
    while "$ref" in node:
        target = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def operations():
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references():
    used, problems = set(), []
    for path, node in walk(document):
        if "$ref" not in node:
            continue
        used.add(node["$ref"])
        try:
            resolve(node)
        except KeyError:
            problems.append(f"{path}: {node['$ref']} leads nowhere")
    result("references lead somewhere", problems)
    # Named in docs/api.md, and by the test of the running agentd.
    result("nothing is there that nothing uses", [
        f"{kind}/{name}" for kind, group in components.items() for name in group
        if f"#/components/{kind}/{name}" not in used])


def schemas_are_strict():
    problems = []
    for path, node in walk(components["schemas"]):
        name = path.split("/")[1] if path else ""
        if node.get("type") != "object" or "properties" not in node and name in OPEN:
            continue
        if node.get("additionalProperties") is not False:
            problems.append(f"{path}: additionalProperties is not false")
        properties, required = set(node["properties"]), set(node["required"])
        if required - properties or name not in OPTIONAL and properties != required:
            problems.append(f"{path}: required is not all of its properties: {sorted(properties ^ required)}")
    result("schemas name all keys, and no others are there", problems)


def validator(schema):
    return jsonschema.Draft202012Validator({**schema, "components": components})


def schemas_are_valid():
    name = "schemas are schemas, and examples are as they say"
    if not jsonschema:
        skip(name, "python3-jsonschema is missing")
        return
    problems = []
    for key, schema in components["schemas"].items():
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as e:
            problems.append(f"{key}: {e.message}")
    for path, node in walk(document):
        if "schema" in node and "example" in node:
            problems += [f"{path}: {e.json_path}: {e.message}" for e in validator(node["schema"]).iter_errors(node["example"])]
    result(name, problems)


def table_of_routes():
    """{(path, method): names of its parameters} of agentd/api.c."""
    routes = {}
    for line in (TOP / "agentd/api.c").read_text().splitlines():
        match = re.match(r' +(?:GET\(|CHANGE\("(\w+)", )"(/[^"]*)", \w+, QUERY\(([^)]*)\), "[^"]+"\),$', line)
        if match:
            routes[match[2], (match[1] or "GET").lower()] = set(re.findall(r'"(\w+)"', match[3]))
    return routes


def routes():
    table = table_of_routes()
    described = {(path, method): operation for path, method, operation in operations()}
    result("the table of routes was found", [] if len(table) > 15 else [f"{len(table)} routes in agentd/api.c"])
    result("endpoints are those of the table of routes", [
        f"{method.upper()} {path} is only in {'agentd/api.c' if (path, method) in table else 'docs/openapi.json'}"
        for path, method in sorted(set(table) ^ set(described))])

    problems = []
    for (path, method), operation in described.items():
        parameters = [resolve(p) for p in operation.get("parameters", [])]
        query = {p["name"] for p in parameters if p["in"] == "query"}
        if query != table.get((path, method), query):
            problems.append(f"{method.upper()} {path}: the query has {sorted(query)}, in agentd/api.c {sorted(table[path, method])}")
        parts = {p["name"] for p in parameters if p["in"] == "path"}
        if parts != set(re.findall(r"\{(\w+)\}", path)) or any(not p.get("required") for p in parameters if p["in"] == "path"):
            problems.append(f"{method.upper()} {path}: its variable parts are {sorted(parts)}")
    result("parameters are those of the table of routes", problems)

    page = set(re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?]*)`", (TOP / "docs/api.md").read_text()))
    listed = {(method.upper(), path) for path, method in table}
    result("docs/api.md names each endpoint, and no others", [f"{method} {path}" for method, path in sorted(page ^ listed)])


def operations_are_complete():
    problems, ids = [], []
    for path, method, operation in operations():
        where = f"{method.upper()} {path}"
        ids.append(operation.get("operationId"))
        if method not in METHODS or not operation.get("summary") or not operation.get("operationId"):
            problems.append(f"{where}: no summary or operationId")
        responses = operation["responses"]
        if not {"400", "403"} <= set(responses) or not any(status < "300" for status in responses):
            problems.append(f"{where}: answers {sorted(responses)}")
        for status, response in responses.items():
            response = resolve(response)
            if not response.get("description"):
                problems.append(f"{where}: {status} has no description")
            # But for that of the health, which is an answer like the other.
            if status >= "400" and path != "/healthz" and list(response["content"]) != ["application/problem+json"]:
                problems.append(f"{where}: {status} is no problem")
        if ("304" in responses) != (method == "get" and path not in ("/metrics",)):
            problems.append(f"{where}: {'has' if '304' in responses else 'lacks'} 304")
    if len(ids) != len(set(ids)):
        problems.append("operationIds are not unique")
    result("endpoints say all that they answer", problems)


def words():
    kinds = re.findall(r'\{ "([a-z-]+)", "[0-9a-f]{32}"', (TOP / "agentd/event.c").read_text())
    result("kinds of events are those of agentd/event.c",
           sorted(set(kinds) ^ set(components["schemas"]["EventKind"]["enum"])))
    found = re.findall(r'\[RESULT_\w+\] = "(\w+)"', (TOP / "agentd/run.c").read_text())
    result("results are those of agentd/run.c", sorted(set(found) ^ {"none", *components["schemas"]["ResultWord"]["enum"]}))
    problems = set(re.findall(r"`(urn:agentd:[a-z-]+)`", (TOP / "docs/api.md").read_text()))
    result("problems are those of docs/api.md", sorted(problems ^ set(components["schemas"]["Problem"]["properties"]["type"]["enum"])))


def described(method, path):
    """The operation that a path belongs to; literal ones win. None: there is none."""
    for template in sorted(document["paths"], key=lambda t: (t.count("{"), -len(t))):
        # A variable part at the end may have slashes.
        pattern = re.sub(r"\{\w+\}$", ".+", template)
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return document["paths"][template].get(method.lower())
    return None


def problems_of(answer):
    """What openapi.json does not say of an answer."""
    path = answer["target"].partition("?")[0]
    method, kind = answer["method"], "application/json"
    if method == "STREAM":
        method, kind = "POST" if path == "/v1/runs" else "GET", "application/x-ndjson"
    operation = described(method, path)
    if operation is None:
        # Of what is not there.
        return [] if answer["status"] in (404, 405) else ["it is not described"]
    response = operation["responses"].get(str(answer["status"]))
    if response is None:
        return [f"{answer['status']} is not described"]
    content = resolve(response).get("content", {})
    if kind not in content:
        kind = "application/problem+json"
    return [f"{e.json_path}: {e.message}" for e in validator(content[kind]["schema"]).iter_errors(answer["body"])]


def answers():
    name = "answers are as they are described"
    if not jsonschema:
        skip(name, "python3-jsonschema is missing")
        return
    with tempfile.TemporaryDirectory(prefix="agentd-openapi-") as directory:
        path = f"{directory}/answers"
        subprocess.run([sys.argv[1]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env=os.environ | {"API_ANSWERS": path})
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    result(name, [f"{line['method']} {line['target']}: {problem}" for line in lines for problem in problems_of(line)])
    # But for metrics, which are no JSON.
    tried = {id(described("POST" if line["method"] == "STREAM" and line["target"] == "/v1/runs" else
                          line["method"].replace("STREAM", "GET"), line["target"].partition("?")[0]))
             for line in lines if line["status"] < 300}
    result("there is an answer of each endpoint", [
        f"{method.upper()} {path}" for path, method, operation in operations()
        if id(operation) not in tried and path != "/metrics"])


def main():
    result("it is OpenAPI 3.1", [] if document["openapi"].startswith("3.1.") and document["info"]["title"] else ["it is not"])
    references()
    schemas_are_strict()
    schemas_are_valid()
    routes()
    operations_are_complete()
    words()
    answers()
    print(f"1..{len(results)}")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks what `agentd --schema` prints against what agentd takes. Prints TAP.

usage: test-schema.py AGENTD TEST-MODULE-DIR MODULE...

- The schemas are valid by their metaschema, the same each time, and each $ref in them leads somewhere.
- What taplo cannot use is not in them; see agentd/schema.h.
- Roles that agentd takes are valid by them: those of conf.d, and the ```toml blocks of the pages.
- Whatever they refuse of the roles in tests/role-errors.md is refused there; and they refuse most of what a schema can.
- VALUES below, for a module with parameters of each kind: agentd and the schema agree on each.

Skipped without python3-jsonschema.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

try:
    import jsonschema
except ImportError:
    print("1..0 # SKIP python3-jsonschema is missing")
    sys.exit(0)

TOP = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\S*)[ ]*(.*?)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
# Of role-errors.md: said of one file, and by looking at that alone.
BY_LOOKING = re.compile(r"error: (unknown key|'[^']*' is (neither a key|not supported|(an? \w+|true|false); it must)"
                        r"|both '|.* needs '|.*'; it must be one of)")

agentd, test_modules, *modules = sys.argv[1:]
results = []
directories = []


def result(name, problem=None):
    results.append(not problem)
    print(f"{'not ok' if problem else 'ok'} {len(results)} - {name}")
    for line in (problem or "").splitlines():
        print(f"# {line}")


def module_directory(files):
    directories.append(tempfile.TemporaryDirectory(prefix="agentd-schema-"))
    for file in files:
        os.symlink(os.path.abspath(file), f"{directories[-1].name}/{os.path.basename(file)}")
    return directories[-1].name


def run(module_dir, *arguments):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | {
        key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
    return subprocess.run([agentd, "--module-dir", module_dir, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env=environment)


def load(text):
    """As JSON has it: dates are strings."""
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        return value
    return plain(tomllib.loads(text))


class Schema:
    def __init__(self, module_dir, *names):
        done = run(module_dir, "--schema", *names)
        self.text = done.stdout
        self.json = json.loads(self.text)
        self.validator = jsonschema.Draft7Validator(self.json)
        self.again = run(module_dir, "--schema", *names).stdout

    def problem(self, text):
        """What it says of a file; None if that is valid."""
        error = jsonschema.exceptions.best_match(self.validator.iter_errors(load(text)))
        return error and f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"


def walk(node, path=""):
    """All schemas in one."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from walk(value, f"{path}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, f"{path}/{i}")


def check_shape(name, schema):
    try:
        jsonschema.Draft7Validator.check_schema(schema.json)
        result(f"{name}: is valid itself")
    except jsonschema.SchemaError as e:
        result(f"{name}: is valid itself", str(e))
    result(f"{name}: is the same each time", None if schema.text == schema.again else "it is not")

    problems = []
    for path, node in walk(schema.json):
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = schema.json
            for key in reference.removeprefix("#/").split("/"):
                target = target.get(key) if isinstance(target, dict) else None
            if target is None:
                problems.append(f"{path}: {reference} leads nowhere")
            if len(node) != 1:
                problems.append(f"{path}: what is beside $ref is ignored")
        for word in ("allOf", "$defs", "unevaluatedProperties", "dependentRequired"):
            if word in node and "/properties" != path[-11:]:
                problems.append(f"{path}: {word}")
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            if re.search(r"\(\?[!=<]", pattern):
                problems.append(f"{path}: a pattern looks around: {pattern}")
            re.compile(pattern)
    result(f"{name}: editors can use it", "\n".join(problems))


def check_pages(role, settings):
    for page in sorted([TOP / "README.md", *TOP.glob("docs/*.md"), *TOP.glob("modules/*/README.md")]):
        problems, n = [], 0
        for block in FENCE.finditer(page.read_text()):
            words = block[2].split()
            if block[1] != "toml" or "fragment" in words or "invalid" in words:
                continue
            n += 1
            # Variables of a host are whatever there is.
            if any(word.startswith("vars.d/") for word in words):
                continue
            problem = (settings if "agentd.toml" in words else role).problem(block[3])
            if problem:
                problems.append(f"{problem}\n{block[3]}")
        if n > 0:
            result(f"{page.relative_to(TOP)}: {n} roles are valid", "\n".join(problems))
    for file in sorted(TOP.glob("conf.d/*.toml")):
        schema = settings if file.name == "agentd.toml" else role
        result(f"{file.relative_to(TOP)} is valid", schema.problem(file.read_text()))


def check_errors(role):
    """Of the cases of the page those that are no matter of other kinds of files."""
    text = (TOP / "tests/role-errors.md").read_text()
    roles, refused, n, missed, can = [], 0, 0, [], 0
    for block in FENCE.finditer(text, text.index("\n## ")):
        if block[1] == "toml" and not block[2].startswith(("vars.d/", "agentd.toml")):
            roles.append(block[3])
        if block[1] != "text":
            continue
        try:
            found = any([role.problem(file) for file in roles])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
            roles = []
            continue
        n += bool(roles)
        refused += found
        if roles and BY_LOOKING.search(block[3]):
            can += 1
            if not found:
                missed.append(block[3].splitlines()[0])
        roles = []
    print(f"# refused {refused} of {n} cases of role-errors.md; of {can} that can be told by looking, {can - len(missed)}")
    for line in missed:
        print(f"#   not: {line}")
    result("role-errors.md: most of what can be told by looking is",
           None if can >= 10 and len(missed) * 5 < can else f"{len(missed)} of {can} are not")


# Lines of a state; whether agentd takes them. In agentd's own words, that is asked as well.
VALUES = {
    "boolean = true": True, "boolean = \"true\"": False, "boolean = 1": False, "boolean = '{{vars.x}}'": True,
    "integer = 5": True, "integer = \"5\"": False, "integer = 1.5": False, "integer = \"{{vars.n}}\"": True,
    "real = 1.5": True, "real = 2": True, "real = \"1.5\"": False, "real = \"{{vars.n}}\"": True,
    "string = \"\"": True, "string = 5": False, "string = \"a {{vars.x}}\"": True, "string = [\"a\"]": False,
    "list = [\"a\"]": True, "list = []": True, "list = \"a\"": False, "list = [1]": False, "list = '{{vars.l}}'": True,
    "table = { a = 1 }": True, "table = [1]": False, "table = \"a\"": False, "table = '{{vars.t}}'": True,
    "point = { x = 1 }": True, "point = { x = 1, y = 2 }": True, "point = { y = 2 }": False, "point = { x = \"1\" }": False,
    "point = { x = 1, z = 2 }": False, "point = 1": False, "point = { x = '{{vars.n}}' }": True, "point = '{{vars.p}}'": True,
    "mode = \"0644\"": True, "mode = \"644\"": True, "mode = \"00644\"": True, "mode = 420": False, "mode = \"9\"": False,
    "mode = \"10644\"": False, "mode = \"64\"": False, "mode = \"rw\"": False, "mode = '{{vars.m}}'": True,
    "span = \"2min 30s\"": True, "span = 90": True, "span = \"infinity\"": True, "span = \"1.5 h\"": True, "span = -1": False,
    "span = \"2 parsecs\"": False, "span = \"-5s\"": False, "span = \"1e3\"": False, "span = 1.5": False, "span = \"90\"": True,
    "span = \"1h30min\"": True, "span = \"3 weeks 1day\"": True, "span = \"{{vars.n}}s\"": True, "span = \"1 2s\"": True,
    "bytes = \"64M\"": True, "bytes = 64": True, "bytes = \"64MiB\"": True, "bytes = \"64K B\"": False, "bytes = \"M\"": False,
    "bytes = \"{{vars.n}}K\"": True, "bytes = true": False, "bytes = \"0B\"": True, "bytes = \"1m\"": False,
    "any = 1": True, "any = { a = [1, \"x\"] }": True, "any = \"{{vars.x}}\"": True, "any = 1979-05-27": True,
    "colour = \"red\"": True, "colour = \"rde\"": False, "colour = 1": False, "colour = '{{vars.c}}'": True,
    "colours = [\"red\", \"blue\"]": True, "colours = [\"rde\"]": False, "colours = \"red\"": False,
    "path = \"/a\"": True, "path = \"a\"": False, "path = \"/a/../b\"": False, "path = \"{{vars.d}}/a\"": True, "path = \"/..a\"": True,
    "paths = [\"/a\"]": True, "paths = [\"a\"]": False, "paths = \"/a\"": False,
    "password = \"x\"": True, "password = 5": False, "pin = 5": True, "pin = \"5\"": False, "pin = '{{vars.n}}'": True,
    "literal = \"{{x\"": True, "literal = 5": False,
    "user = \"root\"": True, "user = \"a:b\"": False, "user = \"\"": False, "user = '{{vars.x}}'": True,
    "checksum = \"sha256:%s\"" % ("0a" * 32): True, "checksum = \"%s\"" % ("0A" * 32): True, "checksum = \"sha256:0a\"": False,
    "checksum = \"md5:%s\"" % ("0a" * 16): False, "checksum = \"blake2b:%s\"" % ("0a" * 64): True,
    "other = 1": False,
    # What every state has.
    "requires = [\"plain:a\"]": True, "requires = \"plain:a\"": False, "requires = [\"plain\"]": False, "requires = [1]": False,
    "before = [\"plain:a\"]": True, "check_on = [\"plain:a\"]": True, "check_on = [\"a\"]": False,
    "reload_on = [\"plain:a\"]": False, "restart_on = [\"plain:a\"]": False,
    "when = \"true\"": True, "when = true": False, "when = \"\"": False,
    "for_each = [1]": True, "for_each = 5": False, "for_each = \"[1]\"": True,
    "interval = \"5min\"": True, "interval = 5": True, "interval = 0": False, "interval = \"infinity\"": False,
    "interval = true": False, "interval = '{{vars.n}}'": True,
    "timeout = \"2min 30s\"": True, "timeout = \"infinity\"": True, "timeout = 0": False, "timeout = \"soon\"": False,
    "retries = 3": True, "retries = 101": False, "retries = -1": False, "retries = \"3\"": False, "retries = '{{vars.n}}'": True,
    "retry_delay = \"10s\"": True, "retry_delay = \"infinity\"": False, "retry_delay = [1]": False,
    "audit = true": True, "audit = \"true\"": False, "audit = '{{vars.b}}'": True,
    "sensitive = true": True, "sensitive = '{{vars.b}}'": False, "sensitive = 1": False,
    "check_as_root = false": True, "check_as_root = 0": False, "watch = false": True, "watch = \"no\"": False,
    "tags = [\"a\", \"b.c\"]": True, "tags = [\"a b\"]": False, "tags = \"a\"": False, "tags = [\"\"]": False,
    "before_check = \"true\"": True, "after_check = [\"/bin/true\", \"x\"]": True, "before_change = [\"true\"]": False,
    "after_change = []": False, "on_success = \"\"": False, "on_failure = [\"/bin/true\", 5]": False,
    "was = \"kinds:old\"": True, "was = [\"kinds:o\", \"kinds:p\"]": True, "was = \"old\"": False, "was = \"kinds:*\"": False,
    "was = 5": False,
    "on_removal = \"keep\"": True, "on_removal = \"absent\"": False, "on_removal = \"gone\"": False, "on_removal = true": False,
    "triggers = [\"trigger:t\"]": True, "triggers = [\"t\"]": False, "triggers = \"trigger:t\"": False,
}

VARS = """
[vars]
x = "true"
n = 5
l = ["a"]
t = { a = 1 }
p = { x = 1 }
m = "0644"
c = "red"
d = "/d"
b = true

[trigger.t]
every = "1h"

[plain.a]
one = "x"
"""

# Whole roles; the state of imports is in roles/lib.toml.
ROLES = {
    "description = 5": False, "description = \"x\"": True, "when = \"true\"": True, "when = true": False,
    "mode = \"audit\"": True, "mode = \"autit\"": False, "mode = 1": False,
    "tags = [\"a\"]": True, "tags = [5]": False, "vars = 5": False, "vars = { a = 1 }": True,
    "hosts = [\"*\"]": True, "hosts = []": False, "hosts = \"*\"": False, "hosts = [\"!x\"]": True, "hosts = [\"!\"]": False,
    "hosts = [\"\"]": False, "import = [\"lib\"]": True, "import = \"lib\"": False, "import = [\"lib.toml\"]": False,
    "import = [{ role = \"lib\", vars = { a = 1 } }]": True, "import = [{ vars = {} }]": False, "import = [\"a/b\"]": False,
    "import = [{ role = \"lib\", var = {} }]": False, "import = [{ role = \"lib\", vars = 1 }]": False,
    "job = { }": False, "nothing = 1": False, "nothing.x = { }": False, "plain = 1": False, "plain.x = 1": False,
    "plain.x = { one = \"1\" }": True, "plain.x = { }": False, "plain.x = { two = \"1\" }": False, "plain.\"\" = { one = \"1\" }": False,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { two = \"1\" }": True,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { three = \"1\" }": False,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { two = 1 }": False,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { for_each = [1] }": False,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { remove = true }": True,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { remove = [\"two\"] }": True,
    "import = [\"lib\"]\noverride.\"plain:lib\" = { remove = \"two\" }": False,
    "vars.r = \"lib\"\nimport = [\"lib\"]\noverride.\"plain:{{vars.r}}\" = { two = \"1\" }": True,
    "import = [\"lib\"]\noverride.\"lib\" = { two = \"1\" }": False, "import = [\"lib\"]\noverride = 5": False,
    "trigger.a = { path = \"/a\" }": True, "trigger.a = { path = \"a\" }": False, "trigger.a = { every = \"1h\" }": True,
    "trigger.a = { every = 0 }": False, "trigger.a = { every = \"soon\" }": False, "trigger.a = { }": False,
    "trigger.a = { path = \"/a\", every = 5 }": False, "trigger.a = { path = \"/a\", recursive = true, exclude = [\"x\"] }": True,
    "trigger.a = { path = \"/a\", exclude = [\"x\"] }": False, "trigger.a = { path = \"/a\", recursive = \"yes\" }": False,
    "trigger.\"a b\" = { path = \"/a\" }": False, "trigger.a = { unit = \"x\" }": False, "trigger = 1": False,
    "trigger.a = { path = \"/a\", paht = 1 }": False,
}

SETTINGS = {
    "interval = \"5min\"": True, "interval = 300": True, "interval = \"infinity\"": True, "interval = true": False,
    "interval = 0": False, "interval = \"soon\"": False, "jitter = \"infinity\"": False, "jitter = 0": True,
    "mode = \"audit\"": True, "mode = \"x\"": False, "max_changes = 5": True, "max_changes = \"infinity\"": True,
    "max_changes = \"5\"": False, "workers = 65": False, "workers = 4": True, "workers = \"infinity\"": False,
    "log_level = \"debug\"": True, "log_level = 7": False, "store.size = \"64M\"": True, "store.size = 64": False,
    "store.size = \"x\"": False, "store.age = \"infinity\"": True, "store = 5": False, "nobody_knows = 1": True,
}


def compare(name, module_dir, schema, table, make, file):
    """One file for each, which agentd and the schema take or refuse, as the table says."""
    with tempfile.TemporaryDirectory(prefix="agentd-schema-") as top:
        for directory in ("conf.d", "roles"):
            os.mkdir(f"{top}/{directory}")
        Path(top, "roles/lib.toml").write_text("[vars]\na = 0\n\n[plain.lib]\none = \"{{vars.a}}\"\ntwo = \"2\"\n")
        path = Path(top, file)
        for line, good in table.items():
            text = make(line)
            path.write_text(text)
            done = run(module_dir, "--validate", str(path))
            problem = schema.problem(text)
            wrong = []
            if (done.returncode == 0) != good:
                wrong.append(f"agentd says: {done.stderr or 'nothing'}")
            if (problem is None) != good:
                wrong.append(f"the schema says: {problem or 'nothing'}")
            result(f"{name}: {line!r} is {'fine' if good else 'refused'}", "\n".join(wrong))


module_dir = module_directory(modules)
role, settings = Schema(module_dir), Schema(module_dir, "agentd.toml")
kinds_dir = module_directory([f"{test_modules}/kinds.so"])
kinds = Schema(kinds_dir)

check_shape("roles", role)
check_shape("agentd.toml", settings)
check_shape("a module with all kinds", kinds)
check_pages(role, settings)
check_errors(role)
compare("state", kinds_dir, kinds, VALUES, lambda line: f"{VARS}\n[kinds.\"k\"]\n{line}\n", "conf.d/a.toml")
compare("role", kinds_dir, kinds, ROLES, lambda line: f"{line}\n", "conf.d/a.toml")
compare("settings", kinds_dir, settings, SETTINGS, lambda line: f"{line}\n", "agentd.toml")

result("modules that are programs are in it", None if "cron" in role.json["properties"] else "cron is not")
result("types that cannot be reloaded take no reload_on", None if
       "reload_on" in role.json["definitions"]["state.service"]["properties"] and
       "reload_on" not in role.json["definitions"]["state.file"]["properties"] else "they do")
secret = kinds.json["definitions"]["state.kinds"]["properties"]
result("secrets are write-only", None if secret["password"].get("writeOnly") and "writeOnly" not in secret["string"] else str(secret))
result("defaults are as they are written",
       None if [secret[name].get("default") for name in ("boolean", "integer", "mode", "span")] == [True, None, "0640", "1min"]
       else str(secret))
result("exclusive parameters say so", None if "(not with " in
       role.json["definitions"]["state.file"]["properties"]["content"]["description"] else "it is not said")
result("exclusive parameters exclude each other",
       None if role.problem('[file."/a"]\ncontent = "x"\nsource = "y"\n') else "they do not")

for arguments, expected in {
        ("--schema", "file"): "agentd: error: There is no schema of 'file'; there is that of roles, without a name, and that of "
                              "'agentd.toml'\n",
        ("--schema", "agentd.toml", "x"): "agentd: error: 'x' is one word too many; see agentd --help\n",
        ("--schema", "--doc"): "agentd: error: --schema goes with --module-dir only; see agentd --help\n",
        ("--schema", "--style", "toml"): "agentd: error: --style goes with --doc; see agentd --help\n",
        ("--schema", "--json"): "agentd: error: --schema goes with --module-dir only; see agentd --help\n",
}.items():
    done = run(kinds_dir, *arguments)
    result(f"{' '.join(arguments)} is refused",
           None if (done.returncode, done.stderr, done.stdout) == (2, expected, "") else f"{done.returncode}: {done.stderr}")

print(f"1..{len(results)}")
sys.exit(not all(results))

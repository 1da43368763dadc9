#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What agentd --explain says of states: where values come from, what comes before and after, why there is no such state. Prints TAP.

usage: test-explain.py AGENTD MODULE-DIR TEST-MODULE-DIR
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

agentd, *module_dirs = sys.argv[1:]
n = failed = 0
directory = tempfile.TemporaryDirectory()
conf = Path(directory.name) / "conf"
module_dir = Path(directory.name) / "modules"
module_dir.mkdir()
for origin_dir, name in zip((0, 0, 0, 1), ("exec", "file", "hosts-entry", "kinds")):
    (module_dir / f"{name}.so").symlink_to(Path(module_dirs[origin_dir]).resolve() / f"{name}.so")

FILES = {
    "site.toml": """\
import = [{ role = "web", vars = { port = 8081, tls = { on = true } } }, "watched"]
[vars]
admins = [{ name = "ada", password = "hunter2" }, { name = "bob" }]
greeting = "hi"
url = "http://{{vars.greeting}}"
[override."file:/srv/app.conf"]
mode = "0600"
owner = "{{vars.boss}}"
[override."file:/srv/gone"]
remove = true
[file."/srv/plain"]
content = "x"
timeout = "2min"
""",
    "off.toml": """\
when = "facts.os.id == 'plan9'"
import = ["below"]
[file."/srv/off"]
content = "x"
[file."/srv/off/{{vars.x}}"]
content = "x"
""",
    "deep.toml": '[vars]\nd1 = "{{vars.top}}"\nd2 = "{{vars.d1}}"\nd3 = "{{vars.d2}}"\nd4 = "{{vars.d3}}"\n'
                 'd5 = "{{vars.d4}}/deep"\n[file."{{vars.d5}}"]\n',
    "elsewhere.toml": 'hosts = ["nobody.example.org"]\n[file."/srv/elsewhere"]\ncontent = "x"\n',
    "roles/below.toml": '[file."/srv/below"]\ncontent = "x"\n',
    "roles/watched.toml": 'mode = "audit"\n[file."/srv/watched"]\ncontent = "x"\n',
    "roles/web.toml": """\
[vars]
port = 80
own = "mine"
[file."/srv"]
ensure = "directory"
before = ["hosts-entry:db"]
[file."/srv/gone"]
content = "x"
[file."/srv/app.conf"]
content = "{{vars.greeting}} {{vars.port}} {{vars.own}} {{vars.who}} {{vars.url}} {{facts.arch}}\\n"
mode = "0644"
when = "facts.os.id != 'plan9' and (exists('/etc') or vars.who in ['nobody']) and default(vars.nix, true)"
requires = ["file:{{vars.top}}/users/*"]
[file."/srv/users/{{item.name}}"]
for_each = "vars.admins"
content = "{{item.name}}"
[file."/srv/never"]
content = "x"
when = "vars.port == 80"
[file."/srv/keyed/{{item.key}}"]
for_each = { a = 1, b = 2 }
content = "{{item.value}}"
[file."/srv/page"]
template = "page.mustache"
[file."/srv/secret"]
content = "{{vars.own}}"
sensitive = true
when = "vars.own == 'mine' and exists('/etc')"
[hosts-entry.db]
address = "10.0.0.1"
[file."/srv/parts"]
mode = "0644"
[kinds.part]
edits = "/srv/parts"
after = "file:/srv/page"
mode = "0{{vars.digits}}"
span = 90
bytes = "64K"
real = 1.5
list = ["{{vars.own}}"]
table = { "a b" = "{{vars.own}}", inner = { x = [1, true] } }
point = { x = 3 }
literal = "{{vars.own}}"
[kinds.pin]
password = "{{vars.own}}"
integer = 4
[file."/srv/old"]
ensure = "absent"
[file."/srv/old/file"]
ensure = "absent"
[file."{{vars.top}}/{{item}}.named"]
for_each = ["{{vars.own}}"]
watch = "{{vars.tls.on}}"
interval = "{{vars.port}}"
when = '''
  exists('/etc')

  and vars.port > 1
'''
""",
    "roles/page.mustache": "{{#vars.tls.on}}{{vars.port}}{{/vars.tls.on}} {{> part}}",
    "roles/part.mustache": "{{vars.who}}",
    "vars.d/a.toml": 'who = "me"\nboss = "root"\ndigits = "600"\ntop = "/srv"\n',
}
for name, text in FILES.items():
    (conf / name).parent.mkdir(parents=True, exist_ok=True)
    (conf / name).write_text(text)


def run(state, *arguments, conf_dir=conf):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | {
        key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
    done = subprocess.run([agentd, "--module-dir", module_dir, "--conf-dir", conf_dir, "--explain", state, *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, env=environment)
    return done.returncode, *[text.decode().replace(f"{conf}/", "") for text in (done.stdout, done.stderr)]


def check(what, found, expected):
    global n, failed
    n += 1
    good = found == expected
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - {what}")
    if not good:
        print(f"# expected {expected!r}\n# found    {found!r}")


def explain(state, *arguments):
    code, out, errors = run(state, "--json", *arguments)
    if code != 0:
        sys.exit(f"Bail out! {state}: {errors}")
    return json.loads(out)["explanation"]


def place(text):
    return None if text is None else dict(zip(("file", "line", "column"),
                                              [part if i == 0 else int(part) for i, part in enumerate(text.split(":"))]))


def setting(explanation, name):
    (found,) = [entry for entry in explanation["settings"] if entry["name"] == name]
    return found


def origin(names):
    return [(entry["name"], entry["value"], entry["by"], entry["role"]) for entry in names]


def order(entries):
    return [(entry["state"], entry["why"], entry["setting"],
             entry["place"] and f"{entry['place']['file']}:{entry['place']['line']}") for entry in entries]


app = explain("file:/srv/app.conf", "--var", "greeting=hey")
check("it is said where a state is declared", (app["state"], app["type"], app["name"], app["place"]),
      ("file:/srv/app.conf", "file", "/srv/app.conf", place("roles/web.toml:9:7")))
check("it is said how its role came in", app["role"], {
    "name": "web", "path": "roles/web.toml", "applied": False,
    "imported": [[{"role": "site", "path": "site.toml", "applied": True, "place": place("site.toml:1:20")}]]})
content = setting(app, "content")
check("a value is that which the module sees", content["value"].startswith("hey 8081 mine me http://"), True)
check("each step of variables is told", origin(content["names"])[:5], [
    ("vars.greeting", "hey", "--var", None), ("vars.port", 8081, "import", "site"), ("vars.own", "mine", "role", "web"),
    ("vars.who", "me", "vars.d", None), ("vars.url", "http://hey", "importer", "site")])
check("each variable has its place", [entry["place"] for entry in content["names"]], [
    None, place("site.toml:1:43"), place("roles/web.toml:3:7"), place("vars.d/a.toml:1:7"), place("site.toml:5:7"), None])
check("a variable that is made of others says of which",
      {entry["name"]: origin(entry["names"]) for entry in content["names"] if entry["names"]},
      {"vars.url": [("vars.greeting", "hey", "--var", None)]})
check("a fact is one", [entry["by"] for entry in content["names"]][5:], ["fact"])
check("a setting that is overridden says by whom", {key: setting(app, "mode")[key] for key in ("value", "by", "role", "place")},
      {"value": "0600", "by": "override", "role": "site", "place": place("site.toml:7:1")})
check("an override reads the names of its own role", origin(setting(app, "owner")["names"]),
      [("vars.boss", "root", "vars.d", None)])
check("a default is one", {key: setting(app, "ensure")[key] for key in ("value", "by", "place")},
      {"value": "file", "by": "default", "place": None})
check("settings that every state has are told as they are written, with their names filled in",
      (setting(app, "requires")["value"], origin(setting(app, "requires")["names"])),
      (["file:/srv/users/*"], [("vars.top", "/srv", "vars.d", None)]))
check("a condition is what becomes of it", (app["when"]["value"], app["when"]["becomes"]),
      (None, "exists('/etc')"))
check("a condition says what it has read", origin(app["when"]["names"])[-2:],
      [("vars.who", "me", "vars.d", None), ("vars.nix", None, "nothing", None)])
check("what comes before says why", order(app["requires"]), [
    ("file:/srv/users/ada", "setting", "requires", "roles/web.toml:13"),
    ("file:/srv/users/bob", "setting", "requires", "roles/web.toml:13"), ("file:/srv", "parent", None, None)])
check("what comes after says why", order(explain("file:/srv/users/bob")["required_by"]),
      [("file:/srv/app.conf", "setting", "requires", "roles/web.toml:13")])
check("a before is told at both ends", (order(explain("hosts-entry:db")["requires"]),
                                        ("hosts-entry:db", "setting", "before", "roles/web.toml:6")
                                        in order(explain("file:/srv")["required_by"])),
      ([("file:/srv", "setting", "before", "roles/web.toml:6")], True))

part = explain("kinds:part")
check("a part of a file comes after the file, and types have a say", (order(part["requires"]),
                                                                     order(explain("file:/srv/parts")["required_by"])),
      ([("file:/srv/page", "module", None, None), ("file:/srv/parts", "edited", None, None), ("file:/srv", "parent", None, None)],
       [("kinds:part", "edited", None, None)]))
check("values are as they are read by people", {entry["name"]: entry["value"] for entry in part["settings"]}, {
    "edits": "/srv/parts", "after": "file:/srv/page", "mode": "0600", "span": "1min 30s", "bytes": 65536, "real": 1.5, "list": ["mine"],
    "table": {"a b": "mine", "inner": {"x": [1, True]}}, "point": {"x": 3, "y": -1}, "literal": "{{vars.own}}",
    "boolean": True, "timeout": "5s"})
check("what is literal reads nothing", [setting(part, key)["names"] == [] for key in ("literal", "list")], [True, False])
check("a secret makes all of it one", {entry["value"] for entry in explain("kinds:pin")["settings"] if entry["name"] != "timeout"},
      {"<sensitive>"})
check("a directory goes after what is in it", (sorted(order(explain("file:/srv/old")["requires"])),
                                              order(explain("file:/srv/old/file")["required_by"])),
      ([("file:/srv", "parent", None, None), ("file:/srv/old/file", "content", None, None)],
       [("file:/srv/old", "content", None, None)]))

bob = explain("file:/srv/users/bob")
check("a loop says which of its items it is", {key: bob["for_each"][key] for key in ("text", "number", "key", "value", "item_place")},
      {"text": "vars.admins", "number": 1, "key": None, "value": None, "item_place": place("site.toml:3:51")})
check("names of an item have their place", setting(bob, "content")["names"], [
    {"name": "item.name", "value": "bob", "kind": "a string", "by": "item", "role": None, "place": place("site.toml:3:60"),
     "names": []}])
check("an array says only how much is in it", bob["for_each"]["names"][0]["kind"], "an array of 2")
check("what other states read of an array is not told", "hunter2" in run("file:/srv/users/*", "--json")[1], False)
keyed = explain("file:/srv/keyed/b")
check("a loop over a table has keys", (keyed["for_each"]["key"], keyed["for_each"]["value"], setting(keyed, "content")["value"]),
      ("b", 2, "2"))

check("what a file of a template reads is told, too", origin(setting(explain("file:/srv/page"), "template")["names"]), [
    ("vars.tls.on", True, "import", "site"), ("vars.port", 8081, "import", "site"), ("vars.who", "me", "vars.d", None)])
never = explain("file:/srv/never")["when"]
check("a condition that is known is told", (never["value"], never["becomes"], origin(never["names"])),
      (False, None, [("vars.port", 8081, "import", "site")]))
secret = explain("file:/srv/secret")
check("nothing is told of a sensitive state", (secret["sensitive"], setting(secret, "content")["value"],
                                              secret["when"]["becomes"], "mine" in json.dumps(secret["settings"]),
                                              [entry["value"] for entry in secret["when"]["names"]]),
      (True, "<sensitive>", "<sensitive>", False, ["<sensitive>"]))
check("an audit says who wants it", explain("file:/srv/watched")["audit"],
      {"by": "role", "role": "watched", "place": place("roles/watched.toml:1:8")})
plain = explain("file:/srv/plain")
check("a role of conf.d is applied", (plain["role"]["applied"], plain["role"]["imported"], plain["audit"], plain["when"]),
      (True, [], None, None))
check("a timeout is told", {key: setting(plain, "timeout")[key] for key in ("value", "by")},
      {"value": "2min", "by": "state"})

named = explain("file:/srv/mine.named")
LINE = FILES["roles/web.toml"].splitlines().index('[file."{{vars.top}}/{{item}}.named"]') + 1
check("it is said what a name is made of", origin(named["names"]),
      [("vars.top", "/srv", "vars.d", None), ("item", "mine", "item", None)])
check("a name that is written out is made of nothing", plain["names"], [])
deep = [explain("file:/srv/deep")["names"]]
while deep[-1]:
    deep.append(deep[-1][0]["names"])
check("variables of variables are told to a depth", [origin(names)[0][0] for names in deep[:-1]],
      ["vars.d5", "vars.d4", "vars.d3", "vars.d2", "vars.d1"])
check("items that are written out may be made of others", origin(named["for_each"]["names"]), [("vars.own", "mine", "role", "web")])
check("what stands for a value is that value", (setting(named, "watch")["value"], setting(named, "interval")["value"]), (True, 8081))
check("people are told so", run("file:/srv/mine.named")[1].splitlines()[1:7], [
    f"    Declared: roles/web.toml:{LINE}:7",
    '              vars.top = "/srv"               variable of this host, vars.d/a.toml:4:7',
    "        Role: web (roles/web.toml)",
    " Imported by: site at site.toml:1:20",
    f"        Loop: roles/web.toml:{LINE + 1}:12",
    f"              item 0 = \"mine\", roles/web.toml:{LINE + 1}:13"])
check("the condition is on one line", "        When: exists('/etc') and vars.port > 1 (roles/web.toml:" in run("file:/srv/mine.named")[1], True)

code, out, errors = run("file:/srv/never", "--var", "port=1")
check("people read it from top to bottom", (code, errors, out), (0, "", """\
● file:/srv/never
    Declared: roles/web.toml:17:7
        Role: web (roles/web.toml)
 Imported by: site at site.toml:1:20
        When: vars.port == 80 (roles/web.toml:19:8)
              is false: the state is skipped
              vars.port = 1                   --var

Settings
  content = "x"                               roles/web.toml:18:1
  ensure = "file"                             default
  timeout = "30s"                             default

Waits for
  file:/srv                                   it is the directory above
"""))
code, out, errors = run("file:/srv/keyed/*")
check("a glob is all that match", (code, out.count("●"), "item 'b' = 2" in out, "\n\n●" in out), (0, 2, True, True))
check("one object a line", [json.loads(line)["state"] for line in run("file:/srv/keyed/*", "--json")[1].splitlines()],
      ["file:/srv/keyed/a", "file:/srv/keyed/b"])
check("an id need not be written as it is kept", run("file:/srv//never/")[0], 0)

MISSING = {
    "file:/srv/gone": "there is no state 'file:/srv/gone': role 'site' takes it out at site.toml:10:10",
    "file:/srv/off": "there is no state 'file:/srv/off': it is declared at off.toml:3:7, but role 'off' is off: its 'when' at "
                     "off.toml:1:8",
    "file:/srv/off/2": "there is no state 'file:/srv/off/2': it may be declared at off.toml:5:7, but role 'off' is off: its "
                       "'when' at off.toml:1:8",
    "file:/srv/below": "there is no state 'file:/srv/below': it is declared at roles/below.toml:1:7, but role 'off' is off: "
                       "its 'when' at off.toml:1:8",
    "file:/srv/elsewhere": "there is no state 'file:/srv/elsewhere': it is declared at elsewhere.toml:2:7, but role "
                           "'elsewhere' is off: its 'hosts' at elsewhere.toml:1:9",
    "file:/srv/users/bert": "there is no state 'file:/srv/users/bert': the loop at roles/web.toml:14:7 has no item that makes "
                            "it; did you mean 'file:/srv/users/bob'?",
    "file:/srv/plian": "there is no state 'file:/srv/plian'; did you mean 'file:/srv/plain'?",
    "nothing": "there is no state 'nothing'",
    "file:/xyz/*": "no state matches 'file:/xyz/*'",
}
for state, message in MISSING.items():
    check(f"it is said why there is no {state}", run(state), (2, "", f"agentd: error: {message}\n"))

bad = Path(directory.name) / "bad"
bad.mkdir()
(bad / "a.toml").write_text('[file."/x"]\ncontnet = ""\n')
code, out, errors = run("file:/x", conf_dir=bad)
check("roles that do not load have errors", (code, out, errors.replace(f"{bad}/", "")),
      (2, "", "a.toml:2:1: error: unknown key 'contnet' in file state; did you mean 'content'?\n"))

USAGE = {
    ("--once",): "--explain goes with --json, --root, --conf-dir, --module-dir and --var only",
    ("x",): "'x' is one word too many",
}
for arguments, message in USAGE.items():
    check(f"usage {arguments}", run("file:/x", *arguments), (2, "", f"agentd: error: {message}; see agentd --help\n"))

# Of what has no end only a beginning is told.
(bad / "a.toml").write_text(
    '[vars]\nlong = "' + "x" * 20000 + '"\n[exec.a]\ncommand = ["/bin/true"'
    + ', "{{vars.long}}"' * 300 + ']\ncreates = "/x"\n' + "".join(f'[hosts-entry.h{i}]\naddress = "::1"\n' for i in range(300))
    + '[hosts-entry.last]\naddress = "::1"\nrequires = ["hosts-entry:h*"]\n')
code, out, errors = run("exec:a", "--json", conf_dir=bad)
check("what is told is bounded", (code, errors, len(out) < 600000, len(out) > 100000), (0, "", True, True))
code, out, errors = run("hosts-entry:last", "--json", conf_dir=bad)
last = json.loads(out)["explanation"]
check("of very many states before it some are told", (len(last["requires"]), last["n_requires"]), (100, 300))
check("and people are told that there are more", "  … and 200 more\n" in run("hosts-entry:last", conf_dir=bad)[1], True)

print(f"1..{n}")
sys.exit(failed > 0)

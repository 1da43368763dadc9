#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What agentd --eval says of expressions with errors, and how it prints values. Prints TAP.

usage: test-eval.py AGENTD MODULE-DIR
"""

import json
import os
import subprocess
import sys
import tempfile

agentd, all_modules = sys.argv[1:]
n = failed = 0

# Those that are asked for; what is wrong with the others is no concern here, and where a helper is misspelt all are opened.
modules = tempfile.TemporaryDirectory(prefix="agentd-eval-")
module_dir = modules.name
os.chmod(module_dir, 0o755)
for module in ("helpers.so", "kinds.so"):
    os.symlink(f"{all_modules}/{module}", f"{module_dir}/{module}")


def evaluate(*arguments, **environment):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment} | {
        key: value for key, value in os.environ.items() if key.endswith("SAN_OPTIONS")}
    done = subprocess.run([agentd, "--module-dir", module_dir, "--eval", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, env=environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check(arguments, expected, **environment):
    global n, failed
    n += 1
    found = evaluate(*arguments, **environment)
    # A user without rights, and a container, are told about; that is not what is asked here.
    errors = "".join(line for line in found[2].splitlines(True) if not line.startswith("agentd: warning: "))
    good = (found[0], found[1], errors) == expected
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - {' '.join(arguments)[:60]!r}")
    if not good:
        print(f"# expected {expected!r}\n# found    {found!r}")


def value(arguments, text, **environment):
    check(arguments, (0, text, ""), **environment)


def error(expression, message, excerpt, *arguments):
    """The excerpt: lines as they are shown, without the two blanks before each; None: any."""
    if excerpt is None:
        found = evaluate(expression, *arguments)[2]
        shown = found[found.find("\n") + 1:] if found.count("\n") == 3 else "an excerpt of two lines"
    else:
        shown = "".join(f"  {line}\n" for line in excerpt.split("\n"))
    check([expression, *arguments], (2, "", f"error: {message}\n{shown}"))


value(["'a b'"], "a b\n")
value(["'a b'", "--json"], '"a b"\n')
value(["'wäb'"], "wäb\n")
value(["''"], "\n")
value(["[1, 'a', null, true, 1.5]"], '[1,"a",null,true,1.5]\n')
value(["default(vars.port, 80)"], "80\n")
value(["-1"], "-1\n")
value(["default(env('NO_SUCH'), 'none')"], "none\n")
value(["env('SUCH')"], "a\nb\n", SUCH="a\nb")
value(["[env('SUCH')]"], '["a\\nb"]\n', SUCH="a\nb")
value(["exists('/')"], "true\n")
value(["true", "--check"], "")
check(["false", "--check"], (1, "", ""))
value(["exists('/')", "--check"], "")
check(["not exists('/')", "--check"], (1, "", ""))

error("1", "a condition must be a boolean; this is an integer", "1\n^", "--check")
error("env('PATH')", "a condition must be a boolean; this is a string", "env('PATH')\n^", "--check")
error("", "the expression is empty", "\n^")
error("1 = 2", "unexpected '='; write '==' to compare", "1 = 2\n  ^")
error("1 +", "unexpected '+'; there is no arithmetic, and join(['a', name], '') makes one string of several", "1 +\n  ^")
error("(1", "expected ')', found the end", "(1\n  ^")
error("facts.os.idd", "undefined name 'facts.os.idd'; did you mean 'facts.os.id'?", "facts.os.idd\n         ^")
error("vars.port", "undefined name 'vars.port' (without --role NAME there are the variables of the host alone)", "vars.port\n     ^")
error("item", "undefined name 'item'", "item\n^")
error("facts.uptime > 1", "'facts.uptime' changes all the time, so roles cannot read it; what depends on it belongs into a "
      "trigger or a job", "facts.uptime > 1\n      ^")
error("starts_with('a', 'b')", "there is no helper 'starts_with'; did you mean 'startswith'?", "starts_with('a', 'b')\n^")
error("'ä' == x", "undefined name 'x'", "'ä' == x\n       ^")
error("[1,\n\tx]", "undefined name 'x'", " x]\n ^")
error("exists('/') and exists('x')", "exists(): wants an absolute path", "exists('/') and exists('x')\n" + " " * 23 + "^")
error("'" + "x" * 200 + "' == x", "undefined name 'x'", "x" * 55 + "' == x\n" + " " * 60 + "^")
error("not " * 65 + "true", "the expression nests deeper than 64 levels", None)
error("len(split('" + "a," * 5000 + "', ',')) + 0", "unexpected '+'; there is no arithmetic, and join(['a', name], '') makes one string of several", None)
error("len(unique(split('" + "".join(f"{i}," for i in range(2000)) + "', ',')))", "the expression takes more than 10000 steps", None)

with tempfile.TemporaryDirectory(prefix="agentd-eval-") as root:
    os.chmod(root, 0o755)
    os.mkdir(f"{root}/etc")
    os.symlink("/etc", f"{root}/etc/up")
    os.symlink("loop", f"{root}/loop")
    value(["exists('/etc/up/up/up')", "--root", root], "true\n")
    value(["exists('/etc/hostname')", "--root", root], "false\n")
    error("exists('/loop')", "exists(): Failed to look at '/loop': Too many levels of symbolic links",
          "exists('/loop')\n       ^", "--root", root)

# Variables of a role, of the host and of the command line, and an item.
with tempfile.TemporaryDirectory(prefix="agentd-eval-") as directory:
    os.chmod(directory, 0o755)
    conf = f"{directory}/conf"
    for path, text in {
            "site.toml": 'import = [{ role = "web", vars = { port = 8081 } }]\n[vars]\nport = 80\nname = "site"\n',
            "off.toml": 'when = "vars.name == 1"\nimport = ["below"]\n[vars]\nname = "off"\n',
            "roles/web.toml": '[vars]\nport = 1\nown = "mine"\nmade = "{{vars.name}}-{{vars.who}}"\n',
            "roles/below.toml": '[vars]\nx = 1\n',
            "vars.d/host.toml": 'who = "host"\n'}.items():
        os.makedirs(os.path.dirname(f"{conf}/{path}"), exist_ok=True)
        with open(f"{conf}/{path}", "w") as file:
            file.write(text)
    role = ["--conf-dir", conf, "--role"]
    value(["[vars.port, vars.own, vars.made]", *role, "web"], '[8081,"mine","site-host"]\n')
    value(["[vars.port, vars.made]", *role, "web", "--var", "port=9", "--var=who=me"], '[9,"site-me"]\n')
    value(["vars.port", *role, "site"], "80\n")
    value(["vars.name", *role, "off"], "off\n")
    value(["vars.port > 1024", "--check", *role, "web"], "")
    check(["vars.port > 1024", "--check", *role, "site"], (1, "", ""))
    value(["keys(vars)", "--conf-dir", conf], '["who"]\n')
    value(["exists('/') and vars.who == 'host'", "--conf-dir", conf], "true\n")
    value(["vars.x", "--var", "x=[1, 2]"], "[1,2]\n")
    value(["item.name", "--item", '{ name = "ada" }'], "ada\n")
    value(["item.name", "--item", '{"name": "ada", "x": null}'], "ada\n")
    value(["item", "--item", "true"], "true\n")
    value(["vars.own in item", *role, "web", "--item", '["mine"]'], "true\n")
    error("vars.port", "undefined name 'vars.port' (without --role NAME there are the variables of the host alone)", "vars.port\n     ^", "--conf-dir", conf)
    error("vars.prot", "undefined name 'vars.prot'; did you mean 'vars.port'?", "vars.prot\n     ^", *role, "web")
    check(["item", "--item", "ada"],
          (2, "", "agentd: error: --item 'ada' is neither JSON nor a value of TOML; a string wants quotes\n"))
    check(["item", "--item", "1\nx = 2"],
          (2, "", "agentd: error: --item '1?x = 2' is neither JSON nor a value of TOML; a string wants quotes\n"))
    check(["1", *role, "wbe"],
          (2, "", "agentd: error: There is no role 'wbe' that is applied or imported; did you mean 'web'?\n"))
    check(["1", "--item", "1", "--validate"], (2, "", "agentd: error: --eval goes with --role, --item, --check, --json, --root, "
                                               "--conf-dir, --module-dir and --var only; see agentd --help\n"))
    found = evaluate("defined(vars.x)", *role, "below")
    n += 1
    good = found == (0, "false\n", "agentd: warning: Role 'below' is off, as are all that import it: it has no variables\n")
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - a role that is off has no variables, and that is said")
    with open(f"{conf}/vars.d/bad.toml", "w") as file:
        file.write("a = \n")
    found = evaluate("1", *role, "web")
    n += 1
    good = found[:2] == (2, "") and found[2].startswith(f"{conf}/vars.d/bad.toml:1:5: error: ")
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - roles with errors have no variables")

# Helpers of a module: the pure ones here, and those that look at the host in a child, which can write nothing.
value(["helpers_double(21)"], "42\n")
value(["helpers_rows('a', [1])"], '[{"name":"a"},{"name":[1]}]\n')
value(["helpers_size('/etc/no-such-file')"], "null\n")
error("helpers_double('x')", "helpers_double(): wants an integer here, not a string", "helpers_double('x')\n               ^")
error("helpers_size(1)", "helpers_size(): wants a string here, not an integer", "helpers_size(1)\n             ^")
error("helpers_nothing()", "there is no helper 'helpers_nothing'", "helpers_nothing()\n^")
error("helper_double(1)", "there is no helper 'helper_double'; did you mean 'helpers_double'?", "helper_double(1)\n^")
error("helpers_doubel(1)", "there is no helper 'helpers_doubel'; did you mean 'helpers_double'?", "helpers_doubel(1)\n^")
if os.geteuid() == 0:
    found = evaluate(f"helpers_write('{tempfile.gettempdir()}/agentd-eval-written')")
    n += 1
    good = found[:2] == (0, "false\n") or "no sandbox" in found[2]
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - a helper of a module cannot write")


def once(role):
    """{state: result} of a plan in a tree with /etc/four, which has four bytes."""
    with tempfile.TemporaryDirectory(prefix="agentd-eval-") as root:
        os.chmod(root, 0o755)
        os.makedirs(f"{root}/etc/agentd/conf.d")
        for path, text in ("etc/four", "four"), ("etc/agentd/conf.d/a.toml", role):
            with open(f"{root}/{path}", "w") as file:
                file.write(text)
        done = subprocess.run([agentd, "--once", "--plan", "--json", "--module-dir", module_dir, "--root", root],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        return {result["state"]: (result["result"], result["error"]) for result in results if "state" in result}, done.stderr


# In a check worker.
name = "check workers find helpers of modules, as of a state's 'when'"
found, errors = once("""
[kinds.four]
when = "helpers_size('/etc/four') == helpers_double(2)"

[kinds.none]
when = "helpers_size('/etc/none') != null"

[kinds.failed]
when = "helpers_size('relative') == 1"
""")
n += 1
if os.geteuid() != 0 or "no sandbox" in errors:
    print(f"ok {n} - {name} # SKIP it takes root, and what a sandbox takes")
else:
    expected = {"kinds:four": ("ok", None), "kinds:none": ("skipped", None),
                "kinds:failed": ("failed", "its 'when' cannot be told: helpers_size(): module 'helpers' says: Invalid argument")}
    failed += found != expected
    print(f"{'ok' if found == expected else 'not ok'} {n} - {name}\n# {found!r}\n# {errors!r}")

print(f"1..{n}")
sys.exit(failed > 0)

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What modules/service makes of unit files, beside what systemctl and systemd-escape make of them.

usage: test-unit-files.py UNIT-FILES [TREES [FIRST]]

Trees of unit files are made up at random, twice each: one for tests/unit-files, one for `systemctl --root`. The states of all units, the
links after each verb, and whether it failed have to be equal. FIRST is the number of the first tree, to look at one again:
test-unit-files.py build/tests/unit-files 1 4711.

Differences that are on purpose are in enablement.h and unit-change.h; trees have none of these in them but the two that
is_on_purpose() knows.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

TOOL = sys.argv[1]
TREES = int(sys.argv[2]) if len(sys.argv) > 2 else 200
FIRST = int(sys.argv[3]) if len(sys.argv) > 3 else 1

SYSTEM = ["/etc/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early", "/etc/systemd/system",
          "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system",
          "/usr/lib/systemd/system", "/run/systemd/generator.late"]
OFTEN = ["/usr/lib/systemd/system"] * 8 + ["/etc/systemd/system"] * 4 + ["/run/systemd/system"] * 2
NAMES = ["a.service", "a-b.service", "c.service", "d.socket", "e.timer", "f.target", "g.mount", "t@.service", "t@x.service",
         "t@y.service", "u@.service", "u@.socket", "multi-user.target"]
OTHERS = ["h.service", "t@z.service", "u@x.service", "v@x.service", "nobody.service", "g@x.mount", "a.path"]
WANTING = ["multi-user.target", "f.target", "a.service", "w@.target", "w@x.target", "%N.target", "%p-wants.target"]


class Tree:
    """What is in a tree, before there is one: text, None for a directory, or a link as a tuple."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.files = {}
        for directory in SYSTEM[3:4] + SYSTEM[8:9]:
            self.files[directory] = None
        for name in NAMES:
            for _ in range(self.random.choice([0, 1, 1, 1, 1, 2])):
                self.put(self.directory() + "/" + name, self.unit(name))
        for _ in range(self.random.randrange(5)):
            self.put(self.directory() + "/" + self.random.choice(NAMES + OTHERS), self.link())
        for _ in range(self.random.randrange(5)):
            suffix = self.random.choice([".wants", ".wants", ".requires"])
            self.put(f"{self.directory()}/{self.random.choice(WANTING[:5])}{suffix}/{self.random.choice(NAMES + OTHERS)}",
                     self.link())
        for _ in range(self.random.randrange(4)):
            name = self.random.choice(NAMES + OTHERS[:3])
            self.put(f"{self.directory()}/{name}.d/{self.random.choice('12')}.conf",
                     self.random.choice([self.install(name), self.install(name), ("/dev/null",), ""]))
        for name in ["linked.service", "other.service", "t@.service"]:
            self.put("/opt/" + name, self.unit(name, plain=True))
        for _ in range(self.random.randrange(3)):
            where = self.random.choice(["/etc", "/run", "/usr/lib", "/usr/local/lib"])
            self.put(f"{where}/systemd/system-preset/{self.random.choice('123')}.preset", self.presets())
        self.put("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        # A link to it works with systemctl only where it is.
        self.put("/dev/null", "")
        self.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")

        # The same for what all users have. Generators and the like are then somewhere.
        self.scope = ["--global"] if seed % 8 == 0 else []
        if self.scope:
            self.files = {self.of_users(path): tuple(map(self.of_users, content)) if isinstance(content, tuple) else content
                          for path, content in self.files.items()}
        # With --root systemctl does not see the mask at the end of two links, which it does on a host that runs. A link that leads
        # round in circles keeps it from removing any other.
        for path, content in list(self.files.items()):
            if isinstance(content, tuple) and content[0] != "/dev/null" and self.final(path) in ("", ("/dev/null",)):
                del self.files[path]

    @staticmethod
    def of_users(path):
        return path.replace("/systemd/system/", "/systemd/user/").replace("/systemd/system-preset", "/systemd/user-preset").replace(
            "../system/", "../user/")

    def final(self, path):
        """What is at the end of links; None: nothing. Of those that lead round in circles the same as of a mask."""
        for _ in range(9):
            content = self.files.get(path)
            if not isinstance(content, tuple) or content[0] == "/dev/null":
                return content
            path = os.path.normpath(os.path.join(os.path.dirname(path), content[0])).replace("//", "/")
        return ""

    def directory(self):
        return self.random.choice(OFTEN if self.random.random() < 0.8 else SYSTEM)

    def put(self, path, content):
        """Nothing is put where something is, or below what is no directory."""
        parts = path.split("/")
        above = ["/".join(parts[:i]) for i in range(2, len(parts))]
        if path not in self.files and not any(self.files.get(a) is not None for a in above) and \
                not any(f.startswith(path + "/") for f in self.files):
            self.files[path] = content

    def unit(self, name, plain=False):
        kind = self.random.random()
        if plain or kind < 0.75:
            text = "[Unit]\nDescription=x\n"
            if self.random.random() < 0.1:
                text += self.random.choice(["no assignment\n", "[X-Other]\nWantedBy=a.target\n", "# comment\\\nK=V\n", "K=a\\\n# c\nb\n",
                                            "\ufeff[Unit]\n", "[Install\n", "[install]\nWantedBy=f.target\n", "=x\n", "K=\\\n"])
            return text + (self.install(name) if self.random.random() < 0.8 else "")
        if kind < 0.8:
            return ""
        if kind < 0.87:
            return ("/dev/null",)
        if kind < 0.97:
            return self.link()
        return None

    def link(self):
        target = self.random.choice(NAMES + OTHERS[:4])
        return (self.random.choice([
            f"{self.random.choice(OFTEN)}/{target}", f"{self.random.choice(SYSTEM)}/{target}", f"/usr/lib/systemd/system/{target}",
            target, target, f"../system/{target}", "/opt/linked.service", "/opt/t@.service", f"/opt/{target}", "../../../opt/other.service",
            "/usr/lib/systemd/system/./" + target, "/usr/../usr/lib/systemd/system/" + target, "/../../usr/lib/systemd/system/" + target,
            "/dev/null"]),)

    def install(self, name):
        text = "[Install]\n"
        for _ in range(self.random.randrange(1, 4)):
            key = self.random.choice(["WantedBy", "WantedBy", "WantedBy", "RequiredBy", "Alias", "Also", "DefaultInstance"])
            suffix = name[name.rindex("."):]
            values = {
                "WantedBy": WANTING,
                "RequiredBy": WANTING,
                "Alias": ["alias" + suffix, "alias@" + suffix, "alias@x" + suffix, "%p-alias" + suffix, "%n", name, "h.service",
                          "%N-%i" + suffix, "f.target.wants/" + name, "w@.target.wants/t@.service", "%o%w" + suffix, "%m" + suffix,
                          "%%x" + suffix],
                "Also": NAMES + OTHERS + ["%p.socket", "\\a.service"],
                "DefaultInstance": ["x", "y", "%p", "a b" if self.random.random() < 0.1 else "x", ""],
            }[key]
            if self.random.random() < 0.1:
                value = ""
            elif key == "DefaultInstance":
                value = self.random.choice(values)
            else:
                value = self.random.choice([" ", " ", " \\\n  ", "\t"]).join(
                    self.random.choice(values) for _ in range(self.random.choice([1, 1, 1, 2])))
                if key != "Also" and self.random.random() < 0.1:
                    value = self.random.choice(['"%s"', "'%s'", '"%s', "%s no%%", "%s %%Z", "%s \\x"]) % value
            text += self.random.choice(["", " "]) + key + self.random.choice(["=", " = "]) + value + "\n"
        return text

    def presets(self):
        text = "# policy\n\n"
        for _ in range(self.random.randrange(4)):
            text += self.random.choice(["enable", "enable", "disable", " disable", "nothing", "enable\t"]) + " " + self.random.choice(
                NAMES + ["*", "a*", "t@*", "t@.service x y", "u@.service z", "a.service x", "[ac]*.service", "*.socket"]) + "\n"
        return text

    def make(self, root):
        for path, content in self.files.items():
            path = root + path
            if content is None:
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(content, tuple):
                os.symlink(content[0], path)
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(content)


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SYSTEMD_LOG_LEVEL": "info"})


def systemctl(root, *arguments):
    return run("systemctl", "--root=" + root, "--no-pager", "--no-legend", "--quiet", *arguments)


def listing(root):
    """All that enabling and the like may change."""
    found = {}
    for top, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(top, name)
            found[path[len(root):]] = os.readlink(path) if os.path.islink(path) else "directory" if os.path.isdir(path) else "file"
    return found


def states(root, scope, others=True):
    """As systemctl tells them: those that are there by list, and, if others, the rest one by one."""
    told = {}
    for line in systemctl(root, *scope, "list-unit-files").stdout.splitlines():
        words = line.split()
        told[words[0]] = words[1]
    for name in {*OTHERS, *NAMES, *told} if others else {name for name in told if told[name] == "bad"}:
        # The list says of none that it is missing.
        if told.get(name, "bad") == "bad":
            answer = run("systemctl", "--root=" + root, *scope, "is-enabled", name)
            # It also looks for scripts of System V, and then falls over what is bad in any directory.
            if "Failed to look up unit file state" in answer.stderr:
                told.pop(name, None)
                continue
            told[name] = answer.stdout.strip() or ("not-found" if "No such file" in answer.stderr else "bad")
    return told


def different_states(when, told, ours):
    return when + ": " + ", ".join(f"{n} is {told[n]} and not {ours.get(n)}" for n in sorted(told) if ours.get(n) != told[n])


def is_on_purpose(verb, names, theirs):
    # Disabling what is not there, or cannot be read, is done by its name.
    if verb == "disable" and theirs.returncode != 0:
        return True
    # One that another one names in Also= they do not look at by itself.
    if verb == "preset" and len(names) > 1 and theirs.returncode == 0:
        return True
    # Of a linked unit they say that something of [Install] cannot be, and then that all went well.
    return verb == "enable" and theirs.returncode == 0 and "Failed to enable " in theirs.stderr


def compare(number, directory):
    """Returns what is wrong, or None, and how much was compared."""
    tree = Tree(number)
    roots = [f"{directory}/{number}-{who}" for who in ("theirs", "ours")]
    n_verbs, failed = 0, False
    for root in roots:
        os.mkdir(root)
        tree.make(root)
    told = states(roots[0], tree.scope)
    names = sorted(told)
    answer = run(TOOL, *tree.scope, roots[1], "is-enabled", *names)
    ours = dict(zip(names, answer.stdout.splitlines()))
    if ours != told:
        return different_states("states", told, ours), 0, 0
    for _ in range(4):
        verb = tree.random.choice(["enable", "enable", "enable", "disable", "disable", "mask", "unmask", "preset", "preset", "link"])
        options = tree.scope + [o for o in ("--runtime", "--force") if tree.random.random() < 0.15]
        names = tree.random.sample(NAMES + OTHERS[:3], tree.random.choice([1, 1, 2]))
        if verb == "link":
            names = ["/opt/" + tree.random.choice(["linked.service", "other.service", "nobody.service"])]
        elif verb == "enable" and tree.random.random() < 0.1:
            names = ["/opt/linked.service"]
        theirs = systemctl(roots[0], *options, verb, *names)
        answer = run(TOOL, *options, roots[1], verb, *names)
        what = " ".join(options + [verb] + names)
        if theirs.returncode != answer.returncode:
            if is_on_purpose(verb, names, theirs):
                failed = True
                break
            return f"{what}: exits with {theirs.returncode} and not {answer.returncode}: {theirs.stderr}{answer.stderr}", 0, 0
        if theirs.returncode != 0:
            failed = True
            break
        n_verbs += 1
        links = [listing(root) for root in roots]
        if links[0] != links[1]:
            different = sorted(p for p in links[0].keys() | links[1].keys() if links[0].get(p) != links[1].get(p))
            return f"{what}: " + ", ".join(
                f"{p} is {links[0].get(p)} and not {links[1].get(p)}" for p in different) + theirs.stderr + answer.stderr, 0, 0
        # Once more does nothing; but if a file takes the place of a link that went, the verb is about that.
        again = run(TOOL, *options, roots[1], verb, *names)
        if again.returncode == 0 and listing(roots[1]) != links[1]:
            systemctl(roots[0], *options, verb, *names)
            if listing(roots[0]) != listing(roots[1]):
                return f"{what}: does something when it is done again", 0, 0
    # What has failed in the middle has left something behind.
    if failed:
        return None, n_verbs, len(told)
    told = states(roots[0], tree.scope, others=False)
    names = sorted(told)
    ours = dict(zip(names, run(TOOL, *tree.scope, roots[1], "is-enabled", *names).stdout.splitlines()))
    if ours != told:
        return different_states("states in the end", told, ours), 0, 0
    return None, n_verbs, len(told)


def compare_escapes():
    r = random.Random(1)
    texts = ["/", "-", "--", "a", ".", "..", "/a/b", "/a//b/", "/.a", "/a/./b", "/a/../b", "a-b", "-a", "a--b", "a\\x2d", "a\\x",
             "\\x2f", "ä", "x@y"]
    texts += ["".join(r.choice("/-.\\x2aé @") for _ in range(r.randrange(1, 9))) for _ in range(150)]
    for verb, options in (("escape", []), ("escape-path", ["--path"]), ("unescape", ["--unescape"]),
                          ("unescape-path", ["--unescape", "--path"])):
        for text in texts:
            theirs = run("systemd-escape", *options, "--", text)
            ours = run(TOOL, verb, text)
            # What is not absolute they only warn of.
            if verb == "escape-path" and not text.startswith("/"):
                continue
            told = theirs.stdout if theirs.returncode == 0 else "-\n"
            if "\\x00" not in text and ours.stdout != told:
                return f"{verb} '{text}': {told!r} and not {ours.stdout!r}"
    return None


def main():
    version = run("systemctl", "--version").stdout if shutil.which("systemctl") else ""
    found = re.match(r"systemd (\d+)", version)
    if not found:
        print("1..0 # SKIP there is no systemctl to compare with")
        return 0
    if found.group(1) != "252":
        print(f"1..0 # SKIP systemctl is of {found.group(1)}, and what is compared with is 252")
        return 0
    print("1..2")
    wrong = compare_escapes()
    print(f"{'not ' if wrong else ''}ok 1 - escapes as systemd-escape does")
    if wrong:
        print("# " + wrong)
    failed, n_verbs, n_states = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="unit-files-") as directory:
        for number in range(FIRST, FIRST + TREES):
            bad, verbs, told = compare(number, directory)
            n_verbs += verbs
            n_states += told
            if bad:
                failed.append(number)
                print(f"# tree {number}: {bad}".replace("\n", "\n# "))
            elif TREES > 1:
                for who in ("theirs", "ours"):
                    shutil.rmtree(f"{directory}/{number}-{who}")
    print(f"# {TREES} trees, {n_verbs} verbs, {n_states} states")
    print(f"{'not ' if failed else ''}ok 2 - states and links as systemctl has them")
    return 1 if failed or wrong else 0


sys.exit(main())

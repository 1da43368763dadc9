# SPDX-License-Identifier: LGPL-2.1-or-later
"""The roles in the pages of state types, applied: once everything is made so, and then nothing is left to do.

What they take for granted is made first; what no box has (a server, SELinux, somebody's secret key) is exchanged.
"""

import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(\S*)[ ]*(\S*)[ ]*\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)


def program(path, text):
    """A shell command that puts a program there."""
    return f"mkdir -p {Path(path).parent} && cat >{path} <<'END' && chmod 0755 {path}\n#!/bin/sh\n{text}\nEND\n"


def archive():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in ("app-1.4/bin/app", b"#!/bin/sh\n"), ("app-1.4/doc/page", b"text\n"):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text))
    return data.getvalue()


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in "bin/tool", "share/tool/words", "share/other":
            file.writestr(name, f"{name}\n")
    return data.getvalue()


TAR, ZIP, TOOL = archive(), zipped(), b"hello\n"


def unit(name, start="/bin/sleep infinity"):
    """A shell command that puts a unit there, as a package does."""
    return (f"cat >/usr/lib/systemd/system/{name} <<'END' && systemctl daemon-reload\n[Service]\nExecStart={start}\n"
            "ExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\nEND\n")


# What is there beforehand: a command for the shell, or contents of files.
BEFORE = {
    ("file", "state.toml"): "mkdir -p /var/lib/app/cache /var/cache/app",
    ("file", "sudo.toml"): program("/usr/sbin/visudo", 'test "$1" = -cf && grep -q ALL "$2"') + "mkdir -p /etc/sudoers.d",
    ("file", "attributes.toml"): "touch /var/log/app.log",
    ("file", "site.toml"): "mkdir -p /usr/share/site/cache /srv/www/old /srv/upload/x /etc/app.d; echo page >/usr/share/site/index;"
                           " touch /srv/www/kept.bak /srv/www/old/page /etc/app.d/99-stray.conf; touch /srv/upload/x/y",
    ("file", "tool.toml"): {"/srv/mirror/tool-1.2": TOOL},
    ("exec", "exec.toml"): "useradd -r -m -d /var/lib/postgresql postgres; mkdir -p /etc/ssl/private /var/lib/app /usr/share/app;"
                           " touch /usr/share/app/schema.sql /var/lib/app/upgrade-pending; chmod 0755 /usr/share/app\n"
                           + program("/usr/bin/openssl", 'echo key >"$3"') + program("/usr/bin/createdb", ":")
                           + program("/usr/bin/newaliases", ":")
                           + program("/usr/bin/psql", 'case $1 in app) touch /var/lib/postgresql/app ;;'
                                                      ' *) test -e /var/lib/postgresql/app ;; esac')
                           + program("/usr/lib/app/migrate", ":"),
    ("exec", "limits.toml"): program("/usr/bin/indexer", "touch /var/lib/index/done") + "mkdir -p /var/lib/index",
    ("service", "web.toml"): unit("nginx.service") + unit("systemd-timesyncd.service"),
    ("service", "app.toml"): program("/usr/bin/app", "exec sleep infinity") + program("/usr/sbin/cron", "exec sleep infinity")
                             + unit("cron.service"),
    ("timer", "backup.toml"): program("/usr/local/bin/backup", ":"),
    ("cron", "jobs.toml"): "useradd -m ada; groupadd -f crontab; mkdir -p /var/spool/cron/crontabs /etc/cron.d",
    ("quadlet", "web.toml"): unit("web.service"), # in the place of podman's generator
    ("archive", "app.toml"): {"/srv/mirror/app-1.4.tar.gz": TAR},
    ("archive", "tool.toml"): {"/srv/archives/tool.zip": ZIP},
    ("tidy", "tidy.toml"): "mkdir -p /var/log/app/audit /var/tmp/old; touch -d '100 days ago' /var/tmp/old/file;"
                           " for name in app.log.1 audit/x.log.1; do truncate -s 11M /var/log/app/$name;"
                           " touch -d '8 days ago' /var/log/app/$name; done",
}

# What is written otherwise, as regular expressions.
INSTEAD = {
    ("file", "attributes.toml"): [(r"selinux = .*\n", "")],
    ("file", "tool.toml"): [(r"https://example\.org", "file:///srv/none"), (r"https://mirror\.example\.org", "file:///srv/mirror"),
                            (r'(?s)\[file\."/srv/data.*', "")],
    ("archive", "app.toml"): [(r"https://example\.org", "file:///srv/mirror"),
                              (r"sha256:[0-9a-f]+", "sha256:" + hashlib.sha256(TAR).hexdigest())],
}


def blocks():
    for page in sorted(TOP.glob("modules/*/README.md")):
        templates = {}
        found = [block.groups() for block in FENCE.finditer(page.read_text())]
        templates = {name: text for kind, name, text in found if kind == "mustache"}
        for kind, name, text in found:
            if kind == "toml" and name.endswith(".toml"):
                yield pytest.param(page.parent.name, name, text, templates, id=f"{page.parent.name}:{name}")


@pytest.mark.parametrize("page, name, role, templates", list(blocks()))
def test_a_page_says_what_works(box, page, name, role, templates):
    box.run("systemd-sysusers && systemd-tmpfiles --create agentd.conf")
    before = BEFORE.get((page, name), "true")
    if isinstance(before, str):
        box.run(["sh", "-ec", before])
    else:
        for path, content in before.items():
            box.run(f"mkdir -p {Path(path).parent} && chmod 0755 {Path(path).parent}")
            box.write(path, content)
    for pattern, text in INSTEAD.get((page, name), ()):
        role, n = re.subn(pattern, text, role)
        assert n > 0, pattern
    for template, text in templates.items():
        box.write(f"/etc/agentd/conf.d/{template}", text)
    box.role(name.removesuffix(".toml"), role)
    once = box.agentd_once()
    assert once.returncode == 0 and once.summary["changed"] > 0, once
    again = box.agentd_once()
    assert again.returncode == 0 and again.summary["ok"] == len(again.results), again

# SPDX-License-Identifier: LGPL-2.1-or-later
"""The roles of a site, tests/data/site, in trees of some of its hosts."""

from pathlib import Path

import pytest
from once import results

SITE = Path(__file__).resolve().parent.parent / "data/site"
SSHD = "#PermitRootLogin yes\nPort 22\n"


def plant(box, name, system="debian"):
    """A tree /srv/NAME with the roles, that is a host of that name."""
    top = f"/srv/{name}"
    for path in SITE.rglob("*"):
        if path.is_file():
            box.write(f"{top}/etc/agentd/{path.relative_to(SITE)}", path.read_text())
    box.write(f"{top}/etc/hostname", f"{name}\n")
    box.write(f"{top}/etc/os-release", f"ID={system}\n")
    box.write(f"{top}/etc/ssh/sshd_config", SSHD)
    return top


def apply(box, top, *arguments):
    done = box.agentd_once("--root", top, *arguments)
    assert done.summary["failed"] == 0 and done.summary["blocked"] == 0, done
    return results(done)


def test_a_web_server(box):
    top = plant(box, "web-1")
    found = apply(box, top)
    assert found["file:/etc/nginx/tls/blog.conf"] == found["file:/etc/sudoers.d/grace"] == "skipped"
    for path, text in {
        "/etc/sysctl.d/50-site.conf": "# managed\nvm.swappiness = 10\nnet.ipv4.ip_forward = 0\n",
        "/etc/ssh/sshd_config": "PermitRootLogin no\nPort 2222\nX11Forwarding no\n",
        "/etc/monitoring.conf": "server = mon.example.org\ninterval = 10\nsite = ams\nrack = r4\n",
        "/etc/motd": "This host is one of example.org\n",
        "/etc/chrony/chrony.conf": "server 0.pool.example.org\nserver 1.pool.example.org\n",
        "/etc/nginx/sites/blog.conf": "server {\n    listen 80;\n    server_name blog.example.org;\n    root /srv/www/blog;\n}\n",
        "/etc/tls/shop.cnf": "CN = shop.example.org\n",
        "/etc/nftables.conf": "ports 80,443,\n",
        "/etc/backup.conf": "keep 7\npath /srv/www\n",
        "/home/ada/.ssh/authorized_keys": "ssh-ed25519 AAAA ada\n",
        "/home/ada/.profile": "umask 027\n",
    }.items():
        assert box.read(top + path) == text, path
    assert not box.exists(f"{top}/etc/issue") and not box.exists(f"{top}/home/bob/.profile")
    assert set(apply(box, top).values()) == {"ok", "skipped"}


@pytest.mark.parametrize("name, system, chrony", [("db-1", "debian", "/etc/chrony/chrony.conf"),
                                                  ("mail", "fedora", "/etc/chrony.conf")])
def test_other_hosts(box, name, system, chrony):
    top = plant(box, name, system)
    found = apply(box, top)
    assert found[f"file:{chrony}"] == "changed" and "file:/etc/nftables.conf" not in found
    assert found["file:/etc/timezone"] == ("changed" if system == "debian" else "skipped")
    assert ("file:/etc/team" in found) == (name == "db-1")
    assert box.read(f"{top}/etc/monitoring.conf") == "server = mon.example.org\ninterval = 60\nsite = ams\n"


def test_for_this_once(box):
    top = plant(box, "web-1")
    found = apply(box, top, "--var", "ssh.port=22", "--var", "vhosts.new={ names = [\"new.example.org\"] }")
    assert found["file:/etc/nginx/sites/new.conf"] == "changed" and "Port 22\n" in box.read(f"{top}/etc/ssh/sshd_config")
    # A slip is told.
    done = box.run(["/usr/sbin/agentd", "--once", "--plan", "--root", top, "--var", "vhots=1"], check=False)
    assert done.returncode == 0 and "--var vhots: no role reads it; did you mean 'vhosts'?" in done.stderr, done

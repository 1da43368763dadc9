# SPDX-License-Identifier: LGPL-2.1-or-later
"""Roles that are applied by a link in conf.d."""

ROLE = '[file."/srv/motd"]\ntemplate = "motd.mustache"\nparents = { create = true }\n'


def link_role(box, top):
    box.write(f"{top}/etc/agentd/roles/motd.toml", ROLE)
    box.write(f"{top}/etc/agentd/roles/motd.mustache", "hello\n")
    box.run(f"mkdir -p {top}/etc/agentd/conf.d && ln -s ../roles/motd.toml {top}/etc/agentd/conf.d/greeting.toml")


def test_a_linked_role_finds_templates_beside_its_own_file(box):
    link_role(box, "")
    assert box.agentd_once().summary["changed"] == 1
    assert box.read("/srv/motd") == "hello\n"


def test_a_linked_role_in_another_root_finds_templates_beside_its_own_file(box):
    link_role(box, "/var/tree")
    assert box.agentd_once("--root", "/var/tree").summary["changed"] == 1
    assert box.read("/var/tree/srv/motd") == "hello\n"


def test_an_absolute_link_in_another_root_stays_in_it(box):
    link_role(box, "/var/tree")
    box.run("ln -sf /etc/agentd/roles/motd.toml /var/tree/etc/agentd/conf.d/greeting.toml")
    assert box.agentd_once("--root", "/var/tree").summary["changed"] == 1
    assert box.read("/var/tree/srv/motd") == "hello\n"

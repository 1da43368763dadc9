# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example module: what every module's first test is."""

ARGUMENTS = ("--module-dir", "/usr/lib/agentd-tests/modules")


def test_example_is_applied_once_and_healed(box):
    box.role("role", '[example.greeting]\ntext = "hello"\n')
    assert box.agentd_once("--plan", *ARGUMENTS).summary["drifted"] == 1
    assert not box.exists("/run/example")
    assert box.agentd_once(*ARGUMENTS).summary["changed"] == 1
    assert box.read("/run/example/greeting") == "hello"
    assert box.agentd_once(*ARGUMENTS).summary["ok"] == 1
    box.write("/run/example/greeting", "bye")
    result = box.agentd_once(*ARGUMENTS).results[0]
    assert result["result"] == "changed"
    assert result["differences"] == [{"attribute": "text", "is": "bye", "should": "hello"}]


def test_example_with_a_bad_name_is_refused_at_its_place(box):
    box.role("role", '[example."a/b"]\ntext = "hello"\n')
    done = box.agentd_once(*ARGUMENTS)
    assert done.returncode == 2
    assert done.stderr == "/etc/agentd/conf.d/role.toml:1:10: error: the name of an example is that of a file, without '/'\n"

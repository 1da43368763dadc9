# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules that were built with other headers than today's, and one that lies about it."""

from hostile import once

ROLE = """
[abi-1."/run/abi-1/text"]
text = "hello"
mode = "0640"
pair = { y = true }
other = ["a"]
"""


def test_a_module_of_the_first_header_does_all_that_it_ever_did(box):
    plan = once(box, ROLE, "--plan")
    assert plan.results[0]["differences"] == [{"attribute": "text", "is": None, "should": "hello"}], plan
    done = once(box, ROLE)
    assert done.summary["changed"] == 1, done
    assert "applying abi-1:/run/abi-1/text" in done.stderr
    assert box.read("/run/abi-1/text") == "hello"
    assert not box.exists("/run/abi-1.directory") and not box.exists("/run/abi-1.link")
    assert once(box, ROLE).summary["ok"] == 1
    box.write("/run/abi-1/text", "bye")
    box.run("chmod 600 /run/abi-1/text")
    done = once(box, ROLE, "--diff")
    assert done.summary["changed"] == 1
    assert [d["attribute"] for d in done.results[0]["differences"]] == ["text", "mode"]
    assert "-bye" in done.results[0]["differences"][0]["diff"]


def test_a_module_that_lies_about_its_declarations_fails_the_load_and_nothing_else(box):
    box.role("r", '[bad-stride.x]\none = "1"\n')
    done = box.agentd_once("--module-dir", "/usr/lib/agentd-tests/lying")
    assert done.returncode == 2
    assert not done.results
    assert "the loader died of signal" in done.stderr

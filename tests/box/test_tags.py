# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs over states that have a tag."""

import daemon
import pytest
from daemon import start, state, wait_idle

ROLES = {
    "base": '[file."/srv/base"]\ncontent = "base"\n',
    "web": """tags = ["web"]

[file."/srv/web"]
content = "web"
requires = ["file:/srv/base"]

[file."/srv/tls"]
content = "tls"
tags = ["tls", "web-tls"]
""",
    "db": '[file."/srv/db"]\ncontent = "db"\ntags = ["db"]\n',
}


@pytest.fixture
def site(box):
    for name, text in ROLES.items():
        box.role(name, text)
    return box


def run_over(box, *words):
    """Ids of the states that a plan with these words is over."""
    done = box.agentctl("plan", *words, json=True)
    assert done.returncode == 0, done
    return {o["state"].removeprefix("file:/srv/") for o in done.objects if "state" in o}


def test_a_run_is_over_what_has_a_tag_and_what_that_requires(site):
    start(site)
    wait_idle(site)
    assert run_over(site, "--tag", "db") == {"db"}
    assert run_over(site, "--tag", "tls") == {"tls"}
    # That of a role is one of all its states.
    assert run_over(site, "--tag", "web") == {"web", "tls", "base"}
    assert run_over(site, "--tag", "db", "--tag=tls") == {"db", "tls"}
    # With ids, either must match.
    assert run_over(site, "--tag", "web", "file:/srv/*l*") == {"tls"}
    assert run_over(site, "--tag", "db", "file:/srv/web") == set()
    run = daemon.apply(site, tags=["web-tls"])
    assert set(run.results) == {"file:/srv/tls"}


def test_an_apply_changes_nothing_else(site):
    start(site)
    wait_idle(site)
    site.agentctl("disable", "testing")
    site.run("rm /srv/web /srv/tls /srv/db")
    plan = daemon.plan(site, tags=["db"])
    assert {name: result["result"] for name, result in plan.results.items()} == {"file:/srv/db": "drifted"}


def test_an_unknown_tag_is_an_error(site):
    start(site)
    wait_idle(site)
    for verb in ("plan", "apply"):
        done = site.agentctl(verb, "--tag", "wbe")
        assert done.returncode == 2, done
        assert done.stderr == "agentctl: error: no state has the tag 'wbe'; did you mean 'web'?\n"
    done = site.agentctl("states", "--tag", "wbe")
    assert done.returncode == 2 and "no state has the tag 'wbe'; did you mean 'web'?" in done.stderr
    answer = site.api("POST", "/v1/runs", {"tags": ["something"]})
    assert answer.status == 404 and answer.body["detail"] == "no state has the tag 'something'"


def test_states_say_their_tags_and_are_listed_by_them(site):
    start(site)
    wait_idle(site)
    assert state(site, "file:/srv/tls")["tags"] == ["web", "tls", "web-tls"]
    assert state(site, "file:/srv/base")["tags"] == []
    listed = daemon.items(site, "/v1/states?tag=web")
    assert {s["state"] for s in listed} == {"file:/srv/web", "file:/srv/tls"}
    shown = site.agentctl("states", "--tag", "db", json=True).objects
    assert [s["state"] for s in shown] == ["file:/srv/db"]


def test_tags_that_change_lead_to_no_run_and_count_at_once(site):
    start(site)
    wait_idle(site)
    before = state(site, "file:/srv/db")["checked"]
    site.role("db", ROLES["db"].replace('tags = ["db"]', 'tags = ["sql"]'))
    assert run_over(site, "--tag", "sql") == {"db"}
    assert state(site, "file:/srv/db")["tags"] == ["sql"]
    assert before


def test_a_single_run_without_the_service(site):
    once = site.agentd_once("--tag", "tls")
    assert once.returncode == 0 and once.summary["changed"] == 1
    assert site.run("ls /srv").stdout == "tls\n"
    once = site.agentd_once("--tag=web")
    assert once.summary["changed"] == 2 and once.summary["ok"] == 1
    assert site.run("ls /srv").stdout.split() == ["base", "tls", "web"]
    once = site.agentd_once("--tag", "wbe")
    assert once.returncode == 2 and "No state has the tag 'wbe'; did you mean 'web'?" in once.stderr
    done = site.run(["/usr/sbin/agentd", "--tag", "web"], check=False)
    assert done.returncode == 2 and "--tag goes with --once" in done.stderr

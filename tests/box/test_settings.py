# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd.toml with --once and --validate, audited hosts and roles, and what --doc prints."""

import json

import pytest

from once import AGENTD, agentd, results, said

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\n'
MAIN = "/etc/agentd/agentd.toml"
MANY = "".join(f'[file."/srv/{n}"]\n' for n in range(5))


# ---- What is read ----

def test_no_settings_are_needed(box):
    box.role("role", MOTD)
    assert not box.exists(MAIN)
    assert agentd(box, "--validate") == (0, "1 state in 1 role, no errors\n", "")


@pytest.mark.parametrize("directory", ["/etc/agentd", "/run/agentd", "/usr/lib/agentd"])
@pytest.mark.parametrize("name", ["agentd.toml", "agentd.toml.d/50-x.toml"])
def test_settings_lie_in_these_places(box, directory, name):
    box.role("role", MOTD)
    box.start()
    box.write(f"{directory}/{name}", "workers = 100\n")
    for mode in (["--validate"], ["--once"], ["--once", "--plan"]):
        done = agentd(box, *mode)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr == f"{directory}/{name}:1:11: error: 'workers' is 100; it must be an integer from 0 to 64\n"
    assert not box.exists("/etc/motd") or box.read("/etc/motd") != "hello\n"


def test_drop_ins_take_precedence_by_name_and_are_masked(box):
    box.role("role", MOTD)
    box.start()
    box.write("/usr/lib/agentd/agentd.toml", "nonsense = [\n")
    assert agentd(box, "--validate").returncode == 2
    box.write(MAIN, 'mode = "audit"\n')
    assert results(box.agentd_once()) == {"file:/etc/motd": "drifted"}
    box.write("/usr/lib/agentd/agentd.toml.d/10-vendor.toml", 'mode = "apply"\n')
    box.write("/etc/agentd/agentd.toml.d/05-early.toml", 'mode = "audit"\n')
    box.write("/run/agentd/agentd.toml.d/20-now.toml", 'mode = "audit"\n')
    assert results(box.agentd_once()) == {"file:/etc/motd": "drifted"}
    box.run("ln -s /dev/null /etc/agentd/agentd.toml.d/20-now.toml")
    assert results(box.agentd_once()) == {"file:/etc/motd": "changed"}
    box.run(f"rm {MAIN}; ln -s /dev/null {MAIN}")
    assert agentd(box, "--validate").returncode == 0


def test_root_has_settings_of_its_own(box):
    box.write(MAIN, "nonsense = [\n")
    box.write("/srv/tree/etc/passwd", "")
    box.write("/srv/tree/etc/agentd/agentd.toml", 'mode = "audit"\n')
    box.write("/srv/tree/etc/agentd/conf.d/role.toml", MOTD)
    once = box.agentd_once("--root", "/srv/tree")
    assert once.returncode == 0 and results(once) == {"file:/etc/motd": "drifted"}
    assert not box.exists("/srv/tree/etc/motd")


def test_conf_dir_does_not_replace_settings(box):
    box.write("/srv/conf/role.toml", MOTD)
    box.write(MAIN, 'mode = "audit"\n')
    assert results(box.agentd_once("--conf-dir", "/srv/conf")) == {"file:/etc/motd": "drifted"}


def test_validate_takes_files_of_settings(box):
    box.role("role", "nonsense = 1\n")
    box.write("/srv/agentd.toml", "interval = 0\n")
    box.write("/srv/agentd.toml.d/a.toml", 'mode = "adit"\n')
    done = agentd(box, "--validate", "/srv/agentd.toml", "/srv/agentd.toml.d/a.toml")
    assert done.returncode == 2 and done.stderr.splitlines() == [
        "/srv/agentd.toml:1:12: error: 'interval' is 0; it must be a time span from 1s to 365d, or \"infinity\"",
        "/srv/agentd.toml.d/a.toml:1:8: error: 'mode' is 'adit'; did you mean 'audit'? (one of apply, audit)"]


def test_errors_of_settings_and_roles_come_together(box):
    box.role("role", "nonsense = 1\n")
    box.write(MAIN, "interval = 0\n")
    lines = agentd(box, "--validate").stderr.splitlines()
    assert [line.split(" ")[0] for line in lines] == [f"{MAIN}:1:12:", "/etc/agentd/conf.d/role.toml:1:1:"]


def test_unknown_key_is_a_warning_and_the_run_is_made(box):
    box.role("role", MOTD)
    box.write(MAIN, 'intervall = "1h"\n[store]\nworkers = 1\n')
    expected = [f"agentd: warning: {MAIN}:1:1: unknown key 'intervall', which is ignored; did you mean 'interval'?",
                f"agentd: warning: {MAIN}:3:1: unknown key 'store.workers', which is ignored; did you mean 'workers'?"]
    done = agentd(box, "--validate")
    assert done.returncode == 0 and done.stderr.splitlines() == expected
    done = agentd(box, "--once")
    assert done.returncode == 0 and said(done) == expected
    assert box.read("/etc/motd") == "hello\n"


def test_settings_that_others_can_write_are_refused(box):
    box.role("role", MOTD)
    box.write(MAIN, "")
    box.run(f"chmod 666 {MAIN}")
    done = agentd(box, "--once")
    assert done.returncode == 2 and done.stderr.startswith(f"{MAIN}: error: the settings cannot be used: others")


# ---- What they do ----

def test_audited_host_is_never_changed(box):
    box.role("role", MOTD + '[file."/srv/new"]\nrequires = ["file:/etc/motd"]\n')
    box.write(MAIN, 'mode = "audit"\n')
    once = agentd(box, "--once")
    assert once.returncode == 0
    assert said(once) == ['agentd: agentd.toml says mode = "audit": differences are shown, and nothing is changed']
    assert "drifted  file:/etc/motd" in once.stdout and "drifted  file:/srv/new" in once.stdout
    assert not box.exists("/srv/new")
    # What is only audited is never pending.
    assert agentd(box, "--once", "--plan", "--check").returncode == 0


def test_audited_role_is_never_changed_while_others_are(box):
    box.role("look", 'mode = "audit"\n' + MOTD)
    box.role("do", '[file."/srv/new"]\n')
    once = box.agentd_once()
    assert once.returncode == 0 and results(once) == {"file:/etc/motd": "drifted", "file:/srv/new": "changed"}


def test_more_changes_than_allowed_are_none(box):
    box.role("role", MANY)
    box.write(MAIN, "max_changes = 4\n")
    once = agentd(box, "--once")
    assert once.returncode == 1 and "it would change 5 states, and max_changes is 4" in once.stdout + once.stderr
    assert box.run("ls /srv").stdout == ""
    box.write(MAIN, "max_changes = 5\n")
    assert box.agentd_once().summary["changed"] == 5
    box.write(MAIN, "max_changes = 0\n")
    assert box.agentd_once().summary["ok"] == 5


def test_one_worker_does_it_all(box):
    box.role("role", MANY)
    box.write(MAIN, "workers = 1\n")
    assert box.agentd_once().summary["changed"] == 5


def test_log_level_is_that_of_the_file_unless_the_option_is_given(box):
    box.role("role", MOTD)
    box.write(MAIN, 'log_level = "error"\nmode = "audit"\n')
    assert said(agentd(box, "--once")) == []
    assert len(said(agentd(box, "--once", "--log-level", "notice"))) == 1


def test_facts_deadline_is_kept(box):
    box.write("/etc/agentd/facts.d/slow", "#!/bin/sh\nsleep 100\n")
    box.run("chmod 755 /etc/agentd/facts.d/slow")
    box.role("role", "when = \"facts.os.id == 'debian'\"\n" + MOTD)
    box.write(MAIN, 'facts_deadline = "200ms"\n')
    done = agentd(box, "--once")
    assert done.returncode == 0 and any("did not finish within 200ms" in line for line in said(done)), done.stderr


# ---- The reference ----

def test_doc_lists_types_settings_and_helpers(box):
    done = agentd(box, "--doc")
    assert done.returncode == 0 and done.stderr == ""
    words = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert {"file", "hosts-entry", "agentd.toml", "has_unit", "when", "restart_on"} <= set(words)


@pytest.mark.parametrize("name, words", [
    ("file", ["ensure", "parents.create", "Settings of every state", "check_as_root", "not with source, template"]),
    ("hosts-entry", ["Parameters", "for_each"]),
    ("has_unit", ["has_unit(name)", "It looks at the host, so it is asked at each check"]),
    ("max", ["max(array), max(a, b, …)", "It is asked at load."]),
    ("when", ["when: the state is skipped if it is false", "Value: expression.", "A setting of every state."]),
    ("restart_on", ["is restarted when one of them has changed", "A setting of states of these types: ", " service."]),
    ("agentd.toml", ["interval", 'default "30min"', "store.age", "max_changes"]),
])
def test_doc_is_plain_text_of_80_columns(box, name, words):
    done = agentd(box, "--doc", name)
    assert done.returncode == 0 and done.stderr == ""
    for word in words:
        assert word in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80 and "\033" not in done.stdout and "`" not in done.stdout


def test_doc_is_bold_on_a_terminal_only(box):
    typed = box.run(["script", "-qec", f"{AGENTD} --doc file", "/dev/null"]).stdout
    assert "\033[1mensure\033[0m" in typed
    assert "\033[1m" not in box.run(["script", "-qec", f"env NO_COLOR=1 {AGENTD} --doc file", "/dev/null"]).stdout


@pytest.mark.parametrize("style, start", [
    ("text", "file: "), ("markdown", "# file\n"), ("roff", '.TH "file" 7'), ("toml", "# file: ")])
def test_doc_has_styles(box, style, start):
    for arguments in (["--doc", "file", "--style", style], ["--doc", f"--style={style}", "file"]):
        done = agentd(box, *arguments)
        assert done.returncode == 0 and done.stdout.startswith(start)


def test_installed_example_is_what_doc_prints_and_valid(box):
    example = box.read("/usr/share/doc/agentd/examples/agentd.toml")
    assert example == agentd(box, "--doc", "agentd.toml", "--style=toml").stdout
    box.write(MAIN, example)
    assert agentd(box, "--validate").returncode == 0
    box.write(MAIN, "".join(line[1:] if line[0] == "#" and line[1] not in " \n" else line
                            for line in example.splitlines(keepends=True) if line.strip()))
    done = agentd(box, "--validate")
    assert done.returncode == 0 and done.stderr == ""


def test_doc_of_a_type_as_toml_is_a_role_to_fill_in(box):
    box.write("/srv/role.toml", agentd(box, "--doc", "file", "--style=toml").stdout)
    assert agentd(box, "--validate", "/srv/role.toml") == (0, "1 state in 1 role, no errors\n", "")


@pytest.mark.parametrize("arguments, word", [
    (["--doc", "fiel"], "did you mean 'file'?"),
    (["--doc", "agentd.tml"], "did you mean 'agentd.toml'?"),
    (["--doc", "zzzzzzzzz"], "'agentd --doc' lists"),
    (["--doc", "../../etc/passwd"], "There is no state type, setting or helper"),
    (["--doc", "has_unti"], "did you mean 'has_unit'?"),
    (["--doc", "restart_no"], "did you mean 'restart_on'?"),
    (["--doc", "file", "hosts-entry"], "'hosts-entry' is one word too many"),
    (["--doc", "--style", "html"], "'html' is not one of"),
    (["--once", "--style", "text"], "--style goes with --doc"),
    (["--doc", "--once"], "excludes"),
    (["--doc", "--validate"], "excludes"),
])
def test_doc_of_what_is_not_there_exits_with_2(box, arguments, word):
    done = agentd(box, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and word in done.stderr, done.stderr


def test_doc_passes_over_modules_that_cannot_be_used(box):
    box.write("/usr/lib/agentd/modules/broken.so", "nonsense")
    done = agentd(box, "--doc")
    assert done.returncode == 0 and "hosts-entry" in done.stdout
    assert done.stderr.startswith("agentd: warning: /usr/lib/agentd/modules/broken.so: the module cannot be used: ")


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_doc_that_cannot_be_written_is_an_error(box, where):
    for name in ("", "file", "agentd.toml"):
        assert box.run(f"{AGENTD} --doc {name} {where}", check=False).returncode == 1


# ---- The schema ----

def test_schema_needs_no_root_and_no_daemon(box):
    done = box.agentctl("schema", user="nobody")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    schema = json.loads(done.stdout)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert {"file", "service", "when", "import"} <= set(schema["properties"])
    settings = json.loads(box.agentctl("schema", "agentd.toml", user="nobody").stdout)
    assert {"interval", "store"} <= set(settings["properties"])


def test_schema_has_the_types_of_other_modules(box):
    words = {"name": "words", "required": True, "documentation": "what is said"}
    hello = {"name": "greeting", "version": "1", "protocol": 1, "types": [{"name": "greeting", "parameters": [words]}]}
    box.write("/etc/agentd/modules/greeting", f"#!/bin/sh\nread -r line\necho '{json.dumps(hello)}'\n", mode=0o755)
    box.write("/etc/agentd/modules/broken.so", "nonsense")
    done = agentd(box, "--schema")
    assert done.returncode == 0
    state = json.loads(done.stdout)["definitions"].get("state.greeting")
    assert state and state["required"] == ["words"], done.stderr
    assert state["properties"]["words"]["description"] == "what is said"
    assert done.stderr.startswith("agentd: warning: /etc/agentd/modules/broken.so: the module cannot be used: ")


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_schema_that_cannot_be_written_is_an_error(box, where):
    for name in ("", "agentd.toml"):
        assert box.run(f"{AGENTD} --schema {name} {where}", check=False).returncode == 1

# SPDX-License-Identifier: LGPL-2.1-or-later
"""agentd's options and exit status, what it validates, its lock, its directories, and what it tells the journal."""

import subprocess

import pytest

from box import PATIENCE
from once import AGENTD, agentd, changes, results, said, snapshot

MOTD = '[file."/etc/motd"]\ncontent = "hello\\n"\n'
BAD = '[file."/srv/bad"]\nowner = "nosuch"\n'
UNPRIVILEGED = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]

MESSAGE_ID = {
    "changed": "5dfc11089b144f75addb3881028a0f47",
    "failed": "0c5b54fa6a644b51851f09a15f570cd5",
    "drifted": "12f32ac22a6c4c318bb95a1894b8dc7c",
    "finished": "1508fc91a8814ff8b706f0f0399d7a1f",
}


# ---- Exit status ----

@pytest.mark.parametrize("role, arguments, status", [
    (MOTD, ["--once"], 0),
    (MOTD, ["--once", "--plan"], 0),
    (MOTD, ["--once", "--plan", "--check"], 4),
    (BAD, ["--once"], 1),
    (BAD, ["--once", "--plan"], 1),
    (BAD, ["--once", "--plan", "--check"], 1),
    ("[nonsense]\n", ["--once"], 2),
    ("[nonsense]\n", ["--once", "--plan", "--check"], 2),
    (MOTD, ["--validate"], 0),
    (BAD, ["--validate"], 0),
    ("[nonsense]\n", ["--validate"], 2),
    (MOTD, ["--help"], 0),
    (MOTD, ["--version"], 0),
])
def test_exit_status(box, role, arguments, status):
    box.role("role", role)
    assert agentd(box, *arguments).returncode == status


@pytest.mark.parametrize("arguments, word", [
    (["--plan"], "--once"),
    (["--root", "/srv"], "--once"),
    (["--verbose"], "--once"),
    (["word"], "'word'"),
    (["--once", "--validate"], "exclude"),
    (["--once", "--nosuch"], "nosuch"),
    (["--once", "-x"], "x"),
    (["--once", "--check"], "--check"),
    (["--once", "word"], "'word'"),
    (["--once", "--plan", "--", "--diff"], "'--diff'"),
    (["--once", "--root"], "--root"),
    (["--once", "--root", "/nosuch"], "'/nosuch': No such file"),
    (["--once", "--root", "/etc/hostname"], "not a directory"),
    (["--once", "--root", ""], "--root"),
    (["--once", "--conf-dir", "/nosuch"], "/nosuch"),
    (["--once", "--module-dir", "/nosuch"], "/nosuch"),
    (["--once", "--json=yes"], "json"),
    (["--once", "--log-level", "loud"], "loud"),
    (["--eval", "1", "--plan"], "--eval"),
    (["--eval", "1", "--doc"], "--eval"),
    (["--eval", "1", "--diff"], "--eval"),
    (["--role", "web"], "--role goes with --eval"),
    (["--once", "--item", "1"], "--item goes with --eval"),
    (["--explain", "file:/x", "--plan"], "--explain goes with"),
    (["--explain"], "--explain"),
    (["--eval", "1", "==", "1"], "quote"),
    (["--eval"], "--eval"),
    (["--validate", "--plan"], "--once"),
    (["--validate", "--check"], "--check"),
    (["--validate", "--json"], "--once"),
    (["--validate", "--conf-dir", "/etc", "/etc/hostname"], "--conf-dir"),
])
def test_usage_errors_exit_with_2_say_one_line_and_do_nothing(box, arguments, word):
    box.role("role", MOTD)
    done = agentd(box, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and word in done.stderr, done.stderr
    assert not box.exists("/etc/motd") or box.read("/etc/motd") != "hello\n"


def test_help_names_every_option_and_exit_status(box):
    text = agentd(box, "--help").stdout
    for word in ("--once", "--plan", "--check", "--diff", "--json", "--verbose", "--validate", "--eval", "--root", "--conf-dir",
                 "--module-dir", "--log-level", "--help", "--version", "Exit status"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


# ---- Output that goes nowhere ----

@pytest.mark.parametrize("mode", ["--once", "--once --plan", "--once --json", "--validate", "--help", "--version"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_an_error(box, mode, where):
    box.role("role", MOTD)
    done = box.run(f"{AGENTD} {mode} {where}", check=False)
    assert done.returncode == 1
    assert len(said(done)) == 1 and "output" in said(done)[0], done.stderr
    if mode.startswith("--once") and "plan" not in mode:
        assert box.read("/etc/motd") == "hello\n", "the run was made"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_do_no_harm(box, closed):
    box.role("role", MOTD)
    done = box.run(f"{AGENTD} --once {closed}", check=False)
    assert done.returncode == (1 if ">&- 2>&-" in closed else 0)
    assert box.read("/etc/motd") == "hello\n"
    assert box.read("/run/agentd/lock") == ""


def test_reader_that_goes_away_does_not_stop_the_run(box):
    box.role("role", '[file."/srv/d"]\nensure = "directory"\n' +
             "".join(f'[file."/srv/d/{n}"]\ncontent = "x"\n' for n in range(2000)))
    box.run(f"{AGENTD} --once | head -n 1", check=False)
    assert len(box.run("ls /srv/d").stdout.split()) == 2000


# ---- Validate ----

def test_validate_counts_what_is_good_and_touches_nothing(box):
    box.role("a", MOTD)
    box.role("b", '[file."/srv/a"]\n[file."/srv/b"]\n')
    box.start()
    before = snapshot(box)
    done = agentd(box, "--validate")
    assert done.stdout == "3 states in 2 roles, no errors\n" and done.stderr == ""
    assert changes(before, snapshot(box)) == []


def test_validate_reports_all_errors_of_all_roles_in_one_go(box):
    box.role("a", '[file."/srv/a"]\nmode = 644\ncontnet = "x"\n')
    box.role("b", '[file."/srv/b"]\nrequires = ["file:/srv/c"]\n[flie."/srv/d"]\n')
    done = agentd(box, "--validate")
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "/etc/agentd/conf.d/a.toml:2:8:", "/etc/agentd/conf.d/a.toml:3:1:",
        "/etc/agentd/conf.d/b.toml:2:13:", "/etc/agentd/conf.d/b.toml:3:2:"]
    assert "did you mean 'content'?" in lines[1] and "did you mean 'file'?" in lines[3]


def test_validate_takes_files(box):
    box.role("broken", "[nonsense]\n")
    box.write("/tmp/a.toml", MOTD) if box.running else None
    box.start()
    box.write("/tmp/a.toml", MOTD)
    box.write("/tmp/b.toml", "[nonsense]\n")
    good, bad = agentd(box, "--validate", "/tmp/a.toml"), agentd(box, "--validate", "/tmp/a.toml", "/tmp/b.toml")
    assert good.returncode == 0 and good.stdout == "1 state in 1 role, no errors\n"
    assert bad.returncode == 2 and bad.stderr.startswith("/tmp/b.toml:1:2: error: ")
    relative = box.run(f"cd /tmp && {AGENTD} --validate a.toml ./b.toml", check=False)
    assert relative.returncode == 2 and relative.stderr.startswith("./b.toml:1:2: error: ")


def test_validate_of_a_file_that_is_not_there_says_so(box):
    done = agentd(box, "--validate", "/nosuch.toml")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "/nosuch.toml" in done.stderr


def test_validate_works_as_an_ordinary_user(box):
    box.role("role", MOTD)
    box.run("mkdir -p /srv; echo '[nonsense]' >/srv/bad.toml; chmod 644 /srv/bad.toml")
    good = box.run([*UNPRIVILEGED, AGENTD, "--validate"], check=False)
    assert good == (0, "1 state in 1 role, no errors\n", "")
    bad = box.run([*UNPRIVILEGED, AGENTD, "--validate", "/srv/bad.toml"], check=False)
    assert bad.returncode == 2 and bad.stderr.startswith("/srv/bad.toml:1:2: error: ")


def test_validate_as_an_ordinary_user_names_what_it_may_not_read(box):
    box.role("role", MOTD)
    box.run("chmod 600 /etc/agentd/conf.d/role.toml")
    done = box.run([*UNPRIVILEGED, AGENTD, "--validate"], check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "/etc/agentd/conf.d/role.toml" in done.stderr and "Permission denied" in done.stderr


@pytest.mark.parametrize("mode", [["--once"], ["--once", "--plan"]])
def test_run_as_an_ordinary_user_is_refused_in_one_line(box, mode):
    box.role("role", MOTD)
    done = box.run([*UNPRIVILEGED, AGENTD, *mode], check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "root" in done.stderr


# ---- Directories ----

def test_conf_dir_replaces_all_conf_d_directories(box):
    box.role("not-this", '[file."/srv/not"]\n')
    box.write("/srv/conf/this.toml", '[file."/srv/a"]\ntemplate = "t"\n[file."/srv/b"]\nsource = "t"\n')
    box.write("/srv/conf/t", "{{facts.hostname}}")
    box.write("/srv/conf/roles/imported.toml", "to be imported only [")
    once = box.agentd_once("--conf-dir", "/srv/conf")
    assert once.returncode == 0, once
    assert results(once) == {"file:/srv/a": "changed", "file:/srv/b": "changed"}
    assert box.read("/srv/a") == "box" and box.read("/srv/b") == "{{facts.hostname}}"
    assert box.run(f"cd /srv && {AGENTD} --once --conf-dir conf").returncode == 0


def test_module_dir_is_searched_first(box):
    box.role("role", MOTD)
    box.run("mkdir /srv/modules; echo broken >/srv/modules/file.so")
    done = agentd(box, "--once", "--module-dir", "/srv/modules")
    assert done.returncode == 2 and "/srv/modules/file.so" in done.stderr
    box.run("cp /usr/lib/agentd/modules/file.so /srv/modules/file.so")
    assert box.agentd_once("--module-dir", "/srv/modules").summary["changed"] == 1


def test_type_without_a_module_is_named(box):
    box.role("role", '[nosuch."x"]\n')
    done = agentd(box, "--once")
    assert done.returncode == 2 and done.stderr.startswith("/etc/agentd/conf.d/role.toml:1:2: error: 'nosuch'")


# ---- The lock ----

class Held:
    """Holds the lock of the box's agentd."""

    def __init__(self, box):
        box.run("mkdir -p /run/agentd")
        argv = box.nsenter(box.leader) + ["flock", "/run/agentd/lock", "sh", "-c", "echo held; exec cat"]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=box.ENVIRONMENT)

    def __enter__(self):
        assert self.process.stdout.readline() == b"held\n"

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        self.process.stdout.close()


def test_run_while_another_holds_the_lock_is_refused_in_one_line(box):
    box.role("role", MOTD)
    box.write("/srv/tree/etc/passwd", "")
    with Held(box):
        done = agentd(box, "--once")
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "running already" in done.stderr
        assert not box.exists("/etc/motd") or box.read("/etc/motd") != "hello\n"
        assert agentd(box, "--once", "--plan", "--check").returncode == 4
        assert agentd(box, "--once", "--root", "/srv/tree").returncode == 0
        assert agentd(box, "--validate").returncode == 0
        assert agentd(box, "--once", "--root", "/").returncode == 1
    assert agentd(box, "--once").returncode == 0
    assert box.read("/etc/motd") == "hello\n"


def test_lock_is_no_symlink_that_leads_elsewhere(box):
    box.role("role", MOTD)
    box.run("mkdir /run/agentd; ln -s /srv/elsewhere /run/agentd/lock")
    done = agentd(box, "--once")
    assert done.returncode == 1 and said(done) != [] and not box.exists("/srv/elsewhere")


# ---- The journal ----

def entries(box, after, *matches):
    return [e for e in box.journal(f"--after-cursor={after}") if "AGENTD_RUN" in e and
            all(e.get(m.split("=", 1)[0]) == m.split("=", 1)[1] for m in matches)]


def test_changes_and_failures_are_in_the_journal_with_their_fields(box):
    box.write("/srv/audit", "x")
    box.role("web", '[file."/srv/changed"]\ncontent = "x"\n' + BAD +
             '[file."/srv/blocked"]\nrequires = ["file:/srv/bad"]\n'
             '[file."/srv/audit"]\ncontent = "y"\naudit = true\n[file."/etc/hostname"]\n')
    after = box.cursor()
    once = agentd(box, "--once", "--json")
    number = once.stdout.splitlines()[-1].split('"run":')[1].split(",")[0]
    found = {e.get("AGENTD_STATE"): e for e in entries(box, after)}
    assert set(found) == {"file:/srv/changed", "file:/srv/bad", "file:/srv/blocked", "file:/srv/audit", None}
    for state, result, kind, priority in (
            ("file:/srv/changed", "changed", "changed", "6"), ("file:/srv/bad", "failed", "failed", "3"),
            ("file:/srv/blocked", "blocked", "failed", "4"), ("file:/srv/audit", "drifted", "drifted", "5")):
        entry = found[state]
        assert entry["AGENTD_RUN"] == number and entry["AGENTD_ROLE"] == "web"
        assert entry["AGENTD_RESULT"] == result and entry["MESSAGE_ID"] == MESSAGE_ID[kind]
        assert entry["PRIORITY"] == priority and entry["SYSLOG_IDENTIFIER"] == "agentd"
        assert state in entry["MESSAGE"]
    assert "no user 'nosuch'" in found["file:/srv/bad"]["MESSAGE"]
    assert found[None]["MESSAGE_ID"] == MESSAGE_ID["finished"] and found[None]["AGENTD_RUN"] == number


def test_journalctl_finds_a_state_by_its_name(box):
    box.role("role", MOTD)
    assert agentd(box, "--once").returncode == 0
    box.run("journalctl --sync")
    found = box.run(["journalctl", "--output=cat", "AGENTD_STATE=file:/etc/motd"]).stdout
    assert found.startswith("Changed file:/etc/motd: ") and found.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--once"], ["--once", "--json"], ["--once", "--log-level", "error"]])
def test_events_go_to_the_journal_and_not_to_standard_error(box, arguments):
    box.role("role", MOTD + BAD)
    after = box.cursor()
    done = agentd(box, *arguments)
    assert said(done) == []
    assert len(entries(box, after, "AGENTD_RESULT=changed")) == 1
    assert len(entries(box, after, "AGENTD_RESULT=failed")) == 1


def test_run_as_a_unit_tells_the_journal_each_event_once(box):
    box.role("role", MOTD)
    after = box.cursor()
    box.run(["systemd-run", "--wait", "--quiet", AGENTD, "--once"])
    assert len(entries(box, after, "AGENTD_STATE=file:/etc/motd")) == 1


def test_run_with_nothing_to_do_and_plan_leave_no_entry(box):
    box.role("role", MOTD)
    after = box.cursor()
    assert agentd(box, "--once", "--plan").returncode == 0
    assert entries(box, after) == []
    assert agentd(box, "--once").returncode == 0
    after = box.cursor()
    assert agentd(box, "--once").returncode == 0
    assert agentd(box, "--once", "--plan").returncode == 0
    assert entries(box, after) == []


def test_message_of_a_name_with_line_ends_is_one_field(box):
    box.role("role", '[file."/srv/a\\tb"]\ncontent = "x"\n[file."/srv/l"]\nensure = "symlink"\n'
                     'target = "x\\nAGENTD_STATE=file:/fake"\n')
    after = box.cursor()
    assert agentd(box, "--once").returncode == 0
    assert {e.get("AGENTD_STATE") for e in entries(box, after)} == {"file:/srv/a\tb", "file:/srv/l", None}

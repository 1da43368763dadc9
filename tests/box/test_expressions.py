# SPDX-License-Identifier: LGPL-2.1-or-later
"""What conditions see of a host: units, programs, the environment, helpers of modules; and agentctl eval."""

from hostile import MODULES, once
from once import errors, results

UNPRIVILEGED = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


def conditions(*sources):
    """A role with a file /srv/N for each condition."""
    return "".join(f'[file."/srv/{i}"]\ncontent = "x"\nwhen = "{source}"\n' for i, source in enumerate(sources))


def truths(box, *sources):
    box.role("role", conditions(*sources))
    done = box.agentd_once("--plan")
    found = results(done)
    assert set(found.values()) <= {"drifted", "skipped"}, done
    return [found[f"file:/srv/{i}"] == "drifted" for i in range(len(sources))]


def evaluate(box, *words, **options):
    done = box.agentctl("eval", *words, **options)
    return done.returncode, done.stdout


def test_units_are_those_that_systemd_finds(box):
    box.write("/etc/systemd/system/masked.service", "[Service]\nExecStart=/bin/true\n")
    box.run("rm /etc/systemd/system/masked.service && systemctl mask masked.service")
    # Nobody was told of it yet.
    box.write("/run/systemd/system/fresh.service", "[Service]\nExecStart=/bin/true\n")
    found = truths(box, "has_unit('systemd-journald.service')", "has_unit('masked.service')", "has_unit('fresh.service')",
                   "has_unit('no-such.service')", "has_unit('systemd-journald@x.service')", "has_unit('multi-user.target')",
                   "not has_unit('fresh.timer')")
    assert found == [True, False, True, False, True, True, True]


def test_programs_and_variables(box):
    box.write("/usr/local/bin/mine", "#!/bin/sh\n")
    assert truths(box, "has_command('systemctl')", "has_command('mine')", "env('NO_SUCH') == null",
                  "default(env('PATH'), '') != ''") == [True, False, True, True]
    box.run("chmod +x /usr/local/bin/mine")
    assert truths(box, "has_command('mine')") == [True]


def test_helpers_of_modules_look_at_the_host_in_the_sandbox(box):
    box.write("/srv/four", "four")
    box.role("role", conditions("helpers_size('/srv/four') == helpers_double(2)", "helpers_size('/srv/five') != null",
                                "helpers_write('/srv/written')", "helpers_size('relative') == 1"))
    done = box.agentd_once("--plan", "--module-dir", MODULES)
    assert results(done) == {"file:/srv/0": "drifted", "file:/srv/1": "skipped", "file:/srv/2": "skipped",
                             "file:/srv/3": "failed"}, done
    assert errors(done)["file:/srv/3"].endswith("helpers_size(): module 'helpers' says: Invalid argument"), done
    assert not box.exists("/srv/written")


def test_a_helper_that_crashes_harms_its_own_state_alone(box):
    box.role("role", conditions("helpers_die()", "true", "helpers_size('/srv') != null"))
    done = box.agentd_once("--plan", "--module-dir", MODULES)
    assert results(done) == {"file:/srv/0": "failed", "file:/srv/1": "drifted", "file:/srv/2": "drifted"}, done


def test_a_loop_is_required_as_a_whole(box):
    done = once(box, """
[file."/srv/{{item.key}}-{{item.value.name}}"]
for_each = { a = { name = "x", text = "1" }, b = { name = "y", text = "2" } }
content = "{{item.value.text}}"

[file."/srv/zero"]
content = "x"
before = ["file:/srv/{{item.key}}-{{item.value.name}}"]

[file."/srv/all"]
content = "x"
requires = ["file:/srv/{{item.key}}-{{item.value.name}}"]
""")
    order = [result["state"] for result in done.results]
    assert done.summary["changed"] == 4 and order[0] == "file:/srv/zero" and order[-1] == "file:/srv/all", order
    assert box.read("/srv/b-y") == "2"


def test_eval_tells_what_a_condition_would(box):
    assert evaluate(box, "facts.os.id") == (0, "debian\n")
    assert evaluate(box, "[facts.os.id]") == (0, '["debian"]\n')
    assert evaluate(box, "exists('/etc/shadow') and has_unit('dbus.service')") == (0, "true\n")
    assert evaluate(box, "--check", "exists('/nosuch')") == (1, "")
    assert evaluate(box, "--check", "exists('/etc')") == (0, "")
    done = box.agentctl("eval", "exists('/etc') and vars.x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("error: undefined name 'vars.x' (without --role NAME there are the variables of the host alone)\n  exists('/etc') and vars.x\n" + " " * 26 + "^\n"), done.stderr


def test_eval_by_a_user_sees_what_the_user_may(box):
    box.run("mkdir -m 0700 /srv/private && touch /srv/private/x")
    assert evaluate(box, "exists('/srv/private/x')") == (0, "true\n")
    done = box.run([*UNPRIVILEGED, "/usr/bin/agentctl", "eval", "exists('/srv/private/x')"], check=False)
    assert done.returncode == 2 and "Permission denied" in done.stderr, done
    done = box.run([*UNPRIVILEGED, "/usr/bin/agentctl", "eval", "exists('/srv') and facts.os.id == 'debian'"], check=False)
    assert (done.returncode, done.stdout) == (0, "true\n"), done


def test_eval_below_a_root(box):
    box.run("mkdir -p /srv/tree/etc/systemd/system /srv/tree/usr/bin && echo ID=other >/srv/tree/etc/os-release"
            " && ln -s /dev/null /srv/tree/etc/systemd/system/a.service && echo '[Service]' >/srv/tree/etc/systemd/system/b.service")
    for source, value in (("has_unit('a.service')", "false"), ("has_unit('b.service')", "true"), ("has_command('sh')", "false"),
                          ("facts.os.id", "other"), ("exists('/../etc/shadow')", "false")):
        done = box.run(["/usr/sbin/agentd", "--eval", source, "--root", "/srv/tree"], check=False)
        assert (done.returncode, done.stdout) == (0, value + "\n"), (source, done)


def test_eval_sees_the_variables_of_roles_and_of_the_host(box):
    box.write("/etc/agentd/conf.d/site.toml", 'import = [{ role = "web", vars = { port = 8081 } }]\n')
    box.write("/etc/agentd/roles/web.toml", '[vars]\nport = 80\nname = "{{vars.who}}"\n')
    box.write("/etc/agentd/vars.d/host.toml", 'who = "me"\n')
    assert evaluate(box, "vars.who") == (0, "me\n")
    assert evaluate(box, "--role", "web", "[vars.port, vars.name]") == (0, '[8081,"me"]\n')
    assert evaluate(box, "--role", "web", "--check", "vars.port > 1024") == (0, "")
    assert evaluate(box, "--role", "web", "--var", "port=1", "--var=who=you", "[vars.port, vars.name]") == (0, '[1,"you"]\n')
    assert evaluate(box, "--item", '{ name = "ada" }', "item.name == 'ada' and exists('/etc')") == (0, "true\n")
    done = box.agentctl("eval", "--role", "wbe", "1")
    assert done.returncode == 2 and "There is no role 'wbe' that is applied or imported; did you mean 'web'?" in done.stderr


def test_helpers_of_modules_are_suggested_and_documented(box):
    box.run("mkdir -p /etc/agentd/modules")
    box.run(f"cp {MODULES}/helpers.so /etc/agentd/modules/")
    done = box.agentctl("eval", "helper_size('/etc')")
    assert done.stderr.startswith("error: there is no helper 'helper_size'; did you mean 'helpers_size'?\n"), done
    box.role("role", conditions("helper_size('/etc') > 1"))
    done = box.agentd_once("--plan")
    assert done.returncode == 2 and "there is no helper 'helper_size'; did you mean 'helpers_size'?" in done.stderr, done
    assert "helpers_size(path)\n" in box.agentctl("doc", "helpers_size").stdout
    assert "\nhelpers_echo     the value\n" in box.agentctl("doc").stdout

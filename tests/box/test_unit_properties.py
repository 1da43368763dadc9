# SPDX-License-Identifier: LGPL-2.1-or-later
"""Properties of units, as a role writes them: systemd takes each one, and has it then."""


def test_systemd_takes_every_property_and_has_it_then(box):
    done = box.run(["/usr/lib/agentd-tests/unit-properties"], via="systemd-run", check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 180, done.stdout

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of hooks and retries share: states with hooks that write down that they ran."""

import json

LOG = "/srv/log"
NAMES = ("before_check", "before_change", "after_change", "on_success", "on_failure", "after_check")
SAY = f'echo \\"$AGENTD_HOOK${{AGENTD_RESULT:+ $AGENTD_RESULT}}\\" >> {LOG}'


def hooks(*names, **other):
    """Lines of a role: these hooks say that they ran; others do what is given."""
    lines = [f'{name} = "{SAY}"\n' for name in names if name not in other]
    lines += [f"{name} = {json.dumps(command)}\n" for name, command in other.items() if command is not None]
    return "".join(lines)


def file(path="/srv/f", content="new\n", more=""):
    return f'[file."{path}"]\ncontent = {json.dumps(content)}\n{more}'


def said(box):
    """Lines of the log so far; it begins anew."""
    if not box.exists(LOG):
        return []
    lines = box.read(LOG).splitlines()
    box.run(["rm", "-f", LOG])
    return lines


def one(once):
    assert len(once.results) == 1, once
    return once.results[0]


def third_time_lucky(name="it", more=""):
    """An exec whose command goes well when it is run for the third time."""
    return (f'[exec."{name}"]\nshell = "echo x >> /srv/tries-{name}; test $(wc -l < /srv/tries-{name}) -ge 3 && '
            f'touch /srv/made-{name}"\ncreates = "/srv/made-{name}"\n{more}')

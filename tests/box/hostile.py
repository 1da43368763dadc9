# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of the modules in tests/modules share."""

import json

MODULES = "/usr/lib/agentd-tests/modules"


def quote(value):
    """A value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {quote(v)}" for key, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def states(type_, settings):
    """Role text for {name: {key: value}}."""
    return "".join(f"[{type_}.{quote(name)}]\n" + "".join(f"{key} = {quote(value)}\n" for key, value in keys.items())
                   for name, keys in settings.items())


def once(box, role, *arguments, **options):
    """agentd --once with the role, in a directory of its own, and the modules that misbehave."""
    box.write("/etc/agentd-tests/test.toml", role)
    return box.agentd_once("--conf-dir", "/etc/agentd-tests", "--module-dir", MODULES, *arguments, **options)


def by_name(results):
    return {result["name"]: result for result in results}


def outcome(result):
    """What a state of the type `hostile` reported."""
    assert result["differences"], result
    return result["differences"][0]["is"]

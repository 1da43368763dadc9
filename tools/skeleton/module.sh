#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# @NAME@: keeps one line of text in /run/@NAME@/NAME.
#
#       [@NAME@.greeting]
#       text = "hello"

# "plan": check tells without changing anything. "prepare": prepare is wanted. "root": paths are looked for below $root.
hello='{"name": "@NAME@", "version": "1", "protocol": 1, "encoding": "shell", "types": [{
  "name": "@NAME@", "documentation": "Keeps a line of text in a file of /run/@NAME@",
  "plan": true, "prepare": true, "root": true, "parameters": [
    {"name": "text", "type": "string", "required": true, "documentation": "the line"}]}]}'

# Prints a text of an answer, each line with the word in front: what is in it cannot be taken for anything else.
say() {
        printf '%s\n' "$2" | sed "s/^/$1 /"
}

# Can the state be as the role says it? Must not look at the host: roles are also validated elsewhere.
prepare() {
        case $name in
        */*) echo "error - the name of a @NAME@ is that of a file, without '/'" ;;
        esac
        say 'watch path' "/run/@NAME@/$name"
        echo done
}

# Reads the host and says what differs. Cannot write, not even to /tmp: the kernel sees to that.
check() {
        path=${root%/}/run/@NAME@/$name
        if [ ! -e "$path" ]; then
                echo 'differs text'
                say should "$p_text"
        elif ! is=$(cat "$path" 2>&1); then
                say failed "$is"
                return
        elif [ "$is" != "$p_text" ]; then
                echo 'differs text'
                say is "$is"
                say should "$p_text"
        fi
        echo done
}

# Makes the differences go away. Twice is as good as once.
apply() {
        path=${root%/}/run/@NAME@/$name
        if error=$({ mkdir -p "${path%/*}" && printf '%s' "$p_text" >"$path.new" && mv -T "$path.new" "$path"; } 2>&1); then
                echo done
        else
                say failed "$(printf '%s\n' "$error" | head -n 1)"
        fi
}

# agentd says hello with one line, and wants one back. From then on lines are assignments, quoted so that eval is safe.
read -r line || exit 0
printf '%s\n' "$hello" | tr '\n' ' '
echo
while read -r line; do
        eval "$line"
        case $request in
        prepare | check | apply) "$request" ;;
        end) echo end ;;
        esac
done

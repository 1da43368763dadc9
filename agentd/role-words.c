/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "diagnostic.h"
#include "role.h"
#include "util.h"

/*
 * What other tools say for what roles say otherwise, for messages alone: none of these words means anything in a role.
 * A word may stand for several of ours; the first that can be said in the place counts.
 */
static const struct {
        const char *word;
        const char *ours;
} other_words[] = {
        /* Keys. */
        { "after", "after_line" },
        { "always", "after_check" },
        { "append_on_no_match", "match" },
        { "argv", "command" },
        { "attempts", "retries" },
        { "attributes", "immutable" },
        { "attrs", "immutable" },
        { "backrefs", "match" },
        { "become", "user" },
        { "become_user", "user" },
        { "chdir", "directory" },
        { "check_cmd", "validate" },
        { "check_delay", "retry_delay" },
        { "clean", "purge" },
        { "cmd", "command" },
        { "check_mode", "audit" },
        { "content", "block" },
        { "contents", "content" },
        { "cwd", "directory" },
        { "cron_file", "file" },
        { "delay", "retry_delay" },
        { "dest", "path" },
        { "depends_on", "requires" },
        { "dir_mode", "directory_mode" },
        { "env", "environment" },
        { "exclude_pat", "exclude" },
        { "if", "when" },
        { "ignore", "exclude" },
        { "handler", "check_on" },
        { "handlers", "check_on" },
        { "include_pat", "include" },
        { "insert_after_match", "after_line" },
        { "insert_before_match", "before_line" },
        { "insertafter", "after_line" },
        { "insertbefore", "before_line" },
        { "key", "set" },
        { "key_values", "set" },
        { "listen", "restart_on" },
        { "listen", "check_on" },
        { "logoutput", "log_output" },
        { "loop", "for_each" },
        { "makedirs", "parents" },
        { "marker_start", "marker" },
        { "matches", "patterns" },
        { "max_tries", "retries" },
        { "no_log", "sensitive" },
        { "noop", "audit" },
        { "on_fail", "on_failure" },
        { "onchanges", "check_on" },
        { "onfail", "on_failure" },
        { "onlyif", "only_if" },
        { "onlyif", "when" },
        { "option", "set" },
        { "options", "set" },
        { "pattern", "match" },
        { "pattern", "patterns" },
        { "post_hook", "after_change" },
        { "pre_hook", "before_change" },
        { "recurselimit", "max_depth" },
        { "refreshonly", "check_on" },
        { "regexp", "match" },
        { "remote_src", "source" },
        { "repl", "replace" },
        { "require", "requires" },
        { "require_in", "before" },
        { "rescue", "on_failure" },
        { "retry", "retries" },
        { "retry_interval", "retry_delay" },
        { "runas", "user" },
        { "search_string", "match" },
        { "show_diff", "sensitive" },
        { "size", "larger" },
        { "source_hash", "checksum" },
        { "src", "source" },
        { "special_time", "special" },
        { "started", "running" },
        { "state", "running" },
        { "state", "ensure" },
        { "status", "running" },
        { "stdin", "input" },
        { "strip_components", "strip" },
        { "subscribe", "restart_on" },
        { "subscribe", "check_on" },
        { "success_retcodes", "returns" },
        { "target", "path" },
        { "text", "line" },
        { "tries", "retries" },
        { "try_sleep", "retry_delay" },
        { "until", "retries" },
        { "user", "owner" },
        { "validate_cmd", "validate" },
        { "value", "set" },
        { "with_items", "for_each" },
        /* Types. */
        { "augeas", "edit" },
        { "blockinfile", "edit" },
        { "cmd", "exec" },
        { "command", "exec" },
        { "copy", "file" },
        { "directory", "file" },
        { "file_line", "edit" },
        { "get_url", "file" },
        { "host", "hosts-entry" },
        { "ini_file", "edit" },
        { "ini_setting", "edit" },
        { "link", "file" },
        { "lineinfile", "edit" },
        { "replace", "edit" },
        { "script", "exec" },
        { "shell", "exec" },
        { "symlink", "file" },
        { "template", "file" },
        { "systemd", "service" },
        { "systemd_service", "service" },
        { "tidied", "tidy" },
        { "unarchive", "archive" },
        /* Keys of roles. */
        { "defaults", "vars" },
        { "depends", "import" },
        { "depends_on", "import" },
        { "dependencies", "import" },
        { "host", "hosts" },
        { "include", "import" },
        { "includes", "import" },
        { "require", "import" },
        { "requires", "import" },
        { "roles", "import" },
        { "variables", "vars" },
};

bool word_is_for_listener(const char *word) {
        /* There the state that changes names who is told. */
        static const char *const words[] = { "notify", "watch_in", "listen_in", "onchanges_in" };

        FOREACH_ELEMENT(w, words)
                if (streq(*w, word))
                        return true;
        return false;
}

const char *suggest_word(const char *word, const char *const *candidates, size_t n) {
        FOREACH_ELEMENT(other, other_words)
                if (streq(other->word, word))
                        for (size_t i = 0; i < n; i++)
                                if (candidates[i] && streq(candidates[i], other->ours))
                                        return candidates[i];
        return suggest(word, candidates, n);
}

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
        { "append_on_no_match", "match" },
        { "argv", "command" },
        { "attributes", "immutable" },
        { "attrs", "immutable" },
        { "backrefs", "match" },
        { "become_user", "user" },
        { "chdir", "directory" },
        { "check_cmd", "validate" },
        { "clean", "purge" },
        { "cmd", "command" },
        { "content", "block" },
        { "contents", "content" },
        { "cwd", "directory" },
        { "dest", "path" },
        { "dir_mode", "directory_mode" },
        { "env", "environment" },
        { "exclude_pat", "exclude" },
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
        { "makedirs", "parents" },
        { "marker_start", "marker" },
        { "matches", "patterns" },
        { "no_log", "sensitive" },
        { "onchanges", "check_on" },
        { "onlyif", "only_if" },
        { "option", "set" },
        { "options", "set" },
        { "pattern", "match" },
        { "pattern", "patterns" },
        { "recurselimit", "max_depth" },
        { "refreshonly", "check_on" },
        { "regexp", "match" },
        { "remote_src", "source" },
        { "repl", "replace" },
        { "require", "requires" },
        { "runas", "user" },
        { "search_string", "match" },
        { "show_diff", "sensitive" },
        { "size", "larger" },
        { "source_hash", "checksum" },
        { "src", "source" },
        { "state", "ensure" },
        { "stdin", "input" },
        { "strip_components", "strip" },
        { "subscribe", "restart_on" },
        { "subscribe", "check_on" },
        { "success_retcodes", "returns" },
        { "target", "path" },
        { "text", "line" },
        { "user", "owner" },
        { "validate_cmd", "validate" },
        { "value", "set" },
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
        { "tidied", "tidy" },
        { "unarchive", "archive" },
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

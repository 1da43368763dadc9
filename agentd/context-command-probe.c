/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether a program can be executed at all. */

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "child.h"
#include "command.h"
#include "context.h"

_noreturn_ static void probe(const AgentdCommand *command, const char *user, uid_t uid, gid_t gid) {
        static char path[] = COMMAND_PATH, lang[] = COMMAND_LANG;

        child_reset_signals();
        if (command->user || command->group) {
                if ((user ? initgroups(user, gid) : setgroups(1, &gid)) < 0 ||
                        setresgid(gid, gid, gid) < 0 || (command->user && setresuid(uid, uid, uid) < 0))
                        _exit(EXIT_FAILURE);
        }
        if (chdir(command->directory ?: "/") < 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                _exit(EXIT_FAILURE);
        (void) execve(command->argv[0], (char *const *) command->argv, (char *[]){ path, lang, NULL });
        _exit(EXIT_FAILURE);
}

/*
 * systemd gives a program that it could not start a status which the program may have given itself, and a very short one has ended
 * before systemd has seen that it was started. What is traced stops when it has been executed, before its first instruction:
 * there it is killed.
 */
bool context_can_execute(AgentdContext *context, const AgentdCommand *command) {
        const struct passwd *user = NULL;
        gid_t gid = 0;
        uid_t uid = 0;
        int status = 0;
        pid_t pid;

        if (command->user) {
                if (agentd_user_id(context, command->user, &uid) < 0)
                        return false;
                user = getpwuid(uid);
                gid = user ? user->pw_gid : (gid_t) uid;
        }
        if (command->group && agentd_group_id(context, command->group, &gid) < 0)
                return false;
        pid = fork();
        if (pid < 0)
                return false;
        if (pid == 0)
                probe(command, user ? user->pw_name : NULL, uid, gid);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return false;
        if (!WIFSTOPPED(status))
                return false;
        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return WSTOPSIG(status) == SIGTRAP;
}

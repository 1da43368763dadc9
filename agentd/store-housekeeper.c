/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "log.h"
#include "store-internal.h"

int store_on_commit(void *userdata, sqlite3 *db, const char *name, int n_pages) {
        Store *s = userdata;

        /* The log begins anew after a checkpoint. */
        if (n_pages < s->wal_pages)
                s->wal_pages_then = 0;
        s->wal_pages = n_pages;

        if (n_pages >= STORE_WAL_PAGES_ALONE && s->pid == 0)
                (void) sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        return SQLITE_OK;
}

void store_stop_housekeeper(Store *s) {
        if (s->pid == 0)
                return;
        s->child = sd_event_source_disable_unref(s->child);
        /* At any instant: SQLite undoes what was half done. */
        (void) kill(s->pid, SIGKILL);
        (void) waitpid(s->pid, NULL, 0);
        s->pid = 0;
}

static int on_exit_of_housekeeper(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Store *s = userdata;

        s->pid = 0;
        s->child = sd_event_source_disable_unref(s->child);
        if (info->si_code == CLD_EXITED && info->si_status == EXIT_SUCCESS) {
                s->kept_usec = now_usec(CLOCK_REALTIME);
                store_keep_house(s);
        } else if (info->si_code == CLD_EXITED && info->si_status == HOUSEKEEPER_CORRUPT) {
                if (s->db && s->n_reading == 0)
                        (void) store_handle_error(s, SQLITE_CORRUPT);
        } else {
                log_warning("The housekeeper of '%s' %s %d", s->path,
                        info->si_code == CLD_EXITED ? "failed with exit status" : "was ended by signal",
                        info->si_status);
                s->housekeeper_hold_usec = now_usec(CLOCK_MONOTONIC) + STORE_HOUSEKEEPER_RETRY_USEC;
        }
        store_schedule(s);
        return 0;
}

static void start(Store *s) {
        char size[32], age[32], content[32];
        char *argv[] = { s->housekeeper, (char *) "--housekeeper", s->directory, size, age, content, NULL };
        pid_t parent = getpid();
        int r;

        (void) snprintf(size, sizeof(size), "%" PRIu64, s->limits.size_bytes);
        (void) snprintf(age, sizeof(age), "%" PRIu64, s->limits.age_usec);
        (void) snprintf(content, sizeof(content), "%" PRIu64, s->limits.content_bytes);
        s->housekeeper_wanted = false;
        s->content_bytes = 0;
        s->wal_pages_then = s->wal_pages;

        /* Executed, not only forked: SQLite's table of locks would survive the fork while the locks do not. */
        s->pid = fork();
        if (s->pid < 0) {
                s->pid = 0;
                (void) log_warning_errno(errno, "Failed to start the housekeeper of '%s': %m", s->path);
                s->housekeeper_hold_usec = now_usec(CLOCK_MONOTONIC) + STORE_HOUSEKEEPER_RETRY_USEC;
                return;
        }
        if (s->pid == 0) {
                child_reset_signals();
                (void) child_open_null(1);
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                (void) execv(s->housekeeper, argv);
                _exit(127);
        }

        r = sd_event_add_child(s->event, &s->child, s->pid, WEXITED, on_exit_of_housekeeper, s);
        if (r < 0) {
                (void) log_warning_errno(r, "Failed to watch the housekeeper of '%s': %m", s->path);
                s->housekeeper_hold_usec = USEC_INFINITY;
                store_stop_housekeeper(s);
        }
}

void store_keep_house(Store *s) {
        usec_t now;

        if (!s->housekeeper || s->pid > 0 || !s->db || s->failed)
                return;
        if (!s->housekeeper_wanted && s->wal_pages < s->wal_pages_then + STORE_WAL_PAGES) {
                now = now_usec(CLOCK_REALTIME);
                /* Done at a time that is yet to come: the clock was wrong then, and nobody should wait for years. */
                if (now >= s->kept_usec && now < s->kept_usec + STORE_HOUSEKEEPER_USEC)
                        return;
        }
        if (now_usec(CLOCK_MONOTONIC) < s->housekeeper_hold_usec)
                return;
        start(s);
}

void store_set_limits(Store *s, const StoreLimits *limits) {
        assert(s);
        assert(limits);

        if (store_size(s) > limits->size_bytes ||
                (s->limits.content_bytes != UINT64_MAX && limits->content_bytes < s->limits.content_bytes))
                s->housekeeper_wanted = true;
        s->limits = *limits;
        store_keep_house(s);
}

pid_t store_housekeeper(const Store *s) {
        assert(s);

        return s->pid;
}

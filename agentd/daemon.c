/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "api.h"
#include "daemon.h"
#include "disable.h"
#include "engine.h"
#include "lock.h"
#include "log.h"
#include "notify.h"
#include "once.h"
#include "paths.h"

#define SOCKET_PATH RUN_DIRECTORY "/agentd.sock"

/* Waiting connections that the kernel keeps; it takes no more than net.core.somaxconn. */
#define SOCKET_BACKLOG 4096

typedef struct Daemon {
        const DaemonOptions *options;
        sd_event *event;
        Engine *engine;
        Api *api;
        int lock, socket;               /* the socket only if it is our own */
        int n_sockets;                  /* of the service manager */
        CommandDescriptor *descriptors; /* of commands, to be passed on */
        size_t n_descriptors;
        char *executable;
} Daemon;

/* ---- Signals -------------------------------------------------------------------------------------------------------- */

static int on_stop(_unused_ sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        const Daemon *daemon = userdata;

        log_debug("Told to stop by signal %u", si->ssi_signo);
        engine_stop(daemon->engine, 0);
        return 0;
}

static int on_hangup(
        _unused_ sd_event_source *source, _unused_ const struct signalfd_siginfo *si, void *userdata) {
        const Daemon *daemon = userdata;

        (void) engine_reload(daemon->engine, NULL, NULL);
        return 0;
}

/* As systemd's own services do. Source: systemd(1), "SIGNALS". */
static int on_log_level(
        _unused_ sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        const Daemon *daemon = userdata;
        int level = LOG_DEBUG;

        if ((int) si->ssi_signo != SIGRTMIN + 22)
                level = daemon->options->log_level >= 0 ? daemon->options->log_level
                                                        : (int) engine_settings(daemon->engine)->log_level;

        log_set_max_level(level);
        log_notice("The log level is '%s' now", log_level_to_string(level));
        return 0;
}

static int add_signals(Daemon *daemon) {
        const struct {
                int signal;
                sd_event_signal_handler_t handler;
        } signals[] = {
                { SIGTERM, on_stop },
                { SIGINT, on_stop },
                { SIGHUP, on_hangup },
                { SIGRTMIN + 22, on_log_level },
                { SIGRTMIN + 23, on_log_level },
        };
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        FOREACH_ELEMENT(s, signals)
                (void) sigaddset(&mask, s->signal);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);
        FOREACH_ELEMENT(s, signals) {
                int r = sd_event_add_signal(daemon->event, NULL, s->signal, s->handler, daemon);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Sockets -------------------------------------------------------------------------------------------------------- */

/* Started by hand, without a socket from systemd. */
static int make_socket(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET_PATH };
        _cleanup_close_ int fd = -EBADF;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* We hold the lock: nobody listens on one that is there. */
        (void) unlink(SOCKET_PATH);
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        if (chmod(SOCKET_PATH, 0666) < 0 || listen(fd, SOCKET_BACKLOG) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/*
 * What the service manager has given us: sockets, then what it has kept of commands, by name. The environment stays as it is, as
 * sockets are looked for in it once more.
 */
static int take_descriptors(Daemon *daemon) {
        char **names = NULL;
        int n, r = 0;

        n = sd_listen_fds_with_names(0, &names);
        if (n < 0)
                return n;
        daemon->n_sockets = n;
        daemon->descriptors = calloc((size_t) n + 1, sizeof(*daemon->descriptors));
        if (!daemon->descriptors)
                r = -ENOMEM;
        for (int i = 0; i < n && r >= 0; i++) {
                CommandDescriptor *descriptor = &daemon->descriptors[daemon->n_descriptors];
                int fd = SD_LISTEN_FDS_START + i;

                if (!startswith(names[i], "command-"))
                        continue;
                daemon->n_sockets = MIN(daemon->n_sockets, i);
                /* Its number is needed for others if there is another program one day. */
                descriptor->fd = fcntl(fd, F_DUPFD_CLOEXEC, SD_LISTEN_FDS_START + n);
                if (descriptor->fd < 0)
                        r = -errno;
                descriptor->name = TAKE_PTR(names[i]);
                daemon->n_descriptors++;
                (void) safe_close(fd);
        }
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return r;
}

static int listen_all(Daemon *daemon) {
        int n = daemon->n_sockets, r;

        for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
                if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
                        log_warning("Descriptor %d of the service manager is no listening Unix socket, "
                                    "ignoring",
                                fd);
                        continue;
                }
                (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
                r = api_listen(daemon->api, fd);
                if (r < 0)
                        return log_error_errno(r, "Failed to listen on descriptor %d: %m", fd);
        }
        if (n > 0)
                return 0;

        daemon->socket = make_socket();
        if (daemon->socket < 0)
                return log_error_errno(daemon->socket, "Failed to listen on '%s': %m", SOCKET_PATH);
        r = api_listen(daemon->api, daemon->socket);
        if (r < 0)
                return log_error_errno(r, "Failed to listen on '%s': %m", SOCKET_PATH);
        return 0;
}

/* ---- Another program ------------------------------------------------------------------------------------------------ */

/* The file that runs, by the name it has now; after an upgrade the kernel says " (deleted)" behind it. */
static int find_executable(char **ret) {
        char path[4096];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        size_t suffix = strlen(" (deleted)");

        if (n < 0)
                return -errno;
        path[n] = 0;
        if (endswith(path, " (deleted)"))
                path[(size_t) n - suffix] = 0;
        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
}

/* Puts what is needed of commands behind the sockets, and says so in the environment. */
static int pass_descriptors(Daemon *daemon) {
        _cleanup_free_ char *names = NULL, *old = NULL;
        char number[16];
        size_t size, n = daemon->n_descriptors;
        FILE *f;
        int first = SD_LISTEN_FDS_START + daemon->n_sockets, r = 0;

        f = open_memstream(&names, &size);
        if (!f)
                return -ENOMEM;
        old = strdup(getenv("LISTEN_FDNAMES") ?: "");
        for (int i = 0; i < daemon->n_sockets; i++) {
                const char *name = i == 0 ? strtok(old, ":") : strtok(NULL, ":");

                (void) fprintf(f, "%s%s", i > 0 ? ":" : "", name ?: "unknown");
        }
        /* Out of the way of each other first. */
        for (size_t i = 0; i < n && r >= 0; i++) {
                int fd = fcntl(daemon->descriptors[i].fd, F_DUPFD_CLOEXEC, first + (int) n);

                if (fd < 0)
                        r = -errno;
                (void) safe_close(daemon->descriptors[i].fd);
                daemon->descriptors[i].fd = fd;
        }
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (dup2(daemon->descriptors[i].fd, first + (int) i) < 0)
                        r = -errno;
                (void) fprintf(
                        f, "%s%s", daemon->n_sockets + (int) i > 0 ? ":" : "", daemon->descriptors[i].name);
        }
        if (fclose(f) != 0)
                return -ENOMEM;
        if (r < 0)
                return r;
        (void) snprintf(number, sizeof(number), "%d", daemon->n_sockets + (int) n);
        if (setenv("LISTEN_FDS", number, true) < 0 || setenv("LISTEN_FDNAMES", names, true) < 0)
                return -errno;
        (void) snprintf(number, sizeof(number), "%d", (int) getpid());
        return setenv("LISTEN_PID", number, true) < 0 ? -errno : 0;
}

/* All that was ours is given back by now. What the service manager gave us is passed on. */
static int exec_replaced(Daemon *daemon) {
        int n = daemon->n_sockets, r;

        r = pass_descriptors(daemon);
        if (r < 0)
                (void) log_warning_errno(
                        r, "Failed to pass on the output of commands, going on without: %m");
        for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++)
                (void) fcntl(fd, F_SETFD, 0);
        /* The signals that we wait for stay blocked: those that come now wait for the next program, and do not kill. */
        (void) signal(SIGPIPE, SIG_DFL);
        (void) execv(daemon->executable, daemon->options->argv);
        /* Whatever it is that lies there: the service manager starts it again, or says why it cannot. */
        return log_error_errno(errno, "Failed to start the new '%s': %m", daemon->executable);
}

/* ---- The loop ------------------------------------------------------------------------------------------------------- */

static void on_leave(void *userdata) {
        const Daemon *daemon = userdata;

        if (daemon->api)
                api_close(daemon->api);
}

static bool is_telling(void *userdata) {
        const Daemon *daemon = userdata;

        return daemon->api && api_is_sending(daemon->api);
}

static void close_all(Daemon *daemon) {
        daemon->api = api_free(daemon->api);
        daemon->engine = engine_free(daemon->engine);
        daemon->socket = safe_close(daemon->socket);
        daemon->event = sd_event_unref(daemon->event);
        daemon->lock = safe_close(daemon->lock);
}

/* Return: what the loop was left with; -errno, logged. */
static int run(Daemon *daemon, EngineOptions *options) {
        int r;

        r = sd_event_new(&daemon->event);
        if (r < 0)
                return log_error_errno(r, "Failed to make an event loop: %m");
        r = add_signals(daemon);
        if (r < 0)
                return log_error_errno(r, "Failed to wait for signals: %m");
        r = take_descriptors(daemon);
        if (r < 0)
                return log_error_errno(r, "Failed to take over what the service manager has kept: %m");
        options->descriptors = TAKE_PTR(daemon->descriptors);
        options->n_descriptors = daemon->n_descriptors;
        daemon->n_descriptors = 0;
        r = engine_new(daemon->event, options, &daemon->engine);
        if (r < 0)
                return r;
        r = api_new(daemon->event, daemon->engine, &(ApiOptions){ .state_directory = STATE_DIRECTORY },
                &daemon->api);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the local interface: %m");
        r = listen_all(daemon);
        if (r < 0)
                return r;
        r = sd_event_set_watchdog(daemon->event, true);
        if (r < 0)
                log_warning_errno(r, "Failed to set up the watchdog, going on without: %m");
        r = engine_start(daemon->engine);
        if (r < 0)
                return log_error_errno(r, "Failed to start: %m");
        r = sd_event_loop(daemon->event);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        return r;
}

static int make_state_directory(void) {
        if (mkdir(STATE_DIRECTORY, 0700) < 0 && errno != EEXIST)
                return log_warning_errno(
                        errno, "Failed to make '%s', going on without: %m", STATE_DIRECTORY);
        return 0;
}

int daemon_run(const DaemonOptions *options) {
        Daemon daemon = { .options = options, .lock = -EBADF, .socket = -EBADF };
        EngineOptions engine = {
                .conf_dir = options->conf_dir,
                .module_dir = options->module_dir,
                .state_directory = STATE_DIRECTORY,
                .log_level = options->log_level,
                .units = sd_booted() > 0,
                .on_leave = on_leave,
                .is_telling = is_telling,
                .userdata = &daemon,
        };
        int r;

        if (geteuid() != 0) {
                log_error("agentd must be run by root; 'agentctl' shows what the running one does");
                return EXIT_INVALID;
        }
        daemon.lock = lock_take();
        if (daemon.lock == -EWOULDBLOCK) {
                log_error("agentd is running already (it holds '" LOCK_FILE "')");
                return EXIT_STATE_FAILED;
        }
        if (daemon.lock < 0) {
                (void) log_error_errno(daemon.lock, "Failed to take the lock '%s': %m", LOCK_FILE);
                return EXIT_STATE_FAILED;
        }
        (void) make_state_directory();
        r = find_executable(&daemon.executable);
        if (r < 0)
                (void) log_warning_errno(
                        r, "Failed to find our own program; an upgrade will not be seen: %m");
        engine.executable = daemon.executable;

        r = run(&daemon, &engine);
        if (r == ENGINE_EXIT_REPLACED) {
                notify_reloading();
                (void) engine_take_descriptors(daemon.engine, &daemon.descriptors, &daemon.n_descriptors);
        }
        close_all(&daemon);
        if (r == ENGINE_EXIT_REPLACED)
                r = exec_replaced(&daemon);
        command_descriptors_free(daemon.descriptors, daemon.n_descriptors);
        free(daemon.executable);
        return r < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
}

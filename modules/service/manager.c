/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager.h"

#define LINGER_DIRECTORY "/var/lib/systemd/linger"

static Manager *managers;

/* The directory is the user's, who can put anything there, like a link to the socket of the host's systemd: whoever listens has to be of
 * that user. Return: a descriptor; -EPERM; -errno. */
static int open_socket(const char *directory, uid_t uid) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct ucred peer = { .uid = (uid_t) -1 };
        socklen_t size = sizeof(peer);
        int fd, r;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/systemd/private", directory);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
                getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                r = -errno;
        else
                r = peer.uid == uid ? 0 : -EPERM;
        if (r >= 0)
                return fd;
        (void) close(fd);
        return r;
}

/* systemd listens on a socket of its own, and answers root there: with no bus in between each job costs half, and a bus that is restarted
 * is no concern. A user's is to be had in no other way. */
static int connect_directly(Manager *manager, sd_bus **ret) {
        char directory[64] = "/run";
        int fd, r;
        sd_bus *bus;

        if (manager->bus && sd_bus_is_open(manager->bus) > 0) {
                *ret = manager->bus;
                return 0;
        }
        manager->bus = sd_bus_close_unref(manager->bus);
        if (manager->user)
                (void) snprintf(directory, sizeof(directory), "/run/user/%u", (unsigned) manager->uid);
        fd = open_socket(directory, manager->uid);
        if (fd < 0)
                return fd;
        r = sd_bus_new(&bus);
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0)
                (void) close(fd);
        else
                r = sd_bus_start(bus);
        if (r < 0) {
                sd_bus_unref(bus);
                return r;
        }
        *ret = manager->bus = bus;
        return 0;
}

static int connect_manager(void *userdata, sd_bus **ret) {
        Manager *manager = userdata;
        sd_bus *bus;
        int r;

        if (manager->user)
                return connect_directly(manager, ret);
        r = agentd_bus(manager->context, &bus);
        if (r == -EHOSTDOWN)
                return r;
        if (geteuid() == 0 && connect_directly(manager, ret) >= 0)
                return 0;
        *ret = bus;
        return r;
}

static int look_up(Manager *manager) {
        struct passwd buffer, *entry = NULL;
        char text[16384], *home;
        int r;

        r = getpwnam_r(manager->user, &buffer, text, sizeof(text), &entry);
        if (r != 0)
                return -r;
        if (!entry)
                return -ESRCH;
        if (manager->home && manager->uid == entry->pw_uid && manager->gid == entry->pw_gid &&
                strcmp(manager->home, entry->pw_dir) == 0)
                return 0;
        /* Another one of that name, since we have looked: nothing holds that is known of the former. */
        home = strdup(entry->pw_dir);
        if (!home)
                return -ENOMEM;
        free(manager->home);
        units_done(&manager->units);
        manager->files = unit_files_free(manager->files);
        manager->bus = sd_bus_close_unref(manager->bus);
        manager->uid = entry->pw_uid;
        manager->gid = entry->pw_gid;
        manager->home = home;
        return 0;
}

static void manager_free(Manager *manager) {
        units_done(&manager->units);
        unit_files_free(manager->files);
        free(manager->user);
        free(manager->home);
        free(manager);
}

int manager_get(AgentdContext *context, const char *user, Manager **ret) {
        Manager *manager;
        int r = 0;

        for (manager = managers; manager; manager = manager->next)
                if (user ? manager->user && strcmp(manager->user, user) == 0 : !manager->user) {
                        manager->context = context;
                        r = user ? look_up(manager) : 0;
                        if (r >= 0)
                                *ret = manager;
                        return r;
                }
        manager = calloc(1, sizeof(*manager));
        if (!manager)
                return -ENOMEM;
        *manager = (Manager){ .context = context,
                .units = { .connect = connect_manager, .userdata = manager } };
        if (user) {
                manager->user = strdup(user);
                r = manager->user ? look_up(manager) : -ENOMEM;
        }
        if (r < 0) {
                manager_free(manager);
                return r;
        }
        manager->next = managers;
        *ret = managers = manager;
        return 0;
}

void manager_let_go(Manager *manager) {
        units_done(&manager->units);
        if (!manager->user)
                return;
        /* The user's systemd may have said any number of things that nobody wanted to hear, and they are kept for as long as there is a
         * connection; and unit files of a user may be of any size. The next states are somebody else's. */
        manager->bus = sd_bus_close_unref(manager->bus);
        manager->files = unit_files_free(manager->files);
}

int manager_files(Manager *manager, UnitFiles **ret) {
        static int root_fd = -1;
        char runtime[32];
        const char *name;
        int fd, r;

        if (manager->files) {
                r = unit_files_refresh(manager->files);
                if (r < 0)
                        return r;
                *ret = manager->files;
                return 0;
        }
        if (root_fd < 0) {
                /* What holds /etc is the root. */
                r = agentd_open_parent(manager->context, "/etc", &fd, &name);
                if (r < 0)
                        return r;
                root_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (root_fd < 0)
                        return -errno;
        }
        (void) snprintf(runtime, sizeof(runtime), "/run/user/%u", (unsigned) manager->uid);
        r = unit_files_new(root_fd,
                manager->user ? &(UnitOwner){ .scope = UNIT_SCOPE_USER,
                                        .home = manager->home,
                                        .runtime_dir = runtime,
                                        .user = manager->user,
                                        .uid = manager->uid,
                                        .gid = manager->gid }
                              : &(UnitOwner){ .scope = UNIT_SCOPE_SYSTEM },
                &manager->files);
        if (r >= 0)
                *ret = manager->files;
        return r;
}

/* ---- Of users -------------------------------------------------------------------------------------------------- */

bool manager_is_there(const Manager *manager) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/run/user/%u/systemd/private", (unsigned) manager->uid);
        return !manager->user || access(path, F_OK) == 0;
}

bool manager_lingers(const Manager *manager) {
        char path[sizeof(LINGER_DIRECTORY) + 256 + 1];

        (void) snprintf(path, sizeof(path), LINGER_DIRECTORY "/%.256s", manager->user);
        return access(path, F_OK) == 0;
}

int manager_set_linger(Manager *manager, bool linger) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus;
        int r;

        r = agentd_bus(manager->context, &bus);
        if (r >= 0)
                r = sd_bus_call_method(bus, "org.freedesktop.login1", "/org/freedesktop/login1",
                        "org.freedesktop.login1.Manager", "SetUserLinger", &error, NULL, "ubb",
                        (uint32_t) manager->uid, (int) linger, 0);
        if (r < 0)
                (void) snprintf(manager->units.error, sizeof(manager->units.error), "%s",
                        error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
        return r < 0 ? r : 0;
}

int manager_start(Manager *manager, uint64_t deadline_usec) {
        char unit[64];
        UnitJob job = { .name = unit, .method = UNIT_START };
        Manager *host;
        int r;

        (void) snprintf(unit, sizeof(unit), "user@%u.service", (unsigned) manager->uid);
        r = manager_get(manager->context, NULL, &host);
        if (r < 0)
                return r;
        r = units_run_jobs(&host->units, &job, 1, deadline_usec, NULL);
        if (r >= 0 && job.result != JOB_DONE)
                r = -ENOTCONN;
        if (r < 0)
                (void) snprintf(
                        manager->units.error, sizeof(manager->units.error), "%s did not start", unit);
        return r;
}

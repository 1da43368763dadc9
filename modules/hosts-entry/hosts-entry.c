/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * hosts-entry: keeps a line of /etc/hosts. The example module: small, whole, and safe to copy from.
 *
 *      [hosts-entry."db.example.org"]
 *      address = "192.0.2.7"
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <agentd/module.h>

#define HOSTS     "/etc/hosts"
#define HOSTS_MAX (1024 * 1024)

/* The lock is waited for for 5 s. */
#define LOCK_PAUSE_NSEC 20000000
#define LOCK_PAUSES     250

/* By index in the list of parameters. */
enum { P_ADDRESS };

static const AgentdParameter parameters[] = {
        [P_ADDRESS] = { .name = "address",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED,
                .documentation = "the address that the name stands for, of IPv4 or IPv6" },
        {},
};

/* What prepare gave. */
static const char *wanted_address(const AgentdState *state) {
        return ((const AgentdValue *) state->data)[P_ADDRESS].string;
}

/* In the loader: can it be what the role says? The values of the parameters are all that is needed later. */
static int prepare(AgentdPrepare *p, const char *name, const AgentdValue *values, const void **ret_data,
        unsigned flags) {
        const char *address = values[P_ADDRESS].string;
        struct in6_addr binary;
        int r = 0;

        if (name[strcspn(name, " \t\r#")]) {
                agentd_prepare_error(
                        p, -1, "'%s' has white space or a '#' in it, which no name of a host has", name);
                r = -EINVAL;
        }
        if (inet_pton(AF_INET, address, &binary) != 1 && inet_pton(AF_INET6, address, &binary) != 1) {
                agentd_prepare_error(p, P_ADDRESS,
                        "'address' is '%s'; it must be one like \"192.0.2.7\" or \"2001:db8::7\"", address);
                r = -EINVAL;
        }
        *ret_data = values;
        return r;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        agentd_watch_path(w, HOSTS);
        return 0;
}

/* ---- The file -------------------------------------------------------------------------------------------------- */

static int read_text(int fd, char *text, struct stat *ret_stat) {
        size_t size = 0;
        ssize_t n = 0;

        if (fstat(fd, ret_stat) < 0)
                return -errno;
        if (!S_ISREG(ret_stat->st_mode))
                return -EINVAL;
        while (size <= HOSTS_MAX && (n = read(fd, text + size, HOSTS_MAX + 1 - size)) > 0)
                size += (size_t) n;
        if (n < 0)
                return -errno;
        if (size > HOSTS_MAX)
                return -EFBIG;
        return strlen(text) == size ? 0 : -EINVAL;
}

/* The file as a string, to be freed; "" if there is none. Return: 0; -errno: what cannot be read is not replaced. */
static int read_hosts(AgentdContext *c, char **ret, struct stat *ret_stat) {
        char *text = calloc(1, HOSTS_MAX + 2);
        const char *name;
        int dir_fd, fd, r;

        if (!text)
                return -ENOMEM;
        *ret_stat = (struct stat){ .st_mode = S_IFREG | 0644 };
        r = agentd_open_parent(c, HOSTS, &dir_fd, &name);
        if (r == 0) {
                fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (fd >= 0) {
                        r = read_text(fd, text, ret_stat);
                        (void) close(fd);
                } else if (errno != ENOENT)
                        r = -errno;
        }
        if (r < 0)
                free(text);
        else
                *ret = text;
        return r;
}

/* Takes a host's name out of a line: "ADDRESS NAME…  # comment". Return: how many other names it has. */
static size_t remove_name(char *line, const char *host, bool *ret_found) {
        char *p = line + strspn(line, " \t");
        size_t left = 0;

        *ret_found = false;
        p += strcspn(p, " \t#");
        for (;;) {
                char *word = p + strspn(p, " \t");
                size_t length = strcspn(word, " \t\r#");

                if (length == 0)
                        return left;
                if (length == strlen(host) && memcmp(word, host, length) == 0) {
                        memmove(p, word + length, strlen(word + length) + 1);
                        *ret_found = true;
                } else {
                        p = word + length;
                        left++;
                }
        }
}

/* The address of a host, to be freed; NULL if no line has it. */
static char *find_address(const char *text, const char *host) {
        for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
                char *line = strndup(text, strcspn(text, "\n"));
                bool found = false;

                if (line)
                        (void) remove_name(line, host, &found);
                if (found) {
                        const char *address = line + strspn(line, " \t");
                        char *copy = strndup(address, strcspn(address, " \t#"));

                        free(line);
                        return copy;
                }
                free(line);
        }
        return NULL;
}

/* The text with the host at this address and no other, to be freed; NULL if there is no memory. */
static char *set_address(const char *text, const char *host, const char *address) {
        char *new = NULL;
        size_t size;
        FILE *f = open_memstream(&new, &size);
        bool ok = f != NULL;

        for (; ok && *text; text += strcspn(text, "\n"), text += *text == '\n') {
                char *line = strndup(text, strcspn(text, "\n"));
                bool found = false;

                ok = line != NULL;
                if (ok && (remove_name(line, host, &found) > 0 || !found))
                        (void) fprintf(f, "%s\n", line);
                free(line);
        }
        if (f) {
                (void) fprintf(f, "%s\t%s\n", address, host);
                ok = fclose(f) == 0 && ok;
        }
        if (ok)
                return new;
        free(new);
        return NULL;
}

/* ---- Check and apply ------------------------------------------------------------------------------------------- */

/* Reads the file once, however many states it is asked about. */
static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        struct stat st;
        char *text;
        int r;

        r = read_hosts(c, &text, &st);
        for (size_t i = 0; i < n; i++) {
                const char *should = wanted_address(&states[i]);
                char *is;

                if (r < 0) {
                        agentd_failed(c, i, "Failed to read '%s': %s", HOSTS, strerror(-r));
                        continue;
                }
                is = find_address(text, states[i].name);
                if (!is || strcmp(is, should) != 0)
                        agentd_differs_string(c, i, "address", is, should);
                agentd_done(c, i);
                free(is);
        }
        if (r == 0)
                free(text);
        return 0;
}

/* Batches of one type may be applied by several workers at once: what they share wants a lock. Anybody can hold it, and never let go:
 * nobody is waited for without end. If a line is lost then, the check that follows finds it missing. */
static int lock_directory(AgentdContext *c) {
        const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NSEC };
        const char *name;
        int dir_fd, fd, r;

        r = agentd_open_parent(c, HOSTS, &dir_fd, &name);
        if (r < 0)
                return r;
        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (int i = 0; i < LOCK_PAUSES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
                (void) nanosleep(&pause, NULL);
        return fd;
}

static int write_hosts(AgentdContext *c, const AgentdState *states, size_t n) {
        AgentdAttributes attributes;
        int lock_fd, r;
        struct stat st;
        char *text;

        lock_fd = lock_directory(c);
        if (lock_fd < 0)
                return lock_fd;
        r = read_hosts(c, &text, &st);
        for (size_t i = 0; i < n && r == 0; i++) {
                char *new = set_address(text, states[i].name, wanted_address(&states[i]));

                free(text);
                text = new;
                r = text ? 0 : -ENOMEM;
        }
        if (r == 0) {
                attributes =
                        (AgentdAttributes){ .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid };
                r = agentd_replace_file(c, HOSTS, text, strlen(text), &attributes);
                free(text);
        }
        (void) close(lock_fd);
        return r;
}

/* Likewise writes it once. */
static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        int r = write_hosts(c, states, n);

        for (size_t i = 0; i < n; i++)
                if (r < 0)
                        agentd_failed(c, i, "Failed to change '%s': %s", HOSTS, strerror(-r));
                else
                        agentd_done(c, i);
        return 0;
}

static const AgentdStateType hosts_entry = {
        .name = "hosts-entry",
        .documentation = "Keeps the address of one name in /etc/hosts",
        .parameters = parameters,
        .prepare = prepare,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("hosts-entry", "1", &hosts_entry);

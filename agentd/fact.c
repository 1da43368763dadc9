/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "fact-internal.h"

/* Enough for the fixed files; a longer one is cut, which harms none of their readers. */
#define FILE_SIZE  KIB(16)
#define HOSTS_SIZE KIB(256)

static void set_text(Arena *arena, Value *facts, const char *name, const char *text) {
        Value value = text_value(arena, text, strlen(text));

        (void) value_set(arena, facts, name, &value);
}

static void set_integer(Arena *arena, Value *facts, const char *name, int64_t integer) {
        Value value = value_integer(integer);

        (void) value_set(arena, facts, name, &value);
}

/* The first line of a file in the buffer, or "". */
static const char *read_line(int root_fd, const char *path, char *buffer, size_t size) {
        return root_read(root_fd, path, buffer, size) > 0 ? first_line(buffer) : "";
}

static void gather_os(Arena *arena, int root_fd, Value *facts) {
        char buffer[FILE_SIZE];
        ssize_t n;
        Value os;

        n = root_read(root_fd, "etc/os-release", buffer, sizeof(buffer));
        if (n < 0)
                n = root_read(root_fd, "usr/lib/os-release", buffer, sizeof(buffer));
        os = os_facts(arena, buffer, n > 0 ? (size_t) n : 0);
        (void) value_set(arena, facts, "os", &os);
}

static void gather_names(Arena *arena, int root_fd, bool host, const struct utsname *uts, Value *facts) {
        char buffer[FILE_SIZE];
        const char *hostname, *fqdn, *dot;

        hostname = host ? uts->nodename : read_line(root_fd, "etc/hostname", buffer, sizeof(buffer));
        if (streq(hostname, "(none)"))
                hostname = "";
        hostname = text_value(arena, hostname, strlen(hostname)).text;

        fqdn = hostname;
        if (!strchr(hostname, '.')) {
                _cleanup_free_ char *hosts = malloc(HOSTS_SIZE);
                ssize_t n = hosts ? root_read(root_fd, "etc/hosts", hosts, HOSTS_SIZE) : 0;

                if (n > 0)
                        fqdn = hosts_find_fqdn(arena, hosts, (size_t) n, hostname) ?: hostname;
        }
        dot = strchr(fqdn, '.');

        set_text(arena, facts, "hostname", hostname);
        set_text(arena, facts, "fqdn", fqdn);
        set_text(arena, facts, "domain", dot ? dot + 1 : "");
}

static void gather_machine_id(Arena *arena, int root_fd, Value *facts) {
        char buffer[256];
        const char *id = read_line(root_fd, "etc/machine-id", buffer, sizeof(buffer));

        /* Source: machine-id(5); "uninitialized" before the first boot. */
        if (strspn(id, "0123456789abcdef") != 32 || id[32] != 0)
                id = "";
        set_text(arena, facts, "machine_id", id);
}

static void gather_timezone(Arena *arena, int root_fd, Value *facts) {
        _cleanup_close_ int fd = root_open(root_fd, "etc/localtime", O_PATH | O_NOFOLLOW);
        char buffer[512];
        const char *zone;
        ssize_t n;

        /* Source: localtime(5): a link to a file below zoneinfo/; without it, UTC holds. */
        if (fd < 0) {
                set_text(arena, facts, "timezone", fd == -ENOENT ? "UTC" : "");
                return;
        }
        n = readlinkat(fd, "", buffer, sizeof(buffer) - 1);
        if (n > 0) {
                buffer[n] = 0;
                zone = strstr(buffer, "/zoneinfo/");
                set_text(arena, facts, "timezone", zone ? zone + strlen("/zoneinfo/") : "");
                return;
        }
        set_text(arena, facts, "timezone", read_line(root_fd, "etc/timezone", buffer, sizeof(buffer)));
}

static int systemd_version_in(int root_fd, const char *path) {
        int fd = root_open(root_fd, path, O_RDONLY | O_DIRECTORY), version = 0;
        struct dirent *entry;
        DIR *dir;

        if (fd < 0)
                return 0;
        dir = fdopendir(fd);
        if (!dir) {
                safe_close(fd);
                return 0;
        }
        /* During an upgrade there are two. */
        while ((entry = readdir(dir)))
                version = MAX(version, systemd_version_from_name(entry->d_name));
        closedir(dir);
        return version;
}

static int systemd_version(int root_fd) {
        static const char *const fixed[] = { "usr/lib/systemd", "lib/systemd", "usr/lib64/systemd" };
        int version = 0, fd;
        struct dirent *entry;
        DIR *dir;

        FOREACH_ELEMENT(path, fixed) {
                version = systemd_version_in(root_fd, *path);
                if (version > 0)
                        return version;
        }

        /* Debian: usr/lib/x86_64-linux-gnu/systemd. */
        fd = root_open(root_fd, "usr/lib", O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return 0;
        dir = fdopendir(fd);
        if (!dir) {
                safe_close(fd);
                return 0;
        }
        while ((entry = readdir(dir))) {
                char path[512];

                if (!strstr(entry->d_name, "-linux-"))
                        continue;
                (void) snprintf(path, sizeof(path), "usr/lib/%s/systemd", entry->d_name);
                version = MAX(version, systemd_version_in(root_fd, path));
        }
        closedir(dir);
        return version;
}

static void gather_init(Arena *arena, int root_fd, bool host, Value *facts) {
        char buffer[64];
        const char *init;

        if (root_exists(root_fd, host ? "run/systemd/system" : "usr/lib/systemd/systemd"))
                init = "systemd";
        else
                init = host ? read_line(root_fd, "proc/1/comm", buffer, sizeof(buffer)) : "";
        set_text(arena, facts, "init", init);
}

static void gather_selinux(Arena *arena, int root_fd, bool host, Value *facts) {
        char buffer[FILE_SIZE];
        const char *mode = "disabled";
        ssize_t n;

        if (host) {
                if (root_read(root_fd, "sys/fs/selinux/enforce", buffer, sizeof(buffer)) > 0)
                        mode = *buffer == '1' ? "enforcing" : "permissive";
        } else if ((n = root_read(root_fd, "etc/selinux/config", buffer, sizeof(buffer))) > 0) {
                /* What the tree will have once it runs. */
                Value config = env_file_parse(arena, buffer, (size_t) n);
                const Value *wanted = value_get(&config, "SELINUX");

                if (wanted && (streq(wanted->text, "enforcing") || streq(wanted->text, "permissive")))
                        mode = wanted->text;
        }
        set_text(arena, facts, "selinux", mode);
}

static void gather_hardware(Arena *arena, int host_fd, Value *facts) {
        char buffer[FILE_SIZE], signature[13];
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        ssize_t n;

        set_integer(arena, facts, "cpus", cpus > 0 ? cpus : 1);
        n = root_read(host_fd, "proc/meminfo", buffer, sizeof(buffer));
        set_integer(arena, facts, "memory_bytes", n > 0 ? meminfo_total(buffer) : 0);
        set_text(arena, facts, "virt", virt_detect(host_fd, hypervisor_signature(signature)));
}

int facts_gather(
        Arena *arena, int root_fd, const FactsOptions *options, Value *ret_facts, Diagnostics *diagnostics) {
        static const FactsOptions defaults = {};
        _cleanup_close_ int host_fd = -EBADF;
        Value facts = value_table(), local;
        struct utsname uts;
        struct stat st;
        bool host;

        assert(arena);
        assert(ret_facts);
        assert(diagnostics);

        if (fstat(root_fd, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode))
                return -ENOTDIR;
        host_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (host_fd < 0 || uname(&uts) < 0)
                return -errno;
        host = root_is_host(root_fd);

        gather_os(arena, root_fd, &facts);
        set_text(arena, &facts, "kernel", uts.release);
        set_text(arena, &facts, "arch", uts.machine);
        gather_names(arena, root_fd, host, &uts, &facts);
        gather_machine_id(arena, root_fd, &facts);
        gather_hardware(arena, host_fd, &facts);
        net_facts(arena, &facts);
        set_integer(arena, &facts, "systemd", systemd_version(root_fd));
        gather_init(arena, root_fd, host, &facts);
        gather_timezone(arena, root_fd, &facts);
        gather_selinux(arena, root_fd, host, &facts);

        local = local_facts(arena, root_fd, options ?: &defaults, diagnostics);
        (void) value_set(arena, &facts, "local", &local);

        *ret_facts = facts;
        return 0;
}

/* Names that other tools know such facts by. '.' counts as '_'; a first part that matches is enough. */
static const struct {
        const char *pattern, *instead;
} volatile_facts[] = {
        { "uptime*", NULL },
        { "boot_id", NULL },
        { "boot_time", NULL },
        { "booted*", NULL },
        { "load*", NULL },
        { "time", NULL },
        { "date", NULL },
        { "datetime", NULL },
        { "date_time", NULL },
        { "now", NULL },
        { "epoch", NULL },
        { "timestamp", NULL },
        { "memory_free*", "memory_bytes" },
        { "memory_available*", "memory_bytes" },
        { "memory_used*", "memory_bytes" },
        { "memfree*", "memory_bytes" },
        { "memavailable*", "memory_bytes" },
        { "swap_free*", NULL },
        { "swap_used*", NULL },
        { "disk_free*", NULL },
        { "disk_used*", NULL },
        { "cpu_usage*", NULL },
        { "cpu_load*", NULL },
        { "processes*", NULL },
        { "process_count", NULL },
        { "procs*", NULL },
        { "users", NULL },
        { "logged_in*", NULL },
        { "sessions", NULL },
        { "entropy*", NULL },
        { "random*", NULL },
        { "temperature*", NULL },
};

static int find_volatile(const char *dotted) {
        char whole[128], first[128];
        size_t n;

        dotted = startswith(dotted, "facts.") ?: dotted;
        n = strlen(dotted);
        if (n >= sizeof(whole) || startswith(dotted, "local."))
                return -1;
        for (size_t i = 0; i <= n; i++)
                whole[i] = dotted[i] == '.' ? '_' : dotted[i];
        (void) snprintf(first, sizeof(first), "%.*s", (int) strcspn(dotted, "."), dotted);

        for (size_t i = 0; i < ELEMENTSOF(volatile_facts); i++)
                if (fnmatch(volatile_facts[i].pattern, whole, 0) == 0 ||
                        fnmatch(volatile_facts[i].pattern, first, 0) == 0)
                        return (int) i;
        return -1;
}

bool fact_is_volatile(const char *dotted) {
        assert(dotted);

        return find_volatile(dotted) >= 0;
}

const char *fact_volatile_message(Arena *arena, const char *dotted) {
        const char *instead;
        int i;

        assert(arena);
        assert(dotted);

        i = find_volatile(dotted);
        if (i < 0)
                return NULL;
        dotted = startswith(dotted, "facts.") ?: dotted;
        instead = volatile_facts[i].instead;
        if (instead)
                return arena_printf(arena,
                        "'facts.%s' changes all the time, so roles cannot read it; use 'facts.%s' instead",
                        dotted, instead);
        return arena_printf(arena,
                "'facts.%s' changes all the time, so roles cannot read it; what depends on it belongs into "
                "a trigger or "
                "a job",
                dotted);
}

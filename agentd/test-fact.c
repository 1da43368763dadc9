/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "fact-internal.h"
#include "test.h"

static Arena arena;
static Diagnostics diagnostics;
static char root[64];
static int root_fd = -EBADF;

static int setup(_unused_ void **state) {
        ASSERT_OK(arena_map(&arena, MIB(512), NULL));
        diagnostics = (Diagnostics){ .arena = &arena };
        (void) snprintf(root, sizeof(root), "/tmp/test-fact-XXXXXX");
        assert_non_null(mkdtemp(root));
        root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_true(root_fd >= 0);
        return 0;
}

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static int teardown(_unused_ void **state) {
        root_fd = safe_close(root_fd);
        (void) nftw(root, on_remove, 16, FTW_DEPTH | FTW_PHYS);
        arena_unmap(&arena);
        return 0;
}

/* The path below the root, its directories made. */
static const char *in_root(const char *path) {
        char *full = arena_printf(&arena, "%s/%s", root, path);

        for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
                *p = 0;
                (void) mkdir(full, 0755);
                *p = '/';
        }
        return full;
}

static const char *put(const char *path, const char *text, mode_t mode) {
        const char *full = in_root(path);
        _cleanup_close_ int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
        ASSERT_OK(fchmod(fd, mode));
        return full;
}

/* A name with dots, as text: strings as they are, lists joined by ','. */
static const char *fact(const Value *facts, const char *dotted) {
        const Value *value = facts;
        const char *text = "";

        for (const char *p = dotted; *p && value;) {
                size_t n = strcspn(p, ".");
                Member *member = value_find(value, p, n);

                value = member ? &member->value : NULL;
                p += n + (p[n] == '.');
        }
        if (!value)
                return NULL;
        switch (value->type) {
        case VALUE_STRING: return value->text;
        case VALUE_INTEGER: return arena_printf(&arena, "%lld", (long long) value->integer);
        case VALUE_BOOLEAN: return value->boolean ? "true" : "false";
        case VALUE_FLOAT: return arena_printf(&arena, "%g", value->real);
        case VALUE_ARRAY:
                VALUE_FOREACH_ITEM(item, value)
                        text = arena_printf(&arena, "%s%s%s", text, *text ? "," : "", item->text);
                return text;
        default: return value_kind(value);
        }
}

static bool complains(const char *file, const char *words) {
        for (uint32_t i = 0; i < diagnostics.n; i++)
                if (diagnostics.list[i].place.file && strstr(diagnostics.list[i].place.file, file) &&
                        strstr(diagnostics.list[i].message, words))
                        return true;
        print_message("no message on %s with '%s' in:\n", file, words);
        for (uint32_t i = 0; i < diagnostics.n; i++)
                print_message("  %s: %s\n", diagnostics.list[i].place.file, diagnostics.list[i].message);
        return false;
}

TEST(env_files_are_read_as_a_shell_reads_them) {
        static const struct {
                const char *line, *value; /* of A; NULL: not set */
        } cases[] = {
                { "A=b", "b" },
                { "A=", "" },
                { "A=\"\"", "" },
                { "A=\"b c\"", "b c" },
                { "A='b c'", "b c" },
                { "A=\"b \\\"c\\\" \\$d \\\\ \\x\"", "b \"c\" $d \\ \\x" },
                { "A='b\\c'", "b\\c" },
                { "A=b\\ c", "b c" },
                { "A=b\"c\"'d'e", "bcde" },
                { "A=b # comment", "b" },
                { "A=b\r\n", "b" },
                { "  A=b", "b" },
                { "# A=b", NULL },
                { "A=1\nA=2", "2" },
                { "AA=1\nA=2\nAAA=3", "2" },
                { "A=\"b\nB=c\nA=d", "d" }, /* the quote that is not closed spoils its line only */
                { "A=\"b", NULL },
                { "A='b", NULL },
                { "A=b\\", NULL },
                { "A", NULL },
                { "A =b", NULL },
                { "=b", NULL },
                { "A=\xff\xc3", "??" },
                { "A=gr\xc3\xbcn", "gr\xc3\xbcn" },
                { "", NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                Value table = env_file_parse(&arena, c->line, strlen(c->line));
                const Value *value = value_get(&table, "A");

                if (!c->value)
                        ASSERT_NULL(value);
                else {
                        ASSERT_NOT_NULL(value);
                        ASSERT_STREQ(value->text, c->value);
                }
        }
}

TEST(os_release_has_defaults) {
        static const struct {
                const char *text, *id, *like, *version, *name;
        } cases[] = {
                { "", "linux", "", "", "Linux" },
                { "ID=\nNAME=\"\"", "linux", "", "", "Linux" },
                { "NAME=\"Arch Linux\"\nID=arch", "arch", "", "", "Arch Linux" },
                { "ID=rocky\nID_LIKE=\"rhel  centos fedora \"\nVERSION_ID='9.3'", "rocky",
                        "rhel,centos,fedora", "9.3", "Linux" },
                { "ID=ubuntu\nID_LIKE=debian", "ubuntu", "debian", "", "Linux" },
        };

        FOREACH_ELEMENT(c, cases) {
                Value os = os_facts(&arena, c->text, strlen(c->text));

                ASSERT_STREQ(fact(&os, "id"), c->id);
                ASSERT_STREQ(fact(&os, "id_like"), c->like);
                ASSERT_STREQ(fact(&os, "version_id"), c->version);
                ASSERT_STREQ(fact(&os, "name"), c->name);
                ASSERT_STREQ(fact(&os, "version_codename"), "");
        }
}

TEST(hosts_gives_the_full_name) {
        static const struct {
                const char *text, *fqdn;
        } cases[] = {
                { "127.0.1.1 web1.example.org web1\n", "web1.example.org" },
                { "127.0.1.1\tweb1 \t web1.example.org", "web1.example.org" },
                { "127.0.1.1 WEB1.example.org Web1", "WEB1.example.org" },
                { "127.0.0.1 localhost web1\n192.0.2.1 web1.example.org web1", "web1.example.org" },
                { "127.0.0.1 localhost.localdomain localhost web1", NULL },
                { "127.0.0.1 localhost.localdomain web1\n192.0.2.1 a.example.org web1", "a.example.org" },
                { "192.0.2.1 a.example.org web1\n::1 web1.example.org web1", "web1.example.org" },
                { "192.0.2.1 web1.example.org", NULL }, /* does not name the host itself */
                { "192.0.2.1 web12.example.org web12", NULL },
                { "web1 web1.example.org", NULL }, /* the address is no name */
                { "# 192.0.2.1 web1.example.org web1", NULL },
                { "192.0.2.1 web1.example.org # web1", NULL },
                { "192.0.2.1 web1. web1", NULL },
                { "192.0.2.1 .example web1", NULL },
                { "192.0.2.1", NULL },
                { "\n\n", NULL },
                { "", NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                const char *fqdn = hosts_find_fqdn(&arena, c->text, strlen(c->text), "web1");

                if (c->fqdn) {
                        ASSERT_NOT_NULL(fqdn);
                        ASSERT_STREQ(fqdn, c->fqdn);
                } else
                        ASSERT_NULL(fqdn);
        }
        ASSERT_NULL(hosts_find_fqdn(&arena, "1 .a", 4, ""));
}

TEST(small_parsers) {
        static const struct {
                const char *name;
                int version;
        } libraries[] = {
                { "libsystemd-shared-252.so", 252 },
                { "libsystemd-shared-255.4-1.fc40.so", 255 },
                { "libsystemd-shared-257~rc1.so", 257 },
                { "libsystemd-shared-.so", 0 },
                { "libsystemd-shared--5.so", 0 },
                { "libsystemd-shared-99999999999999999999.so", 0 },
                { "libsystemd-shared-252.so.bak", 0 },
                { "libsystemd-core-252.so", 0 },
        };
        static const struct {
                const char *text;
                int64_t bytes;
        } meminfo[] = {
                { "MemTotal:       16318404 kB\nMemFree: 1 kB\n", INT64_C(16318404) * 1024 },
                { "MemFree: 1 kB\nMemTotal: 2 kB\n", 2048 },
                { "MemFree: 1 kB\n", 0 },
                { "MemTotal: 18446744073709551615 kB", 0 },
                { "", 0 },
        };
        static const struct {
                const char *text, *line;
        } lines[] = {
                { "web1\n", "web1" },
                { "# comment\n\n  web1 \r\nweb2", "web1" },
                { "# comment", "" },
                { "\n \n", "" },
                { "", "" },
        };

        FOREACH_ELEMENT(c, libraries)
                ASSERT_EQ(systemd_version_from_name(c->name), c->version);
        FOREACH_ELEMENT(c, meminfo)
                ASSERT_EQ(meminfo_total(c->text), c->bytes);
        FOREACH_ELEMENT(c, lines)
                ASSERT_STREQ(first_line(arena_strdup(&arena, c->text)), c->line);
}

TEST(temporary_addresses_are_no_facts) {
        static const char table[] = "fd000000000000000000000000000002 02 40 00 80     eth0\n"
                                    "fd000000000000000000000000000003 02 40 00 01     eth0\n"
                                    "fd000000000000000000000000000004 02 40 00 c0     eth0\n";
        static const struct {
                const char *address;
                bool passing;
        } cases[] = { { "fd00::2", false }, { "fd00::3", true }, { "fd00::4", true }, { "fd00::5", false } };

        FOREACH_ELEMENT(c, cases) {
                struct in6_addr in;

                ASSERT_EQ(inet_pton(AF_INET6, c->address, &in), 1);
                ASSERT_EQ(inet6_is_passing(table, &in), c->passing);
                ASSERT_FALSE(inet6_is_passing("-", &in));
        }
}

TEST(virt_is_named_as_systemd_names_it) {
        static const struct {
                const char *path, *text, *signature, *virt;
        } cases[] = {
                { NULL, NULL, NULL, "none" },
                { NULL, NULL, "KVMKVMKVM", "kvm" },
                { NULL, NULL, "TCGTCGTCGTCG", "qemu" },
                { NULL, NULL, "VMwareVMware", "vmware" },
                { NULL, NULL, "Microsoft Hv", "microsoft" },
                { NULL, NULL, "XenVMMXenVMM", "xen" },
                { NULL, NULL, "", "vm-other" },
                { NULL, NULL, "HomeMadeOne!", "vm-other" },
                { "sys/class/dmi/id/sys_vendor", "QEMU\n", NULL, "qemu" },
                { "sys/class/dmi/id/sys_vendor", "QEMU\n", "KVMKVMKVM", "kvm" },
                { "sys/class/dmi/id/product_name", "VirtualBox\n", "KVMKVMKVM", "oracle" },
                { "sys/class/dmi/id/sys_vendor", "innotek GmbH\n", NULL, "oracle" },
                { "sys/class/dmi/id/sys_vendor", "VMware, Inc.\n", NULL, "vmware" },
                { "sys/class/dmi/id/sys_vendor", "Amazon EC2\n", "KVMKVMKVM", "amazon" },
                { "sys/class/dmi/id/product_name", "m5.metal\n", NULL, "none" },
                { "sys/class/dmi/id/sys_vendor", "Dell Inc.\n", NULL, "none" },
                { "sys/hypervisor/type", "xen\n", NULL, "xen" },
                { "proc/xen/capabilities", "control_d\n", "XenVMMXenVMM", "none" },
                { "proc/xen/capabilities", "\n", NULL, "xen" },
                { "proc/device-tree/hypervisor/compatible", "linux,kvm", NULL, "kvm" },
                { "run/systemd/container", "systemd-nspawn\n", "KVMKVMKVM", "systemd-nspawn" },
                { "run/systemd/container", "lxc\n", NULL, "lxc" },
                { "run/systemd/container", "home-made\n", NULL, "container-other" },
                { "run/systemd/container", "oci\n", NULL, "container-other" },
                { "run/systemd/container", "", NULL, "none" },
                { "proc/1/environ", "A=b", NULL, "none" },
                { "proc/1/environ", "container=podman", NULL, "podman" },
                { "run/.containerenv", "", NULL, "podman" },
                { ".dockerenv", "", "KVMKVMKVM", "docker" },
                { "proc/sys/kernel/osrelease", "5.15.90.1-microsoft-standard-WSL2\n", "Microsoft Hv",
                        "wsl" },
        };

        FOREACH_ELEMENT(c, cases) {
                if (c->path)
                        (void) put(c->path, c->text, 0644);
                ASSERT_STREQ(virt_detect(root_fd, c->signature), c->virt);
                if (c->path)
                        ASSERT_OK(unlink(in_root(c->path)));
                /* Empty directories tell something too, of Xen for one. */
                (void) rmdir(in_root("proc/xen"));
                (void) nftw(in_root("proc"), on_remove, 16, FTW_DEPTH | FTW_PHYS);
        }
}

TEST(a_tree_gives_its_own_facts) {
        FactsOptions options = {};
        Value facts;

        (void) put("usr/lib/os-release", "ID=alma\nID_LIKE=\"rhel fedora\"\nVERSION_ID=9.3\n", 0644);
        (void) put("etc/hostname", "# set by hand\nweb1\n", 0644);
        (void) put("etc/hosts", "127.0.1.1 web1.example.org web1\n", 0644);
        (void) put("etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0444);
        (void) put("etc/selinux/config", "# x\nSELINUX=permissive\n", 0644);
        (void) put("usr/lib/systemd/systemd", "", 0755);
        (void) put("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", "", 0644);
        (void) put("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-256.so", "", 0644);
        (void) put("etc/agentd/facts.d/rack.json", "{ \"row\": 4 }", 0644);
        (void) put("etc/agentd/facts.d/program", "#!/bin/sh\necho 1\n", 0755);
        /* Absolute links stay inside, and lead nowhere outside. */
        ASSERT_OK(symlink("/usr/lib/os-release", in_root("etc/os-release")));
        ASSERT_OK(symlink("/usr/share/zoneinfo/Europe/Berlin", in_root("etc/localtime")));
        ASSERT_OK(symlink("/etc/passwd", in_root("usr/lib/outside.json")));

        ASSERT_OK(facts_gather(&arena, root_fd, &options, &facts, &diagnostics));
        ASSERT_STREQ(fact(&facts, "os.id"), "alma");
        ASSERT_STREQ(fact(&facts, "os.id_like"), "rhel,fedora");
        ASSERT_STREQ(fact(&facts, "hostname"), "web1");
        ASSERT_STREQ(fact(&facts, "fqdn"), "web1.example.org");
        ASSERT_STREQ(fact(&facts, "domain"), "example.org");
        ASSERT_STREQ(fact(&facts, "machine_id"), "0123456789abcdef0123456789abcdef");
        ASSERT_STREQ(fact(&facts, "systemd"), "257");
        ASSERT_STREQ(fact(&facts, "init"), "systemd");
        ASSERT_STREQ(fact(&facts, "timezone"), "Europe/Berlin");
        ASSERT_STREQ(fact(&facts, "selinux"), "permissive");
        ASSERT_STREQ(fact(&facts, "local.rack.row"), "4");
        ASSERT_NULL(fact(&facts, "local.program"));
        ASSERT_EQ(root_open(root_fd, "usr/lib/outside.json", O_RDONLY), -ENOENT);
        ASSERT_EQ(diagnostics.n, 0);
}

TEST(every_fact_is_there_on_an_empty_tree_and_on_the_host) {
        static const char *const names[] = { "os.id", "os.version_id", "os.id_like", "os.name",
                "os.pretty_name", "os.version_codename", "kernel", "arch", "hostname", "fqdn", "domain",
                "machine_id", "virt", "cpus", "memory_bytes", "addresses", "interfaces", "systemd", "init",
                "timezone", "selinux", "local" };
        static const char *const nowhere[] = { NULL };
        FactsOptions options = { .directories = nowhere };
        _cleanup_close_ int host_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        Value tree, host;

        ASSERT_OK(facts_gather(&arena, root_fd, NULL, &tree, &diagnostics));
        ASSERT_OK(facts_gather(&arena, host_fd, &options, &host, &diagnostics));
        ASSERT_EQ(diagnostics.n, 0);

        FOREACH_ELEMENT(name, names) {
                ASSERT_NOT_NULL(fact(&tree, *name));
                ASSERT_NOT_NULL(fact(&host, *name));
                ASSERT_FALSE(fact_is_volatile(*name));
        }
        ASSERT_STREQ(fact(&tree, "hostname"), "");
        ASSERT_STREQ(fact(&tree, "timezone"), "UTC");
        ASSERT_STREQ(fact(&tree, "systemd"), "0");
        ASSERT_STREQ(fact(&tree, "kernel"), fact(&host, "kernel"));
        assert_true(value_get(&host, "cpus")->integer > 0);
        assert_true(value_get(&host, "memory_bytes")->integer > 1024 * 1024);
        ASSERT_STREQ(fact(&tree, "addresses"), fact(&host, "addresses"));
}

/* The kernel cannot follow the ".." of a link while anything is renamed, be it elsewhere, and says EAGAIN. */
TEST(links_are_followed_while_others_rename) {
        const char *a = put("a", "", 0644), *b = in_root("b");
        pid_t pid;

        (void) put("usr/lib/os-release", "ID=debian\n", 0644);
        ASSERT_OK(symlink("../usr/lib/os-release", in_root("etc/os-release")));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;) {
                        (void) rename(a, b);
                        (void) rename(b, a);
                }
        }
        for (unsigned i = 0; i < 100000; i++) {
                _cleanup_close_ int fd = root_open(root_fd, "/etc/os-release", O_RDONLY);

                assert_return_code(fd, -fd);
        }
        ASSERT_OK(kill(pid, SIGKILL));
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(what_is_no_directory_is_refused) {
        _cleanup_close_ int file = open(put("file", "", 0644), O_RDONLY | O_CLOEXEC);
        Value facts = value_integer(42);

        ASSERT_EQ(facts_gather(&arena, -1, NULL, &facts, &diagnostics), -EBADF);
        ASSERT_EQ(facts_gather(&arena, file, NULL, &facts, &diagnostics), -ENOTDIR);
        ASSERT_EQ(facts.integer, 42);
}

/* Gathers on the host, with local facts from directories below the root of the test. */
static Value gather_local(usec_t deadline_usec) {
        const char *directories[] = { in_root("etc"), in_root("run"), in_root("lib"), NULL };
        FactsOptions options = { .directories = directories, .deadline_usec = deadline_usec };
        _cleanup_close_ int host_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        Value facts;

        diagnostics = (Diagnostics){ .arena = diagnostics.arena };
        ASSERT_OK(facts_gather(&arena, host_fd, &options, &facts, &diagnostics));
        return value_copy(&arena, value_get(&facts, "local"));
}

TEST(local_facts_are_data_and_programs) {
        Value local;

        local = gather_local(0); /* no directory exists */
        ASSERT_EQ(local.n_members, 0);
        (void) mkdir(in_root("etc"), 0755);
        local = gather_local(0); /* one is empty */
        ASSERT_EQ(local.n_members, 0);

        (void) put("etc/rack.json", "{ \"row\": 4, \"names\": [\"a\", \"b\"], \"none\": null }\n", 0644);
        (void) put("etc/text.json", "\"a\\u0000b\"", 0644);
        (void) put("etc/number", "#!/bin/sh\necho 17\n", 0755);
        (void) put(
                "etc/object.sh", "#!/bin/sh\necho '{\"on\": true, \"pi\": 3.25}'\necho careful >&2\n", 0755);
        (void) put("etc/surroundings",
                "#!/bin/sh\nread line && exit 9\n"
                "echo \"\\\"$(pwd) $HOME $(ls /proc/self/fd | tr -d '\\n') $0\\\"\"\n",
                0755);
        (void) put("etc/big",
                "#!/bin/sh\nprintf '\"'; head -c 1000000 /dev/zero | tr '\\0' x; printf '\"'\n", 0755);
        (void) put("etc/.hidden", "?", 0755);
        (void) put("etc/rack.json~", "?", 0644);
        (void) put("etc/rack.json.dpkg-old", "?", 0644);
        (void) put("etc/README.md", "?", 0644);

        local = gather_local(0);
        ASSERT_EQ(diagnostics.n, 0);
        ASSERT_EQ(local.n_members, 6);
        ASSERT_STREQ(fact(&local, "rack.row"), "4");
        ASSERT_STREQ(fact(&local, "rack.names"), "a,b");
        ASSERT_STREQ(fact(&local, "rack.none"), "null");
        ASSERT_EQ(value_get(&local, "text")->size, 3);
        ASSERT_STREQ(fact(&local, "number"), "17");
        ASSERT_STREQ(fact(&local, "object.on"), "true");
        ASSERT_STREQ(fact(&local, "object.pi"), "3.25");
        /* Nothing of ours but 0, 1 and 2; 3 is ls looking. */
        ASSERT_STREQ(fact(&local, "surroundings"),
                arena_printf(&arena, "/  0123 %s", in_root("etc/surroundings")));
        ASSERT_EQ(value_get(&local, "big")->size, 1000000);
        for (uint32_t i = 1; i < local.n_members; i++)
                assert_true(strcmp(local.members[i - 1].key, local.members[i].key) < 0);
}

TEST(broken_local_facts_are_named_and_absent) {
        static const struct {
                const char *file, *text;
                mode_t mode;
                const char *words;
        } cases[] = {
                { "garbage", "#!/bin/sh\necho 'hello'\n", 0755,
                        "must print one JSON value: line 1, column 5" },
                { "two", "#!/bin/sh\necho '{} {}'\n", 0755, "must print one JSON value" },
                { "silent", "#!/bin/sh\n", 0755, "must print one JSON value" },
                { "bytes", "#!/bin/sh\nprintf '\"\\377\"'\n", 0755, "must print one JSON value" },
                { "repeated", "#!/bin/sh\necho '{\"a\":1,\"a\":2}'\n", 0755, "duplicate" },
                { "failing", "#!/bin/sh\necho '{}'\necho ' no disk\033 ' >&2\nexit 3\n", 0755,
                        "exited with status 3 instead of printing its fact as JSON and exiting with 0: no "
                        "disk?" },
                { "killed", "#!/bin/sh\nkill -SEGV $$\n", 0755, "was killed by signal 11" },
                { "endless", "#!/bin/sh\nexec cat /dev/zero\n", 0755, "prints more than 1024 KiB" },
                { "flood", "#!/bin/sh\nhead -c 2097152 /dev/zero >&2\nexit 4\n", 0755,
                        "exited with status 4" },
                { "lost", "#!/no/such/interpreter\n", 0755, "interpreter in its first line" },
                { "bare", "echo 1\n", 0755, "must begin with '#!'" },
                { "quiet", "#!/bin/sh\necho 1\n", 0644, "chmod 755" },
                { "group", "#!/bin/sh\necho 1\n", 0775, "group and others can write it" },
                { "others", "#!/bin/sh\necho 1\n", 0757, "group and others can write it" },
                { "bad.json", "{\n  \"a\": }", 0644, "not valid JSON" },
                { "empty.json", "", 0644, "not valid JSON" },
                { "huge.json", "9223372036854775808", 0644, "not valid JSON" },
                { "deep.json", NULL, 0644, "not valid JSON" },
                { "long.json", NULL, 0644, "must not be larger than 1024 KiB" },
                { "bad name.json", "1", 0644, "letters, digits" },
                { "7up.json", "1", 0644, "letters, digits" },
        };
        char *text;
        Value local;

        FOREACH_ELEMENT(c, cases)
                if (c->text)
                        (void) put(arena_printf(&arena, "etc/%s", c->file), c->text, c->mode);
        text = arena_alloc_text(&arena, MIB(2));
        memset(text, ' ', MIB(2) - 1);
        (void) put("etc/long.json", text, 0644);
        memset(text, '[', 100000);
        text[100000] = 0;
        (void) put("etc/deep.json", text, 0644);
        ASSERT_OK(mkfifo(in_root("etc/fifo.json"), 0644));
        ASSERT_OK(mkfifo(in_root("etc/pipe"), 0755));
        ASSERT_OK(mkdir(in_root("etc/directory.json"), 0755));
        ASSERT_OK(symlink("/dev/zero", in_root("etc/device.json")));
        ASSERT_OK(symlink("/no/such/file", in_root("etc/dangling.json")));
        (void) put("etc/stranger", "#!/bin/sh\necho 1\n", 0755);
        (void) put("etc/good", "#!/bin/sh\necho 1\n", 0755);
        if (geteuid() == 0)
                ASSERT_OK(chown(in_root("etc/stranger"), 12345, 12345));

        local = gather_local(0);

        FOREACH_ELEMENT(c, cases)
                assert_true(complains(c->file, c->words));
        assert_true(complains("fifo.json", "regular file"));
        assert_true(complains("pipe", "regular file"));
        assert_true(complains("directory.json", "regular file"));
        assert_true(complains("device.json", "regular file"));
        assert_true(complains("dangling.json", "No such file"));
        if (geteuid() == 0)
                assert_true(complains("stranger", "must belong to root"));
        ASSERT_EQ(local.n_members, 1 + (geteuid() != 0));
        ASSERT_STREQ(fact(&local, "good"), "1");
        ASSERT_EQ(diagnostics.n, ELEMENTSOF(cases) + 5 + (geteuid() == 0));
        diagnostics_sort(&diagnostics);
        for (uint32_t i = 0; i < diagnostics.n; i++)
                if (endswith(diagnostics.list[i].place.file, "/bad.json")) {
                        ASSERT_EQ(diagnostics.list[i].place.line, 2);
                        ASSERT_EQ(diagnostics.list[i].place.column, 8);
                }
}

TEST(programs_that_do_not_end_are_killed) {
        static const struct {
                const char *file, *text, *words;
        } cases[] = {
                { "hang", "#!/bin/sh\nsleep 60\necho 1\n", "did not finish within 3s" },
                { "stubborn", "#!/bin/sh\ntrap '' TERM INT HUP\nexec >&- 2>&-\nwhile :; do sleep 1; done\n",
                        "did not finish within 3s" },
                { "drip", "#!/bin/sh\nwhile :; do echo 1; echo 2 >&2; sleep 0.01; done\n",
                        "did not finish within 3s" },
                { "heir", "#!/bin/sh\nsleep 60 &\necho 1\n", "left a process behind" },
        };
        usec_t start, taken;
        Value local;

        FOREACH_ELEMENT(c, cases)
                (void) put(arena_printf(&arena, "etc/%s", c->file), c->text, 0755);

        start = now_usec(CLOCK_MONOTONIC);
        /* Long enough for one that ends to do so. */
        local = gather_local(3 * USEC_PER_SEC);
        taken = now_usec(CLOCK_MONOTONIC) - start;

        FOREACH_ELEMENT(c, cases)
                assert_true(complains(c->file, c->words));
        ASSERT_EQ(local.n_members, 0);
        ASSERT_EQ(diagnostics.n, ELEMENTSOF(cases));
        assert_true(taken >= 3 * USEC_PER_SEC && taken < 50 * USEC_PER_SEC);
}

TEST(a_hanging_program_is_killed_with_what_it_started) {
        const char *pid_file = in_root("pid");
        char buffer[32];
        ssize_t n;

        (void) put("etc/hang", arena_printf(&arena, "#!/bin/sh\nsleep 60 &\necho $! >%s\nwait\n", pid_file),
                0755);
        (void) gather_local(3 * USEC_PER_SEC);
        assert_true(complains("hang", "did not finish"));

        n = root_read(root_fd, "pid", buffer, sizeof(buffer));
        assert_true(n > 1);
        /* The signal is sent, but init still has to reap. */
        for (int i = 0; i < 3000 && kill(atoi(buffer), 0) >= 0; i++) {
                char path[64], stat[256];

                (void) snprintf(path, sizeof(path), "/proc/%d/stat", atoi(buffer));
                _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0 || file_read(fd, stat, sizeof(stat)) <= 0 || strstr(stat, ") Z "))
                        return;
                usleep(10000);
        }
        assert_true(kill(atoi(buffer), 0) < 0);
}

/* Each of them waits for all others. */
TEST(programs_run_side_by_side) {
        const char *marks = in_root("marks/");
        Value local;

        for (int i = 0; i < FACTS_PROGRAMS_RUNNING; i++)
                (void) put(arena_printf(&arena, "etc/p%d", i),
                        arena_printf(&arena,
                                "#!/bin/sh\ntouch %s/%d\nwhile test $(ls %s | wc -l) -lt %d; do sleep 0.01; "
                                "done\necho 1\n",
                                marks, i, marks, FACTS_PROGRAMS_RUNNING),
                        0755);
        local = gather_local(50 * USEC_PER_SEC);
        ASSERT_EQ(local.n_members, FACTS_PROGRAMS_RUNNING);
}

TEST(more_programs_than_run_at_once) {
        Value local;

        for (int i = 0; i < 40; i++)
                (void) put(arena_printf(&arena, "etc/p%02d", i),
                        arena_printf(&arena, "#!/bin/sh\necho %d\n", i), 0755);
        local = gather_local(0);
        ASSERT_EQ(local.n_members, 40);
        for (uint32_t i = 0; i < local.n_members; i++)
                ASSERT_EQ(local.members[i].value.integer, i);
}

TEST(earlier_directories_win) {
        Value local;

        (void) put("etc/a.json", "\"etc\"", 0644);
        (void) put("run/a.json", "\"run\"", 0644);
        (void) put("lib/a", "#!/bin/sh\necho '\"lib\"'\n", 0755);
        (void) put("run/b.sh", "#!/bin/sh\necho '\"run\"'\n", 0755);
        (void) put("lib/b.json", "\"lib\"", 0644);
        (void) put("lib/c.json", "\"lib\"", 0644);
        (void) put("etc/broken.json", "{", 0644);
        (void) put("lib/broken.json", "\"lib\"", 0644);
        (void) put("lib/masked.json", "\"lib\"", 0644);
        ASSERT_OK(symlink("/dev/null", in_root("etc/masked.json")));
        (void) put("run/twice", "#!/bin/sh\necho 1\n", 0755);
        (void) put("run/twice.json", "2", 0644);

        local = gather_local(0);
        ASSERT_STREQ(fact(&local, "a"), "etc");
        ASSERT_STREQ(fact(&local, "b"), "run");
        ASSERT_STREQ(fact(&local, "c"), "lib");
        ASSERT_NULL(fact(&local, "broken")); /* not the one below: nobody asked for that */
        ASSERT_NULL(fact(&local, "masked"));
        ASSERT_STREQ(fact(&local, "twice"), "1");
        ASSERT_EQ(diagnostics.n, 2);
        assert_true(complains("etc/broken.json", "not valid JSON"));
        assert_true(complains("run/twice.json", "also given by"));
}

TEST(programs_of_an_open_directory_are_not_run) {
        Value local;

        (void) put("etc/program", "#!/bin/sh\necho 1\n", 0755);
        (void) put("etc/data.json", "1", 0644);
        ASSERT_OK(chmod(in_root("etc"), 0777));
        local = gather_local(0);
        ASSERT_EQ(local.n_members, 1);
        assert_true(complains("program", "its directory must belong to root"));
}

TEST(local_facts_are_bounded) {
        Value local;

        for (int i = 0; i < FACTS_LOCAL_MAX + 20; i++)
                (void) put(arena_printf(&arena, "etc/d%d.json", i), "1", 0644);
        local = gather_local(0);
        ASSERT_EQ(local.n_members, FACTS_LOCAL_MAX);
        ASSERT_EQ(diagnostics.n, 1);
        assert_true(complains("etc", "more than 256"));
}

static size_t count_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        size_t n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

TEST(no_descriptor_is_left_open) {
        size_t before;

        (void) put("etc/good", "#!/bin/sh\necho 1\n", 0755);
        (void) put("etc/lost", "#!/no/such/interpreter\n", 0755);
        (void) put("etc/hang", "#!/bin/sh\nsleep 60\n", 0755);
        (void) put("etc/data.json", "1", 0644);
        before = count_descriptors();
        (void) gather_local(50 * USEC_PER_MSEC);
        ASSERT_EQ(count_descriptors(), before);
}

TEST(volatile_facts_are_refused) {
        static const struct {
                const char *name;
                bool is;
        } cases[] = {
                { "uptime", true },
                { "facts.uptime", true },
                { "uptime_seconds", true },
                { "facts.load.1min", true },
                { "loadavg", true },
                { "memory_free", true },
                { "memory_free_bytes", true },
                { "memory.free", true },
                { "memory_available", true },
                { "time", true },
                { "time.hour", true },
                { "date", true },
                { "boot_id", true },
                { "processes", true },
                { "timezone", false },
                { "memory_bytes", false },
                { "memory", false },
                { "os.id", false },
                { "local.load", false },
                { "facts.local.time", false },
                { "facts", false },
                { "", false },
        };

        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(fact_is_volatile(c->name), c->is);
                ASSERT_EQ(fact_volatile_message(&arena, c->name) != NULL, c->is);
        }
        ASSERT_STREQ(fact_volatile_message(&arena, "facts.memory_free"),
                "'facts.memory_free' changes all the time, so roles cannot read it; use "
                "'facts.memory_bytes' instead");
}

#define FACT_TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
RUN_TESTS(FACT_TEST(env_files_are_read_as_a_shell_reads_them), FACT_TEST(os_release_has_defaults),
        FACT_TEST(hosts_gives_the_full_name), FACT_TEST(small_parsers),
        FACT_TEST(temporary_addresses_are_no_facts), FACT_TEST(virt_is_named_as_systemd_names_it),
        FACT_TEST(a_tree_gives_its_own_facts),
        FACT_TEST(every_fact_is_there_on_an_empty_tree_and_on_the_host),
        FACT_TEST(links_are_followed_while_others_rename), FACT_TEST(what_is_no_directory_is_refused),
        FACT_TEST(local_facts_are_data_and_programs), FACT_TEST(broken_local_facts_are_named_and_absent),
        FACT_TEST(programs_that_do_not_end_are_killed),
        FACT_TEST(a_hanging_program_is_killed_with_what_it_started), FACT_TEST(programs_run_side_by_side),
        FACT_TEST(more_programs_than_run_at_once), FACT_TEST(earlier_directories_win),
        FACT_TEST(programs_of_an_open_directory_are_not_run), FACT_TEST(local_facts_are_bounded),
        FACT_TEST(no_descriptor_is_left_open), FACT_TEST(volatile_facts_are_refused))

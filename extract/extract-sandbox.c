/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the process gives up before it looks at the archive. Whoever starts it has put it into a unit without rights already; this
 * is for the day on which that is not so.
 */

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "extract.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif

/* A decompressor may want some 700 MB for what was packed with all settings at their highest. */
#define MEMORY_MAX (UINT64_C(1) << 30)

/* For the manifest, which is a file as well. */
#define MANIFEST_SIZE_MAX MIB(256)

/* Of the first version of Landlock; what later ones add to it would not be refused by an older kernel anyway. */
#define LANDLOCK_ALL                                                                                       \
        (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |       \
                LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR |                              \
                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                            \
                LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
                LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define LANDLOCK_BELOW                                                                                \
        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                        \
                LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM)

static int limit(int resource, uint64_t value) {
        struct rlimit now;

        if (getrlimit((__rlimit_resource_t) resource, &now) < 0)
                return -errno;
        value = MIN(value, now.rlim_max);
        return setrlimit((__rlimit_resource_t) resource, &(struct rlimit){ value, value }) < 0 ? -errno : 0;
}

static int enter_landlock(int directory_fd) {
        const struct landlock_ruleset_attr ruleset = { .handled_access_fs = LANDLOCK_ALL };
        const struct landlock_path_beneath_attr below = {
                .allowed_access = LANDLOCK_BELOW,
                .parent_fd = directory_fd,
        };
        _cleanup_close_ int fd = -EBADF;

        fd = (int) syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
        if (fd < 0)
                /* EPERM: a container whose filter does not know the call. */
                return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
        if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0 ||
                syscall(SYS_landlock_restrict_self, fd, 0) < 0)
                return -errno;
        return 0;
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define REFUSE(name)                                           \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

/* Nothing of what follows is ever called by who only unpacks. */
static int enter_seccomp(void) {
#ifdef ARCHITECTURE
        static const struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                REFUSE(execve),
                REFUSE(execveat),
                REFUSE(socket),
                REFUSE(socketpair),
                REFUSE(connect),
                REFUSE(bind),
                REFUSE(ptrace),
                REFUSE(process_vm_readv),
                REFUSE(process_vm_writev),
                REFUSE(kill),
                REFUSE(io_uring_setup),
                REFUSE(bpf),
                REFUSE(userfaultfd),
                REFUSE(keyctl),
                REFUSE(add_key),
                REFUSE(unshare),
                REFUSE(setns),
                REFUSE(mount),
                REFUSE(open_by_handle_at),
                REFUSE(linkat),
                REFUSE(mknodat),
                REFUSE(fchmod),
                REFUSE(fchmodat),
                REFUSE(fchown),
                REFUSE(fchownat),
#ifdef SYS_link
                REFUSE(link),
                REFUSE(mknod),
                REFUSE(chmod),
                REFUSE(chown),
                REFUSE(lchown),
                REFUSE(fork),
                REFUSE(vfork),
#endif
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { .len = ELEMENTSOF(filter),
                .filter = (struct sock_filter *) filter };

        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 && errno != ENOSYS &&
                errno != EINVAL)
                return -errno;
#endif
        return 0;
}

int sandbox_enter_extract(int directory_fd, uint64_t bytes_max) {
        int r;

        /* A file that becomes too large is an error and no signal. */
        (void) signal(SIGXFSZ, SIG_IGN);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        r = limit(RLIMIT_FSIZE, MAX(bytes_max, (uint64_t) MANIFEST_SIZE_MAX));
        if (r == 0)
                r = limit(RLIMIT_CORE, 0);
        if (r == 0)
                r = limit(RLIMIT_NOFILE, 64);
#ifndef HAVE_SANITIZER
        if (r == 0)
                r = limit(RLIMIT_AS, MEMORY_MAX);
#endif
        if (r == 0)
                r = enter_landlock(directory_fd);
        return r < 0 ? r : enter_seccomp();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandbox.h"
#include "util.h"

#define CHECK_USER "agentd-check"

/* Where made-up ids are looked for: above what distributions hand out to people and services (65534 is nobody) and
 * below what systemd uses for containers (524288). Source: systemd's docs/UIDS-GIDS.md. */
#define SPARE_ID_FIRST 65000
#define SPARE_ID_LAST  65533

/* Major number of /dev/null and its like. Source: Documentation/admin-guide/devices.txt of the kernel. */
#define MEMORY_DEVICES 1

/* Files in the /tmp of commands. */
#define TMP_OPTIONS "mode=1777,size=67108864,nr_inodes=16384"
_Static_assert(SANDBOX_TMP_BYTES == 67108864, "as above");

/* Processes of the user, workers and what they start, on the whole host. */
#define PROCESSES_MAX 1024

/* Of linux/mount.h since 5.12; from the kernel so that we need no newer C library. */
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#define MOUNT_ATTR_NOSUID 0x00000002
#define MOUNT_ATTR_NODEV  0x00000004
#endif
struct sandbox_mount_attr {
        uint64_t attr_set, attr_clr, propagation, userns_fd;
};
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define PROPAGATION_PRIVATE (1UL << 18) /* MS_PRIVATE */
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif

/* Ids that are made up are the `skip`th that are free. */
static int find_user(const char *name, unsigned skip, uid_t *ret_uid, gid_t *ret_gid) {
        struct passwd *passwd;

        errno = 0;
        passwd = getpwnam(name);
        if (passwd && passwd->pw_uid != 0) {
                *ret_uid = passwd->pw_uid;
                *ret_gid = passwd->pw_gid;
                return 1;
        }

        for (uid_t id = SPARE_ID_LAST; id >= SPARE_ID_FIRST; id--)
                if (!getpwuid(id) && !getgrgid(id) && skip-- == 0) {
                        *ret_uid = id;
                        *ret_gid = id;
                        return 0;
                }

        return -ENOENT;
}

int sandbox_find_user(uid_t *ret_uid, gid_t *ret_gid) {
        return find_user(CHECK_USER, 0, ret_uid, ret_gid);
}

int sandbox_find_fetch_user(uid_t *ret_uid, gid_t *ret_gid) {
        return find_user(SANDBOX_FETCH_USER, 1, ret_uid, ret_gid);
}

int limit_memory(size_t more_bytes) {
#ifdef __SANITIZE_ADDRESS__
        (void) more_bytes;
        return 0;
#else
        _cleanup_close_ int fd = -EBADF;
        char text[64] = "";
        size_t pages;
        struct rlimit limit;

        fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                /* Without /proc, as in the chroot of an image build, nobody says how much we have already. */
                return errno == ENOENT ? 0 : -errno;
        if (read(fd, text, sizeof(text) - 1) <= 0)
                return -EIO;
        pages = strtoul(text, NULL, 10);

        limit.rlim_cur = limit.rlim_max = pages * (size_t) sysconf(_SC_PAGESIZE) + more_bytes;
        return setrlimit(RLIMIT_AS, &limit) < 0 ? -errno : 0;
#endif
}

void close_descriptors(int first, const int *except, size_t n) {
        unsigned start = (unsigned) first;

        for (size_t i = 0; i < n; i++) {
                if (except[i] < (int) start)
                        continue;
                if ((unsigned) except[i] > start)
                        (void) syscall(SYS_close_range, start, (unsigned) except[i] - 1, 0);
                start = (unsigned) except[i] + 1;
        }
        (void) syscall(SYS_close_range, start, ~0U, 0);
}

static int set_mount(int fd, const char *path, unsigned flags, uint64_t set, uint64_t clear) {
        struct sandbox_mount_attr attr = {
                .attr_set = set,
                .attr_clr = clear,
                .propagation = PROPAGATION_PRIVATE,
        };

        return syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* Lays a device over itself, with a mount of its own on which devices can be opened. */
static int keep_device(const char *path, unsigned device_minor) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        fd = (int) syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(MEMORY_DEVICES, device_minor))
                return 0;
        r = set_mount(fd, "", AT_EMPTY_PATH, 0, MOUNT_ATTR_NODEV);
        if (r < 0)
                return r;
        return syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

#define MOUNT_ATTR_SEALED (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID)

/*
 * In a chroot whose root is an ordinary directory there is no mount that we could change by name. What is below it is
 * cloned, and the clone becomes the root. It is not attached anywhere, as that would show in other namespaces: the
 * descriptor, which therefore stays open, is what keeps it. No device can be opened there at all: older kernels mount
 * nothing on what is not attached.
 */
static int enter_sealed_clone(void) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = (int) syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        if (fd < 0)
                return -errno;
        r = set_mount(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_SEALED, 0);
        if (r < 0)
                return r;
        if (fchdir(fd) < 0 || chroot(".") < 0)
                return -errno;
        (void) TAKE_FD(fd);
        return 0;
}

/*
 * No device can be opened but the three that programs cannot do without. Reading is not harmless: /dev/loop-control
 * makes and removes devices for whoever has it open, /dev/watchdog counts down from the first open on, a tape rewinds.
 */
static int seal_mounts(void) {
        int r;

        if (unshare(CLONE_NEWNS) < 0)
                return -errno;
        r = set_mount(-1, "/", AT_RECURSIVE, MOUNT_ATTR_SEALED, 0);
        if (r == -EINVAL)
                return enter_sealed_clone();
        if (r < 0)
                return r;
        r = keep_device("/dev/null", 3);
        if (r < 0)
                return r;
        r = keep_device("/dev/zero", 5);
        if (r < 0)
                return r;
        return keep_device("/dev/urandom", 9);
}

/* Over the read-only one. Where it cannot be, nothing can be written at all, which most commands get on with. */
static int mount_tmp(const char *root) {
        char path[PATH_MAX];

        if (snprintf(path, sizeof(path), "%s/tmp", streq(root, "/") ? "" : root) >= (int) sizeof(path))
                return -ENAMETOOLONG;
        if (syscall(SYS_mount, "tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, TMP_OPTIONS) < 0)
                return -errno;
        return 0;
}

static int enter_root(const char *root) {
        if (!streq(root, "/") && chroot(root) < 0)
                return -errno;
        return chdir("/") < 0 ? -errno : 0;
}

/* Answers a system call, by the number that is loaded. */
#define REFUSE(number, error)                                \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), \
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

/*
 * What an unprivileged process may do that a check must not.
 *
 * Sockets of other families are refused with EACCES: a check reads everything, so it must not be able to send it away.
 * Other architectures than the one we were built for (x32, i386) are killed, or their numbers would pass unseen.
 */
static int refuse_system_calls(void) {
#if defined(__x86_64__)
        const uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
        const uint32_t architecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
        const uint32_t architecture = AUDIT_ARCH_RISCV64;
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
        const uint32_t architecture = AUDIT_ARCH_PPC64LE;
#else
        const uint32_t architecture = 0; /* no filter: the other walls stand */
#endif
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                /* x32 has its own bit in the number. */
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),

                /* With a handle CAP_DAC_READ_SEARCH opens anything on the mount of any descriptor, and the one of
                 * /proc/self/exe is the host's, not read-only. */
                REFUSE(SYS_open_by_handle_at, EPERM),
                /* Opens sockets and files behind the filter's back. */
                REFUSE(SYS_io_uring_setup, EACCES),
                /* Things that outlive the process, on no mount. */
                REFUSE(SYS_shmget, EPERM),
                REFUSE(SYS_semget, EPERM),
                REFUSE(SYS_msgget, EPERM),
                REFUSE(SYS_mq_open, EPERM),
                REFUSE(SYS_add_key, EPERM),
                REFUSE(SYS_request_key, EPERM),
                REFUSE(SYS_keyctl, EPERM),
                /* All that it starts stays in its process group, and ends with it. */
                REFUSE(SYS_setsid, EPERM),
                REFUSE(SYS_setpgid, EPERM),
                /* Root in a namespace of one's own, and what else has let people through the kernel. */
                REFUSE(SYS_unshare, EPERM),
                /* Its flags cannot be seen from here; the C library takes clone then. */
                REFUSE(SYS_clone3, ENOSYS),
                REFUSE(SYS_bpf, EPERM),
                REFUSE(SYS_perf_event_open, EPERM),
                REFUSE(SYS_userfaultfd, EPERM),

                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
                BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 6, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),

                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 3, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 2, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = ELEMENTSOF(filter), .filter = filter };

        if (architecture == 0)
                return 0;
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

/* A check writes no files; a memfd is one, which no limit of the address space counts. */
static int limit_leaks(bool for_commands) {
        /* A command raises it for itself. */
        const struct rlimit file_size = { .rlim_max = for_commands ? SANDBOX_FILE_BYTES : 0 };

        if (setrlimit(RLIMIT_FSIZE, &file_size) < 0)
                return -errno;
        if (setrlimit(RLIMIT_NPROC, &(struct rlimit){ PROCESSES_MAX, PROCESSES_MAX }) < 0)
                return -errno;
        /* EFBIG rather than the end. */
        return signal(SIGXFSZ, SIG_IGN) == SIG_ERR ? -errno : 0;
}

static int drop_privileges(uid_t uid, gid_t gid) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};
        const uint32_t keep = 1U << CAP_DAC_READ_SEARCH;

        for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
                if (cap != CAP_DAC_READ_SEARCH && prctl(PR_CAPBSET_DROP, cap) < 0)
                        return -errno;
        if (prctl(PR_SET_KEEPCAPS, 1) < 0)
                return -errno;
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                return -errno;
        if (prctl(PR_SET_KEEPCAPS, 0) < 0)
                return -errno;

        data[0].effective = data[0].permitted = keep;
        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;
        return 0;
}

bool sandbox_is_possible(void) {
        static const int needed[] = { CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, CAP_SETUID, CAP_SETGID,
                CAP_SETPCAP };
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return false;
        FOREACH_ELEMENT(cap, needed)
                if (!(data[0].effective & 1U << *cap))
                        return false;
        return true;
}

int sandbox_enter(const SandboxOptions *options, const char **ret_step) {
        int r;

        *ret_step = "make all mounts read-only";
        r = seal_mounts();
        if (r < 0)
                return r;

        if (options->for_commands) {
                const char *root = options->root ?: "/";

                (void) mount_tmp(root);
                *ret_step = "change to the root directory";
                r = enter_root(root);
                if (r < 0)
                        return r;
        }

        *ret_step = "set limits";
        r = limit_leaks(options->for_commands);
        if (r < 0)
                return r;

        *ret_step = "give up privileges";
        r = drop_privileges(options->uid, options->gid);
        if (r < 0)
                return r;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;

        *ret_step = "refuse system calls";
        r = refuse_system_calls();
        if (r < 0)
                return r;

        if (options->memory_bytes > 0) {
                *ret_step = "limit memory";
                r = limit_memory(options->memory_bytes);
                if (r < 0)
                        return r;
        }

        return 0;
}

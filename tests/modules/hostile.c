/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * hostile: a module that tries to get out of the sandbox. Its check makes one attempt and reports as the attribute
 * `outcome` what came of it: "done", the name of an errno, or some text.
 *
 *      [hostile.motd]
 *      attempt = "write"
 *      target = "/etc/motd"
 *
 * With `check_as_root = true` and `audit = true` the same attempt is made outside of the sandbox, which shows that it
 * was the sandbox that refused it. Every attempt has a process of its own, so that none of them spoils the next.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <grp.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include <agentd/module.h>

enum { P_ATTEMPT, P_TARGET };

static const AgentdParameter parameters[] = {
        [P_ATTEMPT] = { .name = "attempt",
                .type = AGENTD_STRING,
                .flags = AGENTD_REQUIRED,
                .documentation = "what to try" },
        [P_TARGET] = { .name = "target",
                .type = AGENTD_STRING,
                .default_value = "/nowhere",
                .documentation = "what to try it on" },
        {},
};

typedef struct Attempt {
        const char *target;
        pid_t engine;
        const void *image; /* an address in the image */
        char *text;        /* a report of more than a word; TEXT_MAX bytes */
} Attempt;

#define TEXT_MAX 8192

/* Of kernel headers that may be newer than those here. */
struct mount_attributes {
        uint64_t set, clear, propagation, userns;
};
#define ATTRIBUTE_RDONLY 1u
#define ATTRIBUTE_NODEV  4u

static int result(long r) {
        return r < 0 ? -errno : 0;
}

static int closed(int fd) {
        int r = result(fd);

        if (fd >= 0)
                (void) close(fd);
        return r;
}

static int put(int fd, const char *text) {
        int r = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

        if (fd >= 0)
                (void) close(fd);
        return r;
}

static const char *beside(const Attempt *a) {
        static char path[512];

        (void) snprintf(path, sizeof(path), "%s.new", a->target);
        return path;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static int try_create(const Attempt *a) {
        char path[600];

        (void) snprintf(path, sizeof(path), "%s/hostile", a->target);
        return put(open(path, O_WRONLY | O_CREAT, 0600), "text");
}

static int try_tmpfile(const Attempt *a) {
        return put(open(a->target, O_WRONLY | O_TMPFILE, 0600), "text");
}

static int try_write(const Attempt *a) {
        return put(open(a->target, O_WRONLY), "hostile");
}

static int try_truncate(const Attempt *a) {
        return result(truncate(a->target, 1));
}

static int try_chmod(const Attempt *a) {
        return result(chmod(a->target, 0777));
}

static int try_fchmod(const Attempt *a) {
        return result(fchmod(open(a->target, O_RDONLY), 0777));
}

static int try_chown(const Attempt *a) {
        return result(chown(a->target, 1, 1));
}

static int try_utimensat(const Attempt *a) {
        return result(utimensat(AT_FDCWD, a->target, NULL, 0));
}

static int try_unlink(const Attempt *a) {
        return result(unlink(a->target));
}

static int try_rename(const Attempt *a) {
        return result(rename(a->target, beside(a)));
}

static int try_mkdir(const Attempt *a) {
        return result(mkdir(beside(a), 0755));
}

static int try_symlink(const Attempt *a) {
        return result(symlink("/etc/passwd", beside(a)));
}

static int try_link(const Attempt *a) {
        return result(link(a->target, beside(a)));
}

static int try_mknod(const Attempt *a) {
        return result(mknod(beside(a), S_IFIFO | 0600, 0));
}

static int try_setxattr(const Attempt *a) {
        return result(setxattr(a->target, "user.hostile", "x", 1, 0));
}

static int try_read(const Attempt *a) {
        int fd = open(a->target, O_RDONLY | O_NONBLOCK);
        ssize_t n = fd < 0 ? -1 : read(fd, a->text, TEXT_MAX - 1);

        if (n < 0)
                return -errno;
        a->text[n] = 0;
        (void) close(fd);
        return 0;
}

/* By handle: CAP_DAC_READ_SEARCH opens a file past all directories, but as read-only as the mount is. */
static int by_handle(const Attempt *a, int flags) {
        union {
                struct file_handle handle;
                char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } h = { .handle.handle_bytes = MAX_HANDLE_SZ };
        char directory[512];
        int id, mount_fd;

        (void) snprintf(directory, sizeof(directory), "%s", a->target);
        *strrchr(directory, '/') = 0;
        if (name_to_handle_at(AT_FDCWD, a->target, &h.handle, &id, 0) < 0)
                return -errno;
        mount_fd = open(directory, O_RDONLY | O_DIRECTORY);
        if (mount_fd < 0)
                return -errno;
        return closed(open_by_handle_at(mount_fd, &h.handle, flags));
}

/* The mount of /proc/self/exe is the one that agentd was started from. */
static int try_handle_by_exe(const Attempt *a) {
        union {
                struct file_handle handle;
                char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } h = { .handle.handle_bytes = MAX_HANDLE_SZ };
        int id;

        if (name_to_handle_at(AT_FDCWD, a->target, &h.handle, &id, 0) < 0)
                return -errno;
        return put(open_by_handle_at(open("/proc/self/exe", O_RDONLY), &h.handle, O_WRONLY), "hostile");
}

static int try_touch_null(const Attempt *a) {
        return result(futimens(0, NULL));
}

static int try_handle_write(const Attempt *a) {
        return by_handle(a, O_RDWR);
}

static int try_handle_read(const Attempt *a) {
        return by_handle(a, O_RDONLY);
}

static int try_chroot(const Attempt *a) {
        return result(chroot(a->target));
}

/* ---- Mounts ---------------------------------------------------------------------------------------------------- */

static int set_attributes(int fd, const char *path, unsigned flags, uint64_t clear) {
        struct mount_attributes attributes = { .clear = clear };

        return result(syscall(SYS_mount_setattr, fd, path, flags, &attributes, sizeof(attributes)));
}

static int try_remount(const Attempt *a) {
        return result(mount(NULL, a->target, NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int try_mount_setattr(const Attempt *a) {
        return set_attributes(AT_FDCWD, a->target, 0, ATTRIBUTE_RDONLY | ATTRIBUTE_NODEV);
}

static int try_fsmount(const Attempt *a) {
        int fs = (int) syscall(SYS_fsopen, "tmpfs", 0), fd;

        if (fs < 0)
                return -errno;
        if (syscall(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) < 0)
                return -errno;
        fd = (int) syscall(SYS_fsmount, fs, 0, 0);
        if (fd < 0)
                return -errno;
        return result(syscall(SYS_move_mount, fd, "", AT_FDCWD, a->target, 4 /* MOVE_MOUNT_F_EMPTY_PATH */));
}

static int try_open_tree(const Attempt *a) {
        int fd = (int) syscall(SYS_open_tree, AT_FDCWD, a->target, 1 /* OPEN_TREE_CLONE */), r;

        if (fd < 0)
                return -errno;
        r = set_attributes(fd, "", AT_EMPTY_PATH, ATTRIBUTE_RDONLY);
        if (r < 0)
                return r;
        return put(openat(fd, "hostile", O_WRONLY | O_CREAT, 0600), "text");
}

static int try_umount(const Attempt *a) {
        return result(umount2(a->target, MNT_DETACH));
}

static int try_mount_tmpfs(const Attempt *a) {
        return result(mount("tmpfs", a->target, "tmpfs", 0, NULL));
}

static int try_unshare_mounts(const Attempt *a) {
        return result(unshare(CLONE_NEWNS));
}

static int try_unshare_user(const Attempt *a) {
        return result(unshare(CLONE_NEWUSER | CLONE_NEWNS));
}

static int try_clone_user(const Attempt *a) {
        long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

        if (pid == 0)
                _exit(0);
        return result(pid);
}

static int try_clone3_user(const Attempt *a) {
        struct {
                uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
        } args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
        long pid = syscall(SYS_clone3, &args, sizeof(args));

        if (pid == 0)
                _exit(0);
        return result(pid);
}

static int as_user_root(const Attempt *a, int (*attempt)(const Attempt *a)) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return -errno;
        return attempt(a);
}

static int try_user_remount(const Attempt *a) {
        int r = as_user_root(a, try_remount);

        return r < 0 ? r : try_create(a);
}

static int try_user_setattr(const Attempt *a) {
        return as_user_root(a, try_mount_setattr);
}

static int try_user_open_tree(const Attempt *a) {
        return as_user_root(a, try_open_tree);
}

static int try_user_umount(const Attempt *a) {
        return as_user_root(a, try_umount);
}

static int try_setsid(const Attempt *a) {
        return result(setsid());
}

static int try_setpgid(const Attempt *a) {
        return result(setpgid(0, 0));
}

static int try_setns(const Attempt *a) {
        int fd = open("/proc/1/ns/mnt", O_RDONLY);

        return fd < 0 ? -errno : result(setns(fd, CLONE_NEWNS));
}

static int try_setns_engine(const Attempt *a) {
        int fd = (int) syscall(SYS_pidfd_open, a->engine, 0);

        return fd < 0 ? -errno : result(setns(fd, CLONE_NEWNS));
}

static int create_below(const Attempt *a, const char *link) {
        char path[512];
        Attempt other = *a;

        (void) snprintf(path, sizeof(path), "%s%s", link, a->target);
        other.target = path;
        return try_create(&other);
}

static int try_root_of_init(const Attempt *a) {
        return create_below(a, "/proc/1/root");
}

static int try_root_of_engine(const Attempt *a) {
        char link[64];

        (void) snprintf(link, sizeof(link), "/proc/%d/root", a->engine);
        return create_below(a, link);
}

static int try_cwd_of_engine(const Attempt *a) {
        char link[64];

        (void) snprintf(link, sizeof(link), "/proc/%d/cwd", a->engine);
        return create_below(a, link);
}

/* ---- Devices --------------------------------------------------------------------------------------------------- */

static int try_open_read(const Attempt *a) {
        return closed(open(a->target, O_RDONLY | O_NONBLOCK | O_NOCTTY));
}

static int try_open_write(const Attempt *a) {
        return closed(open(a->target, O_RDWR | O_NONBLOCK | O_NOCTTY));
}

static int try_mknod_device(const Attempt *a) {
        if (mknod(beside(a), S_IFBLK | 0666, makedev(7, 0)) < 0)
                return -errno;
        return closed(open(beside(a), O_RDWR));
}

/* The loop driver asks for no privilege, only for an open descriptor. */
static int try_loop_add(const Attempt *a) {
        int fd = open("/dev/loop-control", O_RDONLY), n = -1;

        if (fd < 0)
                return -errno;
        n = ioctl(fd, LOOP_CTL_ADD, 77);
        /* The machine has one of each number: another box may be at it just now. */
        if (n < 0 && errno == EEXIST)
                return 0;
        if (n >= 0)
                (void) ioctl(fd, LOOP_CTL_REMOVE, 77);
        return result(n);
}

/* A character typed into the terminal that agentd was started from. */
static int try_type(const Attempt *a) {
        int fd = open("/dev/tty", O_RDWR);

        return fd < 0 ? -errno : result(ioctl(fd, TIOCSTI, "x"));
}

/* ---- Processes ------------------------------------------------------------------------------------------------- */

static int try_kill_init(const Attempt *a) {
        return result(kill(1, 0));
}

static int try_kill_engine(const Attempt *a) {
        return result(kill(a->engine, 0));
}

static int try_ptrace(const Attempt *a) {
        int r = result(ptrace(PTRACE_SEIZE, a->engine, NULL, NULL));

        return r;
}

static int try_process_vm(const Attempt *a) {
        uint64_t word = 0;
        struct iovec local = { .iov_base = &word, .iov_len = sizeof(word) },
                     remote = { .iov_base = &word, .iov_len = sizeof(word) };

        /* The same address is that of a stack there as well; what is written is what was there. */
        if (process_vm_readv(a->engine, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT)
                return -errno;
        return process_vm_writev(a->engine, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT ? -errno : 0;
}

static int try_proc_mem(const Attempt *a) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/mem", a->engine);
        return closed(open(path, O_RDWR));
}

static int try_pidfd_getfd(const Attempt *a) {
        int fd = (int) syscall(SYS_pidfd_open, a->engine, 0);

        return fd < 0 ? -errno : closed((int) syscall(SYS_pidfd_getfd, fd, 0, 0));
}

static int try_many_processes(const Attempt *a) {
        pid_t pids[2000];
        int n = 0, r = 0;

        while (n < 2000 && r == 0) {
                pids[n] = fork();
                if (pids[n] == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        (void) poll(NULL, 0, 5000);
                        _exit(0);
                }
                if (pids[n] < 0)
                        r = -errno;
                else
                        n++;
        }
        while (n-- > 0) {
                (void) kill(pids[n], SIGKILL);
                (void) waitpid(pids[n], NULL, 0);
        }
        return r;
}

/* ---- The bus --------------------------------------------------------------------------------------------------- */

static int call_systemd(const Attempt *a, bool private, const char *method, const char *types, ...) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = NULL;
        va_list args;
        int r;

        if (private) {
                r = sd_bus_new(&bus);
                if (r >= 0)
                        r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
                if (r >= 0)
                        r = sd_bus_start(bus);
        } else
                r = sd_bus_open_system(&bus);
        if (r < 0)
                return r;

        va_start(args, types);
        r = sd_bus_call_methodv(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager", method, &error, NULL, types, args);
        va_end(args);
        if (r < 0)
                (void) snprintf(a->text, TEXT_MAX, "%s", error.name ? error.name : strerrorname_np(-r));
        sd_bus_error_free(&error);
        sd_bus_flush_close_unref(bus);
        return r < 0 ? r : 0;
}

static int try_start_unit(const Attempt *a) {
        return call_systemd(a, false, "StartUnit", "ss", a->target, "replace");
}

static int try_stop_unit(const Attempt *a) {
        return call_systemd(a, false, "StopUnit", "ss", a->target, "replace");
}

static int try_kill_unit(const Attempt *a) {
        return call_systemd(a, false, "KillUnit", "ssi", a->target, "all", SIGCONT);
}

static int try_private_socket(const Attempt *a) {
        return call_systemd(a, true, "StartUnit", "ss", a->target, "replace");
}

static int try_transient_unit(const Attempt *a) {
        return call_systemd(a, false, "StartTransientUnit", "ssa(sv)a(sa(sv))", "hostile.service", "replace",
                1, "ExecStart", "a(sasb)", 1, "/bin/true", 1, "/bin/true", 0, 0);
}

static int try_list_units(const Attempt *a) {
        return call_systemd(a, false, "ListUnits", "");
}

static int try_connect(const Attempt *a) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", a->target);
        return result(connect(fd, (struct sockaddr *) &address, sizeof(address)));
}

/* ---- Network --------------------------------------------------------------------------------------------------- */

static int try_inet(const Attempt *a) {
        return closed(socket(AF_INET, SOCK_DGRAM, 0));
}

static int try_inet6(const Attempt *a) {
        return closed(socket(AF_INET6, SOCK_STREAM, 0));
}

static int try_packet(const Attempt *a) {
        return closed(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_netlink(const Attempt *a) {
        return closed(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int try_io_uring(const Attempt *a) {
        char parameters_[120] = {};

        return closed((int) syscall(SYS_io_uring_setup, 1, parameters_));
}

static int try_interface_down(const Attempt *a) {
        struct ifreq request = { .ifr_name = "lo" };

        return result(ioctl(socket(AF_UNIX, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request));
}

/* System calls of other architectures, whose numbers mean something else. */
static int try_x32(const Attempt *a) {
#ifdef __x86_64__
        return result(syscall(0x40000000 | SYS_getpid)) == -ENOSYS ? -ENOSYS : 0;
#else
        return -ENOSYS;
#endif
}

static int try_i386(const Attempt *a) {
#ifdef __x86_64__
        long r;

        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20 /* getpid */) : "memory", "r8", "r9", "r10", "r11");
        return r < 0 ? (int) r : 0;
#else
        return -ENOSYS;
#endif
}

/* ---- Privileges ------------------------------------------------------------------------------------------------ */

static int try_setuid(const Attempt *a) {
        return result(setresuid(0, 0, 0));
}

static int try_setgid(const Attempt *a) {
        return result(setresgid(0, 0, 0));
}

static int try_setgroups(const Attempt *a) {
        return result(setgroups(1, (gid_t[]){ 0 }));
}

static int try_capset(const Attempt *a) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        data[0].effective = data[0].permitted = 1u << CAP_DAC_READ_SEARCH | 1u << CAP_CHOWN;
        return result(syscall(SYS_capset, &header, data));
}

/* What a program says who it is. */
static int try_exec(const Attempt *a) {
        int pair[2], status;
        ssize_t n, used = 0;
        pid_t pid;

        if (pipe(pair) < 0)
                return -errno;
        pid = fork();
        if (pid == 0) {
                (void) dup2(pair[1], 1);
                (void) execl(a->target, a->target, "/proc/self/status", NULL);
                _exit(127);
        }
        (void) close(pair[1]);
        while (used < TEXT_MAX - 1 &&
                (n = read(pair[0], a->text + used, (size_t) (TEXT_MAX - 1 - used))) > 0)
                used += n;
        a->text[used] = 0;
        (void) waitpid(pid, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOEXEC;
}

static int try_whoami(const Attempt *a) {
        Attempt other = *a;
        size_t used;

        other.target = "/proc/self/status";
        if (try_read(&other) < 0)
                return -errno;
        used = strlen(a->text);
        (void) snprintf(a->text + used, TEXT_MAX - used, "KeepCaps:\t%d\nDumpable:\t%d\nSid:\t%s\n",
                prctl(PR_GET_KEEPCAPS), prctl(PR_GET_DUMPABLE),
                getsid(0) == getsid(a->engine) ? "engine" : "own");
        return 0;
}

/* ---- The kernel ------------------------------------------------------------------------------------------------ */

static int try_bpf(const Attempt *a) {
        union bpf_attr attr = {
                .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
        };

        return closed((int) syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int try_perf(const Attempt *a) {
        struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                .size = sizeof(attr),
                .config = PERF_COUNT_SW_DUMMY,
                .exclude_kernel = 1 };

        return closed((int) syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int try_add_key(const Attempt *a) {
        return result(syscall(SYS_add_key, "user", "hostile", "x", 1, -4 /* KEY_SPEC_USER_KEYRING */));
}

static int try_keyctl(const Attempt *a) {
        return result(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -4, 1));
}

static int try_userfaultfd(const Attempt *a) {
        return closed((int) syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
}

static int try_init_module(const Attempt *a) {
        return result(syscall(SYS_init_module, "x", 1, ""));
}

static int try_finit_module(const Attempt *a) {
        return result(syscall(SYS_finit_module, open("/etc/passwd", O_RDONLY), "", 0));
}

static int try_kexec(const Attempt *a) {
        return result(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int try_reboot(const Attempt *a) {
        return result(reboot(RB_DISABLE_CAD));
}

static int try_sethostname(const Attempt *a) {
        return result(sethostname("hostile", 7));
}

static int try_settimeofday(const Attempt *a) {
        struct timeval now;

        (void) gettimeofday(&now, NULL);
        return result(settimeofday(&now, NULL));
}

static int try_swapon(const Attempt *a) {
        return result(swapon(a->target, 0));
}

static int try_quotactl(const Attempt *a) {
        return result(syscall(SYS_quotactl, 0x800003 << 8 /* Q_QUOTAOFF */, a->target, 0, NULL));
}

static int try_acct(const Attempt *a) {
        return result(acct(a->target));
}

static int try_fanotify(const Attempt *a) {
        return closed(fanotify_init(FAN_CLASS_CONTENT, O_RDONLY));
}

static int try_inotify(const Attempt *a) {
        return result(inotify_add_watch(inotify_init1(0), a->target, IN_MODIFY));
}

static int try_syslog(const Attempt *a) {
        return result(syscall(SYS_syslog, 5 /* clear */, NULL, 0));
}

static int try_realtime(const Attempt *a) {
        return result(sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }));
}

static int try_nice(const Attempt *a) {
        return result(setpriority(PRIO_PROCESS, 0, -5));
}

static int try_shm(const Attempt *a) {
        return result(shmget(4711, 4096, IPC_CREAT | 0666));
}

static int try_sem(const Attempt *a) {
        return result(semget(4711, 1, IPC_CREAT | 0666));
}

static int try_msg(const Attempt *a) {
        return result(msgget(4711, IPC_CREAT | 0666));
}

static int try_mq(const Attempt *a) {
        return result(mq_open("/hostile", O_CREAT | O_RDWR, 0666, NULL));
}

/* ---- Memory and limits ----------------------------------------------------------------------------------------- */

static int try_image_here(const Attempt *a) {
        char *page = (char *) ((uintptr_t) a->image & ~(uintptr_t) 4095);

        if (mprotect(page, 4096, PROT_READ | PROT_WRITE) < 0)
                return -errno;
        memset(page, 0x55, 4096);
        return 0;
}

/* The memory that all processes share, by way of the map that the image is. */
static int try_image_file(const Attempt *a) {
        char line[512], path[600];
        FILE *f = fopen("/proc/self/maps", "re");
        int r = -ENOENT;

        while (f && fgets(line, sizeof(line), f)) {
                unsigned long from, to;

                if (!strstr(line, "memfd:") || sscanf(line, "%lx-%lx", &from, &to) != 2)
                        continue;
                (void) snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", from, to);
                r = closed(open(path, O_RDWR));
                break;
        }
        return r;
}

static int try_allocate(const Attempt *a) {
        return mmap(NULL, 1ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                               MAP_FAILED
                       ? -errno
                       : 0;
}

/* Memory that no limit of the address space counts. */
static int try_memfd(const Attempt *a) {
        int fd = memfd_create("hostile", 0);

        return fd < 0 ? -errno : result(fallocate(fd, 0, 0, 600l << 20));
}

static int try_mlock(const Attempt *a) {
        void *p = mmap(NULL, 64ul << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return p == MAP_FAILED ? -errno : result(mlock(p, 64ul << 20));
}

static int try_raise_limit(const Attempt *a) {
        return result(setrlimit(RLIMIT_AS, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }));
}

static int try_core(const Attempt *a) {
        return result(setrlimit(RLIMIT_CORE, &(struct rlimit){ 1 << 20, 1 << 20 }));
}

/* ---- Reports --------------------------------------------------------------------------------------------------- */

/* Those that are not sealed, or that hear of others. Source: proc(5), "/proc/[pid]/mountinfo". */
static int list_mounts(const Attempt *a) {
        char line[1024], point[512], options[256];
        size_t used = 0;
        FILE *f = fopen("/proc/self/mountinfo", "re");

        a->text[0] = 0;
        while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "%*s %*s %*s %*s %511s %255s", point, options) != 2)
                        continue;
                if (strncmp(options, "ro,nosuid", 9) == 0 && !strstr(line, " shared:") &&
                        !strstr(line, " master:") &&
                        (strstr(options, "nodev") || strcmp(point, "/dev/null") == 0 ||
                                strcmp(point, "/dev/zero") == 0 || strcmp(point, "/dev/urandom") == 0))
                        continue;
                used += (size_t) snprintf(a->text + used, used < TEXT_MAX ? TEXT_MAX - used : 0, "%s", line);
        }
        if (f)
                (void) fclose(f);
        return 0;
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        int (*run)(const Attempt *a);
} attempts[] = {
        { "create", try_create },
        { "tmpfile", try_tmpfile },
        { "write", try_write },
        { "truncate", try_truncate },
        { "chmod", try_chmod },
        { "fchmod", try_fchmod },
        { "chown", try_chown },
        { "utimensat", try_utimensat },
        { "unlink", try_unlink },
        { "rename", try_rename },
        { "mkdir", try_mkdir },
        { "symlink", try_symlink },
        { "link", try_link },
        { "mknod", try_mknod },
        { "setxattr", try_setxattr },
        { "read", try_read },
        { "handle-by-exe", try_handle_by_exe },
        { "touch-null", try_touch_null },
        { "handle-write", try_handle_write },
        { "handle-read", try_handle_read },
        { "chroot", try_chroot },
        { "remount", try_remount },
        { "mount-setattr", try_mount_setattr },
        { "fsmount", try_fsmount },
        { "open-tree", try_open_tree },
        { "umount", try_umount },
        { "mount-tmpfs", try_mount_tmpfs },
        { "unshare-mounts", try_unshare_mounts },
        { "unshare-user", try_unshare_user },
        { "clone-user", try_clone_user },
        { "clone3-user", try_clone3_user },
        { "user-remount", try_user_remount },
        { "user-setattr", try_user_setattr },
        { "user-open-tree", try_user_open_tree },
        { "user-umount", try_user_umount },
        { "setns", try_setns },
        { "setsid", try_setsid },
        { "setpgid", try_setpgid },
        { "setns-engine", try_setns_engine },
        { "root-of-init", try_root_of_init },
        { "root-of-engine", try_root_of_engine },
        { "cwd-of-engine", try_cwd_of_engine },
        { "open-read", try_open_read },
        { "open-write", try_open_write },
        { "mknod-device", try_mknod_device },
        { "loop-add", try_loop_add },
        { "type", try_type },
        { "kill-init", try_kill_init },
        { "kill-engine", try_kill_engine },
        { "ptrace", try_ptrace },
        { "process-vm", try_process_vm },
        { "proc-mem", try_proc_mem },
        { "pidfd-getfd", try_pidfd_getfd },
        { "many-processes", try_many_processes },
        { "start-unit", try_start_unit },
        { "stop-unit", try_stop_unit },
        { "kill-unit", try_kill_unit },
        { "private-socket", try_private_socket },
        { "transient-unit", try_transient_unit },
        { "list-units", try_list_units },
        { "connect", try_connect },
        { "inet", try_inet },
        { "inet6", try_inet6 },
        { "packet", try_packet },
        { "netlink", try_netlink },
        { "io-uring", try_io_uring },
        { "interface-down", try_interface_down },
        { "x32", try_x32 },
        { "i386", try_i386 },
        { "setuid", try_setuid },
        { "setgid", try_setgid },
        { "setgroups", try_setgroups },
        { "capset", try_capset },
        { "exec", try_exec },
        { "whoami", try_whoami },
        { "bpf", try_bpf },
        { "perf", try_perf },
        { "add-key", try_add_key },
        { "keyctl", try_keyctl },
        { "userfaultfd", try_userfaultfd },
        { "init-module", try_init_module },
        { "finit-module", try_finit_module },
        { "kexec", try_kexec },
        { "reboot", try_reboot },
        { "sethostname", try_sethostname },
        { "settimeofday", try_settimeofday },
        { "swapon", try_swapon },
        { "quotactl", try_quotactl },
        { "acct", try_acct },
        { "fanotify", try_fanotify },
        { "inotify", try_inotify },
        { "syslog", try_syslog },
        { "realtime", try_realtime },
        { "nice", try_nice },
        { "shm", try_shm },
        { "sem", try_sem },
        { "msg", try_msg },
        { "mq", try_mq },
        { "image-here", try_image_here },
        { "image-file", try_image_file },
        { "allocate", try_allocate },
        { "memfd", try_memfd },
        { "mlock", try_mlock },
        { "raise-limit", try_raise_limit },
        { "core", try_core },
        { "mounts", list_mounts },
};

/* In a process of its own; the outcome as text. */
static void run_apart(int (*run)(const Attempt *a), Attempt *a) {
        char *shared = mmap(NULL, TEXT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int status;
        pid_t pid;

        if (shared == MAP_FAILED)
                return;
        pid = fork();
        if (pid == 0) {
                Attempt mine = *a;
                int r;

                mine.text = shared;
                r = run(&mine);
                if (r < 0 && !*shared)
                        (void) snprintf(shared, TEXT_MAX, "%s", strerrorname_np(-r));
                else if (r >= 0 && !*shared)
                        (void) strcpy(shared, "done");
                _exit(0);
        }
        if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
                (void) snprintf(a->text, TEXT_MAX, "SIG%s", sigabbrev_np(WTERMSIG(status)));
        else
                (void) memcpy(a->text, shared, TEXT_MAX);
        (void) munmap(shared, TEXT_MAX);
}

/* Must be told by the worker itself, before anything else was opened. */
static void list_descriptors(Attempt *a) {
        size_t used = 0;

        a->text[0] = 0;
        for (int fd = 0; fd < 4096; fd++) {
                char link[64], target[256] = "";

                (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
                if (fcntl(fd, F_GETFD) < 0)
                        continue;
                if (readlink(link, target, sizeof(target) - 1) < 0)
                        (void) strcpy(target, "?");
                used += (size_t) snprintf(
                        a->text + used, used < TEXT_MAX ? TEXT_MAX - used : 0, "%d %s\n", fd, target);
        }
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        static char text[TEXT_MAX];

        for (size_t i = 0; i < n; i++) {
                const AgentdValue *values = states[i].data;
                Attempt a = {
                        .target = values[P_TARGET].string, .engine = getppid(), .image = values, .text = text
                };
                const char *name = values[P_ATTEMPT].string;

                (void) snprintf(text, sizeof(text), "no such attempt");
                if (strcmp(name, "descriptors") == 0)
                        list_descriptors(&a);
                else if (strcmp(name, "scribble") == 0)
                        /* Spoils what this very worker sees, to be looked at by the next one. */
                        (void) snprintf(
                                text, sizeof(text), "%s", try_image_here(&a) < 0 ? "refused" : "done");
                for (size_t k = 0; k < sizeof(attempts) / sizeof(*attempts); k++)
                        if (strcmp(name, attempts[k].name) == 0)
                                run_apart(attempts[k].run, &a);
                agentd_differs_string(c, i, "outcome", text, "refused");
                agentd_done(c, i);
        }
        return 0;
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                agentd_done(c, i);
        return 0;
}

static const AgentdStateType hostile = {
        .name = "hostile",
        .documentation = "Tries to change the host from within a check",
        .parameters = parameters,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("hostile", "1", &hostile);

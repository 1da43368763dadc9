/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of properties, and what is said about a wrong one. */

#include <sched.h>
#include <sys/mount.h>

#include "diagnostic.h"
#include "unit-property-internal.h"

/* What is shown of a wrong value. */
#define SHOWN_MAX 100

/* ---- Words ----------------------------------------------------------------------------------------------------- */

/* Source: linux/capability.h, and the manual pages for the others. */
static const UnitWord capabilities[] = {
        { "CAP_CHOWN", INT64_C(1) << 0 },
        { "CAP_DAC_OVERRIDE", INT64_C(1) << 1 },
        { "CAP_DAC_READ_SEARCH", INT64_C(1) << 2 },
        { "CAP_FOWNER", INT64_C(1) << 3 },
        { "CAP_FSETID", INT64_C(1) << 4 },
        { "CAP_KILL", INT64_C(1) << 5 },
        { "CAP_SETGID", INT64_C(1) << 6 },
        { "CAP_SETUID", INT64_C(1) << 7 },
        { "CAP_SETPCAP", INT64_C(1) << 8 },
        { "CAP_LINUX_IMMUTABLE", INT64_C(1) << 9 },
        { "CAP_NET_BIND_SERVICE", INT64_C(1) << 10 },
        { "CAP_NET_BROADCAST", INT64_C(1) << 11 },
        { "CAP_NET_ADMIN", INT64_C(1) << 12 },
        { "CAP_NET_RAW", INT64_C(1) << 13 },
        { "CAP_IPC_LOCK", INT64_C(1) << 14 },
        { "CAP_IPC_OWNER", INT64_C(1) << 15 },
        { "CAP_SYS_MODULE", INT64_C(1) << 16 },
        { "CAP_SYS_RAWIO", INT64_C(1) << 17 },
        { "CAP_SYS_CHROOT", INT64_C(1) << 18 },
        { "CAP_SYS_PTRACE", INT64_C(1) << 19 },
        { "CAP_SYS_PACCT", INT64_C(1) << 20 },
        { "CAP_SYS_ADMIN", INT64_C(1) << 21 },
        { "CAP_SYS_BOOT", INT64_C(1) << 22 },
        { "CAP_SYS_NICE", INT64_C(1) << 23 },
        { "CAP_SYS_RESOURCE", INT64_C(1) << 24 },
        { "CAP_SYS_TIME", INT64_C(1) << 25 },
        { "CAP_SYS_TTY_CONFIG", INT64_C(1) << 26 },
        { "CAP_MKNOD", INT64_C(1) << 27 },
        { "CAP_LEASE", INT64_C(1) << 28 },
        { "CAP_AUDIT_WRITE", INT64_C(1) << 29 },
        { "CAP_AUDIT_CONTROL", INT64_C(1) << 30 },
        { "CAP_SETFCAP", INT64_C(1) << 31 },
        { "CAP_MAC_OVERRIDE", INT64_C(1) << 32 },
        { "CAP_MAC_ADMIN", INT64_C(1) << 33 },
        { "CAP_SYSLOG", INT64_C(1) << 34 },
        { "CAP_WAKE_ALARM", INT64_C(1) << 35 },
        { "CAP_BLOCK_SUSPEND", INT64_C(1) << 36 },
        { "CAP_AUDIT_READ", INT64_C(1) << 37 },
        { "CAP_PERFMON", INT64_C(1) << 38 },
        { "CAP_BPF", INT64_C(1) << 39 },
        { "CAP_CHECKPOINT_RESTORE", INT64_C(1) << 40 },
        {},
};

static const UnitWord namespaces[] = {
        { "cgroup", CLONE_NEWCGROUP },
        { "ipc", CLONE_NEWIPC },
        { "net", CLONE_NEWNET },
        { "mnt", CLONE_NEWNS },
        { "pid", CLONE_NEWPID },
        { "user", CLONE_NEWUSER },
        { "uts", CLONE_NEWUTS },
        {},
};

static const UnitWord secure_bits[] = {
        { "noroot", 1 << 0 },
        { "noroot-locked", 1 << 1 },
        { "no-setuid-fixup", 1 << 2 },
        { "no-setuid-fixup-locked", 1 << 3 },
        { "keep-caps", 1 << 4 },
        { "keep-caps-locked", 1 << 5 },
        {},
};

static const UnitWord core_parts[] = {
        { "private-anonymous", 1 << 0 },
        { "shared-anonymous", 1 << 1 },
        { "private-file-backed", 1 << 2 },
        { "shared-file-backed", 1 << 3 },
        { "elf-headers", 1 << 4 },
        { "private-huge", 1 << 5 },
        { "shared-huge", 1 << 6 },
        { "private-dax", 1 << 7 },
        { "shared-dax", 1 << 8 },
        { "default", 0x33 },
        { "all", UINT32_MAX },
        {},
};

static const UnitWord propagation[] = {
        { "shared", MS_SHARED },
        { "slave", MS_SLAVE },
        { "private", MS_PRIVATE },
        {},
};

static const UnitWord scheduling[] = {
        { "other", SCHED_OTHER },
        { "batch", SCHED_BATCH },
        { "idle", SCHED_IDLE },
        { "fifo", SCHED_FIFO },
        { "rr", SCHED_RR },
        {},
};

static const UnitWord io_classes[] = {
        { "none", 0 },
        { "realtime", 1 },
        { "best-effort", 2 },
        { "idle", 3 },
        {},
};

static const UnitWord numa[] = {
        { "default", 0 },
        { "preferred", 1 },
        { "bind", 2 },
        { "interleave", 3 },
        { "local", 4 },
        {},
};

static const UnitWord levels[] = {
        { "emerg", 0 },
        { "alert", 1 },
        { "crit", 2 },
        { "err", 3 },
        { "warning", 4 },
        { "notice", 5 },
        { "info", 6 },
        { "debug", 7 },
        {},
};

static const UnitWord facilities[] = {
        { "kern", 0 },
        { "user", 1 },
        { "mail", 2 },
        { "daemon", 3 },
        { "auth", 4 },
        { "syslog", 5 },
        { "lpr", 6 },
        { "news", 7 },
        { "uucp", 8 },
        { "cron", 9 },
        { "authpriv", 10 },
        { "ftp", 11 },
        { "local0", 16 },
        { "local1", 17 },
        { "local2", 18 },
        { "local3", 19 },
        { "local4", 20 },
        { "local5", 21 },
        { "local6", 22 },
        { "local7", 23 },
        {},
};

static const UnitWord idle_weight[] = {
        { "idle", 0 },
        {},
};

static const UnitWord protect_system[] = {
        { "yes", 0 },
        { "no", 0 },
        { "true", 0 },
        { "false", 0 },
        { "full", 0 },
        { "strict", 0 },
        {},
};

static const UnitWord protect_home[] = {
        { "yes", 0 },
        { "no", 0 },
        { "true", 0 },
        { "false", 0 },
        { "read-only", 0 },
        { "tmpfs", 0 },
        {},
};

static const UnitWord protect_proc[] = {
        { "noaccess", 0 },
        { "invisible", 0 },
        { "ptraceable", 0 },
        { "default", 0 },
        {},
};

static const UnitWord proc_subset[] = {
        { "all", 0 },
        { "pid", 0 },
        {},
};

static const UnitWord keyring[] = {
        { "inherit", 0 },
        { "private", 0 },
        { "shared", 0 },
        {},
};

static const UnitWord personalities[] = {
        { "x86", 0 },
        { "x86-64", 0 },
        { "ppc", 0 },
        { "ppc-le", 0 },
        { "ppc64", 0 },
        { "ppc64-le", 0 },
        { "s390", 0 },
        { "s390x", 0 },
        { "arm64", 0 },
        { "arm64-be", 0 },
        { "arm", 0 },
        { "arm-be", 0 },
        { "riscv64", 0 },
        {},
};

static const UnitWord kill_modes[] = {
        { "control-group", 0 },
        { "mixed", 0 },
        { "process", 0 },
        { "none", 0 },
        {},
};

static const UnitWord oom_policies[] = {
        { "continue", 0 },
        { "stop", 0 },
        { "kill", 0 },
        {},
};

static const UnitWord device_policies[] = {
        { "auto", 0 },
        { "closed", 0 },
        { "strict", 0 },
        {},
};

static const UnitWord managed_oom[] = {
        { "auto", 0 },
        { "kill", 0 },
        {},
};

static const UnitWord oom_preferences[] = {
        { "none", 0 },
        { "avoid", 0 },
        { "omit", 0 },
        {},
};

static const UnitWord preserve[] = {
        { "yes", 0 },
        { "no", 0 },
        { "true", 0 },
        { "false", 0 },
        { "restart", 0 },
        {},
};

static const UnitWord timeout_modes[] = {
        { "terminate", 0 },
        { "abort", 0 },
        { "kill", 0 },
        {},
};

static const UnitWord architectures[] = {
        { "native", 0 },
        { "x86", 0 },
        { "x86-64", 0 },
        { "x32", 0 },
        { "arm", 0 },
        { "arm64", 0 },
        { "mips", 0 },
        { "mips64", 0 },
        { "mips64-n32", 0 },
        { "mips-le", 0 },
        { "mips64-le", 0 },
        { "mips64-le-n32", 0 },
        { "parisc", 0 },
        { "parisc64", 0 },
        { "ppc", 0 },
        { "ppc64", 0 },
        { "ppc64-le", 0 },
        { "riscv64", 0 },
        { "s390", 0 },
        { "s390x", 0 },
        {},
};

static const UnitWord controllers[] = {
        { "cpu", 0 },
        { "cpuacct", 0 },
        { "cpuset", 0 },
        { "io", 0 },
        { "blkio", 0 },
        { "memory", 0 },
        { "devices", 0 },
        { "pids", 0 },
        { "bpf-firewall", 0 },
        { "bpf-devices", 0 },
        { "bpf-foreign", 0 },
        { "bpf-socket-bind", 0 },
        { "bpf-restrict-network-interfaces", 0 },
        {},
};

static const UnitWord utmp_modes[] = {
        { "init", 0 },
        { "login", 0 },
        { "user", 0 },
        {},
};

static const UnitWord families[] = {
        { "none", 0 },
        { "AF_", 1 },
        {},
};

/* Of system calls and groups of them: any that begins with a small letter. */
static const UnitWord system_calls[] = {
        { "", 2 },
        {},
};

/* Of file systems and interfaces: any. */
static const UnitWord names[] = {
        { "", 1 },
        {},
};

static int unit_slice(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        const char *text = json_string_value(value);

        if (!text || strlen(text) != json_string_length(value) || strlen(text) > 255 ||
                !endswith(text, ".slice") ||
                (!streq(text, "agentd.slice") && !startswith(text, "agentd-")) || strstr(text, "--") ||
                endswith(text, "-.slice") ||
                strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-\\") !=
                        strlen(text))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(sv)", property->name, "s", text) : 0;
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

/* In the order of the alphabet. */
static const UnitProperty properties[] = {
        /* clang-format off */
        { .name = "After", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "AllowedCPUs", .form = unit_cpus, .wants = "processors like \"0-3\"" },
        { .name = "AllowedMemoryNodes", .form = unit_cpus, .wants = "nodes like \"0-1\"" },
        { .name = "AmbientCapabilities", .form = unit_mask, .words = capabilities, .max = 1, .wants = "an array of capabilities like \"CAP_NET_ADMIN\", with a \"~\" before the first for all but these" },
        { .name = "AppArmorProfile", .form = unit_optional_string, .wants = "a string, with a \"-\" before it if it may be unknown" },
        { .name = "Before", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "BindPaths", .form = unit_binds, .wants = "an array like [\"/from:/to\"], with a \"-\" before what may be missing, and \":norbind\" after" },
        { .name = "BindReadOnlyPaths", .form = unit_binds, .wants = "an array like [\"/from:/to\"], with a \"-\" before what may be missing, and \":norbind\" after" },
        { .name = "BindsTo", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "CPUAffinity", .form = unit_cpus, .wants = "processors like \"0-3\"" },
        { .name = "CPUQuota", .form = unit_quota, .bus_name = "CPUQuotaPerSecUSec", .wants = "a part of one processor's time like \"20%\", or more than one of several, \"150%\"" },
        { .name = "CPUQuotaPeriodSec", .form = unit_timespan, .bus_name = "CPUQuotaPeriodUSec", .wants = "a time span like \"2min 30s\"" },
        { .name = "CPUSchedulingPolicy", .form = unit_int32, .words = scheduling, .wants = "\"other\", \"batch\", \"idle\", \"fifo\" or \"rr\"" },
        { .name = "CPUSchedulingPriority", .form = unit_int32, .min = 1, .max = 99, .wants = "an integer from 1 to 99" },
        { .name = "CPUSchedulingResetOnFork", .form = unit_boolean, .wants = "true or false" },
        { .name = "CPUWeight", .form = unit_weight, .words = idle_weight, .min = 1, .max = 10000, .wants = "an integer from 1 to 10000, or \"idle\"" },
        { .name = "CacheDirectory", .form = unit_directories, .wants = "an array of paths relative to where such directories are" },
        { .name = "CacheDirectoryMode", .form = unit_mode, .max = 07777, .wants = "a string of octal digits like \"0755\"" },
        { .name = "CapabilityBoundingSet", .form = unit_mask, .words = capabilities, .max = 1, .wants = "an array of capabilities like \"CAP_NET_ADMIN\", with a \"~\" before the first for all but these" },
        { .name = "ConfigurationDirectory", .form = unit_directories, .wants = "an array of paths relative to where such directories are" },
        { .name = "ConfigurationDirectoryMode", .form = unit_mode, .max = 07777, .wants = "a string of octal digits like \"0755\"" },
        { .name = "Conflicts", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "CoredumpFilter", .form = unit_mask, .words = core_parts, .wants = "an array of words like \"private-anonymous\"" },
        { .name = "Delegate", .form = unit_delegate, .words = controllers, .wants = "true, false, or an array of controllers like \"cpu\"" },
        { .name = "DeviceAllow", .form = unit_devices, .wants = "an array like [\"/dev/null rw\", \"char-pts rw\"]" },
        { .name = "DevicePolicy", .form = unit_string, .words = device_policies, .wants = "\"auto\", \"closed\" or \"strict\"" },
        { .name = "DisableControllers", .form = unit_words, .words = controllers, .wants = "an array of controllers like \"cpu\"" },
        { .name = "DynamicUser", .form = unit_boolean, .wants = "true or false" },
        { .name = "Environment", .form = unit_variables, .wants = "an array of strings like \"NAME=value\"" },
        { .name = "EnvironmentFile", .form = unit_files, .bus_name = "EnvironmentFiles", .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing" },
        { .name = "ExecPaths", .form = unit_paths, .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing, and a \"+\" if it is below RootDirectory" },
        { .name = "ExecSearchPath", .form = unit_plain_paths, .wants = "an array of absolute paths" },
        { .name = "ExtensionDirectories", .form = unit_plain_paths, .wants = "an array of absolute paths" },
        { .name = "FileDescriptorStoreMax", .form = unit_uint32, .max = UINT32_MAX, .wants = "an integer from 0 on" },
        { .name = "FinalKillSignal", .form = unit_signal, .wants = "a signal like \"SIGTERM\"" },
        { .name = "IOAccounting", .form = unit_boolean, .wants = "true or false" },
        { .name = "IODeviceLatencyTargetSec", .form = unit_device_timespan, .bus_name = "IODeviceLatencyTargetUSec", .wants = "an array like [\"/dev/sda 25ms\"]" },
        { .name = "IODeviceWeight", .form = unit_device_weight, .wants = "an array like [\"/dev/sda 200\"]" },
        { .name = "IOReadBandwidthMax", .form = unit_device_bytes, .wants = "an array like [\"/dev/sda 10M\"]" },
        { .name = "IOReadIOPSMax", .form = unit_device_bytes, .wants = "an array like [\"/dev/sda 1K\"]" },
        { .name = "IOSchedulingClass", .form = unit_int32, .words = io_classes, .wants = "\"none\", \"realtime\", \"best-effort\" or \"idle\"" },
        { .name = "IOSchedulingPriority", .form = unit_int32, .max = 7, .wants = "an integer from 0 to 7" },
        { .name = "IOWeight", .form = unit_weight, .min = 1, .max = 10000, .wants = "an integer from 1 to 10000" },
        { .name = "IOWriteBandwidthMax", .form = unit_device_bytes, .wants = "an array like [\"/dev/sda 10M\"]" },
        { .name = "IOWriteIOPSMax", .form = unit_device_bytes, .wants = "an array like [\"/dev/sda 1K\"]" },
        { .name = "IPAccounting", .form = unit_boolean, .wants = "true or false" },
        { .name = "IPAddressAllow", .form = unit_addresses, .wants = "an array of addresses like \"192.0.2.0/24\", \"any\", \"localhost\", \"link-local\" or \"multicast\"" },
        { .name = "IPAddressDeny", .form = unit_addresses, .wants = "an array of addresses like \"192.0.2.0/24\", \"any\", \"localhost\", \"link-local\" or \"multicast\"" },
        { .name = "IPCNamespacePath", .form = unit_path, .wants = "an absolute path" },
        { .name = "IPEgressFilterPath", .form = unit_plain_paths, .wants = "an array of absolute paths" },
        { .name = "IPIngressFilterPath", .form = unit_plain_paths, .wants = "an array of absolute paths" },
        { .name = "IgnoreSIGPIPE", .form = unit_boolean, .wants = "true or false" },
        { .name = "InaccessiblePaths", .form = unit_paths, .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing, and a \"+\" if it is below RootDirectory" },
        { .name = "JoinsNamespaceOf", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "KeyringMode", .form = unit_string, .words = keyring, .wants = "\"inherit\", \"private\" or \"shared\"" },
        { .name = "KillMode", .form = unit_string, .words = kill_modes, .wants = "\"control-group\", \"mixed\", \"process\" or \"none\"" },
        { .name = "KillSignal", .form = unit_signal, .wants = "a signal like \"SIGTERM\"" },
        { .name = "LimitAS", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitCORE", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitCPU", .form = unit_rlimit_seconds, .wants = "a time span like \"2min 30s\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitDATA", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitFSIZE", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitLOCKS", .form = unit_rlimit_number, .wants = "a number, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitMEMLOCK", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitMSGQUEUE", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitNICE", .form = unit_rlimit_nice, .wants = "a nice level like \"-5\", or what the kernel has for it, 1 to 40, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitNOFILE", .form = unit_rlimit_number, .wants = "a number, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitNPROC", .form = unit_rlimit_number, .wants = "a number, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitRSS", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitRTPRIO", .form = unit_rlimit_number, .wants = "a number, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitRTTIME", .form = unit_rlimit_usec, .wants = "a time span like \"2min 30s\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitSIGPENDING", .form = unit_rlimit_number, .wants = "a number, or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LimitSTACK", .form = unit_rlimit_bytes, .wants = "a size like \"64M\", or two, \"SOFT:HARD\"; \"infinity\" for none" },
        { .name = "LoadCredential", .form = unit_credentials, .wants = "an array like [\"id:/path\"]" },
        { .name = "LoadCredentialEncrypted", .form = unit_credentials, .wants = "an array like [\"id:/path\"]" },
        { .name = "LockPersonality", .form = unit_boolean, .wants = "true or false" },
        { .name = "LogLevelMax", .form = unit_int32, .words = levels, .max = 7, .wants = "a level from \"emerg\" to \"debug\", or 0 to 7" },
        { .name = "LogNamespace", .form = unit_string, .wants = "a string" },
        { .name = "LogRateLimitBurst", .form = unit_uint32, .max = UINT32_MAX, .wants = "an integer from 0 on" },
        { .name = "LogRateLimitIntervalSec", .form = unit_timespan, .bus_name = "LogRateLimitIntervalUSec", .wants = "a time span like \"2min 30s\"" },
        { .name = "LogsDirectory", .form = unit_directories, .wants = "an array of paths relative to where such directories are" },
        { .name = "LogsDirectoryMode", .form = unit_mode, .max = 07777, .wants = "a string of octal digits like \"0755\"" },
        { .name = "ManagedOOMMemoryPressure", .form = unit_string, .words = managed_oom, .wants = "\"auto\" or \"kill\"" },
        { .name = "ManagedOOMMemoryPressureLimit", .form = unit_part, .wants = "a part like \"60%\"" },
        { .name = "ManagedOOMPreference", .form = unit_string, .words = oom_preferences, .wants = "\"none\", \"avoid\" or \"omit\"" },
        { .name = "ManagedOOMSwap", .form = unit_string, .words = managed_oom, .wants = "\"auto\" or \"kill\"" },
        { .name = "MemoryDenyWriteExecute", .form = unit_boolean, .wants = "true or false" },
        { .name = "MemoryHigh", .form = unit_limit, .wants = "a size like \"256M\", a part like \"50%\", or \"infinity\"" },
        { .name = "MemoryLow", .form = unit_limit, .wants = "a size like \"256M\", a part like \"50%\", or \"infinity\"" },
        { .name = "MemoryMax", .form = unit_limit, .wants = "a size like \"256M\", a part like \"50%\", or \"infinity\"" },
        { .name = "MemoryMin", .form = unit_limit, .wants = "a size like \"256M\", a part like \"50%\", or \"infinity\"" },
        { .name = "MemorySwapMax", .form = unit_limit, .wants = "a size like \"256M\", a part like \"50%\", or \"infinity\"" },
        { .name = "MountAPIVFS", .form = unit_boolean, .wants = "true or false" },
        { .name = "MountFlags", .form = unit_mask, .words = propagation, .wants = "\"shared\", \"slave\" or \"private\"" },
        { .name = "NUMAMask", .form = unit_cpus, .wants = "nodes like \"0-1\"" },
        { .name = "NUMAPolicy", .form = unit_int32, .words = numa, .wants = "\"default\", \"preferred\", \"bind\", \"interleave\" or \"local\"" },
        { .name = "NetworkNamespacePath", .form = unit_path, .wants = "an absolute path" },
        { .name = "Nice", .form = unit_int32, .min = -20, .max = 19, .wants = "an integer from -20 to 19" },
        { .name = "NoExecPaths", .form = unit_paths, .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing, and a \"+\" if it is below RootDirectory" },
        { .name = "NoNewPrivileges", .form = unit_boolean, .wants = "true or false" },
        { .name = "NonBlocking", .form = unit_boolean, .wants = "true or false" },
        { .name = "OOMPolicy", .form = unit_string, .words = oom_policies, .wants = "\"continue\", \"stop\" or \"kill\"" },
        { .name = "OOMScoreAdjust", .form = unit_int32, .min = -1000, .max = 1000, .wants = "an integer from -1000 to 1000" },
        { .name = "PAMName", .form = unit_string, .wants = "a string" },
        { .name = "PartOf", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "PassEnvironment", .form = unit_variable_names, .wants = "an array of names of variables" },
        { .name = "Personality", .form = unit_string, .words = personalities, .wants = "a name like \"x86-64\"" },
        { .name = "PrivateDevices", .form = unit_boolean, .wants = "true or false" },
        { .name = "PrivateIPC", .form = unit_boolean, .wants = "true or false" },
        { .name = "PrivateMounts", .form = unit_boolean, .wants = "true or false" },
        { .name = "PrivateNetwork", .form = unit_boolean, .wants = "true or false" },
        { .name = "PrivateTmp", .form = unit_boolean, .wants = "true or false" },
        { .name = "PrivateUsers", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProcSubset", .form = unit_string, .words = proc_subset, .wants = "\"all\" or \"pid\"" },
        { .name = "ProtectClock", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectControlGroups", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectHome", .form = unit_string, .words = protect_home, .wants = "true, false, \"read-only\" or \"tmpfs\"" },
        { .name = "ProtectHostname", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectKernelLogs", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectKernelModules", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectKernelTunables", .form = unit_boolean, .wants = "true or false" },
        { .name = "ProtectProc", .form = unit_string, .words = protect_proc, .wants = "\"noaccess\", \"invisible\", \"ptraceable\" or \"default\"" },
        { .name = "ProtectSystem", .form = unit_string, .words = protect_system, .wants = "true, false, \"full\" or \"strict\"" },
        { .name = "ReadOnlyPaths", .form = unit_paths, .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing, and a \"+\" if it is below RootDirectory" },
        { .name = "ReadWritePaths", .form = unit_paths, .wants = "an array of absolute paths, each with a \"-\" before it if it may be missing, and a \"+\" if it is below RootDirectory" },
        { .name = "RemoveIPC", .form = unit_boolean, .wants = "true or false" },
        { .name = "Requires", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "RequiresMountsFor", .form = unit_plain_paths, .wants = "an array of absolute paths" },
        { .name = "Requisite", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "RestartKillSignal", .form = unit_signal, .wants = "a signal like \"SIGTERM\"" },
        { .name = "RestrictAddressFamilies", .form = unit_restriction, .words = families, .wants = "an array of families like \"AF_UNIX\", with a \"~\" before the first for all but these, or \"none\"" },
        { .name = "RestrictFileSystems", .form = unit_restriction, .words = names, .wants = "an array of file systems like \"ext4\", with a \"~\" before the first for all but these" },
        { .name = "RestrictNamespaces", .form = unit_namespaces, .words = namespaces, .wants = "true, or an array of those that may be made, like \"net\"" },
        { .name = "RestrictNetworkInterfaces", .form = unit_restriction, .words = names, .wants = "an array of interfaces like \"lo\", with a \"~\" before the first for all but these" },
        { .name = "RestrictRealtime", .form = unit_boolean, .wants = "true or false" },
        { .name = "RestrictSUIDSGID", .form = unit_boolean, .wants = "true or false" },
        { .name = "RootDirectory", .form = unit_path, .wants = "an absolute path" },
        { .name = "RootDirectoryStartOnly", .form = unit_boolean, .wants = "true or false" },
        { .name = "RootImage", .form = unit_path, .wants = "an absolute path" },
        { .name = "RootVerity", .form = unit_path, .wants = "an absolute path" },
        { .name = "RuntimeDirectory", .form = unit_directories, .wants = "an array of paths relative to where such directories are" },
        { .name = "RuntimeDirectoryMode", .form = unit_mode, .max = 07777, .wants = "a string of octal digits like \"0755\"" },
        { .name = "RuntimeDirectoryPreserve", .form = unit_string, .words = preserve, .wants = "true, false or \"restart\"" },
        { .name = "SELinuxContext", .form = unit_string, .wants = "a string" },
        { .name = "SecureBits", .form = unit_mask32, .words = secure_bits, .wants = "an array of words like \"noroot\"" },
        { .name = "SendSIGHUP", .form = unit_boolean, .wants = "true or false" },
        { .name = "SendSIGKILL", .form = unit_boolean, .wants = "true or false" },
        { .name = "SetCredential", .form = unit_set_credentials, .wants = "an array like [\"id:value\"]" },
        { .name = "SetCredentialEncrypted", .form = unit_set_credentials, .wants = "an array like [\"id:value\"]" },
        { .name = "SmackProcessLabel", .form = unit_optional_string, .wants = "a string, with a \"-\" before it if it may be unknown" },
        { .name = "SocketBindAllow", .form = unit_ports, .wants = "an array like [\"tcp:8080\", \"ipv6:1024-2047\", \"any\"]" },
        { .name = "SocketBindDeny", .form = unit_ports, .wants = "an array like [\"tcp:8080\", \"ipv6:1024-2047\", \"any\"]" },
        { .name = "StartupAllowedCPUs", .form = unit_cpus, .wants = "processors like \"0-3\"" },
        { .name = "StartupAllowedMemoryNodes", .form = unit_cpus, .wants = "nodes like \"0-1\"" },
        { .name = "StartupCPUWeight", .form = unit_weight, .words = idle_weight, .min = 1, .max = 10000, .wants = "an integer from 1 to 10000, or \"idle\"" },
        { .name = "StartupIOWeight", .form = unit_weight, .min = 1, .max = 10000, .wants = "an integer from 1 to 10000" },
        { .name = "StateDirectory", .form = unit_directories, .wants = "an array of paths relative to where such directories are" },
        { .name = "StateDirectoryMode", .form = unit_mode, .max = 07777, .wants = "a string of octal digits like \"0755\"" },
        { .name = "SupplementaryGroups", .form = unit_words, .wants = "an array of groups" },
        { .name = "SyslogFacility", .form = unit_int32, .words = facilities, .wants = "a facility like \"daemon\"" },
        { .name = "SyslogIdentifier", .form = unit_string, .wants = "a string" },
        { .name = "SyslogLevel", .form = unit_int32, .words = levels, .max = 7, .wants = "a level from \"emerg\" to \"debug\", or 0 to 7" },
        { .name = "SyslogLevelPrefix", .form = unit_boolean, .wants = "true or false" },
        { .name = "SystemCallArchitectures", .form = unit_words, .words = architectures, .wants = "an array of architectures like \"native\"" },
        { .name = "SystemCallErrorNumber", .form = unit_errno, .wants = "an error like \"EPERM\", or \"kill\"" },
        { .name = "SystemCallFilter", .form = unit_restriction, .words = system_calls, .wants = "an array of system calls and groups like \"@system-service\", with a \"~\" before the first for all but these" },
        { .name = "SystemCallLog", .form = unit_restriction, .words = system_calls, .wants = "an array of system calls and groups like \"@system-service\", with a \"~\" before the first for all but these" },
        { .name = "TTYPath", .form = unit_path, .wants = "an absolute path" },
        { .name = "TTYReset", .form = unit_boolean, .wants = "true or false" },
        { .name = "TTYVHangup", .form = unit_boolean, .wants = "true or false" },
        { .name = "TTYVTDisallocate", .form = unit_boolean, .wants = "true or false" },
        { .name = "TasksAccounting", .form = unit_boolean, .wants = "true or false" },
        { .name = "TasksMax", .form = unit_number, .min = 1, .max = 1, .wants = "a number, a part like \"50%\", or \"infinity\"" },
        { .name = "TemporaryFileSystem", .form = unit_tmpfs, .wants = "an array like [\"/var:ro\"]" },
        { .name = "TimeoutAbortSec", .form = unit_timespan, .bus_name = "TimeoutAbortUSec", .wants = "a time span like \"2min 30s\"" },
        { .name = "TimeoutStopFailureMode", .form = unit_string, .words = timeout_modes, .wants = "\"terminate\", \"abort\" or \"kill\"" },
        { .name = "TimeoutStopSec", .form = unit_timespan, .bus_name = "TimeoutStopUSec", .wants = "a time span like \"2min 30s\"" },
        { .name = "TimerSlackNSec", .form = unit_slack, .wants = "a time span like \"50us\"" },
        { .name = "UnsetEnvironment", .form = unit_words, .wants = "an array of variables, \"NAME\" or \"NAME=value\"" },
        { .name = "UtmpIdentifier", .form = unit_string, .wants = "a string" },
        { .name = "UtmpMode", .form = unit_string, .words = utmp_modes, .wants = "\"init\", \"login\" or \"user\"" },
        { .name = "Wants", .form = unit_units, .wants = "an array of units like \"network.target\"" },
        { .name = "WatchdogSignal", .form = unit_signal, .wants = "a signal like \"SIGTERM\"" },
        { .name = "Slice", .form = unit_slice, .wants = "agentd.slice, or one within it like \"agentd-backup.slice\"" },
        /* clang-format on */
};

/* What a unit has as well, and why it cannot be given. */
static const struct {
        const char *name, *why;
} refused[] = {
        { "SuccessExitStatus", "give 'returns' beside 'unit'" },
        { "MemoryAccounting", "agentd sets it itself" },
        { "CPUAccounting", "agentd sets it itself" },
        { "TimeoutStartSec", "give 'timeout' beside 'unit'" },
        { "RuntimeRandomizedExtraSec", "give 'timeout' beside 'unit'" },
        { "RuntimeMaxSec", "give 'timeout' beside 'unit'" },
        { "UMask", "give 'umask' beside 'unit'" },
        { "Type", "agentd sets it itself" },
        { "ExitType", "agentd sets it itself" },
        { "RemainAfterExit", "agentd sets it itself" },
        { "GuessMainPID", "agentd sets it itself" },
        { "PIDFile", "agentd sets it itself" },
        { "BusName", "agentd sets it itself" },
        { "NotifyAccess", "agentd sets it itself" },
        { "WatchdogSec", "agentd sets it itself" },
        { "Sockets", "agentd sets it itself" },
        { "CollectMode", "agentd sets it itself" },
        { "Description", "agentd sets it itself" },
        { "ExecStart", "there is one way to say what is run, and this is not it" },
        { "ExecStartPre", "there is one way to say what is run, and this is not it" },
        { "ExecStartPost", "there is one way to say what is run, and this is not it" },
        { "ExecCondition", "there is one way to say what is run, and this is not it" },
        { "ExecReload", "there is one way to say what is run, and this is not it" },
        { "ExecStop", "there is one way to say what is run, and this is not it" },
        { "ExecStopPost", "there is one way to say what is run, and this is not it" },
        { "ExecStartEx", "there is one way to say what is run, and this is not it" },
        { "ExecStartPreEx", "there is one way to say what is run, and this is not it" },
        { "ExecStartPostEx", "there is one way to say what is run, and this is not it" },
        { "StandardInput", "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardOutput", "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardError", "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardInputText", "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardInputData", "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardInputFileDescriptor",
                "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardOutputFileDescriptor",
                "agentd sets it itself, as output goes to the journal and into the result" },
        { "StandardErrorFileDescriptor",
                "agentd sets it itself, as output goes to the journal and into the result" },
        { "LogExtraFields", "agentd sets it itself, as output goes to the journal and into the result" },
        { "User", "give it beside 'unit', not in it" },
        { "Group", "give it beside 'unit', not in it" },
        { "WorkingDirectory", "give 'directory' beside 'unit'" },
        { "Restart", "what follows from a failure is said by the state, as 'retries'" },
        { "RestartForceExitStatus", "what follows from a failure is said by the state, as 'retries'" },
        { "RestartPreventExitStatus", "what follows from a failure is said by the state, as 'retries'" },
        { "TimeoutCleanSec", "systemd takes it from unit files only" },
        { "RestartSec", "what follows from a failure is said by the state, as 'retries'" },
        { "StartLimitBurst", "what follows from a failure is said by the state, as 'retries'" },
        { "StartLimitIntervalSec", "what follows from a failure is said by the state, as 'retries'" },
        { "StartLimitAction", "what follows from a failure is said by the state, as 'retries'" },
        { "FailureAction", "what follows from a failure is said by the state, as 'retries'" },
        { "SuccessAction", "what follows from a failure is said by the state, as 'retries'" },
        { "OnFailure", "what follows from a failure is said by the state, as 'retries'" },
        { "OnSuccess", "what follows from a failure is said by the state, as 'retries'" },
        { "MemoryLimit", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "CPUShares", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "StartupCPUShares", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "BlockIOWeight", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "StartupBlockIOWeight", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "BlockIODeviceWeight", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "BlockIOReadBandwidth", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "BlockIOWriteBandwidth",
                "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "BlockIOAccounting", "it is of the old control groups; see MemoryMax, CPUWeight and IOWeight" },
        { "RootHash", "agentd does not pass it on" },
        { "RootHashSignature", "agentd does not pass it on" },
        { "RootImageOptions", "agentd does not pass it on" },
        { "MountImages", "agentd does not pass it on" },
        { "ExtensionImages", "agentd does not pass it on" },
        { "BPFProgram", "agentd does not pass it on" },
};

static const UnitProperty *find_property(const char *name) {
        FOREACH_ELEMENT(p, properties)
                if (streq(p->name, name))
                        return p;
        return NULL;
}

const char *unit_property_name(size_t i) {
        return i < ELEMENTSOF(properties) ? properties[i].name : NULL;
}

/* ---- What is wrong --------------------------------------------------------------------------------------------- */

static int explain_name(const char *name, char **reterr) {
        const char *known[ELEMENTSOF(properties)], *meant = NULL;
        size_t n = 0;

        FOREACH_ELEMENT(r, refused)
                if (streq(r->name, name))
                        return asprintf(reterr, "'%s' cannot be given here: %s", name, r->why) < 0 ? -ENOMEM
                                                                                                   : -ENOENT;
        FOREACH_ELEMENT(p, properties) {
                known[n++] = p->name;
                /* As it is called on the bus, and shown by systemctl. */
                if (p->bus_name && streq(p->bus_name, name))
                        meant = p->name;
                else if (strcasecmp(p->name, name) == 0)
                        meant = p->name;
        }
        if (!meant)
                meant = suggest(name, known, n);
        if (asprintf(reterr, "there is no property '%s' that a command's unit could have%s%s%s", name,
                    meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "") < 0)
                return -ENOMEM;
        return -ENOENT;
}

static int explain_value(const UnitProperty *property, const json_t *value, char **reterr) {
        _cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        const char *kind = json_is_object(value) ? "a table" : json_is_null(value) ? "nothing" : NULL;

        if (!text)
                return -ENOMEM;
        if (asprintf(reterr, "'%s' is %.*s%s; it must be %s", property->name, SHOWN_MAX, kind ?: text,
                    !kind && strlen(text) > SHOWN_MAX ? "…" : "", property->wants) < 0)
                return -ENOMEM;
        return -EINVAL;
}

int unit_property_check(const char *name, const json_t *value, char **reterr) {
        const UnitProperty *property = find_property(name);
        int r;

        if (!property)
                return explain_name(name, reterr);
        r = property->form(property, value, NULL);
        if (r != -EINVAL && r != -ERANGE)
                return r;
        return explain_value(property, value, reterr);
}

int unit_property_append(sd_bus_message *m, const char *name, const json_t *value) {
        const UnitProperty *property = find_property(name);
        int r;

        if (!property)
                return -EINVAL;
        r = property->form(property, value, NULL);
        if (r < 0)
                return r == -ERANGE ? -EINVAL : r;
        r = property->form(property, value, m);
        return r < 0 ? r : 0;
}

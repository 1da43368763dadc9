/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * unit-properties: gives each property of unit-property.c to a transient unit of the systemd that runs here, and reads it back.
 * Run by tests/box/test_unit_properties.py. Prints what went wrong, a line each, and how many there were.
 */

#include <stdarg.h>
#include <systemd/sd-bus.h>

#include "unit-property.h"
#include "util.h"

#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER     "/org/freedesktop/systemd1"

/* A value that is not the default; JSON. Those of the same kind are found by the end of the list. */
static const struct {
        const char *name, *value;
} values[] = {
        { "AllowedCPUs", "\"0\"" },
        { "AllowedMemoryNodes", "\"0\"" },
        { "AmbientCapabilities", "[\"CAP_NET_RAW\", \"CAP_CHOWN\"]" },
        { "AppArmorProfile", "\"-test\"" },
        { "BindPaths", "[\"/usr:/mnt:norbind\", \"-/var\"]" },
        { "BindReadOnlyPaths", "[\"/usr:/mnt\"]" },
        { "CPUAffinity", "[0, \"1-2\"]" },
        { "CPUQuota", "\"37.5%\"" },
        { "CPUQuotaPeriodSec", "\"50ms\"" },
        { "CPUSchedulingPolicy", "\"batch\"" },
        { "CPUSchedulingPriority", "7" },
        { "CPUWeight", "\"idle\"" },
        { "CacheDirectory", "[\"a/b\", \"c\"]" },
        { "CapabilityBoundingSet", "\"~CAP_SYS_ADMIN CAP_KILL\"" },
        { "ConfigurationDirectory", "\"a\"" },
        { "CoredumpFilter", "[\"elf-headers\", \"private-dax\"]" },
        { "Delegate", "[\"cpu\", \"memory\"]" },
        { "DeviceAllow", "[\"/dev/null rw\", \"char-pts\"]" },
        { "DevicePolicy", "\"closed\"" },
        { "DisableControllers", "\"cpu io\"" },
        { "Environment", "[\"A=b c\", \"B=\"]" },
        { "EnvironmentFile", "\"-/etc/none\"" },
        { "ExecPaths", "[\"-/usr\"]" },
        { "ExecSearchPath", "[\"/usr/bin\"]" },
        { "ExtensionDirectories", "[\"/srv/none\"]" },
        { "FileDescriptorStoreMax", "7" },
        { "FinalKillSignal", "\"QUIT\"" },
        { "IOReadBandwidthMax", "\"/dev/null 5M\"" },
        { "IOWriteBandwidthMax", "\"/dev/null 5M\"" },
        { "IOReadIOPSMax", "\"/dev/null 5K\"" },
        { "IOWriteIOPSMax", "\"/dev/null 500\"" },
        { "IODeviceWeight", "\"/dev/null 77\"" },
        { "IODeviceLatencyTargetSec", "\"/dev/null 25ms\"" },
        { "IOSchedulingClass", "\"idle\"" },
        { "IOSchedulingPriority", "6" },
        { "IPAddressAllow", "[\"192.0.2.0/24\", \"localhost\", \"2001:db8::1\"]" },
        { "IPAddressDeny", "\"any\"" },
        { "IPCNamespacePath", "\"/proc/self/ns/ipc\"" },
        { "IPEgressFilterPath", "[\"/sys/fs/bpf/none\"]" },
        { "IPIngressFilterPath", "[\"/sys/fs/bpf/none\"]" },
        { "InaccessiblePaths", "[\"-/srv\", \"+/mnt\"]" },
        { "KeyringMode", "\"shared\"" },
        { "KillMode", "\"process\"" },
        { "KillSignal", "\"SIGRTMIN+3\"" },
        { "LimitCPU", "\"1min:2min\"" },
        { "LimitNICE", "\"-5\"" },
        { "LimitNOFILE", "\"1024:2048\"" },
        { "LimitRTPRIO", "10" },
        { "LimitRTTIME", "\"10ms\"" },
        { "LoadCredential", "[\"a:/etc/hostname\"]" },
        { "LoadCredentialEncrypted", "[\"a:/etc/hostname\"]" },
        { "LogLevelMax", "\"notice\"" },
        { "LogNamespace", "\"other\"" },
        { "LogRateLimitBurst", "77" },
        { "LogsDirectory", "\"a\"" },
        { "ManagedOOMMemoryPressure", "\"kill\"" },
        { "ManagedOOMMemoryPressureLimit", "\"60%\"" },
        { "ManagedOOMPreference", "\"avoid\"" },
        { "ManagedOOMSwap", "\"kill\"" },
        { "MountFlags", "\"slave\"" },
        { "NUMAMask", "0" },
        { "NUMAPolicy", "\"interleave\"" },
        { "NetworkNamespacePath", "\"/proc/self/ns/net\"" },
        { "Nice", "5" },
        { "NoExecPaths", "[\"/srv\"]" },
        { "OOMPolicy", "\"kill\"" },
        { "OOMScoreAdjust", "-77" },
        { "PAMName", "\"login\"" },
        { "PassEnvironment", "\"A B\"" },
        { "Personality", "\"x86\"" },
        { "ProcSubset", "\"pid\"" },
        { "ProtectHome", "\"tmpfs\"" },
        { "ProtectProc", "\"invisible\"" },
        { "ProtectSystem", "\"strict\"" },
        { "ReadOnlyPaths", "[\"-/srv\", \"+/mnt\"]" },
        { "ReadWritePaths", "\"/srv -/mnt\"" },
        { "RequiresMountsFor", "[\"/srv\"]" },
        { "RestartKillSignal", "\"SIGINT\"" },
        { "RestrictAddressFamilies", "\"AF_UNIX AF_INET\"" },
        { "RestrictFileSystems", "[\"ext4\", \"tmpfs\"]" },
        { "RestrictNamespaces", "[\"net\", \"uts\"]" },
        { "RestrictNetworkInterfaces", "\"~lo\"" },
        { "RootDirectory", "\"/srv\"" },
        { "RootImage", "\"/srv/image\"" },
        { "RootVerity", "\"/srv/verity\"" },
        { "RuntimeDirectory", "\"a\"" },
        { "RuntimeDirectoryPreserve", "\"restart\"" },
        { "SELinuxContext", "\"a:b:c\"" },
        { "SecureBits", "[\"noroot\", \"keep-caps-locked\"]" },
        { "SetCredential", "[\"a:some text\"]" },
        { "SetCredentialEncrypted", "[\"a:some text\"]" },
        { "Slice", "\"agentd-test.slice\"" },
        { "SmackProcessLabel", "\"label\"" },
        { "SocketBindAllow", "[\"tcp:8080\", \"ipv6:1024-2047\", \"any\"]" },
        { "SocketBindDeny", "[\"ipv4:udp:53\"]" },
        { "StartupAllowedCPUs", "\"0\"" },
        { "StartupAllowedMemoryNodes", "\"0\"" },
        { "StateDirectory", "[\"a\"]" },
        { "SupplementaryGroups", "[\"adm\", \"4\"]" },
        { "SyslogFacility", "\"local3\"" },
        { "SyslogIdentifier", "\"somebody\"" },
        { "SyslogLevel", "\"warning\"" },
        { "SystemCallArchitectures", "[\"native\"]" },
        { "SystemCallErrorNumber", "\"EACCES\"" },
        { "SystemCallFilter", "[\"~mount\", \"umount2\"]" },
        { "SystemCallLog", "[\"mount\"]" },
        { "TTYPath", "\"/dev/null\"" },
        { "TasksMax", "77" },
        { "TemporaryFileSystem", "[\"/mnt:ro\"]" },
        { "TimeoutStopFailureMode", "\"abort\"" },
        { "TimerSlackNSec", "\"77us\"" },
        { "UnsetEnvironment", "[\"A\", \"B=c\"]" },
        { "UtmpIdentifier", "\"x1\"" },
        { "UtmpMode", "\"user\"" },
        { "WatchdogSignal", "\"SIGUSR1\"" },
        { "After", "[\"network.target\"]" },
        { "Before", "[\"later.service\"]" },
        { "Requires", "[\"sysinit.target\"]" },
        { "Requisite", "[\"sysinit.target\"]" },
        { "Wants", "[\"other.target\"]" },
        { "BindsTo", "[\"sysinit.target\"]" },
        { "PartOf", "[\"other.target\"]" },
        { "Conflicts", "[\"conflicting.target\"]" },
        { "JoinsNamespaceOf", "[\"other.service\"]" },
};

/* Of the others, by what the value is told to be. Both are tried, as one is the default. */
static const char *const fallbacks[] = { "true", "false", "\"77M\"", "77", "\"77s\"", "\"0750\"",
        "\"/srv\"" };

static unsigned n_wrong, n_right;

static void wrong(const char *name, const char *value, const char *format, ...) _printf_(3, 4);

static void wrong(const char *name, const char *value, const char *format, ...) {
        va_list args;

        n_wrong++;
        (void) printf("%s = %s: ", name, value);
        va_start(args, format);
        (void) vprintf(format, args);
        va_end(args);
        (void) printf("\n");
}

/* ---- A message as text ----------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static char *dump(sd_bus_message *m);

/* All up to the end of the container, sorted if they are of an array. */
static char *dump_all(sd_bus_message *m, bool sorted) {
        char *items[512], *text = NULL;
        size_t n = 0, size;
        FILE *f;

        while (n < ELEMENTSOF(items) && (items[n] = dump(m)))
                n++;
        if (sorted)
                qsort(items, n, sizeof(char *), compare);
        f = open_memstream(&text, &size);
        for (size_t i = 0; i < n; i++) {
                (void) fprintf(f, "%s\n", items[i]);
                free(items[i]);
        }
        (void) fclose(f);
        return text;
}

/* Numbers of no byte at the end say nothing. */
static char *dump_bytes(sd_bus_message *m) {
        const uint8_t *bytes;
        char *text = NULL;
        size_t n, size;
        FILE *f = open_memstream(&text, &size);

        (void) sd_bus_message_read_array(m, 'y', (const void **) &bytes, &n);
        while (n > 0 && bytes[n - 1] == 0)
                n--;
        for (size_t i = 0; i < n; i++)
                (void) fprintf(f, "%02x", bytes[i]);
        (void) fclose(f);
        return text;
}

/* The next value; NULL: there is none. Line breaks are between items. */
static char *dump(sd_bus_message *m) {
        const char *contents;
        char type, *text = NULL;
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                const char *s;
        } basic;

        if (sd_bus_message_peek_type(m, &type, &contents) <= 0)
                return NULL;
        if (type == 'a' && streq(contents, "y"))
                return dump_bytes(m);
        if (strchr("arv", type)) {
                char *inner;

                if (sd_bus_message_enter_container(m, type, contents) < 0)
                        return NULL;
                inner = dump_all(m, type == 'a');
                (void) sd_bus_message_exit_container(m);
                for (char *p = inner; type == 'r' && *p; p++)
                        if (*p == '\n')
                                *p = '|';
                return inner;
        }
        if (sd_bus_message_read_basic(m, type, &basic) < 0)
                return NULL;
        switch (type) {
        case 'b': (void) asprintf(&text, "%s", basic.b ? "true" : "false"); break;
        case 'q': (void) asprintf(&text, "%u", basic.q); break;
        case 'i': (void) asprintf(&text, "%d", basic.i); break;
        case 'u': (void) asprintf(&text, "%u", basic.u); break;
        case 't': (void) asprintf(&text, "%lu", basic.t); break;
        case 's': (void) asprintf(&text, "'%s'", basic.s); break;
        default: (void) asprintf(&text, "?%c", type); break;
        }
        return text;
}

/* True if the line is one of the text's. */
static bool has_line(const char *text, const char *line, size_t n) {
        for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
                if (strcspn(text, "\n") == n && memcmp(text, line, n) == 0)
                        return true;
        return false;
}

/* systemd may add to a list, as to After. */
static bool is_part(const char *should, const char *is) {
        for (; *should; should += strcspn(should, "\n"), should += *should == '\n')
                if (!has_line(is, should, strcspn(should, "\n")))
                        return false;
        return true;
}

/* ---- Trying one ------------------------------------------------------------------------------------------------ */

static int start(sd_bus *bus, const char *unit, const char *name, const json_t *value, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                bus, &m, DESTINATION, MANAGER, DESTINATION ".Manager", "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", unit, "replace");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)", "Type", "s", "oneshot", "RemainAfterExit", "b",
                        1, "ExecStart", "a(sasb)", 1, "/bin/true", 1, "/bin/true", 0);
        if (r >= 0)
                r = unit_property_append(m, name, value);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        return r < 0 ? r : sd_bus_call(bus, m, 0, error, NULL);
}

/* What was appended, by name. */
static int expected(sd_bus *bus, const char *name, const json_t *value, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(bus, ret, "a.b", "/", "a.b", "C");
        if (r >= 0)
                r = sd_bus_message_open_container(*ret, 'a', "(sv)");
        if (r >= 0)
                r = unit_property_append(*ret, name, value);
        if (r >= 0)
                r = sd_bus_message_close_container(*ret);
        if (r >= 0)
                r = sd_bus_message_seal(*ret, 1, 0);
        if (r >= 0)
                r = sd_bus_message_rewind(*ret, true);
        return r < 0 ? r : sd_bus_message_enter_container(*ret, 'a', "(sv)");
}

static char *read_back(sd_bus *bus, const char *path, const char *name) {
        static const char *const interfaces[] = { DESTINATION ".Service", DESTINATION ".Unit" };

        FOREACH_ELEMENT(interface, interfaces) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

                if (sd_bus_call_method(bus, DESTINATION, path, "org.freedesktop.DBus.Properties", "Get",
                            NULL, &reply, "ss", *interface, name) >= 0)
                        return dump(reply);
        }
        return NULL;
}

static void look(sd_bus *bus, const char *unit, const char *name, const char *text, const json_t *value) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *path = NULL;

        if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path) < 0 ||
                expected(bus, name, value, &m) < 0) {
                wrong(name, text, "cannot be built");
                return;
        }
        while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
                _cleanup_free_ char *should = NULL, *is = NULL;
                const char *key;

                (void) sd_bus_message_read(m, "s", &key);
                should = dump(m);
                (void) sd_bus_message_exit_container(m);
                is = read_back(bus, path, key);
                /* It goes in as a string and comes out with what a "-" before it means. */
                if (is && streq(key, "SELinuxContext") && strstr(is, "'a:b:c'"))
                        n_right++;
                else if (is && streq(key, "RestrictFileSystems") && startswith(is, "true|"))
                        n_right++; /* built without BPF, it takes them and forgets them */
                else if (!is)
                        wrong(name, text, "there is no property '%s' to be read", key);
                else if (!should || (!streq(is, should) && !is_part(should, is)))
                        wrong(name, text, "'%s' was set to %s and is %s", key, should, is);
                else
                        n_right++;
        }
}

static void try(sd_bus *bus, size_t serial, const char *name, const char *text) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *reason = NULL;
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        char unit[64];
        int r;

        (void) snprintf(unit, sizeof(unit), "test-property-%zu.service", serial);
        r = value ? unit_property_check(name, value, &reason) : -EBADMSG;
        if (r < 0)
                wrong(name, text, "is refused: %s", reason ?: strerror(-r));
        else {
                r = start(bus, unit, name, value, &error);
                if (r < 0)
                        wrong(name, text, "systemd says %s", error.message ?: strerror(-r));
                else
                        look(bus, unit, name, text, value);
                (void) sd_bus_call_method(bus, DESTINATION, MANAGER, DESTINATION ".Manager", "StopUnit",
                        NULL, NULL, "ss", unit, "replace");
                (void) sd_bus_call_method(bus, DESTINATION, MANAGER, DESTINATION ".Manager",
                        "ResetFailedUnit", NULL, NULL, "s", unit);
        }
        json_decref(value);
}

int main(void) {
        sd_bus *bus = NULL;
        const char *name;
        size_t serial = 0, n = 0;

        if (sd_bus_open_system(&bus) < 0)
                return EXIT_FAILURE;
        for (; (name = unit_property_name(n)); n++) {
                bool found = false;

                FOREACH_ELEMENT(v, values)
                        if (streq(v->name, name)) {
                                try(bus, serial++, name, v->value);
                                found = true;
                        }
                for (size_t i = 0; !found && i < ELEMENTSOF(fallbacks); i++) {
                        _cleanup_free_ char *reason = NULL;
                        json_t *value = json_loads(fallbacks[i], JSON_DECODE_ANY, NULL);

                        if (unit_property_check(name, value, &reason) == 0) {
                                try(bus, serial++, name, fallbacks[i]);
                                found = i != 0; /* true and false */
                        }
                        json_decref(value);
                }
                if (!found)
                        wrong(name, "?", "there is no value for it here");
        }
        (void) printf("%zu properties, %u right, %u wrong\n", n, n_right, n_wrong);
        sd_bus_flush_close_unref(bus);
        return n_wrong > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is taken and what is not; that systemd takes it likewise is seen in tests/box/test_unit_properties.py. */

#include <systemd/sd-bus.h>

#include "test.h"
#include "unit-property.h"

/* Return: as unit_property_check(). */
static int check(const char *name, const char *text, char **reterr) {
        json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        int r;

        assert_non_null(value);
        r = unit_property_check(name, value, reterr);
        json_decref(value);
        return r;
}

TEST(good) {
        static const char *const cases[][2] = {
                { "MemoryMax", "\"256M\"" },
                { "MemoryMax", "1048576" },
                { "MemoryMax", "\"1048576\"" },
                { "MemoryMax", "\"infinity\"" },
                { "MemoryMax", "\"50%\"" },
                { "MemoryMax", "\"12.25%\"" },
                { "MemoryMax", "\"1GB\"" },
                { "TasksMax", "\"10%\"" },
                { "CPUQuota", "\"250%\"" },
                { "CPUWeight", "100" },
                { "CPUWeight", "\"idle\"" },
                { "PrivateNetwork", "true" },
                { "PrivateNetwork", "\"no\"" },
                { "ProtectSystem", "true" },
                { "ProtectSystem", "\"strict\"" },
                { "TimeoutStopSec", "\"2min 30s\"" },
                { "TimeoutStopSec", "90" },
                { "TimeoutStopSec", "\"infinity\"" },
                { "LimitNOFILE", "\"1024:2048\"" },
                { "LimitNOFILE", "\"1024:infinity\"" },
                { "LimitCORE", "0" },
                { "LimitCPU", "\"1500ms\"" },
                { "LimitNICE", "\"+3\"" },
                { "LimitNICE", "\"-20:-20\"" },
                { "StateDirectoryMode", "\"0750\"" },
                { "Environment", "\"A=b c\"" },
                { "Environment", "[\"A=b\", \"_x1=\"]" },
                { "Environment", "[]" },
                { "ReadWritePaths", "\"/srv -/mnt\"" },
                { "ReadWritePaths", "[\"-+/srv\", \"+/a b\"]" },
                { "SystemCallFilter", "\"@system-service\"" },
                { "SystemCallFilter", "[\"~@mount\", \"read:EPERM\"]" },
                { "RestrictAddressFamilies", "\"~AF_INET AF_INET6\"" },
                { "RestrictAddressFamilies", "\"none\"" },
                { "RestrictNamespaces", "true" },
                { "RestrictNamespaces", "\"~user\"" },
                { "CapabilityBoundingSet", "\"\x7e"
                                           "CAP_SYS_ADMIN\"" },
                { "CapabilityBoundingSet", "[]" },
                { "CPUAffinity", "[0, \"2-3,5\"]" },
                { "AllowedCPUs", "7" },
                { "KillSignal", "\"TERM\"" },
                { "KillSignal", "\"SIGRTMIN+2\"" },
                { "KillSignal", "9" },
                { "Slice", "\"agentd.slice\"" },
                { "Slice", "\"agentd-backup-daily.slice\"" },
                { "After", "\"network.target a@b.service\"" },
                { "BindPaths", "\"-/a:/b:norbind\"" },
                { "IPAddressDeny", "\"any\"" },
                { "IPAddressAllow", "[\"::1/128\", \"10.0.0.0/8\", \"localhost\"]" },
                { "SocketBindAllow", "[\"tcp:80\", 8080]" },
                { "Delegate", "true" },
                { "SystemCallErrorNumber", "\"kill\"" },
                { "LogLevelMax", "3" },
                { "OOMScoreAdjust", "-1000" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *reason = NULL;
                int r = check((*c)[0], (*c)[1], &reason);

                if (r < 0)
                        fail_msg("%s = %s: %s", (*c)[0], (*c)[1], reason);
        }
}

TEST(bad) {
        static const struct {
                const char *name, *value, *reason; /* the beginning of it */
        } cases[] = {
                { "MemoryMax", "\"256X\"",
                        "'MemoryMax' is \"256X\"; it must be a size like \"256M\", a part like \"50%\", or "
                        "\"infinity\"" },
                { "MemoryMax", "-1", "'MemoryMax' is -1; it must be" },
                { "MemoryMax", "\"\"", NULL },
                { "MemoryMax", "\" 1M\"", NULL },
                { "MemoryMax", "\"1M \"", NULL },
                { "MemoryMax", "\"M\"", NULL },
                { "MemoryMax", "\"101%\"", NULL },
                { "MemoryMax", "\"-5%\"", NULL },
                { "MemoryMax", "\"1.%\"", NULL },
                { "MemoryMax", "\"1.234%\"", NULL },
                { "MemoryMax", "\"99999999999999999999\"", NULL },
                { "MemoryMax", "\"18446744073709551615\"", NULL },
                { "MemoryMax", "\"99999999999E\"", NULL },
                { "MemoryMax", "true", NULL },
                { "MemoryMax", "1.5", NULL },
                { "MemoryMax", "[\"1M\"]", NULL },
                { "MemoryMax", "{}", "'MemoryMax' is a table; it must be" },
                { "MemoryMax", "null", "'MemoryMax' is nothing; it must be" },
                { "MemoryMax", "\"1M\\u0000\"", NULL },
                { "TasksMax", "0", NULL },
                { "TasksMax", "\"5M\"", NULL },
                { "CPUQuota", "20", NULL },
                { "CPUQuota", "\"0%\"", NULL },
                { "CPUQuota", "\"20\"", NULL },
                { "CPUWeight", "0", NULL },
                { "CPUWeight", "10001", NULL },
                { "CPUWeight", "\"lazy\"", NULL },
                { "IOWeight", "\"idle\"", NULL },
                { "PrivateNetwork", "1", NULL },
                { "PrivateNetwork", "\"maybe\"", "'PrivateNetwork' is \"maybe\"; it must be true or false" },
                { "ProtectSystem", "\"very\"", NULL },
                { "ProtectSystem", "1", NULL },
                { "KillMode", "true", NULL },
                { "TimeoutStopSec", "-1", NULL },
                { "TimeoutStopSec", "\"-1s\"", NULL },
                { "TimeoutStopSec", "\"soon\"", NULL },
                { "TimeoutStopSec", "true", NULL },
                { "LimitNOFILE", "\"2048:1024\"", NULL },
                { "LimitNOFILE", "\"infinity:1\"", NULL },
                { "LimitNOFILE", "\"1:2:3\"", NULL },
                { "LimitNOFILE", "\":5\"", NULL },
                { "LimitNOFILE", "\"5:\"", NULL },
                { "LimitNOFILE", "\"1K\"", NULL },
                { "LimitNICE", "\"+20\"", NULL },
                { "LimitNICE", "\"-21\"", NULL },
                { "LimitNICE", "41", NULL },
                { "LimitNICE", "\"+\"", NULL },
                { "StateDirectoryMode", "750", NULL },
                { "StateDirectoryMode", "\"0888\"", NULL },
                { "StateDirectoryMode", "\"75\"", NULL },
                { "StateDirectoryMode", "\"00750\"", NULL },
                { "StateDirectory", "\"/var/lib/a\"", NULL },
                { "StateDirectory", "\"../a\"", NULL },
                { "StateDirectory", "\"a/../b\"", NULL },
                { "StateDirectory", "\"a:b\"", NULL },
                { "Environment", "\"A\"", NULL },
                { "Environment", "\"=b\"", NULL },
                { "Environment", "[\"A=b\", \"1=c\"]", NULL },
                { "Environment", "[\"A=b\", 7]", NULL },
                { "Environment", "[\"A=b\", true]", NULL },
                { "Environment", "[[\"A=b\"]]", NULL },
                { "Environment", "[\"A=b\\nc\"]", NULL },
                { "Environment", "[\"A=\\u0000\"]", NULL },
                { "PassEnvironment", "\"A=b\"", NULL },
                { "ReadWritePaths", "\"srv\"", NULL },
                { "ReadWritePaths", "[\"\"]", NULL },
                { "ReadWritePaths", "\"\"", NULL },
                { "ReadWritePaths", "\"   \"", NULL },
                { "ReadWritePaths", "[\"/a/../b\"]", NULL },
                { "ReadWritePaths", "[\"+-/a\"]", NULL },
                { "ReadWritePaths", "[\"-\"]", NULL },
                { "SystemCallFilter", "\"Mount\"", NULL },
                { "SystemCallFilter", "\"@\"", NULL },
                { "SystemCallFilter", "\"mount;umount\"", NULL },
                { "RestrictAddressFamilies", "\"inet\"", NULL },
                { "RestrictAddressFamilies", "\"AF_\"", NULL },
                { "RestrictNamespaces", "[\"network\"]", NULL },
                { "RestrictNamespaces", "7", NULL },
                { "CapabilityBoundingSet", "\"CAP_EVERYTHING\"", NULL },
                { "CapabilityBoundingSet", "\"net_admin\"", NULL },
                { "CapabilityBoundingSet", "true", NULL },
                { "SecureBits", "\"~noroot\"", NULL },
                { "CPUAffinity", "\"3-1\"", NULL },
                { "CPUAffinity", "\"0-\"", NULL },
                { "CPUAffinity", "\"-1\"", NULL },
                { "CPUAffinity", "\"0,,1\"", NULL },
                { "CPUAffinity", "8192", NULL },
                { "CPUAffinity", "\"0-4294967296\"", NULL },
                { "KillSignal", "\"SIGNOTHING\"", NULL },
                { "KillSignal", "0", NULL },
                { "KillSignal", "65", NULL },
                { "KillSignal", "\"RTMIN-1\"", NULL },
                { "KillSignal", "\"RTMIN+99\"", NULL },
                { "Slice", "\"system.slice\"",
                        "'Slice' is \"system.slice\"; it must be agentd.slice, or one within it" },
                { "Slice", "\"agentd-.slice\"", NULL },
                { "Slice", "\"agentd--a.slice\"", NULL },
                { "Slice", "\"agentd-a/b.slice\"", NULL },
                { "Slice", "\"agentd-a.service\"", NULL },
                { "After", "\"network\"", NULL },
                { "After", "\".target\"", NULL },
                { "After", "\"a b\"", NULL },
                { "BindPaths", "\"a:b\"", NULL },
                { "BindPaths", "\"/a:/b:rw\"", NULL },
                { "TemporaryFileSystem", "\"var\"", NULL },
                { "LoadCredential", "\"a/b:/c\"", NULL },
                { "LoadCredential", "\":/c\"", NULL },
                { "SetCredential", "\"a\"", NULL },
                { "DeviceAllow", "\"/dev/null x\"", NULL },
                { "DeviceAllow", "\"null rw\"", NULL },
                { "IOReadBandwidthMax", "\"10M\"", NULL },
                { "IOReadBandwidthMax", "\"/dev/sda\"", NULL },
                { "IOReadBandwidthMax", "\"/dev/sda 0\"", NULL },
                { "IODeviceWeight", "\"/dev/sda 0\"", NULL },
                { "IPAddressAllow", "\"192.0.2.256\"", NULL },
                { "IPAddressAllow", "\"192.0.2.0/33\"", NULL },
                { "IPAddressAllow", "\"::/129\"", NULL },
                { "IPAddressAllow", "\"example.org\"", NULL },
                { "SocketBindAllow", "\"0\"", NULL },
                { "SocketBindAllow", "\"65536\"", NULL },
                { "SocketBindAllow", "\"tcp\"", NULL },
                { "SocketBindAllow", "\"20-10\"", NULL },
                { "Delegate", "\"everything\"", NULL },
                { "SystemCallErrorNumber", "\"ENOTHING\"", NULL },
                { "SystemCallErrorNumber", "0", NULL },
                { "Nice", "20", NULL },
                { "Nice", "-21", NULL },
                { "Nice", "\"5x\"", NULL },
                { "Nice", "\" 5\"", NULL },
                { "LogLevelMax", "8", NULL },
                { "LogLevelMax", "\"loud\"", NULL },
                { "SyslogFacility", "3", NULL },
                { "TimerSlackNSec", "\"-5\"", NULL },
                { "SyslogIdentifier", "\"a\\nb\"", NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *reason = NULL;
                int r = check(c->name, c->value, &reason);

                if (r != -EINVAL)
                        fail_msg("%s = %s: %i", c->name, c->value, r);
                assert_non_null(reason);
                assert_non_null(strstr(reason, c->name));
                assert_non_null(strstr(reason, "; it must be "));
                if (c->reason && !startswith(reason, c->reason))
                        fail_msg("%s", reason);
        }
}

TEST(names) {
        static const struct {
                const char *name, *reason;
        } cases[] = {
                { "MemoryMaximum", "there is no property 'MemoryMaximum' that a command's unit could have" },
                { "MemryMax", "there is no property 'MemryMax' that a command's unit could have; did you "
                              "mean 'MemoryMax'?" },
                { "memorymax", "there is no property 'memorymax' that a command's unit could have; did you "
                               "mean 'MemoryMax'?" },
                { "CPUQuotaPerSecUSec", "there is no property 'CPUQuotaPerSecUSec' that a command's unit "
                                        "could have; did you mean 'CPUQuota'?" },
                { "", "there is no property '' that a command's unit could have" },
                { "ExecStart", "'ExecStart' cannot be given here: there is one way to say what is run, and "
                               "this is not it" },
                { "ExecStartPre", "'ExecStartPre' cannot be given here: there is one way" },
                { "Type", "'Type' cannot be given here: agentd sets it itself" },
                { "StandardOutput", "'StandardOutput' cannot be given here: agentd sets it itself" },
                { "User", "'User' cannot be given here: give it beside 'unit', not in it" },
                { "UMask", "'UMask' cannot be given here: give 'umask' beside 'unit'" },
                { "Restart", "'Restart' cannot be given here: what follows" },
                { "MemoryLimit", "'MemoryLimit' cannot be given here: it is of the old control groups" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *reason = NULL;

                ASSERT_EQ(check(c->name, "true", &reason), -ENOENT);
                if (!startswith(reason, c->reason))
                        fail_msg("%s", reason);
        }
}

TEST(long_values_are_cut) {
        char text[KIB(4)];
        _cleanup_free_ char *reason = NULL;

        memset(text, 'x', sizeof(text));
        text[0] = text[sizeof(text) - 2] = '"';
        text[sizeof(text) - 1] = '\0';
        ASSERT_EQ(check("MemoryMax", text, &reason), -EINVAL);
        assert_true(strlen(reason) < 300);
        assert_non_null(strstr(reason, "…; it must be"));
}

/* In the order of the alphabet, so that one finds them, and none twice. */
TEST(table) {
        const char *name, *before = "";
        size_t n = 0;

        for (; (name = unit_property_name(n)); n++) {
                _cleanup_free_ char *reason = NULL;

                if (!streq(name, "Slice"))
                        assert_true(strcmp(before, name) < 0);
                before = streq(name, "Slice") ? before : name;
                /* No form crashes on what it is not made for. */
                ASSERT_EQ(check(name, "{}", &reason), -EINVAL);
        }
        assert_true(n > 120);
}

TEST(a_bad_one_appends_nothing) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        json_t *bad = json_loads("[\"A=b\", 7]", 0, NULL), *good = json_loads("[\"A=b\"]", 0, NULL);
        int fds[2];

        /* A bus that nobody is at. */
        ASSERT_OK(pipe(fds));
        assert_true(sd_bus_new(&bus) >= 0);
        assert_true(sd_bus_set_fd(bus, fds[0], fds[1]) >= 0);
        assert_true(sd_bus_start(bus) >= 0);
        assert_true(sd_bus_message_new_method_call(bus, &m, "a.b", "/", "a.b", "C") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "(sv)") >= 0);
        ASSERT_EQ(unit_property_append(m, "Environment", bad), -EINVAL);
        ASSERT_EQ(unit_property_append(m, "Nonsense", good), -EINVAL);
        ASSERT_OK(unit_property_append(m, "Environment", good));
        assert_true(sd_bus_message_close_container(m) >= 0);
        json_decref(bad);
        json_decref(good);
}

RUN_TESTS(RUN(good), RUN(bad), RUN(names), RUN(long_values_are_cut), RUN(table),
        RUN(a_bad_one_appends_nothing))

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is read from text: modes, access lists, capabilities. The rest is tested in a box. */

#include "test.h"

#include "file.h"
#include "util.h"

/* ---- What agentd would be asked ---------------------------------------------------------------------------------- */

void *agentd_alloc(AgentdPrepare *prepare, size_t size) {
        return test_calloc(1, size);
}

int agentd_user_id(AgentdContext *context, const char *name, uid_t *ret) {
        if (!streq(name, "ada"))
                return -ESRCH;
        *ret = 1000;
        return 0;
}

int agentd_group_id(AgentdContext *context, const char *name, gid_t *ret) {
        if (!streq(name, "web"))
                return -ESRCH;
        *ret = 2000;
        return 0;
}

const char *agentd_user_name(AgentdContext *context, uid_t uid) {
        return uid == 1000 ? "ada" : "somebody";
}

const char *agentd_group_name(AgentdContext *context, gid_t gid) {
        return gid == 2000 ? "web" : "some";
}

/* ---- Modes ------------------------------------------------------------------------------------------------------- */

TEST(applies_what_chmod_takes) {
        static const struct {
                const char *text;
                mode_t before, file, directory;
        } cases[] = {
                { "u=rw,g=r,o=", 0777, 0640, 0640 },
                { "a+x", 0644, 0755, 0755 },
                { "+x", 0600, 0711, 0711 },
                { "go-w", 0666, 0644, 0644 },
                { "a+X", 0644, 0644, 0755 },
                { "a+X", 0654, 0755, 0755 },
                { "u+x,a+X", 0600, 0711, 0711 },
                { "u-x,a+X", 0700, 0600, 0711 },
                { "u=rwX,go=rX", 0600, 0644, 0755 },
                { "g=u", 0640, 0660, 0660 },
                { "go=u-w", 0700, 0755, 0755 },
                { "o=g", 0750, 0755, 0755 },
                { "u+s", 0755, 04755, 04755 },
                { "g+s", 0755, 02755, 02755 },
                { "o+s", 0755, 0755, 0755 },
                { "+t", 0755, 01755, 01755 },
                { "o+t", 0755, 01755, 01755 },
                { "u+t", 0755, 0755, 0755 },
                { "a=", 07777, 0, 06000 },
                { "=", 07777, 0, 06000 },
                { "u=rwx", 06755, 02755, 06755 },
                { "u=rwxs,g=s", 06755, 06705, 06705 },
                { "a=rx", 06777, 0555, 06555 },
                { "ug-s", 06755, 0755, 0755 },
                { "a-s", 06755, 0755, 0755 },
                { "uuu+r", 0, 0400, 0400 },
                { "ug+rw-x+x", 0, 0770, 0770 },
                { "u+", 0600, 0600, 0600 },
                { "a-rwxst", 07777, 0, 0 },
        };

        FOREACH_ELEMENT(c, cases) {
                mode_t mode;

                ASSERT_OK(mode_apply(c->text, false, c->before, &mode));
                if (mode != c->file)
                        fail_msg("'%s' of 0%o: 0%o of a file", c->text, c->before, mode);
                ASSERT_OK(mode_apply(c->text, true, c->before, &mode));
                if (mode != c->directory)
                        fail_msg("'%s' of 0%o: 0%o of a directory", c->text, c->before, mode);
                ASSERT_OK(mode_parse(c->text));
        }
}

TEST(refuses_what_is_no_mode) {
        static const char *const cases[] = { "", "u", "ug", "x", "rw-r--r--", "u+q", "u+r,", ",u+r",
                "u+r,,g+r", "u r", "u+r ", " u+r", "u=ug", "u=gr", "u=rg", "u+a", "u~r", "0644", "u+0",
                "u+r;g+r", "U+r", "u+R", "ä+r", "u=rwx\n", "u+g+gu", "u+Xu" };

        FOREACH_ELEMENT(text, cases)
                if (mode_parse(*text) != -EINVAL)
                        fail_msg("'%s' is taken", *text);
}

TEST(refuses_a_mode_that_never_comes_to_rest) {
        static const char *const restless[] = { "u=g,g=o", "g=u,u=o", "u=g,g=", "u-x,a+X,u+x,g=o,o=u-r" },
                                 *const calm[] = { "g=u,o=g", "u+x,a+X", "a-x,a+X", "u=g,g=u" };

        FOREACH_ELEMENT(text, restless)
                if (mode_parse(*text) != -EDOM)
                        fail_msg("'%s' comes to rest", *text);
        FOREACH_ELEMENT(text, calm)
                if (mode_parse(*text) != 0)
                        fail_msg("'%s' does not come to rest", *text);
}

/* ---- Capabilities ------------------------------------------------------------------------------------------------ */

TEST(reads_and_writes_capabilities) {
        static const struct {
                const char *text, *printed;
        } cases[] = {
                { "", "" },
                { "   ", "" },
                { "cap_net_bind_service=ep", "cap_net_bind_service=ep" },
                { "cap_net_bind_service+ep", "cap_net_bind_service=ep" },
                { "CAP_CHOWN=P", NULL },
                { "CAP_CHOWN=p", "cap_chown=p" },
                { "cap_net_raw,cap_chown=eip", "cap_chown,cap_net_raw=eip" },
                { "cap_chown=p cap_kill=i", "cap_chown=p cap_kill=i" },
                { "cap_chown=pi  cap_kill=p", "cap_chown=ip cap_kill=p" },
                { "cap_checkpoint_restore=p", "cap_checkpoint_restore=p" },
        };

        FOREACH_ELEMENT(c, cases) {
                Capabilities capabilities;
                char text[CAPABILITIES_TEXT_SIZE];

                if (!c->printed) {
                        ASSERT_EQ(capabilities_parse(c->text, &capabilities), -EINVAL);
                        continue;
                }
                ASSERT_OK(capabilities_parse(c->text, &capabilities));
                capabilities_print(&capabilities, text, sizeof(text));
                ASSERT_STREQ(text, c->printed);
        }
}

TEST(refuses_what_are_no_capabilities) {
        static const char *const cases[] = { "x", "cap_", "cap_=p", "cap_nosuch=p", "chown=p", "cap_chown",
                "cap_chown=", "cap_chown=e", "cap_chown=x", "cap_chown-p", "cap_chown,=p", ",cap_chown=p",
                "cap_chown,,cap_kill=p", "cap_chown =p", "cap_chown= p", "=p", "=", "cap_chown=p,cap_kill=p",
                "cap_chown=ep cap_kill=p", "cap_chown=p=", "cap_chownx=p", "al=p", "cap_chown=p\n", "10=p" };

        FOREACH_ELEMENT(text, cases) {
                Capabilities capabilities;

                if (capabilities_parse(*text, &capabilities) != -EINVAL)
                        fail_msg("'%s' is taken", *text);
        }
}

TEST(prints_all_capabilities_within_its_room) {
        Capabilities capabilities = {
                .permitted = UINT64_MAX, .inheritable = UINT64_MAX, .effective = true, .root_id = UINT32_MAX
        };
        char text[CAPABILITIES_TEXT_SIZE], small[20];

        capabilities_print(&capabilities, text, sizeof(text));
        ASSERT_TRUE(strstr(text, "cap_chown,cap_dac_override"));
        capabilities_print(&capabilities, small, sizeof(small));
        ASSERT_EQ(strlen(small), sizeof(small) - 1);
}

/* ---- Access lists ------------------------------------------------------------------------------------------------ */

TEST(refuses_what_is_no_entry) {
        static const char *const cases[] = { "", ":", "::", "user", "user:", "user:ada",
                "user:ada:", "user:ada:q", "user:ada:rwxr:", "user::rw-", "u::r", "group::rw-", "other::r--",
                "o::r", "mask:ada:r--", "other:ada:r--", "default:other:ada:r", "default:", "default",
                "default:ada:r", "default:default:user:ada:r", "users:ada:r", "User:ada:r", " user:ada:r",
                "user:ada:r ", "user:ada:7" };

        FOREACH_ELEMENT(text, cases) {
                AclWish wish;

                if (!acl_parse(NULL, *text, &wish))
                        fail_msg("'%s' is taken", *text);
        }
}

static void wants(
        const char *const texts[], bool of_default, mode_t mode, const char *printed, mode_t shown) {
        AclWish wishes[8];
        Extras extras = { .acl = wishes, .has_acl = true };
        const File file = { .extras = &extras };
        const char *nobody = NULL;
        char text[512];
        Acl acl;

        for (; texts[extras.n_acl]; extras.n_acl++)
                assert_null(acl_parse(NULL, texts[extras.n_acl], &wishes[extras.n_acl]));
        ASSERT_OK(acl_wanted(NULL, &file, of_default, mode, &acl, &nobody));
        acl_print(NULL, &acl, of_default, text, sizeof(text));
        ASSERT_STREQ(text, printed);
        ASSERT_EQ(acl_shown_mode(&acl, mode), shown);
        ASSERT_EQ(acl_mode(&acl, acl_shown_mode(&acl, mode)), mode);
        ASSERT_TRUE(acl_equal(&acl, &acl, of_default));
        ASSERT_EQ(acl_equal(&acl, &(Acl){ .n = 0 }, of_default), acl.n == 0);
        for (size_t k = 0; k < extras.n_acl; k++)
                test_free((void *) wishes[k].name);
}

#define WANTS(of_default, mode, printed, shown, ...) \
        wants((const char *const[]){ __VA_ARGS__, NULL }, of_default, mode, printed, shown)

TEST(makes_the_list_that_setfacl_would) {
        WANTS(false, 0640, "user:ada:rw-,mask::rw-", 0660, "user:ada:rw-");
        WANTS(false, 0640, "user:ada:rw-,mask::rw-", 0660, "u:ada:rw");
        WANTS(false, 04600, "group:web:--x,mask::--x", 04610, "g:web:x");
        WANTS(false, 0600, "user:ada:---,mask::---", 0600, "user:ada:-");
        WANTS(false, 0670, "user:ada:rwx,group:web:r--,mask::r--", 0640, "group:web:r--", "user:ada:rwx",
                "mask::r--");
        WANTS(false, 0640, "", 0640, "default:user:ada:r--");
        WANTS(false, 0640, "mask::rwx", 0670, "m::rwx");
        WANTS(true, 0750,
                "default:user::rwx,default:user:ada:rw-,default:group::r-x,default:mask::rwx,default:other::"
                "---",
                0770, "d:user:ada:rw-");
        WANTS(true, 0750, "default:user::r--,default:group::r-x,default:other::---", 0750,
                "default:user::r--");
}

TEST(names_whom_it_does_not_find) {
        AclWish wishes[2];
        Extras extras = { .acl = wishes, .n_acl = 2, .has_acl = true };
        const File file = { .extras = &extras };
        const char *nobody = NULL;
        Acl acl;

        assert_null(acl_parse(NULL, "user:ada:r", &wishes[0]));
        assert_null(acl_parse(NULL, "group:ada:r", &wishes[1]));
        ASSERT_FALSE(acl_is_same_entry(&wishes[0], &wishes[1]));
        ASSERT_EQ(acl_wanted(NULL, &file, false, 0, &acl, &nobody), -ESRCH);
        ASSERT_STREQ(nobody, "ada");
        test_free((void *) wishes[0].name);
        test_free((void *) wishes[1].name);
}

RUN_TESTS(RUN(applies_what_chmod_takes), RUN(refuses_what_is_no_mode),
        RUN(refuses_a_mode_that_never_comes_to_rest), RUN(reads_and_writes_capabilities),
        RUN(refuses_what_are_no_capabilities), RUN(prints_all_capabilities_within_its_room),
        RUN(refuses_what_is_no_entry), RUN(makes_the_list_that_setfacl_would),
        RUN(names_whom_it_does_not_find))

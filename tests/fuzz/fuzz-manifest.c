/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "extract.h"
#include "fuzz.h"

/*
 * What agentd-extract has written, as the module reads it; what is good is written and read again. The same bytes are a name in an
 * archive: what is let in is clean.
 */

static void check_paths(const Manifest *m) {
        for (size_t i = 0; i < m->n_entries; i++) {
                fuzz_check(manifest_path_is_clean(m->entries[i].path));
                fuzz_check(manifest_find(m, m->entries[i].path) == &m->entries[i]);
                fuzz_check(i == 0 || manifest_compare(m->entries[i - 1].path, m->entries[i].path) < 0);
        }
}

static void write_again(const Manifest *m) {
        char *text = NULL;
        size_t size = 0;
        const char *why;
        Manifest again;
        FILE *f = open_memstream(&text, &size);

        fuzz_check(f);
        manifest_write_head(f, m->destination, m->archive, m->parameters);
        for (size_t i = 0; i < m->n_entries; i++)
                manifest_write_entry(f, &m->entries[i]);
        manifest_write_end(f, m->n_entries);
        fuzz_check(fclose(f) == 0);
        fuzz_check(manifest_parse(text, size, 1000, &again, &why) == 0);
        fuzz_check(again.n_entries == m->n_entries);
        for (size_t i = 0; i < m->n_entries; i++) {
                const ManifestEntry *a = &m->entries[i], *b = &again.entries[i];

                fuzz_check(streq(a->path, b->path) && streq_ptr(a->target, b->target) &&
                           streq_ptr(a->owner, b->owner) && streq_ptr(a->group, b->group) &&
                           a->kind == b->kind && a->mode == b->mode && a->size == b->size &&
                           a->inode == b->inode && a->ctime_nsec == b->ctime_nsec &&
                           memcmp(a->hash, b->hash, sizeof(a->hash)) == 0);
        }
        fuzz_check(
                streq_ptr(m->destination, again.destination) && streq_ptr(m->parameters, again.parameters));
        manifest_done(&again);
}

static void check_name(const char *name) {
        char clean[MANIFEST_PATH_MAX], shown[64];
        char *patterns[] = { (char *) "a*", (char *) "/b/?" };
        const char *why = NULL;

        for (unsigned strip = 0; strip < 3; strip++) {
                if (policy_clean(name, strip, clean, &why) < 0) {
                        fuzz_check(why);
                        continue;
                }
                fuzz_check(!*clean || manifest_path_is_clean(clean));
                (void) policy_matches(patterns, ELEMENTSOF(patterns), clean);
        }
        fuzz_check(!policy_target_stays("a/b", name) || name[0] != '/');
        fuzz_check(strlen(policy_show(name, shown, sizeof(shown))) < sizeof(shown));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1), *name = malloc(size + 1);
        const char *why = NULL;
        Manifest m;

        fuzz_check(text && name);
        memcpy(text, data, size);
        memcpy(name, data, size);
        name[size] = '\0';
        check_name(name);
        free(name);

        if (manifest_parse(text, size, 1000, &m, &why) < 0) {
                fuzz_check(why);
                free(text);
                return 0;
        }
        check_paths(&m);
        write_again(&m);
        manifest_done(&m);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a state is not there that somebody asks about. */

#include <fnmatch.h>

#include "role-explain.h"
#include "template.h"

#define SUGGESTED_AMONG 20000 /* ids */

#define PLACE_FORMAT "%s:%u:%u"
#define PLACE(place) (place).file, (place).line, (place).column

/* The declaration in a role that this state is, or may be, of. */
static const Member *find_declaration(Loader *loader, const Role *role, const char *id, bool *ret_certain) {
        VALUE_FOREACH_MEMBER(table, &role->table) {
                size_t n = table->key_size;

                /* Tables that are no types have no members that are called like states. */
                if (table->value.type != VALUE_TABLE || strncmp(id, table->key, n) != 0 || id[n] != ':')
                        continue;
                VALUE_FOREACH_MEMBER(member, &table->value) {
                        bool plain = !template_has_tags(member->key, member->key_size);
                        const char *whole = arena_printf(&loader->scratch, "%s:%s", table->key, member->key);

                        if (plain ? !streq(normalise_reference(loader, whole), id)
                                  : fnmatch(loader_name_glob(loader, whole), id, 0) != 0)
                                continue;
                        *ret_certain = plain;
                        return member;
                }
        }
        return NULL;
}

/* Why a role is off. */
static const char *why_off(Loader *loader, const Role *role) {
        for (uint32_t n = 0; !role->off_by && role->n_importers > 0 && n < loader->n_roles; n++)
                role = role->importers[0]->importer;
        if (!role->off_by)
                return arena_printf(&loader->scratch,
                        "role '%s' is off, as nothing that is applied imports it", role->name);
        return arena_printf(&loader->scratch, "role '%s' is off: its '%s' at " PLACE_FORMAT, role->name,
                role->off_by->type == VALUE_ARRAY ? "hosts" : "when", PLACE(role->off_by->place));
}

/* Which of the overrides of a state takes it out; NULL: none. */
static const Override *find_removal(Loader *loader, const char *id) {
        for (uint32_t i = map_get(&loader->override_map, id); i != UINT32_MAX;
                i = loader->overrides[i]->next) {
                const Value *remove = value_get(&loader->overrides[i]->member->value, "remove");

                if (remove && remove->type == VALUE_BOOLEAN && remove->boolean)
                        return loader->overrides[i];
        }
        return NULL;
}

static const char *suggestion(Loader *loader, const char *id) {
        const char **ids, *meant;

        if (loader->n_declared > SUGGESTED_AMONG)
                return "";
        ids = arena_new_array(&loader->scratch, const char *, loader->n_declared);
        for (uint32_t i = 0; i < loader->n_declared; i++)
                ids[i] = loader->states[i]->id;
        meant = suggest(id, ids, loader->n_declared);
        return meant ? arena_printf(&loader->scratch, "; did you mean '%s'?", meant) : "";
}

const char *explain_missing(Loader *loader, const char *id) {
        Arena *arena = &loader->scratch;
        const Override *removal;

        removal = map_get(&loader->off_ids, id) == MAP_NOT_FOUND ? NULL : find_removal(loader, id);
        if (removal)
                return arena_printf(arena, "there is no state '%s': role '%s' takes it out at " PLACE_FORMAT,
                        id, removal->role->name, PLACE(value_get(&removal->member->value, "remove")->place));

        for (uint32_t i = 0; i < loader->n_roles; i++) {
                const Role *role = loader->list[i];
                bool certain = false;
                const Member *member = find_declaration(loader, role, id, &certain);

                if (!member)
                        continue;
                if (role->off)
                        return arena_printf(arena,
                                "there is no state '%s': it %s declared at " PLACE_FORMAT ", but %s", id,
                                certain ? "is" : "may be", PLACE(member->place), why_off(loader, role));
                /* A name that is written out is there, with or without a loop. */
                if (!certain && member->value.type == VALUE_TABLE && value_get(&member->value, "for_each"))
                        return arena_printf(arena,
                                "there is no state '%s': the loop at " PLACE_FORMAT
                                " has no item that makes "
                                "it%s",
                                id, PLACE(member->place), suggestion(loader, id));
        }
        for (uint32_t i = loader->n_declared; i < loader->n_states; i++)
                if (streq(loader->states[i]->id, id))
                        return arena_printf(arena,
                                "there is no state '%s': no role declares it any more, and it is to be "
                                "removed",
                                id);
        if (loader->options->explain_glob && strpbrk(id, "*?["))
                return arena_printf(arena, "no state matches '%s'", id);
        return arena_printf(arena, "there is no state '%s'%s", id, suggestion(loader, id));
}

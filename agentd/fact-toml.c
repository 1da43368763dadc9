/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fact-internal.h"
#include "toml.h"

int fact_parse_toml(
        Arena *arena, const char *file, const char *text, size_t size, Value *ret, Diagnostic *reterr) {
        return toml_parse(arena, file, text, size, ret, reterr);
}

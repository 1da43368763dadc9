/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "terminal.h"

bool output_wants_colour(FILE *f) {
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return !(no && *no) && isatty(fileno(f)) && !(term && streq(term, "dumb"));
}

void output_clean(FILE *f, const char *text, size_t n) {
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) text[i],
                              next = i + 1 < n ? (unsigned char) text[i + 1] : 0;

                if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
                        (void) fputc('?', f);
                        i++;
                } else
                        (void) fputc((c < ' ' && c != '\t') || c == 0x7f ? '?' : c, f);
        }
}

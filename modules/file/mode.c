/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Symbolic modes, as chmod(1) reads them: "u=rw,g=r,o=", "a+x", "go-w", "u+rwX". */

#include <errno.h>
#include <string.h>

#include "file.h"

#define BITS 07777u

static unsigned bits_of_who(char who) {
        switch (who) {
        case 'u': return S_ISUID | S_IRWXU;
        case 'g': return S_ISGID | S_IRWXG;
        case 'o': return S_ISVTX | S_IRWXO;
        case 'a': return BITS;
        default: return 0;
        }
}

/* The three bits that a class has, for all classes. */
static unsigned copy_of(unsigned mode, char who) {
        unsigned bits = (who == 'u' ? mode >> 6 : who == 'g' ? mode >> 3 : mode) & 7;

        return bits << 6 | bits << 3 | bits;
}

/* One operator and what follows it. Return: where it ends; NULL if it is none. */
static const char *apply_one(const char *text, unsigned who, bool directory, unsigned *mode) {
        char sign = *text++;
        unsigned bits = 0, set_id = 0;

        if (sign != '+' && sign != '-' && sign != '=')
                return NULL;
        if (*text && strchr("ugo", *text)) {
                bits = copy_of(*mode, *text++);
                if (*text && !strchr(",+-=", *text))
                        return NULL;
        } else
                for (; *text && !strchr(",+-=", *text); text++)
                        switch (*text) {
                        case 'r': bits |= 0444; break;
                        case 'w': bits |= 0222; break;
                        case 'x': bits |= 0111; break;
                        case 'X': bits |= directory || (*mode & 0111) ? 0111 : 0; break;
                        case 's': bits |= set_id = S_ISUID | S_ISGID; break;
                        case 't': bits |= S_ISVTX; break;
                        default: return NULL;
                        }

        bits &= who;
        if (sign == '+')
                *mode |= bits;
        else if (sign == '-')
                *mode &= ~bits;
        else
                /* A directory keeps its set-id bits unless they are named, as with chmod(1). */
                *mode = (*mode & ~(who & ~(directory && !set_id ? S_ISUID | S_ISGID : 0u))) | bits;
        return text;
}

int mode_apply(const char *text, bool directory, mode_t mode, mode_t *ret) {
        unsigned result = mode & BITS;

        for (;;) {
                unsigned who = 0;

                for (; *text && bits_of_who(*text); text++)
                        who |= bits_of_who(*text);
                do {
                        text = apply_one(text, who ? who : BITS, directory, &result);
                        if (!text)
                                return -EINVAL;
                } while (*text && *text != ',');
                if (!*text)
                        break;
                text++;
        }
        *ret = (mode_t) result;
        return 0;
}

/* Whether it looks at what is there, and so may come to something else each time. */
static bool depends(const char *text) {
        for (; *text; text++)
                if (*text == 'X' || (strchr("+-=", *text) && text[1] && strchr("ugo", text[1])))
                        return true;
        return false;
}

int mode_parse(const char *text) {
        mode_t once, twice;

        if (mode_apply(text, false, 0, &once) < 0)
                return -EINVAL;
        if (!depends(text))
                return 0;
        for (unsigned mode = 0; mode <= BITS; mode++)
                for (int directory = 0; directory < 2; directory++) {
                        (void) mode_apply(text, directory, (mode_t) mode, &once);
                        (void) mode_apply(text, directory, once, &twice);
                        if (once != twice)
                                return -EDOM;
                }
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Expressions as text again: for people who want to know what became of one. */

#include <inttypes.h>

#include "expression-internal.h"

/* Of a constant; more is cut. */
#define ITEMS_SHOWN 8
#define TEXT_SHOWN  200

static void print_string(FILE *f, const char *text, size_t size) {
        size_t n = MIN(size, (size_t) TEXT_SHOWN);

        while (n < size && n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80)
                n--;
        (void) fputc('\'', f);
        for (size_t i = 0; i < n; i++)
                switch (text[i]) {
                case '\n': (void) fputs("\\n", f); break;
                case '\r': (void) fputs("\\r", f); break;
                case '\t': (void) fputs("\\t", f); break;
                case '\'': (void) fputs("\\'", f); break;
                case '\\': (void) fputs("\\\\", f); break;
                default:
                        if ((unsigned char) text[i] < ' ' || text[i] == 0x7f)
                                (void) fprintf(f, "\\u%04x", (unsigned char) text[i]);
                        else
                                (void) fputc(text[i], f);
                }
        (void) fputs(n < size ? "…'" : "'", f);
}

/* With the fewest digits that read back the same, and a point or exponent. */
static void print_float(FILE *f, double real) {
        char text[40];

        for (int digits = 1; digits <= 17; digits++) {
                (void) snprintf(text, sizeof(text), "%.*g", digits, real);
                if (strtod(text, NULL) == real)
                        break;
        }
        (void) fprintf(f, "%s%s", text, strpbrk(text, ".eni") ? "" : ".0");
}

static void print_value(FILE *f, const Value *value) {
        uint32_t n = 0;

        if (value->tainted) {
                (void) fputs("<sensitive>", f);
                return;
        }
        switch (value->type) {
        case VALUE_NULL: (void) fputs("null", f); break;
        case VALUE_BOOLEAN: (void) fputs(value->boolean ? "true" : "false", f); break;
        case VALUE_INTEGER: (void) fprintf(f, "%" PRId64, value->integer); break;
        case VALUE_FLOAT: print_float(f, value->real); break;
        case VALUE_ARRAY:
                (void) fputc('[', f);
                VALUE_FOREACH_ITEM(item, value) {
                        if (n == ITEMS_SHOWN) {
                                (void) fputs(", …", f);
                                break;
                        }
                        (void) fputs(n++ > 0 ? ", " : "", f);
                        print_value(f, item);
                }
                (void) fputc(']', f);
                break;
        /* The language has no way to write one. */
        case VALUE_TABLE: (void) fputs("{…}", f); break;
        default: print_string(f, value->text, value->size);
        }
}

/* The higher, the closer its parts belong together. Source: docs/expressions.md, grammar. */
static unsigned rank(const Expression *e) {
        switch (e->kind) {
        case EXPRESSION_OR: return 1;
        case EXPRESSION_AND: return 2;
        case EXPRESSION_NOT: return 3;
        case EXPRESSION_EQUAL:
        case EXPRESSION_NOT_EQUAL:
        case EXPRESSION_LESS:
        case EXPRESSION_LESS_EQUAL:
        case EXPRESSION_GREATER:
        case EXPRESSION_GREATER_EQUAL:
        case EXPRESSION_IN:
        case EXPRESSION_NOT_IN: return 4;
        default: return 5;
        }
}

static const char *operator_of(const Expression *e) {
        switch (e->kind) {
        case EXPRESSION_AND: return " and ";
        case EXPRESSION_OR: return " or ";
        case EXPRESSION_EQUAL: return " == ";
        case EXPRESSION_NOT_EQUAL: return " != ";
        case EXPRESSION_LESS: return " < ";
        case EXPRESSION_LESS_EQUAL: return " <= ";
        case EXPRESSION_GREATER: return " > ";
        case EXPRESSION_GREATER_EQUAL: return " >= ";
        case EXPRESSION_IN: return " in ";
        case EXPRESSION_NOT_IN: return " not in ";
        default: return ", ";
        }
}

static void print(FILE *f, const Expression *e, unsigned least);

static void print_children(FILE *f, const Expression *e, unsigned least) {
        for (uint32_t i = 0; i < e->n_children; i++) {
                (void) fputs(i > 0 ? operator_of(e) : "", f);
                print(f, e->children[i], least);
        }
}

/* As deep as the tree is, which its parser has bounded. */
static void print(FILE *f, const Expression *e, unsigned least) {
        bool parentheses = rank(e) < least;

        (void) fputs(parentheses ? "(" : "", f);
        switch (e->kind) {
        case EXPRESSION_CONSTANT: print_value(f, &e->value); break;
        case EXPRESSION_NAME: (void) fwrite(e->text, 1, e->size, f); break;
        case EXPRESSION_MEMBER:
                print(f, e->children[0], 5);
                (void) fputc('.', f);
                (void) fwrite(e->text, 1, e->size, f);
                break;
        case EXPRESSION_INDEX:
                print(f, e->children[0], 5);
                (void) fputc('[', f);
                print(f, e->children[1], 0);
                (void) fputc(']', f);
                break;
        case EXPRESSION_CALL:
        case EXPRESSION_LIST:
                if (e->kind == EXPRESSION_CALL)
                        (void) fwrite(e->text, 1, e->size, f);
                (void) fputc(e->kind == EXPRESSION_CALL ? '(' : '[', f);
                print_children(f, e, 0);
                (void) fputc(e->kind == EXPRESSION_CALL ? ')' : ']', f);
                break;
        case EXPRESSION_NOT:
                (void) fputs("not ", f);
                print(f, e->children[0], 3);
                break;
        default:
                /* One that is left of several stands for itself; comparisons do not associate. */
                print_children(f, e, e->n_children < 2 ? 0 : rank(e) + 1);
        }
        (void) fputs(parentheses ? ")" : "", f);
}

const char *expression_format(Arena *arena, const Expression *expression) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return "…";
        print(f, expression, 0);
        return fclose(f) == 0 ? arena_strndup(arena, text, size) : "…";
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <locale.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "table.h"
#include "terminal.h"

/* No column is made narrower than that. */
#define COLUMN_MIN 6
#define GAP        2 /* blanks between columns */

typedef struct Cell {
        char *text;
        const char *colour;
        size_t width;
} Cell;

struct Table {
        const TableColumn *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells, n_allocated;
        bool failed; /* out of memory */
};

/* ---- Widths ---------------------------------------------------------------------------------------------------- */

/* The character that begins here, and the bytes that it has; one byte of no meaning if it is not UTF-8. */
static size_t decode(const char *text, wchar_t *ret) {
        const unsigned char *p = (const unsigned char *) text;
        size_t n = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

        *ret = L'?';
        if (strnlen(text, n) < n || !utf8_is_valid(text, n))
                return 1;
        switch (n) {
        case 1: *ret = p[0]; break;
        case 2: *ret = (p[0] & 0x1f) << 6 | (p[1] & 0x3f); break;
        case 3: *ret = (p[0] & 0x0f) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f); break;
        default:
                *ret = (p[0] & 0x07) << 18 | (p[1] & 0x3f) << 12 | (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
                break;
        }
        return n;
}

static size_t character_width(wchar_t c) {
        static bool ready;
        int width;

        if (c < 0x80)
                return 1;
        /* What we print is UTF-8 whatever the locale says. Not set at start: few texts need it. */
        if (!ready) {
                (void) setlocale(LC_CTYPE, "C.UTF-8");
                ready = true;
        }
        width = wcwidth(c);
        return width < 0 ? 1 : (size_t) width;
}

size_t text_fit(const char *text, size_t width) {
        size_t used = 0, i = 0;

        while (text[i]) {
                wchar_t c;
                size_t n = decode(text + i, &c), cells = character_width(c);

                if (cells > width - used)
                        break;
                used += cells;
                i += n;
        }
        return i;
}

size_t text_width(const char *text) {
        size_t width = 0;

        while (*text) {
                wchar_t c;

                text += decode(text, &c);
                width += character_width(c);
        }
        return width;
}

size_t terminal_width(FILE *f) {
        const char *columns = getenv("COLUMNS");
        struct winsize size = {};

        if (!isatty(fileno(f)))
                return SIZE_MAX;
        if (columns && *columns) {
                char *end;
                unsigned long n = strtoul(columns, &end, 10);

                if (*end == 0 && n >= 10 && n <= 10000)
                        return n;
        }
        if (ioctl(fileno(f), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
                return 80;
        return size.ws_col;
}

/* ---- Cells ----------------------------------------------------------------------------------------------------- */

int table_new(const TableColumn *columns, Table **ret) {
        Table *table = malloc(sizeof(*table));

        if (!table)
                return -ENOMEM;
        *table = (Table){ .columns = columns };
        while (columns[table->n_columns].heading)
                table->n_columns++;
        *ret = table;
        return 0;
}

Table *table_free(Table *table) {
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cells[i].text);
        free(table->cells);
        free(table);
        return NULL;
}

/* A copy on one line, that a terminal shows and does not obey. */
static char *clean_copy(const char *text) {
        char *copy = NULL;
        size_t size;
        FILE *f = open_memstream(&copy, &size);

        if (!f)
                return NULL;
        output_clean(f, text, strlen(text));
        if (fclose(f) != 0) {
                free(copy);
                return NULL;
        }
        for (char *p = copy; *p; p++)
                if (*p == '\t')
                        *p = ' ';
        return copy;
}

void table_add(Table *table, const char *colour, const char *text) {
        char *copy;

        if (table->n_cells == table->n_allocated) {
                size_t n = MAX(table->n_allocated * 2, (size_t) 64);
                Cell *cells = reallocarray(table->cells, n, sizeof(Cell));

                if (!cells) {
                        table->failed = true;
                        return;
                }
                table->cells = cells;
                table->n_allocated = n;
        }
        copy = clean_copy(text && *text ? text : "-");
        if (!copy) {
                table->failed = true;
                return;
        }
        table->cells[table->n_cells++] = (Cell){ .text = copy, .colour = colour, .width = text_width(copy) };
}

void table_addf(Table *table, const char *colour, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0) {
                text = NULL;
                table->failed = true;
        }
        va_end(args);
        table_add(table, colour, text);
}

size_t table_n_rows(const Table *table) {
        return table->n_cells / table->n_columns;
}

/* ---- Printing -------------------------------------------------------------------------------------------------- */

/* Makes columns narrower, always the widest, until all fit, or nothing more can be done. */
static void shrink(const Table *table, size_t *widths, size_t width) {
        size_t total = GAP * (table->n_columns - 1);

        for (size_t c = 0; c < table->n_columns; c++)
                total += widths[c];
        while (total > width) {
                size_t widest = SIZE_MAX;

                for (size_t c = 0; c < table->n_columns; c++)
                        if (!table->columns[c].whole && widths[c] > COLUMN_MIN &&
                                (widest == SIZE_MAX || widths[c] > widths[widest]))
                                widest = c;
                if (widest == SIZE_MAX)
                        return;
                widths[widest]--;
                total--;
        }
}

static void print_cell(FILE *f, const char *text, size_t text_cells, size_t width, bool right, bool last,
        const char *colour) {
        size_t n = strlen(text), cells = text_cells;
        bool cut = cells > width;

        if (cut) {
                n = text_fit(text, width - 1);
                cells = 1;
                for (size_t i = 0; i < n;) {
                        wchar_t c;

                        i += decode(text + i, &c);
                        cells += character_width(c);
                }
        }
        if (right)
                (void) fprintf(f, "%*s", (int) (width - cells), "");
        if (colour)
                (void) fputs(colour, f);
        (void) fwrite(text, 1, n, f);
        if (cut)
                (void) fputs("…", f);
        if (colour)
                (void) fputs(COLOUR_OFF, f);
        if (!last)
                (void) fprintf(f, "%*s", (int) ((right ? 0 : width - cells) + GAP), "");
}

int table_print(Table *table, FILE *f, bool headings, bool colour, size_t width) {
        _cleanup_free_ size_t *widths = calloc(table->n_columns, sizeof(size_t));
        size_t n = table->n_columns;

        if (!widths || table->failed)
                return -ENOMEM;
        assert(table->n_cells % n == 0);

        for (size_t c = 0; c < n; c++)
                widths[c] = headings ? text_width(table->columns[c].heading) : 1;
        for (size_t i = 0; i < table->n_cells; i++)
                widths[i % n] = MAX(widths[i % n], table->cells[i].width);
        shrink(table, widths, width);

        if (headings) {
                for (size_t c = 0; c < n; c++) {
                        const char *heading = table->columns[c].heading;

                        print_cell(f, heading, text_width(heading), widths[c], table->columns[c].right,
                                c + 1 == n, colour ? COLOUR_BOLD : NULL);
                }
                (void) fputc('\n', f);
        }
        for (size_t i = 0; i < table->n_cells; i++) {
                const Cell *cell = &table->cells[i];
                size_t c = i % n;

                print_cell(f, cell->text, cell->width, widths[c], table->columns[c].right, c + 1 == n,
                        colour ? cell->colour : NULL);
                if (c + 1 == n)
                        (void) fputc('\n', f);
        }
        return 0;
}

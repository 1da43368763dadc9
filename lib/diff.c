/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "diff.h"
#include "hash.h"
#include "util.h"

#define BINARY_LOOK   KIB(8)
#define DISTANCE_MAX  1000        /* insertions and deletions; the trace takes the square of it, in ints */
#define WORK_MAX      (64L << 20) /* comparisons of two lines, about 0.1 s */
#define SLIDE_MAX     (4L << 20)  /* comparisons to improve the looks */
#define TEXT_SIZE_MAX MIB(16)     /* larger ones are not searched for a shortest difference */
#define LINES_MAX     1000000     /* nor are those with more lines taken apart at all */

typedef struct Line {
        const char *text;
        size_t size;    /* with its newline, which only the last can lack */
        uint32_t class; /* lines are equal if this is equal */
        bool changed;   /* deleted, or inserted */
} Line;

typedef struct Text {
        Line *lines;
        size_t n_lines;
} Text;

static void text_done(Text *t) {
        free(t->lines);
}

typedef struct Output {
        char *data;
        size_t size, allocated, limit;
        bool cut;
        int error;
} Output;

static void output_done(Output *o) {
        free(o->data);
}

static void output_raw(Output *o, const char *data, size_t size) {
        if (o->error < 0)
                return;
        if (size >= o->allocated - o->size) {
                size_t n = MAX(o->allocated * 2, o->size + size + 1);
                char *grown = realloc(o->data, n);

                if (!grown) {
                        o->error = -ENOMEM;
                        return;
                }
                o->data = grown;
                o->allocated = n;
        }
        memcpy(o->data + o->size, data, size);
        o->size += size;
        o->data[o->size] = '\0';
}

/* A line with its prefix, all of it or nothing. */
static void output_line(Output *o, const char *prefix, const char *text, size_t size) {
        static const char no_newline[] = "\n\\ No newline at end of file\n";
        size_t n = strlen(prefix), m = size > 0 && text[size - 1] == '\n' ? 0 : sizeof(no_newline) - 1;

        if (o->cut || n + size + m > o->limit - o->size) {
                o->cut = true;
                return;
        }
        output_raw(o, prefix, n);
        output_raw(o, text, size);
        output_raw(o, no_newline, m);
}

static void output_label(Output *o, const char *prefix, const char *label) {
        _cleanup_free_ char *line = malloc(strlen(label) * 4 + 4);
        bool quote = false;
        char *p = line;

        if (!line) {
                o->error = -ENOMEM;
                return;
        }
        for (const char *c = label; *c; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f || *c == '"' || *c == '\\')
                        quote = true;

        if (quote)
                *p++ = '"';
        for (const char *c = label; *c; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        p += sprintf(p, "\\%03o", (unsigned char) *c);
                else {
                        if (*c == '"' || *c == '\\')
                                *p++ = '\\';
                        *p++ = *c;
                }
        if (quote)
                *p++ = '"';
        *p++ = '\n';
        output_line(o, prefix, line, (size_t) (p - line));
}

static bool is_binary(const char *text, size_t size) {
        return text && (memchr(text, '\0', MIN(size, BINARY_LOOK)) || !utf8_is_valid(text, size));
}

/* Return: 0; 1 if there are too many lines; -ENOMEM. */
static int text_split(Text *t, const char *text, size_t size) {
        const char *end;
        size_t n = 0;

        if (size == 0)
                return 0;
        end = text + size;
        for (const char *p = text; p && p < end; n++) {
                p = memchr(p, '\n', (size_t) (end - p));
                if (p)
                        p++;
        }

        if (n > LINES_MAX)
                return 1;

        t->lines = calloc(n, sizeof(Line));
        if (!t->lines)
                return -ENOMEM;
        for (const char *p = text; p < end;) {
                const char *newline = memchr(p, '\n', (size_t) (end - p));
                size_t length = (size_t) (newline ? newline + 1 - p : end - p);

                t->lines[t->n_lines++] = (Line){ .text = p, .size = length };
                p += length;
        }
        return 0;
}

/* Numbers the different lines among [begin, end) of both. Return: how many there are, -errno. */
static ssize_t classify(Text *const texts[2], size_t begin, const size_t ends[2]) {
        _cleanup_free_ uint32_t *places = NULL;
        _cleanup_free_ Line **classes = NULL;
        _cleanup_free_ uint64_t *hashes = NULL;
        size_t n = ends[0] - begin + ends[1] - begin, n_places = 16;
        uint32_t n_classes = 0;

        while (n_places < n * 2)
                n_places *= 2;
        places = calloc(n_places, sizeof(*places));
        classes = calloc(n + 1, sizeof(*classes));
        hashes = calloc(n + 1, sizeof(*hashes));
        if (!places || !classes || !hashes)
                return -ENOMEM;

        for (size_t side = 0; side < 2; side++)
                for (Line *l = texts[side]->lines + begin; l < texts[side]->lines + ends[side]; l++) {
                        uint64_t hash = hash_fnv1a(l->text, l->size);
                        size_t i = (size_t) hash;

                        for (;; i++) {
                                uint32_t place = places[i & (n_places - 1)];

                                if (place == 0) {
                                        places[i & (n_places - 1)] = n_classes + 1;
                                        classes[n_classes] = l;
                                        hashes[n_classes] = hash;
                                        l->class = n_classes++;
                                        break;
                                }
                                if (hashes[place - 1] == hash && classes[place - 1]->size == l->size &&
                                        memcmp(classes[place - 1]->text, l->text, l->size) == 0) {
                                        l->class = place - 1;
                                        break;
                                }
                        }
                }

        return (ssize_t) n_classes;
}

/* The lines of one text that the other has too, somewhere. */
typedef struct Side {
        Line **lines;
        uint32_t *classes; /* of the lines, densely */
        size_t n_lines;
} Side;

static void side_done(Side *s) {
        free(s->lines);
        free(s->classes);
}

/*
 * Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986), with the furthest points of each
 * distance kept to walk back along. Marks the lines that are changed. Return: 0; 1 if it gave up; -ENOMEM.
 */
static int search(const Side *old, const Side *new) {
        _cleanup_free_ int *trace =
                NULL; /* of distance d: 2d + 1 numbers, the x on diagonals -d … d, at d * d */
        _cleanup_free_ int *furthest = NULL;
        const uint32_t *a = old->classes, *b = new->classes;
        long n = (long) old->n_lines, m = (long) new->n_lines;
        long max = MIN(n + m, (long) DISTANCE_MAX), work = 0, x = n, y = m, d;
        size_t allocated = 0;
        int *v;

        furthest = calloc((size_t) max * 2 + 3, sizeof(int));
        if (!furthest)
                return -ENOMEM;
        v = furthest + max + 1;

        for (d = 0; d <= max; d++) {
                size_t wanted = (size_t) ((d + 1) * (d + 1));
                bool found = false;

                /* Diagonals that have left the field are left out. */
                for (long k = -d + 2 * MAX(0L, d - m); k <= d - 2 * MAX(0L, d - n); k += 2) {
                        long i, begin;

                        i = k == -d || (k != d && v[k - 1] < v[k + 1]) ? v[k + 1] : v[k - 1] + 1;
                        for (begin = i; i < n && i - k < m && a[i] == b[i - k];)
                                i++;
                        v[k] = (int) i;
                        work += i - begin + 1;
                        if (i >= n && i - k >= m) {
                                found = true;
                                break;
                        }
                }
                if (found)
                        break;
                if (work > WORK_MAX)
                        return 1;

                if (wanted > allocated) {
                        int *grown;

                        allocated = wanted * 2;
                        grown = reallocarray(trace, allocated, sizeof(int));
                        if (!grown)
                                return -ENOMEM;
                        trace = grown;
                }
                memcpy(trace + d * d, v - d, (size_t) (2 * d + 1) * sizeof(int));
        }
        if (d > max)
                return 1;

        for (; d > 0; d--) {
                const int *before = trace + (d - 1) * (d - 1) + (d - 1);
                long k = x - y;

                /* The same choice as above; before[] has the diagonals of d - 1. */
                if (k == -d || (k != d && before[k - 1] < before[k + 1])) {
                        x = before[k + 1];
                        y = x - k - 1;
                        new->lines[y]->changed = true;
                } else {
                        x = before[k - 1];
                        y = x - k + 1;
                        old->lines[x]->changed = true;
                }
        }
        return 0;
}

/* Collects the common lines; the others are changed for certain. */
static int side_init(Side *s, Text *t, size_t begin, size_t end, const uint8_t *owners) {
        s->lines = calloc(end - begin + 1, sizeof(*s->lines));
        s->classes = calloc(end - begin + 1, sizeof(*s->classes));
        if (!s->lines || !s->classes)
                return -ENOMEM;

        for (Line *l = t->lines + begin; l < t->lines + end; l++)
                if (owners[l->class] == 3) {
                        s->classes[s->n_lines] = l->class;
                        s->lines[s->n_lines++] = l;
                } else
                        l->changed = true;
        return 0;
}

/* Marks what is changed between begin and the two ends. */
static int compare(Text *const texts[2], size_t begin, const size_t ends[2]) {
        _cleanup_(side_done) Side old = {}, new = {};
        _cleanup_free_ uint8_t *owners = NULL; /* which texts have lines of a class: bits 1 and 2 */
        ssize_t n_classes;
        int r;

        n_classes = classify(texts, begin, ends);
        if (n_classes < 0)
                return (int) n_classes;
        owners = calloc((size_t) n_classes + 1, 1);
        if (!owners)
                return -ENOMEM;
        for (size_t side = 0; side < 2; side++)
                for (size_t i = begin; i < ends[side]; i++)
                        owners[texts[side]->lines[i].class] |= (uint8_t) (1 << side);

        r = side_init(&old, texts[0], begin, ends[0], owners);
        if (r < 0)
                return r;
        r = side_init(&new, texts[1], begin, ends[1], owners);
        if (r < 0)
                return r;

        r = search(&old, &new);
        if (r <= 0)
                return r;
        for (size_t i = 0; i < old.n_lines; i++)
                old.lines[i]->changed = true;
        for (size_t i = 0; i < new.n_lines; i++)
                new.lines[i]->changed = true;
        return 0;
}

static bool same_line(const Line *a, const Line *b) {
        return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/*
 * The lines of a text that are not changed, so that the n-th of one text is the n-th of the other. They are counted
 * from 1; before and behind them stand -1 and the number of lines. So what is changed before the p-th are the lines between
 * m[p - 1] and m[p].
 */
static long *list_unchanged(const Text *t, size_t *ret_n) {
        long *m = calloc(t->n_lines + 2, sizeof(*m));
        size_t n = 0;

        if (!m)
                return NULL;
        m[0] = -1;
        for (size_t i = 0; i < t->n_lines; i++)
                if (!t->lines[i].changed)
                        m[++n] = (long) i;
        m[n + 1] = (long) t->n_lines;
        *ret_n = n;
        return m;
}

static long run_size(const long *m, size_t p) {
        return m[p] - m[p - 1] - 1;
}

/*
 * A run of changed lines whose first line is equal to the one behind it can as well stand one line further down, and
 * likewise up: where a function was added, the run may begin with the "}" of the one before or end with its own. The
 * search takes any of these, and splits what is one change for the sake of an empty line. Here runs are moved up and
 * down as long as they meet others, which they merge with, and then stand as far down as possible, as those of diff
 * do; but where the other text has a change too, if they pass one, so that the two are shown as one.
 *
 * It is a matter of looks only, so it ends when it becomes expensive.
 */
static void slide(const Text *t, long *m, const long *other, size_t n, long *budget) {
        for (size_t p = 1; p <= n + 1; p++) {
                size_t paired;
                long size;

                if (run_size(m, p) == 0)
                        continue;
                do {
                        size = run_size(m, p);
                        while (p > 1 && --*budget > 0 &&
                                same_line(t->lines + m[p - 1], t->lines + m[p] - 1)) {
                                m[p - 1] = m[p] - 1;
                                p--;
                        }
                        paired = run_size(other, p) > 0 ? p : 0;
                        while (p <= n && --*budget > 0 &&
                                same_line(t->lines + m[p - 1] + 1, t->lines + m[p])) {
                                m[p] = m[p - 1] + 1;
                                p++;
                                if (run_size(other, p) > 0)
                                        paired = p;
                        }
                } while (run_size(m, p) > size);

                /* The last round merged nothing, so all of its steps can be taken back. */
                for (; paired > 0 && p > paired; p--)
                        m[p - 1] = m[p] - 1;
        }
}

static int slide_both(Text *const texts[2]) {
        _cleanup_free_ long *old = NULL, *new = NULL;
        long budget = SLIDE_MAX;
        size_t n = 0;

        old = list_unchanged(texts[0], &n);
        new = list_unchanged(texts[1], &n);
        if (!old || !new)
                return -ENOMEM;

        slide(texts[0], old, new, n, &budget);
        slide(texts[1], new, old, n, &budget);

        for (size_t side = 0; side < 2; side++) {
                for (size_t i = 0; i < texts[side]->n_lines; i++)
                        texts[side]->lines[i].changed = true;
                for (size_t p = 1; p <= n; p++)
                        texts[side]->lines[side ? new[p] : old[p]].changed = false;
        }
        return 0;
}

/* "12,3", or "12" for one line, or "11,0" behind line 11. */
static void format_range(char *buffer, size_t size, size_t begin, size_t end) {
        if (end - begin == 1)
                (void) snprintf(buffer, size, "%zu", end);
        else
                (void) snprintf(buffer, size, "%zu,%zu", end > begin ? begin + 1 : begin, end - begin);
}

/* Writes the changes as hunks. */
static void output_hunks(Output *o, const Text *old, const Text *new) {
        size_t i = 0, j = 0;

        while (!o->cut && o->error == 0) {
                size_t begin_i, begin_j, end_i, end_j, same = 0;
                char from[64], to[64], header[160];

                while (i < old->n_lines && j < new->n_lines && !old->lines[i].changed &&
                        !new->lines[j].changed)
                        i++, j++;
                if (i >= old->n_lines && j >= new->n_lines)
                        break;

                begin_i = i - MIN(i, (size_t) DIFF_CONTEXT);
                begin_j = j - MIN(j, (size_t) DIFF_CONTEXT);

                /* On to where more lines are the same than two hunks show. */
                for (end_i = i, end_j = j; same <= 2 * DIFF_CONTEXT;) {
                        bool a = end_i < old->n_lines, b = end_j < new->n_lines;

                        if (a && old->lines[end_i].changed)
                                end_i++, same = 0;
                        else if (b && new->lines[end_j].changed)
                                end_j++, same = 0;
                        else if (a && b)
                                end_i++, end_j++, same++;
                        else
                                break;
                }
                i = end_i;
                j = end_j;
                same -= MIN(same, (size_t) DIFF_CONTEXT);
                end_i -= same;
                end_j -= same;

                format_range(from, sizeof(from), begin_i, end_i);
                format_range(to, sizeof(to), begin_j, end_j);
                (void) snprintf(header, sizeof(header), "@@ -%s +%s @@\n", from, to);
                output_line(o, "", header, strlen(header));

                while (begin_i < end_i || begin_j < end_j) {
                        const Line *a = begin_i < end_i ? old->lines + begin_i : NULL;
                        const Line *b = begin_j < end_j ? new->lines + begin_j : NULL;

                        if (a && a->changed) {
                                output_line(o, "-", a->text, a->size);
                                begin_i++;
                        } else if (b && b->changed) {
                                output_line(o, "+", b->text, b->size);
                                begin_j++;
                        } else {
                                output_line(o, " ", a->text, a->size);
                                begin_i++;
                                begin_j++;
                        }
                }
        }
}

/* Finds what changed and writes it. */
static int output_diff(
        Output *o, const char *old_label, const char *new_label, Text *old, Text *new, bool coarse) {
        Text *const texts[2] = { old, new };
        size_t begin = 0, ends[2] = { old->n_lines, new->n_lines };
        int r;

        while (begin < ends[0] && begin < ends[1] && same_line(old->lines + begin, new->lines + begin))
                begin++;
        while (ends[0] > begin && ends[1] > begin &&
                same_line(old->lines + ends[0] - 1, new->lines + ends[1] - 1))
                ends[0]--, ends[1]--;

        if (coarse) {
                for (size_t side = 0; side < 2; side++)
                        for (size_t i = begin; i < ends[side]; i++)
                                texts[side]->lines[i].changed = true;
        } else {
                r = compare(texts, begin, ends);
                if (r < 0)
                        return r;
                r = slide_both(texts);
                if (r < 0)
                        return r;
        }

        output_label(o, "--- ", old_label);
        output_label(o, "+++ ", new_label);
        output_hunks(o, old, new);
        return o->error;
}

int diff_unified(const char *old_label, const char *new_label, const char *old, size_t old_size_bytes,
        const char *new, size_t new_size_bytes, size_t limit_bytes, char **ret, size_t *ret_size_bytes) {
        _cleanup_(output_done) Output output = { .limit = limit_bytes };
        _cleanup_(text_done) Text old_text = {}, new_text = {};
        char line[128];
        int r;

        assert(ret);

        if (!old) {
                old_size_bytes = 0;
                old_label = "/dev/null";
        }
        if (!new) {
                new_size_bytes = 0;
                new_label = "/dev/null";
        }
        assert(old_label);
        assert(new_label);

        output_raw(&output, "", 0); /* so that there is a NUL in any case */
        if (old_size_bytes == new_size_bytes &&
                (old_size_bytes == 0 || memcmp(old, new, old_size_bytes) == 0))
                r = output.error;
        else if (is_binary(old, old_size_bytes) || is_binary(new, new_size_bytes)) {
                (void) snprintf(line, sizeof(line), "binary content differs: %zu → %zu bytes\n",
                        old_size_bytes, new_size_bytes);
                output_line(&output, "", line, strlen(line));
                r = output.error;
        } else {
                r = text_split(&old_text, old, old_size_bytes);
                if (r == 0)
                        r = text_split(&new_text, new, new_size_bytes);
                if (r == 0)
                        r = output_diff(&output, old_label, new_label, &old_text, &new_text,
                                old_size_bytes > TEXT_SIZE_MAX || new_size_bytes > TEXT_SIZE_MAX);
                else if (r > 0) {
                        (void) snprintf(line, sizeof(line),
                                "content differs: %zu → %zu bytes, too many lines to compare\n",
                                old_size_bytes, new_size_bytes);
                        output_line(&output, "", line, strlen(line));
                        r = output.error;
                }
        }
        if (r == 0 && output.cut) {
                (void) snprintf(line, sizeof(line), "… diff cut at %zu bytes\n", limit_bytes);
                output_raw(&output, line, strlen(line));
                r = output.error;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(output.data);
        if (ret_size_bytes)
                *ret_size_bytes = output.size;
        return 0;
}

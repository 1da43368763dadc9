/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "template-internal.h"
#include "util.h"

#define NAME_SHOWN_MAX 64 /* bytes */

typedef struct Open {
        uint32_t node;
        uint32_t
                lead; /* the text node of the blanks before a parent tag; UINT32_MAX if there are others before it */
        uint32_t body; /* where what is inside begins */
} Open;

typedef struct Parser {
        Arena *arena;
        Template *template;
        TemplateBudget *budget;
        Diagnostic *reterr;

        const char *text;
        uint32_t size;
        uint32_t position; /* text before this has become nodes */

        /* The delimiters, and what closes {{{name}}} and {{=…=}}. */
        const char *open, *close, *close_brace, *close_equals;

        Open *stack;
        uint32_t n_stack;
        uint32_t n_stack_allocated;
} Parser;

typedef struct Tag {
        char kind;            /* one of # ^ / > < $ & { = !, or 0 */
        uint32_t offset, end; /* end: after the closing delimiter */
        const char *name;     /* trimmed */
        uint32_t name_size;
        bool dynamic;

        bool first;          /* only blanks before it on its line */
        bool last;           /* only blanks after it on its line */
        uint32_t line_start; /* if first */
        uint32_t next_line;  /* if last */
} Tag;

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static bool is_space(char c) {
        return is_blank(c) || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

Place template_place(const TemplateSource *source, size_t offset) {
        Place place = source->place;

        if (place.line == 0 || place.column == 0)
                return place;

        for (size_t i = 0; i < offset; i++) {
                unsigned char c = (unsigned char) source->text[i];

                if (c == '\n' && !source->one_line) {
                        place.line++;
                        place.column = 1;
                } else if (source->one_line && (c < ' ' && c != '\t'))
                        place.column += 2; /* can only have been written as an escape */
                else if ((c & 0xc0) != 0x80)
                        place.column++;
        }
        return place;
}

const char *template_show(Arena *arena, const TemplateSource *source, const char *text, size_t size) {
        size_t n = MIN(size, (size_t) NAME_SHOWN_MAX);
        char *shown;

        if (source->tainted)
                return "<sensitive>";

        /* Not in the middle of a character. */
        while (n < size && n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80)
                n--;
        shown = arena_alloc_text(arena, n + sizeof("…"));
        memcpy(shown, text, n);
        for (size_t i = 0; i < n; i++) {
                i += utf8_valid_prefix(shown + i, n - i);
                if (i < n)
                        shown[i] = '?';
        }
        for (size_t i = 0; i < n; i++)
                if (shown[i] == 0)
                        shown[i] = '?';
        if (n < size)
                memcpy(shown + n, "…", sizeof("…"));
        return shown;
}

#define SHOW(parser, text, size) template_show((parser)->arena, &(parser)->template->source, (text), (size))

#define FAIL(parser, offset, ...)                                                     \
        (diagnostic_set((parser)->reterr, (parser)->arena,                            \
                 template_place(&(parser)->template->source, (offset)), __VA_ARGS__), \
                -EINVAL)

static int add_node(Parser *p, const Node *node) {
        Template *t = p->template;

        if (!template_budget_take(p->budget, 1)) {
                (void) FAIL(p, node->offset, "the template takes more than %u steps", p->budget->steps_max);
                return -E2BIG;
        }

        t->nodes = arena_grow(p->arena, t->nodes, t->n_nodes, &t->n_nodes_allocated, sizeof(Node));
        t->nodes[t->n_nodes] = *node;
        t->nodes[t->n_nodes].end = t->n_nodes + 1;
        t->n_nodes++;
        return 0;
}

static Node *top_node(Parser *p) {
        return p->n_stack > 0 ? &p->template->nodes[p->stack[p->n_stack - 1].node] : NULL;
}

/* Between a parent tag and its end only blocks count. */
static bool inside_parent(Parser *p) {
        Node *top = top_node(p);

        return top && top->type == NODE_PARENT;
}

static bool at_line_start(Parser *p, uint32_t offset) {
        return offset == 0 || p->text[offset - 1] == '\n';
}

static int add_text(Parser *p, uint32_t end) {
        uint32_t start = p->position;

        p->position = end;
        if (start >= end || inside_parent(p))
                return 0;
        return add_node(p, &(Node){ .type = NODE_TEXT, .offset = start, .name_size = end - start });
}

/* The text up to a tag that shares its line with other text. A line that begins with it gets an empty text, which
 * stands for the indentation that the line may get. */
static int add_text_before(Parser *p, const Tag *tag) {
        int r;

        r = add_text(p, tag->offset);
        if (r < 0)
                return r;
        p->position = tag->end;
        if (!at_line_start(p, tag->offset) || inside_parent(p))
                return 0;
        return add_node(p, &(Node){ .type = NODE_TEXT, .offset = tag->offset });
}

/* The same, or if the tag has its line for itself, up to that line. */
static int add_text_around(Parser *p, const Tag *tag) {
        int r;

        if (!tag->first || !tag->last)
                return add_text_before(p, tag);

        r = add_text(p, tag->line_start);
        p->position = tag->next_line;
        return r;
}

static void trim(const char **text, uint32_t *size) {
        while (*size > 0 && is_space((*text)[0])) {
                (*text)++;
                (*size)--;
        }
        while (*size > 0 && is_space((*text)[*size - 1]))
                (*size)--;
}

static int check_name(Parser *p, const Tag *tag) {
        bool dotted = tag->kind == 0 || memchr("&{#^", tag->kind, 4) || (tag->dynamic && tag->kind != '/');
        const char *name = tag->name, *end = tag->name + tag->name_size;

        if (name == end)
                return FAIL(p, tag->offset, "the tag has no name");
        for (const char *c = name; c < end; c++)
                if (is_space(*c))
                        return FAIL(p, tag->offset,
                                "the name '%s' has a blank in it; a tag is one name and ends in two braces",
                                SHOW(p, name, tag->name_size));

        if (!dotted || (tag->name_size == 1 && name[0] == '.'))
                return 0;
        for (const char *c = name; c <= end; c++)
                if ((c == end || *c == '.') && (c == name || c[-1] == '.'))
                        return FAIL(p, tag->offset, "the name '%s' has an empty part",
                                SHOW(p, name, tag->name_size));
        return 0;
}

/* memmem() that does not look further than what it finds: sanitizers check all of what they are told of, at each tag. */
static const char *find_text(const char *text, const char *end, const char *wanted) {
        size_t n = strlen(wanted);

        if (n > 16)
                return memmem(text, (size_t) (end - text), wanted, n);

        for (; (size_t) (end - text) >= n; text++) {
                text = memchr(text, wanted[0], (size_t) (end - text) - n + 1);
                if (!text || memcmp(text, wanted, n) == 0)
                        return text;
        }
        return NULL;
}

static int read_tag(Parser *p, uint32_t offset, Tag *ret) {
        const char *end = p->text + p->size, *content = p->text + offset + strlen(p->open);
        const char *closing = p->close, *found;
        Tag tag = { .offset = offset };
        uint32_t i;

        while (content < end && is_space(*content))
                content++;
        if (content < end && *content != 0 && strchr("#^/><$&{=!", *content)) {
                tag.kind = *content;
                if (tag.kind == '{')
                        closing = p->close_brace;
                else if (tag.kind == '=')
                        closing = p->close_equals;
                content++;
        }

        found = find_text(content, end, closing);
        if (!found)
                return FAIL(p, offset, "the tag is not closed: '%s' is missing",
                        SHOW(p, closing, strlen(closing)));
        tag.end = (uint32_t) (found - p->text) + (uint32_t) strlen(closing);
        tag.name = content;
        tag.name_size = (uint32_t) (found - content);
        trim(&tag.name, &tag.name_size);

        if ((tag.kind == '>' || tag.kind == '<' || tag.kind == '/') && tag.name_size > 0 &&
                tag.name[0] == '*') {
                tag.dynamic = true;
                tag.name++;
                tag.name_size--;
                trim(&tag.name, &tag.name_size);
        }

        for (i = offset; i > p->position && is_blank(p->text[i - 1]); i--)
                ;
        tag.first = at_line_start(p, i);
        tag.line_start = i;

        for (i = tag.end; i < p->size && is_blank(p->text[i]); i++)
                ;
        if (i + 1 < p->size && p->text[i] == '\r' && p->text[i + 1] == '\n')
                i++;
        tag.last = i == p->size || p->text[i] == '\n';
        tag.next_line = i == p->size ? i : i + 1;

        *ret = tag;
        return 0;
}

static int set_delimiters(Parser *p, const Tag *tag) {
        const char *end = tag->name + tag->name_size, *open_end = tag->name, *close;

        while (open_end < end && !is_space(*open_end))
                open_end++;
        for (close = open_end; close < end && is_space(*close);)
                close++;
        if (close == end || memchr(tag->name, '=', tag->name_size) || memchr(tag->name, 0, tag->name_size))
                goto bad;
        for (const char *c = close; c < end; c++)
                if (is_space(*c))
                        goto bad;

        p->open = arena_strndup(p->arena, tag->name, (size_t) (open_end - tag->name));
        p->close_brace = arena_printf(p->arena, "}%.*s", (int) (end - close), close);
        p->close_equals = arena_printf(p->arena, "=%.*s", (int) (end - close), close);
        p->close = p->close_brace + 1;
        return 0;

bad:
        return FAIL(p, tag->offset,
                "'%s' is not a pair of delimiters; write two words without '=', such as {{=<%% %%>=}}",
                SHOW(p, tag->name, tag->name_size));
}

static int open_tag(Parser *p, const Tag *tag, Node *node) {
        uint32_t lead = UINT32_MAX;
        int r;

        if (p->n_stack >= p->budget->nesting_max) {
                (void) FAIL(p, tag->offset, "sections are nested more than %u deep", p->budget->nesting_max);
                return -E2BIG;
        }

        node->first_on_line = tag->first;
        node->indent = tag->line_start;
        node->indent_size = tag->first ? tag->offset - tag->line_start : 0;

        if (node->type == NODE_BLOCK && inside_parent(p)) {
                /* Text before it does not count, so that only what follows decides about the line. */
                p->position = tag->last ? tag->next_line : tag->end;
                node->own_line = tag->last;
        } else if (node->type == NODE_BLOCK && tag->first) {
                r = add_text(p, tag->line_start);
                if (r < 0)
                        return r;
                p->position = tag->last ? tag->next_line : tag->end;
                node->whole_lines = node->own_line = tag->last;
        } else if (node->type == NODE_PARENT && tag->first) {
                r = add_text(p, tag->line_start);
                if (r < 0)
                        return r;
                if (!inside_parent(p)) {
                        lead = p->template->n_nodes;
                        r = add_node(p, &(Node){ .type = NODE_TEXT,
                                                .offset = tag->line_start,
                                                .name_size = node->indent_size });
                        if (r < 0)
                                return r;
                }
                p->position = tag->end;
        } else {
                r = node->type == NODE_PARENT ? add_text_before(p, tag) : add_text_around(p, tag);
                if (r < 0)
                        return r;
        }

        r = add_node(p, node);
        if (r < 0)
                return r;
        p->stack = arena_grow(p->arena, p->stack, p->n_stack, &p->n_stack_allocated, sizeof(Open));
        p->stack[p->n_stack++] = (Open){
                .node = p->template->n_nodes - 1,
                .lead = lead,
                .body = p->position,
        };
        return 0;
}

/* Blanks at the start of the first line that has anything else. */
static void find_indent(Parser *p, uint32_t from, uint32_t to, uint32_t *ret_start, uint32_t *ret_size) {
        uint32_t start = from, i;

        for (i = from; i < to && is_space(p->text[i]); i++)
                if (p->text[i] == '\n')
                        start = i + 1;
        *ret_start = start;
        *ret_size = i - start;
}

static const char *node_kind(const Node *node) {
        return node->type == NODE_BLOCK ? "block" : node->type == NODE_PARENT ? "parent" : "section";
}

/* " opened at line 3", or "" if that is not known. */
static const char *opened_at(Parser *p, const Node *node) {
        Place place = template_place(&p->template->source, node->offset);

        return place.line > 0 ? arena_printf(p->arena, " opened at line %u", place.line) : "";
}

static int close_tag(Parser *p, const Tag *tag) {
        Node *node = top_node(p);
        Open open;
        int r;

        if (!node)
                return FAIL(
                        p, tag->offset, "'%s' is closed but not open", SHOW(p, tag->name, tag->name_size));
        if (node->name_size != tag->name_size || node->dynamic != tag->dynamic ||
                memcmp(p->text + node->name, tag->name, tag->name_size) != 0)
                return FAIL(p, tag->offset, "'%s%s' is closed where %s '%s%s'%s is still open",
                        tag->dynamic ? "*" : "", SHOW(p, tag->name, tag->name_size), node_kind(node),
                        node->dynamic ? "*" : "", SHOW(p, p->text + node->name, node->name_size),
                        opened_at(p, node));

        open = p->stack[p->n_stack - 1];
        if (node->type == NODE_PARENT) {
                p->n_stack--;
                node->whole_lines = open.lead != UINT32_MAX && tag->last;
                p->position = node->whole_lines ? tag->next_line : tag->end;
                if (node->whole_lines) {
                        /* The parent's lines bring their indentation themselves. An offset inside of the line, and
                         * no size: nothing. */
                        Node *lead = &p->template->nodes[open.lead];

                        lead->offset = node->offset + 1;
                        lead->name_size = 0;
                }
        } else {
                bool argument = node->type == NODE_BLOCK && p->n_stack > 1 &&
                                p->template->nodes[p->stack[p->n_stack - 2].node].type == NODE_PARENT;

                if (argument && tag->first) {
                        r = add_text(p, tag->line_start);
                        p->position = tag->end;
                } else if (argument) {
                        r = add_text(p, tag->offset);
                        p->position = tag->end;
                } else
                        r = add_text_around(p, tag);
                if (r < 0)
                        return r;
                p->n_stack--;
                node = &p->template->nodes[open.node];
        }
        node->end = p->template->n_nodes;

        if (node->type == NODE_BLOCK && node->own_line && node->end > open.node + 1) {
                uint32_t start, size;

                find_indent(p, open.body, tag->offset, &start, &size);
                node->strip = size;
                if (node->whole_lines) {
                        node->indent = start;
                        node->indent_size = size;
                }
        }
        return 0;
}

static int parse_tag(Parser *p, const Tag *tag) {
        Node node = {
                .offset = tag->offset,
                .name = (uint32_t) (tag->name - p->text),
                .name_size = tag->name_size,
                .dynamic = tag->dynamic,
        };
        int r;

        if (tag->kind == '!')
                return add_text_around(p, tag);
        if (tag->kind == '=') {
                r = set_delimiters(p, tag);
                return r < 0 ? r : add_text_around(p, tag);
        }

        r = check_name(p, tag);
        if (r < 0)
                return r;

        switch (tag->kind) {
        case '#': node.type = NODE_SECTION; return open_tag(p, tag, &node);
        case '^': node.type = NODE_INVERTED; return open_tag(p, tag, &node);
        case '<': node.type = NODE_PARENT; return open_tag(p, tag, &node);
        case '$': node.type = NODE_BLOCK; return open_tag(p, tag, &node);
        case '/': return close_tag(p, tag);
        case '>':
                node.type = NODE_PARTIAL;
                node.whole_lines = tag->first && tag->last;
                node.indent = tag->line_start;
                node.indent_size = tag->offset - tag->line_start;
                r = add_text_around(p, tag);
                break;
        default:
                node.type = NODE_VARIABLE;
                node.raw = tag->kind != 0;
                r = add_text_before(p, tag);
                break;
        }
        if (r < 0 || inside_parent(p))
                return r;
        return add_node(p, &node);
}

int template_parse(Arena *arena, Template *template, TemplateBudget *budget, Diagnostic *reterr) {
        const TemplateSource *source = &template->source;
        Parser p = {
                .arena = arena,
                .template = template,
                .budget = budget,
                .reterr = reterr,
                .text = source->text,
                .open = "{{",
                .close = "}}",
                .close_brace = "}}}",
                .close_equals = "=}}",
        };
        Node *node;
        int r;

        if (source->size > budget->size_max) {
                (void) FAIL(&p, 0, "the template is larger than %u bytes", budget->size_max);
                return -E2BIG;
        }
        if (source->size == 0)
                return 0;
        p.size = (uint32_t) source->size;

        for (;;) {
                const char *found;
                Tag tag;

                found = find_text(p.text + p.position, p.text + p.size, p.open);
                if (!found)
                        break;
                r = read_tag(&p, (uint32_t) (found - p.text), &tag);
                if (r < 0)
                        return r;
                r = parse_tag(&p, &tag);
                if (r < 0)
                        return r;
        }

        node = top_node(&p);
        if (node)
                return FAIL(&p, node->offset, "%s '%s%s'%s is not closed", node_kind(node),
                        node->dynamic ? "*" : "", SHOW(&p, p.text + node->name, node->name_size),
                        opened_at(&p, node));
        return add_text(&p, p.size);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <math.h>

#include "template.h"
#include "template-internal.h"
#include "util.h"

#define CHUNK_MIN 512U
#define CHUNK_MAX 65536U

/* A part of the output. */
typedef struct Chunk Chunk;

struct Chunk {
        Chunk *next;
        size_t used, size;
        char *data;
};

/* What goes before each line: the outer one's, then this one's. */
typedef struct Indent Indent;

struct Indent {
        const Indent *outer;
        const char *text;
        size_t size;
};

/* The blocks inside a parent tag, and those that were in force where it stands. */
typedef struct Arguments Arguments;

struct Arguments {
        const Arguments *outer;
        const Template *template;
        uint32_t parent;
};

/* What nodes are rendered with. */
typedef struct Frame {
        const Template *template;
        const Arguments *arguments;
        const Indent *indent;
        uint32_t strip; /* bytes of indentation that each line loses */
} Frame;

typedef struct Renderer {
        Arena *arena;
        const TemplateOptions *options;
        const Scope *scope;
        TemplateBudget budget;
        Template *partials;
        const Context *context;
        uint32_t nesting, partial_depth;

        Chunk *chunks, *last_chunk;
        size_t size_bytes;
        bool tainted;

        /* For messages: what is being rendered. */
        const TemplateSource *source;
        const Node *node;
        Diagnostic *reterr;
} Renderer;

static int render_nodes(Renderer *r, const Frame *frame, uint32_t first, uint32_t end);

#define SHOW(r, text, size) template_show((r)->arena, (r)->source, (text), (size))

#define FAIL(r, ...)                                                                                    \
        (diagnostic_set(                                                                                \
                 (r)->reterr, (r)->arena, template_place((r)->source, (r)->node->offset), __VA_ARGS__), \
                -EINVAL)

#define FAIL_LIMIT(r, ...) ((void) FAIL((r), __VA_ARGS__), -E2BIG)

TemplateSource template_source_value(const Value *string) {
        TemplateSource source = {
                .text = string->text,
                .size = string->size,
                .place = string->place,
                .one_line = !string->multiline,
                .tainted = string->tainted,
        };

        assert(string->type == VALUE_STRING);

        if (source.place.line > 0 && string->multiline) {
                source.place.line++;
                source.place.column = 1;
        } else if (source.place.column > 0)
                source.place.column++;
        return source;
}

bool template_has_tags(const char *text, size_t size) {
        return memmem(text, size, "{{", 2) != NULL;
}

static int take_steps(Renderer *r, size_t n) {
        if (template_budget_take(&r->budget, (uint32_t) MIN(n, (size_t) UINT32_MAX)))
                return 0;
        return FAIL_LIMIT(r, "the template takes more than %u steps", r->budget.steps_max);
}

/* Output */

static int put(Renderer *r, const char *text, size_t size) {
        if (size > r->budget.size_max - r->size_bytes)
                return FAIL_LIMIT(r, "the output is larger than %u bytes", r->budget.size_max);
        r->size_bytes += size;

        while (size > 0) {
                Chunk *chunk = r->last_chunk;
                size_t n;

                if (chunk->used == chunk->size) {
                        size_t wanted = MIN(r->size_bytes + CHUNK_MIN, (size_t) CHUNK_MAX);

                        chunk = arena_new(r->arena, Chunk);
                        *chunk = (Chunk){ .size = wanted, .data = arena_alloc_text(r->arena, wanted) };
                        r->last_chunk->next = chunk;
                        r->last_chunk = chunk;
                }

                n = MIN(size, chunk->size - chunk->used);
                memcpy(chunk->data + chunk->used, text, n);
                chunk->used += n;
                text += n;
                size -= n;
        }
        return 0;
}

static int put_escaped(Renderer *r, const char *text, size_t size) {
        const char *end = text + size;
        int ret;

        while (text < end) {
                const char *entity = NULL, *plain = text;

                for (; text < end && !entity; text++)
                        switch (*text) {
                        case '&': entity = "&amp;"; break;
                        case '"': entity = "&quot;"; break;
                        case '<': entity = "&lt;"; break;
                        case '>': entity = "&gt;"; break;
                        default: break;
                        }

                ret = put(r, plain, (size_t) (text - plain) - (entity ? 1 : 0));
                if (ret < 0)
                        return ret;
                if (entity) {
                        ret = put(r, entity, strlen(entity));
                        if (ret < 0)
                                return ret;
                }
        }
        return 0;
}

/* As deep as the list is long, which the limits on nesting bound. */
static int put_indent(Renderer *r, const Indent *indent) {
        int ret;

        if (!indent)
                return 0;
        ret = put_indent(r, indent->outer);
        return ret < 0 ? ret : put(r, indent->text, indent->size);
}

/* A piece of the template's own text, with the lines' indentation exchanged. */
static int put_text(Renderer *r, const Frame *frame, uint32_t offset, uint32_t size) {
        const char *base = frame->template->source.text, *p = base + offset, *end = p + size;
        bool at_start = offset == 0 || p[-1] == '\n';
        int ret;

        if (!frame->indent && frame->strip == 0)
                return put(r, p, size);

        do {
                const char *newline, *next;

                if (at_start) {
                        const char *from = p;

                        while (p < end && (uint32_t) (p - from) < frame->strip && (*p == ' ' || *p == '\t'))
                                p++;
                        ret = take_steps(r, (size_t) (p - from) / 16);
                        if (ret < 0)
                                return ret;
                        /* Empty lines stay so. */
                        if (!(p < end && *p == '\n') && !(p + 1 < end && p[0] == '\r' && p[1] == '\n')) {
                                ret = put_indent(r, frame->indent);
                                if (ret < 0)
                                        return ret;
                        }
                }

                newline = memchr(p, '\n', (size_t) (end - p));
                next = newline ? newline + 1 : end;
                ret = put(r, p, (size_t) (next - p));
                if (ret < 0)
                        return ret;
                p = next;
                at_start = true;
        } while (p < end);
        return 0;
}

static int put_value(Renderer *r, const Value *value, bool escape) {
        char buffer[40];
        int n;

        switch (value->type) {
        case VALUE_NULL: return 0;
        case VALUE_BOOLEAN:
                n = snprintf(buffer, sizeof(buffer), "%s", value->boolean ? "true" : "false");
                break;
        case VALUE_INTEGER: n = snprintf(buffer, sizeof(buffer), "%lld", (long long) value->integer); break;
        case VALUE_FLOAT:
                if (isnan(value->real))
                        return put(r, "nan", 3);
                n = 0;
                for (int digits = 1; digits <= 17; digits++) {
                        n = snprintf(buffer, sizeof(buffer), "%.*g", digits, value->real);
                        if (strtod(buffer, NULL) == value->real)
                                break;
                }
                /* A float is still one when it is read back. */
                if (strspn(buffer, "-0123456789") == (size_t) n)
                        n += snprintf(buffer + n, sizeof(buffer) - (size_t) n, ".0");
                break;
        case VALUE_ARRAY:
        case VALUE_TABLE: return 0;
        default: return escape ? put_escaped(r, value->text, value->size) : put(r, value->text, value->size);
        }

        return put(r, buffer, (size_t) n);
}

static Value take_output(Renderer *r) {
        char *text = arena_alloc_text(r->arena, r->size_bytes + 1), *p = text;

        for (const Chunk *chunk = r->chunks; chunk; chunk = chunk->next)
                p = mempcpy(p, chunk->data, chunk->used);
        *p = 0;
        return (Value){ .type = VALUE_STRING, .text = text, .size = r->size_bytes, .tainted = r->tainted };
}

/* Names */

typedef struct Resolved {
        const Value *value; /* NULL: undefined */
        const Value *last;  /* if undefined: the value of the longest part that is defined, or NULL */
        size_t last_size;   /* and the length of that part */
        bool optional;      /* if undefined: what it is missing from is there */
} Resolved;

static int find(Renderer *r, const Value *table, const char *key, size_t size, const Value **ret) {
        Member *member;
        int ret_steps;

        *ret = NULL;
        if (table->type != VALUE_TABLE)
                return take_steps(r, 1);
        ret_steps = take_steps(r, 1 + table->n_members / 16);
        if (ret_steps < 0)
                return ret_steps;
        member = value_find(table, key, size);
        if (member)
                *ret = &member->value;
        return 0;
}

/* What a loop over the table goes through: tables of `key` and `value`. */
static int list_entries(Renderer *r, const Value *table, const Value **ret) {
        Value *list = arena_new(r->arena, Value);
        int k;

        k = take_steps(r, table->n_members);
        if (k < 0)
                return k;
        *list = value_array();
        list->place = table->place;
        VALUE_FOREACH_MEMBER(member, table) {
                Value entry = value_table(), key = value_string(r->arena, member->key, member->key_size);

                key.tainted = entry.tainted = table->tainted;
                (void) value_add(r->arena, &entry, "key", 3, &key);
                (void) value_add(r->arena, &entry, "value", 5, &member->value);
                (void) value_append(r->arena, list, &entry);
        }
        *ret = list;
        return 0;
}

/* "0" is the first. NULL: there is no such item. */
static const Value *find_item(const Value *array, const char *number, size_t size) {
        uint64_t i = 0;

        if (array->type != VALUE_ARRAY || size > 9 || (*number == '0' && size > 1))
                return NULL;
        for (size_t k = 0; k < size; k++) {
                if (number[k] < '0' || number[k] > '9')
                        return NULL;
                i = i * 10 + (uint64_t) (number[k] - '0');
        }
        return i < array->n_items ? &array->items[i] : NULL;
}

static int resolve(Renderer *r, const char *name, size_t size, Resolved *ret) {
        bool in_table = false, in_scope = false;
        bool entries = size > 2 && memcmp(name + size - 2, ".*", 2) == 0;
        size_t position = 0, part_size, noted_size = 0;
        const Value *value = NULL;
        const char *part;
        int k;

        *ret = (Resolved){};

        if (size == 1 && name[0] == '.') {
                value = r->context ? r->context->value : r->scope->lookup(r->scope->userdata, ".", 1);
                if (value)
                        r->tainted |= value->tainted;
                ret->value = value;
                return 0;
        }

        if (entries)
                size -= 2;
        part = template_next_part(name, size, &position, &part_size);
        for (const Context *c = r->context; c && !value; c = c->outer) {
                in_table |= c->value->type == VALUE_TABLE;
                k = find(r, c->value, part, part_size, &value);
                if (k < 0)
                        return k;
        }
        if (!value) {
                value = r->scope->lookup(r->scope->userdata, part, part_size);
                in_scope = value != NULL;
        }
        if (!value) {
                ret->optional = in_table && position > size;
                return 0;
        }

        for (;;) {
                const Value *next;

                r->tainted |= value->tainted;
                ret->last = value;
                ret->last_size = position - 1;
                if (position > size) {
                        if (!entries)
                                ret->value = value;
                        else if (value->type == VALUE_TABLE) {
                                k = list_entries(r, value, &ret->value);
                                if (k < 0)
                                        return k;
                        }
                        break;
                }

                part = template_next_part(name, size, &position, &part_size);
                k = find(r, value, part, part_size, &next);
                if (k < 0)
                        return k;
                if (!next) {
                        next = find_item(value, part, part_size);
                        /* Who reads an item reads the array. */
                        if (next && noted_size == 0)
                                noted_size = ret->last_size;
                }
                if (!next) {
                        ret->optional = position > size && value->type == VALUE_TABLE;
                        break;
                }
                value = next;
        }

        if (in_scope && r->scope->noted)
                r->scope->noted(r->scope->userdata, name, noted_size > 0 ? noted_size : size);
        return 0;
}

static int fail_undefined(Renderer *r, const char *name, size_t size, const Resolved *resolved) {
        const char *meant;

        if (size == 1 && name[0] == '.')
                return FAIL(r, "'.' is undefined outside of sections");
        if (resolved->last && resolved->last->type != VALUE_TABLE)
                return FAIL(r, "undefined name '%s': '%s' is %s", SHOW(r, name, size),
                        SHOW(r, name, resolved->last_size), value_kind(resolved->last));

        /* A long name is nobody's typing mistake; and correcting one costs its square. */
        meant = size > 256 || r->source->tainted
                        ? NULL
                        : template_suggest(r->arena, r->scope, r->context, name, size);
        if (!meant && r->context && r->context->value->type == VALUE_TABLE &&
                ((size == 3 && memcmp(name, "key", 3) == 0) || (size == 5 && memcmp(name, "value", 5) == 0)))
                return FAIL(r,
                        "undefined name '%s'; a section goes through a table if '.*' follows its name",
                        SHOW(r, name, size));
        if (!meant)
                return FAIL(r, "undefined name '%s'", SHOW(r, name, size));
        return FAIL(r, "undefined name '%s'; did you mean '%s'?", SHOW(r, name, size),
                SHOW(r, meant, strlen(meant)));
}

/* Nodes */

static int render_variable(Renderer *r, const Node *node, const char *name) {
        Resolved resolved;
        int k;

        k = resolve(r, name, node->name_size, &resolved);
        if (k < 0)
                return k;
        if (!resolved.value)
                return r->options->strict ? fail_undefined(r, name, node->name_size, &resolved) : 0;
        if (r->options->strict &&
                (resolved.value->type == VALUE_ARRAY || resolved.value->type == VALUE_TABLE))
                return FAIL(r, "'%s' is %s and cannot be written as text", SHOW(r, name, node->name_size),
                        value_kind(resolved.value));
        return put_value(r, resolved.value, r->options->escape_html && !node->raw);
}

static int enter(Renderer *r) {
        if (r->nesting >= r->budget.nesting_max)
                return FAIL_LIMIT(r, "sections are nested more than %u deep", r->budget.nesting_max);
        r->nesting++;
        return 0;
}

static int render_inside(Renderer *r, const Frame *frame, const Node *node) {
        uint32_t index = (uint32_t) (node - frame->template->nodes);
        int k;

        k = enter(r);
        if (k < 0)
                return k;
        k = render_nodes(r, frame, index + 1, node->end);
        r->nesting--;
        return k;
}

static int render_section(Renderer *r, const Frame *frame, const Node *node, const char *name) {
        const Value *value, *items;
        uint32_t n = 1;
        Resolved resolved;
        bool falsy;
        int k;

        k = resolve(r, name, node->name_size, &resolved);
        if (k < 0)
                return k;
        value = resolved.value;
        if (!value && r->options->strict && !resolved.optional)
                return fail_undefined(r, name, node->name_size, &resolved);

        falsy = !value || value->type == VALUE_NULL || (value->type == VALUE_BOOLEAN && !value->boolean) ||
                (value->type == VALUE_ARRAY && value->n_items == 0);
        if (node->type == NODE_INVERTED)
                return falsy ? render_inside(r, frame, node) : 0;
        if (falsy)
                return 0;

        items = value;
        if (value->type == VALUE_ARRAY) {
                items = value->items;
                n = value->n_items;
        }
        for (uint32_t i = 0; i < n; i++) {
                const Context *outer = r->context;
                Context context = { .outer = outer, .value = &items[i] };

                r->source = &frame->template->source;
                r->node = node;
                k = take_steps(r, 1);
                if (k < 0)
                        return k;
                r->tainted |= items[i].tainted;

                r->context = &context;
                k = render_inside(r, frame, node);
                r->context = outer;
                if (k < 0)
                        return k;
        }
        return 0;
}

/* Reads and parses a partial the first time it is needed. */
static int find_partial(Renderer *r, const char *name, size_t size, Template **ret) {
        Template *t;
        int k;

        for (t = r->partials; t; t = t->next) {
                k = take_steps(r, 1);
                if (k < 0)
                        return k;
                if (strlen(t->name) == size && memcmp(t->name, name, size) == 0) {
                        *ret = t;
                        return 0;
                }
        }

        t = arena_new(r->arena, Template);
        *t = (Template){ .next = r->partials, .name = arena_strndup(r->arena, name, size) };
        k = -ENOENT;
        if (r->options->partial && !memchr(name, 0, size))
                k = r->options->partial(r->options->userdata, t->name, &t->source);
        t->missing = k == -ENOENT;
        if (k < 0 && k != -ENOENT)
                /* The name may come from a secret; the tag does not. */
                return FAIL(r, "failed to read the partial '%s%s': %s", r->node->dynamic ? "*" : "",
                        SHOW(r, r->source->text + r->node->name, r->node->name_size),
                        t->source.text ?: strerror(-k));
        if (!t->missing) {
                k = template_parse(r->arena, t, &r->budget, r->reterr);
                if (k < 0)
                        return k;
        }

        r->partials = t;
        *ret = t;
        return 0;
}

static int render_partial(Renderer *r, const Frame *frame, const Node *node, const char *name) {
        const TemplateSource *source = &frame->template->source;
        Arguments arguments = {
                .outer = frame->arguments,
                .template = frame->template,
                .parent = (uint32_t) (node - frame->template->nodes),
        };
        uint32_t strip = MIN(frame->strip, node->indent_size);
        Indent indent = {
                .outer = frame->indent,
                .text = source->text + node->indent + strip,
                .size = node->indent_size - strip,
        };
        Frame inside = { .arguments = frame->arguments };
        size_t size = node->name_size;
        Template *partial;
        int k;

        if (node->dynamic) {
                Resolved resolved;

                k = resolve(r, name, size, &resolved);
                if (k < 0)
                        return k;
                if (!resolved.value && r->options->strict)
                        return fail_undefined(r, name, size, &resolved);
                if (resolved.value && resolved.value->type != VALUE_STRING && r->options->strict)
                        return FAIL(r, "'%s' is %s, not the name of a partial", SHOW(r, name, size),
                                value_kind(resolved.value));
                if (!resolved.value || resolved.value->type != VALUE_STRING)
                        return 0;
                name = resolved.value->text;
                size = resolved.value->size;
        }

        if (r->partial_depth >= r->budget.partial_depth_max)
                return FAIL_LIMIT(r, "partials are nested more than %u deep", r->budget.partial_depth_max);
        k = find_partial(r, name, size, &partial);
        if (k < 0)
                return k;
        if (partial->missing) {
                if (!r->options->strict)
                        return 0;
                if (!r->options->partial)
                        return FAIL(r, "there are no partials here");
                if (node->dynamic)
                        return FAIL(r, "there is no partial of the name that '%s' holds",
                                SHOW(r, source->text + node->name, node->name_size));
                return FAIL(r, "there is no partial '%s'", SHOW(r, name, size));
        }
        r->tainted |= partial->source.tainted;

        inside.template = partial;
        if (node->type == NODE_PARENT)
                inside.arguments = &arguments;
        if (node->whole_lines)
                inside.indent = indent.size > 0 ? &indent : indent.outer;

        k = enter(r);
        if (k < 0)
                return k;
        r->partial_depth++;
        k = render_nodes(r, &inside, 0, partial->n_nodes);
        r->partial_depth--;
        r->nesting--;
        return k;
}

/* The block that was given for this one, by the outermost parent tag that gives one; NULL if there is none. */
static int find_argument(Renderer *r, const Frame *frame, const char *name, size_t size,
        const Arguments **ret, const Node **ret_block) {
        int k;

        *ret_block = NULL;
        for (const Arguments *a = frame->arguments; a; a = a->outer) {
                const Template *t = a->template;

                for (uint32_t i = a->parent + 1; i < t->nodes[a->parent].end; i = t->nodes[i].end) {
                        const Node *block = &t->nodes[i];

                        k = take_steps(r, 1);
                        if (k < 0)
                                return k;
                        if (block->type != NODE_BLOCK || block->name_size != size ||
                                memcmp(t->source.text + block->name, name, size) != 0)
                                continue;
                        *ret = a;
                        *ret_block = block;
                        break;
                }
        }
        return 0;
}

static int render_block(Renderer *r, const Frame *frame, const Node *node, const char *name) {
        uint32_t strip = MIN(frame->strip, node->indent_size);
        Indent indent = {
                .outer = frame->indent,
                .text = frame->template->source.text + node->indent + strip,
                .size = node->indent_size - strip,
        };
        const Arguments *arguments;
        const Node *block;
        Frame inside;
        int k;

        k = find_argument(r, frame, name, node->name_size, &arguments, &block);
        if (k < 0)
                return k;

        if (!block) {
                if (node->first_on_line && !node->whole_lines) {
                        k = put_indent(r, &indent);
                        if (k < 0)
                                return k;
                }
                return render_inside(r, frame, node);
        }

        inside = (Frame){
                .template = arguments->template,
                /* Where it was written, only what is outside of that parent tag is in force: each block that gives
                 * another has a shorter list, so this ends. */
                .arguments = arguments->outer,
                .strip = block->strip,
        };
        if (node->first_on_line) {
                inside.indent = indent.size > 0 ? &indent : indent.outer;
                if (!block->own_line && block->end > (uint32_t) (block - inside.template->nodes) + 1) {
                        k = put_indent(r, inside.indent);
                        if (k < 0)
                                return k;
                }
        }
        return render_inside(r, &inside, block);
}

static int render_nodes(Renderer *r, const Frame *frame, uint32_t first, uint32_t end) {
        const Template *t = frame->template;
        int k;

        for (uint32_t i = first; i < end; i = t->nodes[i].end) {
                const Node *node = &t->nodes[i];
                const char *name = t->source.text + node->name;

                r->source = &t->source;
                r->node = node;
                k = take_steps(r, 1);
                if (k < 0)
                        return k;

                switch ((NodeType) node->type) {
                case NODE_TEXT: k = put_text(r, frame, node->offset, node->name_size); break;
                case NODE_VARIABLE: k = render_variable(r, node, name); break;
                case NODE_SECTION:
                case NODE_INVERTED: k = render_section(r, frame, node, name); break;
                case NODE_PARTIAL:
                case NODE_PARENT: k = render_partial(r, frame, node, name); break;
                case NODE_BLOCK: k = render_block(r, frame, node, name); break;
                }
                if (k < 0)
                        return k;
        }
        return 0;
}

static TemplateBudget full_budget(const TemplateOptions *options) {
        uint32_t steps_max = options->steps_max ?: TEMPLATE_STEPS_MAX;

        return (TemplateBudget){
                .size_max = options->size_max ?: TEMPLATE_SIZE_MAX,
                .steps_max = steps_max,
                .nesting_max = options->nesting_max ?: TEMPLATE_NESTING_MAX,
                .partial_depth_max = options->partial_depth_max ?: TEMPLATE_PARTIAL_DEPTH_MAX,
                .steps_left = steps_max,
        };
}

static const TemplateOptions defaults = {};

int template_render(Arena *arena, const TemplateOptions *options, const TemplateSource *source,
        const Scope *scope, Value *ret_text, Diagnostic *reterr) {
        char buffer[CHUNK_MIN];
        Chunk chunk = { .data = buffer, .size = sizeof(buffer) };
        Template template = { .source = *source };
        Renderer r = {
                .arena = arena,
                .options = options ?: &defaults,
                .scope = scope,
                .budget = full_budget(options ?: &defaults),
                /* Most results are short. */
                .chunks = &chunk,
                .last_chunk = &chunk,
                .tainted = source->tainted,
                .reterr = reterr,
        };
        Frame frame = { .template = &template };
        int k;

        assert(arena);
        assert(scope);
        assert(ret_text);
        assert(reterr);

        k = template_parse(arena, &template, &r.budget, reterr);
        if (k < 0)
                return k;
        k = render_nodes(&r, &frame, 0, template.n_nodes);
        if (k < 0)
                return k;

        *ret_text = take_output(&r);
        ret_text->place = source->place;
        return 0;
}

int template_render_value(Arena *arena, const TemplateOptions *options, const Value *string,
        const Scope *scope, Value *ret_text, Diagnostic *reterr) {
        TemplateSource source;
        Value text;
        int k;

        assert(string->type == VALUE_STRING);

        if (!template_has_tags(string->text, string->size)) {
                *ret_text = *string;
                return 0;
        }

        source = template_source_value(string);
        k = template_render(arena, options, &source, scope, &text, reterr);
        if (k < 0)
                return k;
        text.place = string->place;
        text.multiline = string->multiline;
        *ret_text = text;
        return 0;
}

/* {{name}}, {{{name}}} or {{&name}} and nothing else. Return: where the name begins; NULL: it is something else. */
static const char *whole_name(const char *text, size_t size, size_t *ret_size) {
        const char *end = text + size;
        bool braces;

        if (size < 5 || memcmp(text, "{{", 2) != 0 || memcmp(end - 2, "}}", 2) != 0)
                return NULL;
        text += 2;
        end -= 2;
        braces = *text == '{' && end[-1] == '}';
        if (braces) {
                text++;
                end--;
        }
        if (!braces && text < end && *text == '&')
                text++;
        while (text < end && *text == ' ')
                text++;
        while (end > text && end[-1] == ' ')
                end--;
        /* Signs of other tags, delimiters, further tags; names that are none. */
        if (text == end || strchr("#^/>!=<$&*", *text) || end[-1] == '.')
                return NULL;
        for (const char *p = text; p < end; p++)
                if (strchr(" \t\r\n\v\f{}", *p) || (*p == '.' && (p == text || p[-1] == '.'))) /* also NUL */
                        return NULL;
        *ret_size = (size_t) (end - text);
        return text;
}

int template_evaluate_value(Arena *arena, const TemplateOptions *options, const Value *string,
        const Scope *scope, Value *ret, Diagnostic *reterr) {
        TemplateSource source = template_source_value(string);
        const Node node = { .type = NODE_VARIABLE };
        Resolved resolved;
        const char *name;
        size_t size;
        int k;
        Renderer r = {
                .arena = arena,
                .options = options ?: &defaults,
                .scope = scope,
                .budget = full_budget(options ?: &defaults),
                .tainted = source.tainted,
                .source = &source,
                .node = &node,
                .reterr = reterr,
        };

        name = whole_name(string->text, string->size, &size);
        if (!name)
                return template_render_value(arena, options, string, scope, ret, reterr);
        k = resolve(&r, name, size, &resolved);
        if (k < 0)
                return k;
        if (!resolved.value)
                return fail_undefined(&r, name, size, &resolved);
        *ret = *resolved.value;
        ret->place = string->place;
        ret->tainted = r.tainted;
        return 0;
}

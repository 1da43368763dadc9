/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <math.h>

#include "template.h"
#include "template-internal.h"
#include "util.h"

#define CHUNK_MIN 512U
#define CHUNK_MAX 65536U

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

static int render_nodes(Renderer *r, const Frame *frame, uint32_t first, uint32_t end);

TemplateSource template_source_value(const Value *string) {
        TemplateSource source = {
                .text = string->text,
                .size = string->size,
                .place = string->place,
                .one_line = !string->multiline,
                .tainted = string->tainted,
        };

        assert(string->type == VALUE_STRING);

        if (string->multiline && string->inline_)
                source.place.column += source.place.column > 0 ? 3 : 0;
        else if (source.place.line > 0 && string->multiline) {
                source.place.line++;
                source.place.column = 1;
        } else if (source.place.column > 0)
                source.place.column++;
        return source;
}

bool template_has_tags(const char *text, size_t size) {
        return memmem(text, size, "{{", 2) != NULL;
}

/* Output */

static int put(Renderer *r, const char *text, size_t size) {
        if (size > r->budget.size_max - r->size_bytes)
                return RENDER_FAIL_LIMIT(r, "the output is larger than %u bytes", r->budget.size_max);
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
                        ret = template_take_steps(r, (size_t) (p - from) / 16);
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

/* Nodes */

static int render_variable(Renderer *r, const Node *node, const char *name) {
        Resolved resolved;
        int k;

        k = template_resolve(r, name, node->name_size, &resolved);
        if (k < 0)
                return k;
        if (!resolved.value)
                return r->options->strict ? template_fail_undefined(r, name, node->name_size, &resolved) : 0;
        if (r->options->strict &&
                (resolved.value->type == VALUE_ARRAY || resolved.value->type == VALUE_TABLE))
                return RENDER_FAIL(r, "'%s' is %s and cannot be written as text",
                        RENDER_SHOW(r, name, node->name_size), value_kind(resolved.value));
        return put_value(r, resolved.value, r->options->escape_html && !node->raw);
}

static int enter(Renderer *r) {
        if (r->nesting >= r->budget.nesting_max)
                return RENDER_FAIL_LIMIT(r, "sections are nested more than %u deep", r->budget.nesting_max);
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

        k = template_resolve(r, name, node->name_size, &resolved);
        if (k < 0)
                return k;
        value = resolved.value;
        if (!value && r->options->strict && !resolved.optional)
                return template_fail_undefined(r, name, node->name_size, &resolved);

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
                k = template_take_steps(r, 1);
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
                k = template_take_steps(r, 1);
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
                return RENDER_FAIL(r, "failed to read the partial '%s%s': %s", r->node->dynamic ? "*" : "",
                        RENDER_SHOW(r, r->source->text + r->node->name, r->node->name_size),
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

                k = template_resolve(r, name, size, &resolved);
                if (k < 0)
                        return k;
                if (!resolved.value && r->options->strict)
                        return template_fail_undefined(r, name, size, &resolved);
                if (resolved.value && resolved.value->type != VALUE_STRING && r->options->strict)
                        return RENDER_FAIL(r, "'%s' is %s, not the name of a partial",
                                RENDER_SHOW(r, name, size), value_kind(resolved.value));
                if (!resolved.value || resolved.value->type != VALUE_STRING)
                        return 0;
                name = resolved.value->text;
                size = resolved.value->size;
        }

        if (r->partial_depth >= r->budget.partial_depth_max)
                return RENDER_FAIL_LIMIT(
                        r, "partials are nested more than %u deep", r->budget.partial_depth_max);
        k = find_partial(r, name, size, &partial);
        if (k < 0)
                return k;
        if (partial->missing) {
                if (!r->options->strict)
                        return 0;
                if (!r->options->partial)
                        return RENDER_FAIL(r, "there are no partials here");
                if (node->dynamic)
                        return RENDER_FAIL(r, "there is no partial of the name that '%s' holds",
                                RENDER_SHOW(r, source->text + node->name, node->name_size));
                return RENDER_FAIL(r, "there is no partial '%s'", RENDER_SHOW(r, name, size));
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

                        k = template_take_steps(r, 1);
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
                k = template_take_steps(r, 1);
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
        text.inline_ = string->inline_;
        *ret_text = text;
        return 0;
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

        name = template_whole_name(string->text, string->size, &size);
        if (!name)
                return template_render_value(arena, options, string, scope, ret, reterr);
        k = template_resolve(&r, name, size, &resolved);
        if (k < 0)
                return k;
        if (!resolved.value)
                return template_fail_undefined(&r, name, size, &resolved);
        *ret = *resolved.value;
        ret->place = string->place;
        ret->tainted = r.tainted;
        return 0;
}

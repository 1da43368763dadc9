/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <math.h>

#include "expression-internal.h"

/*
 *     or         = and { "or" and }
 *     and        = not { "and" not }
 *     not        = "not" not | comparison
 *     comparison = postfix [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in" ) postfix ]
 *     postfix    = primary { "." member | "[" or "]" }
 *     primary    = literal | name | helper "(" [ or { "," or } ] ")" | "(" or ")" | "[" [ or { "," or } [ "," ] ] "]"
 */

typedef enum TokenType {
        TOKEN_END,
        TOKEN_LITERAL, /* value */
        TOKEN_NAME,    /* the text */
        TOKEN_AND,
        TOKEN_OR,
        TOKEN_NOT,
        TOKEN_IN,
        TOKEN_EQUAL,
        TOKEN_NOT_EQUAL,
        TOKEN_LESS,
        TOKEN_LESS_EQUAL,
        TOKEN_GREATER,
        TOKEN_GREATER_EQUAL,
        TOKEN_DOT,
        TOKEN_COMMA,
        TOKEN_OPEN,
        TOKEN_CLOSE,
        TOKEN_OPEN_BRACKET,
        TOKEN_CLOSE_BRACKET,
} TokenType;

typedef struct Token {
        TokenType type;
        Place place;
        const char *text; /* in the source */
        size_t size;
        Value value;
} Token;

typedef struct Parser {
        Arena *arena;
        const char *position, *end;
        Place place; /* of position */
        unsigned depth;
        Token token; /* the next one */
        Diagnostic *reterr;
} Parser;

/* For messages: "%s%.*s%s" of a token. Its text is shown if it is short. */
#define TOKEN_SHOWN_MAX 40
#define FOUND_FORMAT    "%s%.*s%s"
#define FOUND(token)                                                                        \
        token_quote(token), token_is_shown(token) ? (int) (token)->size : 0, (token)->text, \
                streq(token_quote(token), "'") ? "'" : ""

static bool token_is_shown(const Token *token) {
        return token->type != TOKEN_END && token->size <= TOKEN_SHOWN_MAX;
}

static const char *token_quote(const Token *token) {
        return token->type == TOKEN_END       ? "the end"
               : token_is_shown(token)        ? (*token->text == '\'' || *token->text == '"' ? "" : "'")
               : token->type == TOKEN_LITERAL ? "a long literal"
                                              : "a long name";
}

#define parse_error(p, where, ...) (diagnostic_set((p)->reterr, (p)->arena, (where), __VA_ARGS__), -EINVAL)

/* Locale has no say here. */
static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_name_start(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c) {
        return is_name_start(c) || is_digit(c) || c == '-';
}

static void advance(Parser *p, size_t n) {
        for (; n > 0; n--, p->position++) {
                if (*p->position == '\n') {
                        p->place.line++;
                        p->place.column = 1;
                } else if (((unsigned char) *p->position & 0xc0) != 0x80)
                        p->place.column++;
        }
}

static char peek(const Parser *p, size_t ahead) {
        return ahead < (size_t) (p->end - p->position) ? p->position[ahead] : 0;
}

static size_t utf8_encode(uint32_t c, char *ret) {
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        if (n == 1) {
                ret[0] = (char) c;
                return 1;
        }
        for (size_t i = n - 1; i > 0; i--, c >>= 6)
                ret[i] = (char) (0x80 | (c & 0x3f));
        ret[0] = (char) ((0xf00 >> n & 0xf0) | c);
        return n;
}

static int parse_unicode_escape(Parser *p, size_t digits, char **out) {
        Place place = p->place;
        uint32_t c = 0;

        for (size_t i = 0; i < digits; i++) {
                char d = peek(p, 2 + i);

                if (is_digit(d))
                        c = c << 4 | (uint32_t) (d - '0');
                else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
                        c = c << 4 | (uint32_t) ((d | 0x20) - 'a' + 10);
                else
                        return parse_error(
                                p, place, "'\\%c' wants %zu hexadecimal digits", peek(p, 1), digits);
        }
        if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return parse_error(p, place, "U+%04X is no character", c);

        *out += utf8_encode(c, *out);
        advance(p, 2 + digits);
        return 0;
}

static int lex_string(Parser *p) {
        char quote = *p->position, *text, *out;
        Place open = p->place;
        size_t n;
        int r;

        for (n = 1; peek(p, n) != quote; n++) {
                if (peek(p, n) == '\\')
                        n++;
                if (n >= (size_t) (p->end - p->position) || peek(p, n) == '\n')
                        return parse_error(p, open, "the string that begins here is not closed");
        }

        /* No escape yields more bytes than it takes. */
        text = out = arena_alloc_text(p->arena, n);
        advance(p, 1);

        while (*p->position != quote) {
                static const char letters[] = "nrt\\'\"", bytes[] = "\n\r\t\\'\"";
                const char *found;
                char c = *p->position;

                /* Elsewhere in a role it would be a template. Here it would be text, and compare with nothing. */
                if (c == '{' && peek(p, 1) == '{')
                        return parse_error(p, p->place,
                                "'{{' is not replaced in an expression; names are written without braces, "
                                "and "
                                "join(['a', name], '') makes one string of several");
                if (c != '\\') {
                        *out++ = c;
                        advance(p, 1);
                        continue;
                }

                c = peek(p, 1);
                if (c == 'u' || c == 'U') {
                        r = parse_unicode_escape(p, c == 'u' ? 4 : 8, &out);
                        if (r < 0)
                                return r;
                        continue;
                }
                found = c ? strchr(letters, c) : NULL;
                if (!found)
                        return parse_error(p, p->place,
                                "unknown escape; there are \\n \\r \\t \\\\ \\' \\\" \\uXXXX and "
                                "\\UXXXXXXXX");
                *out++ = bytes[found - letters];
                advance(p, 2);
        }
        advance(p, 1);

        *out = 0;
        p->token.value = (Value){ .type = VALUE_STRING, .text = text, .size = (size_t) (out - text) };
        return 0;
}

static int lex_number(Parser *p) {
        bool negative = *p->position == '-', is_float = false;
        Place start = p->place;
        size_t n = negative;
        char buffer[64];

        while (is_digit(peek(p, n)))
                n++;
        if (n > (size_t) negative + 1 && p->position[negative] == '0')
                return parse_error(p, start, "a number must not begin with 0");
        if (peek(p, n) == '.') {
                is_float = true;
                n++;
                if (!is_digit(peek(p, n)))
                        return parse_error(p, start, "digits are missing after the decimal point");
                while (is_digit(peek(p, n)))
                        n++;
        }
        if (peek(p, n) == 'e' || peek(p, n) == 'E') {
                size_t sign = peek(p, n + 1) == '-' || peek(p, n + 1) == '+';

                if (!is_digit(peek(p, n + 1 + sign)))
                        return parse_error(p, start, "digits are missing in the exponent");
                is_float = true;
                n += 1 + sign;
                while (is_digit(peek(p, n)))
                        n++;
        }
        if (is_name(peek(p, n)) || peek(p, n) == '.')
                return parse_error(p, start, "malformed number");
        if (n >= sizeof(buffer))
                return parse_error(p, start, "the number has too many digits");

        memcpy(buffer, p->position, n);
        buffer[n] = 0;
        if (is_float) {
                p->token.value = value_float(strtod(buffer, NULL));
                if (!isfinite(p->token.value.real))
                        return parse_error(p, start, "the number is too large");
        } else {
                errno = 0;
                p->token.value = value_integer(strtoll(buffer, NULL, 10));
                if (errno != 0)
                        return parse_error(p, start, "the integer does not fit into 64 bits");
        }
        advance(p, n);
        return 0;
}

static int lex_unexpected(Parser *p) {
        static const struct {
                const char *written, *message;
        } known[] = {
                { "&&", "unexpected '&&'; write 'and'" },
                { "||", "unexpected '||'; write 'or'" },
                { "!", "unexpected '!'; write 'not'" },
                { "=", "unexpected '='; write '==' to compare" },
                { "+", "unexpected '+'; there is no arithmetic, and join(['a', name], '') makes one string "
                       "of several" },
                { "-", "unexpected '-'; there is no arithmetic" },
                { "*", "unexpected '*'; there is no arithmetic" },
                { "/", "unexpected '/'; there is no arithmetic" },
                { "%", "unexpected '%'; there is no arithmetic" },
                { "{{", "unexpected '{{'; names are written without braces" },
                { "{", "unexpected '{'; a table cannot be written here, and a variable can be one" },
        };
        size_t left = (size_t) (p->end - p->position), n = 1;
        unsigned char c = (unsigned char) *p->position;

        FOREACH_ELEMENT(k, known)
                if (strlen(k->written) <= left && memcmp(k->written, p->position, strlen(k->written)) == 0)
                        return parse_error(p, p->place, "%s", k->message);

        if (c < ' ' || c == 0x7f)
                return parse_error(p, p->place, "unexpected character U+%04X", c);
        while (n < left && ((unsigned char) p->position[n] & 0xc0) == 0x80)
                n++;
        return parse_error(p, p->place, "unexpected character '%.*s'", (int) n, p->position);
}

static void lex_name(Parser *p) {
        static const struct {
                const char *word;
                TokenType type;
                ValueType value;
                bool boolean;
        } words[] = {
                { "and", TOKEN_AND },
                { "or", TOKEN_OR },
                { "not", TOKEN_NOT },
                { "in", TOKEN_IN },
                { "true", TOKEN_LITERAL, VALUE_BOOLEAN, true },
                { "false", TOKEN_LITERAL, VALUE_BOOLEAN, false },
                { "null", TOKEN_LITERAL, VALUE_NULL },
        };
        size_t n = 1;

        while (is_name(peek(p, n)))
                n++;
        p->token.type = TOKEN_NAME;
        FOREACH_ELEMENT(w, words)
                if (strlen(w->word) == n && memcmp(w->word, p->position, n) == 0) {
                        p->token.type = w->type;
                        p->token.value = (Value){ .type = w->value, .boolean = w->boolean };
                }
        advance(p, n);
}

static int next(Parser *p) {
        static const struct {
                const char *written;
                TokenType type;
        } operators[] = {
                { "==", TOKEN_EQUAL },
                { "!=", TOKEN_NOT_EQUAL },
                { "<=", TOKEN_LESS_EQUAL },
                { ">=", TOKEN_GREATER_EQUAL },
                { "<", TOKEN_LESS },
                { ">", TOKEN_GREATER },
                { ".", TOKEN_DOT },
                { ",", TOKEN_COMMA },
                { "(", TOKEN_OPEN },
                { ")", TOKEN_CLOSE },
                { "[", TOKEN_OPEN_BRACKET },
                { "]", TOKEN_CLOSE_BRACKET },
        };
        int r = 0;
        char c;

        while (p->position < p->end && strchr(" \t\r\n", *p->position) && *p->position)
                advance(p, 1);
        p->token = (Token){ .type = TOKEN_END, .place = p->place, .text = p->position };
        if (p->position == p->end)
                return 0;

        c = *p->position;
        if (c == '\'' || c == '"') {
                p->token.type = TOKEN_LITERAL;
                r = lex_string(p);
        } else if (is_digit(c) || (c == '-' && is_digit(peek(p, 1)))) {
                p->token.type = TOKEN_LITERAL;
                r = lex_number(p);
        } else if (is_name_start(c))
                lex_name(p);
        else {
                FOREACH_ELEMENT(o, operators)
                        if (c == o->written[0] && (!o->written[1] || peek(p, 1) == o->written[1])) {
                                p->token.type = o->type;
                                advance(p, strlen(o->written));
                                break;
                        }
                if (p->token.type == TOKEN_END)
                        return lex_unexpected(p);
        }
        if (r < 0)
                return r;

        p->token.size = (size_t) (p->position - p->token.text);
        p->token.value.place = p->token.place;
        return 0;
}

/* After a dot any bare key of TOML is a member: also keywords, and such that begin with a digit. */
static int next_member(Parser *p) {
        size_t n = 0;

        while (p->position < p->end && strchr(" \t\r\n", *p->position) && *p->position)
                advance(p, 1);
        while (is_name(peek(p, n)))
                n++;
        if (n == 0 || *p->position == '-') {
                int r = next(p);

                return r < 0 ? r
                             : parse_error(p, p->token.place,
                                       "expected the name of a member after '.', found " FOUND_FORMAT,
                                       FOUND(&p->token));
        }
        p->token = (Token){ .type = TOKEN_NAME, .place = p->place, .text = p->position, .size = n };
        advance(p, n);
        return 0;
}

static int too_deep(Parser *p, Place place) {
        (void) parse_error(p, place, "the expression nests deeper than %u levels", EXPRESSION_DEPTH_MAX);
        return -E2BIG;
}

/* Makes a node that begins where its first child does, or else at its own place. */
static int new_node(
        Parser *p, ExpressionKind kind, Place place, Expression **children, uint32_t n, Expression **ret) {
        Expression *e;
        uint16_t depth = 0;

        for (uint32_t i = 0; i < n; i++)
                depth = MAX(depth, children[i]->depth);
        if (depth >= EXPRESSION_DEPTH_MAX)
                return too_deep(p, place);

        e = arena_new(p->arena, Expression);
        *e = (Expression){
                .kind = kind,
                .depth = (uint16_t) (depth + 1),
                .line = place.line,
                .column = place.column,
                .place = place,
                .n_children = n,
                .children = children,
        };
        *ret = e;
        return 0;
}

static void begin_at(Expression *e, uint32_t line, uint32_t column) {
        e->line = line;
        e->column = column;
}

static int new_node_over(
        Parser *p, ExpressionKind kind, Place place, Expression *left, Expression *right, Expression **ret) {
        Expression **children = arena_new_array(p->arena, Expression *, 2);
        int r;

        children[0] = left;
        children[1] = right;
        r = new_node(p, kind, place, children, right ? 2 : 1, ret);
        if (r < 0)
                return r;
        begin_at(*ret, left->line, left->column);
        return 0;
}

static int parse_or(Parser *p, Expression **ret);

/* Items up to the closing token, which is taken. */
static int parse_list(Parser *p, TokenType close, bool trailing_comma, Expression ***ret, uint32_t *ret_n) {
        const char *closing = close == TOKEN_CLOSE ? ")" : "]";
        Expression **list = NULL;
        uint32_t n = 0, allocated = 0;
        int r;

        while (n > 0 || p->token.type != close) {
                Expression *item;

                r = parse_or(p, &item);
                if (r < 0)
                        return r;
                list = arena_grow(p->arena, list, n, &allocated, sizeof(Expression *));
                list[n++] = item;

                if (p->token.type == close)
                        break;
                if (p->token.type != TOKEN_COMMA)
                        return parse_error(p, p->token.place, "expected ',' or '%s', found " FOUND_FORMAT,
                                closing, FOUND(&p->token));
                r = next(p);
                if (r < 0)
                        return r;
                if (trailing_comma && p->token.type == close)
                        break;
        }

        *ret = list;
        *ret_n = n;
        return next(p);
}

static int parse_primary(Parser *p, Expression **ret) {
        Token token = p->token;
        Expression **children;
        uint32_t n;
        int r;

        switch (token.type) {
        case TOKEN_LITERAL:
                r = next(p);
                if (r < 0)
                        return r;
                r = new_node(p, EXPRESSION_CONSTANT, token.place, NULL, 0, ret);
                if (r < 0)
                        return r;
                (*ret)->value = token.value;
                return 0;

        case TOKEN_NAME:
                r = next(p);
                if (r < 0)
                        return r;
                if (p->token.type == TOKEN_OPEN) {
                        r = next(p);
                        if (r < 0)
                                return r;
                        r = parse_list(p, TOKEN_CLOSE, false, &children, &n);
                        if (r < 0)
                                return r;
                        r = new_node(p, EXPRESSION_CALL, token.place, children, n, ret);
                } else
                        r = new_node(p, EXPRESSION_NAME, token.place, NULL, 0, ret);
                if (r < 0)
                        return r;
                (*ret)->text = arena_strndup(p->arena, token.text, token.size);
                (*ret)->size = token.size;
                return 0;

        case TOKEN_OPEN:
                r = next(p);
                if (r < 0)
                        return r;
                r = parse_or(p, ret);
                if (r < 0)
                        return r;
                if (p->token.type != TOKEN_CLOSE)
                        return parse_error(
                                p, p->token.place, "expected ')', found " FOUND_FORMAT, FOUND(&p->token));
                begin_at(*ret, token.place.line, token.place.column);
                return next(p);

        case TOKEN_OPEN_BRACKET:
                r = next(p);
                if (r < 0)
                        return r;
                r = parse_list(p, TOKEN_CLOSE_BRACKET, true, &children, &n);
                if (r < 0)
                        return r;
                return new_node(p, EXPRESSION_LIST, token.place, children, n, ret);

        case TOKEN_NOT: return parse_error(p, token.place, "'not' cannot stand here without parentheses");

        default: return parse_error(p, token.place, "expected a value, found " FOUND_FORMAT, FOUND(&token));
        }
}

static int parse_postfix(Parser *p, Expression **ret) {
        Expression *e;
        int r;

        r = parse_primary(p, &e);
        if (r < 0)
                return r;

        for (;;) {
                Place place = p->token.place;

                if (p->token.type == TOKEN_DOT) {
                        Token member;

                        r = next_member(p);
                        if (r < 0)
                                return r;
                        member = p->token;
                        r = next(p);
                        if (r < 0)
                                return r;
                        r = new_node_over(p, EXPRESSION_MEMBER, member.place, e, NULL, &e);
                        if (r < 0)
                                return r;
                        e->text = arena_strndup(p->arena, member.text, member.size);
                        e->size = member.size;
                } else if (p->token.type == TOKEN_OPEN_BRACKET) {
                        Expression *index;

                        r = next(p);
                        if (r < 0)
                                return r;
                        r = parse_or(p, &index);
                        if (r < 0)
                                return r;
                        if (p->token.type != TOKEN_CLOSE_BRACKET)
                                return parse_error(p, p->token.place, "expected ']', found " FOUND_FORMAT,
                                        FOUND(&p->token));
                        r = next(p);
                        if (r < 0)
                                return r;
                        place.line = index->line;
                        place.column = index->column;
                        r = new_node_over(p, EXPRESSION_INDEX, place, e, index, &e);
                        if (r < 0)
                                return r;
                } else if (p->token.type == TOKEN_OPEN)
                        return parse_error(
                                p, place, "this cannot be called; only helpers can, by their name");
                else
                        break;
        }

        *ret = e;
        return 0;
}

static bool token_is_comparison(TokenType type) {
        return type == TOKEN_IN || (type >= TOKEN_EQUAL && type <= TOKEN_GREATER_EQUAL);
}

static int parse_comparison(Parser *p, Expression **ret) {
        static const ExpressionKind kinds[] = {
                [TOKEN_EQUAL] = EXPRESSION_EQUAL,
                [TOKEN_NOT_EQUAL] = EXPRESSION_NOT_EQUAL,
                [TOKEN_LESS] = EXPRESSION_LESS,
                [TOKEN_LESS_EQUAL] = EXPRESSION_LESS_EQUAL,
                [TOKEN_GREATER] = EXPRESSION_GREATER,
                [TOKEN_GREATER_EQUAL] = EXPRESSION_GREATER_EQUAL,
                [TOKEN_IN] = EXPRESSION_IN,
        };
        Expression *left, *right;
        ExpressionKind kind;
        Place place;
        int r;

        r = parse_postfix(p, &left);
        if (r < 0)
                return r;

        place = p->token.place;
        if (p->token.type == TOKEN_NOT) {
                kind = EXPRESSION_NOT_IN;
                r = next(p);
                if (r < 0)
                        return r;
                if (p->token.type != TOKEN_IN)
                        return parse_error(p, p->token.place,
                                "expected 'in' after 'not', found " FOUND_FORMAT, FOUND(&p->token));
        } else if (token_is_comparison(p->token.type))
                kind = kinds[p->token.type];
        else {
                *ret = left;
                return 0;
        }

        r = next(p);
        if (r < 0)
                return r;
        r = parse_postfix(p, &right);
        if (r < 0)
                return r;
        if (token_is_comparison(p->token.type) || p->token.type == TOKEN_NOT)
                return parse_error(p, p->token.place, "comparisons cannot be chained; join two with 'and'");
        return new_node_over(p, kind, place, left, right, ret);
}

static int parse_not(Parser *p, Expression **ret) {
        Place place = p->token.place;
        Expression *operand;
        int r;

        if (p->token.type != TOKEN_NOT)
                return parse_comparison(p, ret);

        /* The only rule that calls itself without parentheses in between. */
        if (++p->depth > EXPRESSION_DEPTH_MAX)
                return too_deep(p, place);
        r = next(p);
        if (r < 0)
                return r;
        r = parse_not(p, &operand);
        if (r < 0)
                return r;
        p->depth--;

        r = new_node_over(p, EXPRESSION_NOT, place, operand, NULL, ret);
        if (r < 0)
                return r;
        begin_at(*ret, place.line, place.column);
        return 0;
}

/* All operands of one level become one node, so that a long row of them is not deep. */
static int parse_row(Parser *p, TokenType type, ExpressionKind kind,
        int (*parse_operand)(Parser *, Expression **), Expression **ret) {
        Place place = {};
        Expression **list = NULL, *e;
        uint32_t n = 0, allocated = 0;
        int r;

        for (;;) {
                r = parse_operand(p, &e);
                if (r < 0)
                        return r;
                if (n == 0 && p->token.type != type) {
                        *ret = e;
                        return 0;
                }
                if (n == 0)
                        place = p->token.place;
                list = arena_grow(p->arena, list, n, &allocated, sizeof(Expression *));
                list[n++] = e;
                if (p->token.type != type)
                        break;
                r = next(p);
                if (r < 0)
                        return r;
        }

        r = new_node(p, kind, place, list, n, ret);
        if (r < 0)
                return r;
        begin_at(*ret, list[0]->line, list[0]->column);
        return 0;
}

static int parse_and(Parser *p, Expression **ret) {
        return parse_row(p, TOKEN_AND, EXPRESSION_AND, parse_not, ret);
}

static int parse_or(Parser *p, Expression **ret) {
        int r;

        if (++p->depth > EXPRESSION_DEPTH_MAX)
                return too_deep(p, p->token.place);
        r = parse_row(p, TOKEN_OR, EXPRESSION_OR, parse_and, ret);
        p->depth--;
        return r;
}

/* place is that of the first character of the text. */
static int parse(
        Arena *arena, Place place, const char *text, size_t size, Expression **ret, Diagnostic *reterr) {
        Parser p = {
                .arena = arena,
                .position = text,
                .end = text + size,
                .place = place,
                .reterr = reterr,
        };
        Expression *e;
        size_t valid;
        int r;

        if (size > EXPRESSION_TEXT_MAX) {
                (void) parse_error(
                        &p, place, "the expression is longer than %zu bytes", EXPRESSION_TEXT_MAX);
                return -E2BIG;
        }
        valid = utf8_valid_prefix(text, size);
        if (valid < size) {
                advance(&p, valid);
                return parse_error(&p, p.place, "the text is not UTF-8");
        }
        if (place.file)
                p.place.file = arena_strdup(arena, place.file);

        r = next(&p);
        if (r < 0)
                return r;
        if (p.token.type == TOKEN_END)
                return parse_error(&p, place, "the expression is empty");
        r = parse_or(&p, &e);
        if (r < 0)
                return r;
        if (p.token.type != TOKEN_END)
                return parse_error(&p, p.token.place, "expected an operator or the end, found " FOUND_FORMAT,
                        FOUND(&p.token));

        *ret = e;
        return 0;
}

int expression_parse(
        Arena *arena, Place place, const char *text, size_t size, Expression **ret, Diagnostic *reterr) {
        assert(arena);
        assert(text || size == 0);
        assert(ret);
        assert(reterr);

        if (place.line == 0)
                place = (Place){ .file = place.file, .line = 1, .column = 1 };
        else
                place.column++;
        return parse(arena, place, text, size, ret, reterr);
}

int expression_parse_value(Arena *arena, const Value *text, Expression **ret, Diagnostic *reterr) {
        Place place = text->place;

        if (text->type != VALUE_STRING) {
                diagnostic_set(reterr, arena, place, "an expression is written as a string, not as %s",
                        value_kind(text));
                return -EINVAL;
        }
        if (!text->multiline || place.line == 0)
                return expression_parse(arena, place, text->text, text->size, ret, reterr);

        if (text->inline_)
                place.column += 3;
        else {
                place.line++;
                place.column = 1;
        }
        return parse(arena, place, text->text, text->size, ret, reterr);
}

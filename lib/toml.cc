/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "toml-scan.h"
#include "toml.h"

/* The conformance tests ask for 1.0.0, and so do our manuals. The library was built so; this only keeps the headers in
 * step. */
static_assert(!TOML_ENABLE_UNRELEASED_FEATURES && !TOML_HEADER_ONLY && TOML_EXCEPTIONS);

namespace {

using std::string_view;

uint64_t position_of(const toml::source_region &region) {
        return TOML_POSITION(region.begin.line, region.begin.column);
}

struct Scan : TomlScan {
        Scan() : TomlScan{} {
        }
        ~Scan() {
                toml_scan_done(this);
        }
        Scan(const Scan &) = delete;
        Scan &operator=(const Scan &) = delete;
};

class Converter {
      public:
        Converter(Arena *arena, const char *file, const TomlScan &scan)
            : arena_(arena), file_(file), multiline_(scan.multiline),
              multiline_end_(scan.multiline + scan.n_multiline), next_multiline_(multiline_) {
        }

        void convert(const toml::node &node, Value *ret);

      private:
        struct Entry {
                uint64_t position;
                const toml::key *key;
                const toml::node *node;
        };

        Place place(const toml::source_region &region) const {
                return Place{ file_, region.begin.line, region.begin.column };
        }

        void set_text(Value *ret, ValueType type, string_view text);
        void convert_array(const toml::array &array, Value *ret);
        void convert_table(const toml::table &table, Value *ret);
        void set_multiline(Value *value, uint64_t position);

        Arena *arena_;
        const char *file_;
        const uint64_t *multiline_, *multiline_end_;
        const uint64_t
                *next_multiline_; /* the one after the last that was found: the walk goes mostly forward */
        std::vector<Entry> entries_; /* a stack: each table being converted has its members there */
};

void Converter::set_multiline(Value *value, uint64_t position) {
        const uint64_t *found = next_multiline_;

        if (multiline_ == multiline_end_)
                return;
        if (found == multiline_end_ || (*found & ~TOML_POSITION_INLINE) != position)
                found = std::lower_bound(multiline_, multiline_end_, position);
        if (found == multiline_end_ || (*found & ~TOML_POSITION_INLINE) != position)
                return;
        next_multiline_ = found + 1;
        value->multiline = true;
        value->inline_ = *found & TOML_POSITION_INLINE;
}

/* The parts of date-times, as RFC 3339 wants them, appended to a buffer that is large enough. */
char *put_digits(char *p, unsigned value, unsigned n) {
        for (unsigned i = n; i-- > 0; value /= 10)
                p[i] = static_cast<char>('0' + value % 10);
        return p + n;
}

char *put(char *p, const toml::date &date) {
        p = put_digits(p, date.year, 4);
        *p++ = '-';
        p = put_digits(p, date.month, 2);
        *p++ = '-';
        return put_digits(p, date.day, 2);
}

char *put(char *p, const toml::time &time) {
        p = put_digits(p, time.hour, 2);
        *p++ = ':';
        p = put_digits(p, time.minute, 2);
        *p++ = ':';
        p = put_digits(p, time.second, 2);
        if (time.nanosecond == 0)
                return p;
        *p++ = '.';
        p = put_digits(p, time.nanosecond, 9);
        while (p[-1] == '0')
                p--;
        return p;
}

char *put(char *p, const toml::time_offset &offset) {
        unsigned minutes = static_cast<unsigned>(offset.minutes < 0 ? -offset.minutes : offset.minutes);

        if (minutes == 0) {
                *p++ = 'Z';
                return p;
        }
        *p++ = offset.minutes < 0 ? '-' : '+';
        p = put_digits(p, minutes / 60, 2);
        *p++ = ':';
        return put_digits(p, minutes % 60, 2);
}

char *put(char *p, const toml::date_time &date_time) {
        p = put(p, date_time.date);
        *p++ = 'T';
        p = put(p, date_time.time);
        return date_time.offset ? put(p, *date_time.offset) : p;
}

void Converter::set_text(Value *ret, ValueType type, string_view text) {
        ret->type = type;
        ret->text = arena_strndup(arena_, text.data(), text.size());
        ret->size = text.size();
}

void Converter::convert_array(const toml::array &array, Value *ret) {
        size_t n = array.size();

        ret->type = VALUE_ARRAY;
        ret->items = arena_new_array(arena_, Value, n);
        ret->n_items = ret->n_items_allocated = static_cast<uint32_t>(n);
        for (size_t i = 0; i < n; i++)
                convert(array[i], &ret->items[i]);
}

void Converter::convert_table(const toml::table &table, Value *ret) {
        size_t n = table.size(), first = entries_.size();
        bool sorted = true;

        ret->type = VALUE_TABLE;
        ret->members = arena_new_array(arena_, Member, n);
        ret->n_members = ret->n_members_allocated = static_cast<uint32_t>(n);

        for (auto &&[key, node] : table) {
                uint64_t position = position_of(key.source());

                sorted = sorted && (entries_.size() == first || entries_.back().position < position);
                entries_.push_back(Entry{ position, &key, &node });
        }
        if (!sorted)
                std::sort(entries_.begin() + static_cast<ptrdiff_t>(first), entries_.end(),
                        [](const Entry &a, const Entry &b) { return a.position < b.position; });

        for (size_t i = 0; i < n; i++) {
                Entry entry = entries_[first + i]; /* a copy: the vector grows meanwhile */
                Member *member = &ret->members[i];
                string_view key = entry.key->str();

                member->key = arena_strndup(arena_, key.data(), key.size());
                member->key_size = key.size();
                member->place = place(entry.key->source());
                convert(*entry.node, &member->value);
        }
        entries_.resize(first);
}

/* *ret is zeroed. */
void Converter::convert(const toml::node &node, Value *ret) {
        char buffer[64], *end;

        ret->place = place(node.source());

        switch (node.type()) {
        case toml::node_type::table: convert_table(*node.as_table(), ret); break;
        case toml::node_type::array: convert_array(*node.as_array(), ret); break;
        case toml::node_type::string:
                set_text(ret, VALUE_STRING, node.as_string()->get());
                set_multiline(ret, position_of(node.source()));
                break;
        case toml::node_type::integer:
                ret->type = VALUE_INTEGER;
                ret->integer = node.as_integer()->get();
                break;
        case toml::node_type::floating_point:
                ret->type = VALUE_FLOAT;
                ret->real = node.as_floating_point()->get();
                break;
        case toml::node_type::boolean:
                ret->type = VALUE_BOOLEAN;
                ret->boolean = node.as_boolean()->get();
                break;
        case toml::node_type::date:
                end = put(buffer, node.as_date()->get());
                set_text(ret, VALUE_LOCAL_DATE, string_view(buffer, static_cast<size_t>(end - buffer)));
                break;
        case toml::node_type::time:
                end = put(buffer, node.as_time()->get());
                set_text(ret, VALUE_LOCAL_TIME, string_view(buffer, static_cast<size_t>(end - buffer)));
                break;
        case toml::node_type::date_time: {
                const toml::date_time &date_time = node.as_date_time()->get();

                end = put(buffer, date_time);
                set_text(ret, date_time.offset ? VALUE_OFFSET_DATETIME : VALUE_LOCAL_DATETIME,
                        string_view(buffer, static_cast<size_t>(end - buffer)));
                break;
        }
        case toml::node_type::none: break;
        }
}

bool starts_with(string_view text, string_view prefix) {
        return text.substr(0, prefix.size()) == prefix;
}

bool ends_with(string_view text, string_view suffix) {
        return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool is_word(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               c == '+' || c == '-' || c == '.';
}

size_t offset_of(string_view text, const Place &place) {
        size_t at = 0;

        for (uint32_t line = 1; line < place.line; line++) {
                at = text.find('\n', at);
                if (at == text.npos)
                        return text.size();
                at++;
        }
        if (at == 0 && starts_with(text, "\xef\xbb\xbf"))
                at = 3;
        for (uint32_t column = 1; column < place.column && at < text.size(); column++)
                do
                        at++;
                while (at < text.size() && (text[at] & 0xc0) == 0x80);
        return at;
}

/*
 * The library says "Error while parsing SCOPE: WHAT". Its WHAT mostly tells what would be right; the sentences here are
 * instead of those that do not.
 */
std::string translate(string_view description, string_view text, Place *place) {
        static const struct {
                string_view theirs, ours; /* what begins with theirs begins with ours */
                bool whole;               /* and ends there */
        } sentences[] = {
                { "could not determine value type", "expected a value (strings are written in quotes)",
                        true },
                { "tables with blank bare keys are explicitly prohibited",
                        "expected the table's name between the brackets", true },
                { "leading zeroes are prohibited",
                        "a number may not begin with 0; was a string in quotes meant, as in mode = "
                        "\"0644\"?",
                        true },
                { "expected a comment or whitespace", "expected a comment or the end of the line", false },
                { "expected keys, tables, whitespace or comments", "expected a key, a [table] or a comment",
                        false },
                { "expected bare key starting character or string delimiter", "expected a key", false },
                { "expected expected digit", "expected digit", false },
        };
        constexpr string_view prefix = "Error while parsing ";
        string_view what = description, scope;
        std::string message;

        if (starts_with(what, prefix)) {
                size_t colon = what.find(": ");

                if (colon != what.npos) {
                        scope = what.substr(prefix.size(), colon - prefix.size());
                        what.remove_prefix(colon + 2);
                }
        }

        if (starts_with(what, "encountered end-of-file")) {
                message = "unexpected end of file";
                if (ends_with(scope, "string"))
                        message += " in a string: the closing quotes are missing";
                else if (scope == "array" || scope == "table header")
                        message.append(" in ").append(scope).append(": the closing ']' is missing");
                else if (scope == "inline table")
                        message += " in inline table: the closing '}' is missing";
                else
                        message += ": expected a key, '=' and a value";
                return message;
        }

        if (starts_with(what, "unescaped control characters")) {
                size_t at = offset_of(text, *place);

                if (at < text.size() && (text[at] == '\n' || text[at] == '\r'))
                        return "unexpected end of line in a string: the closing quote is missing";
        }

        if (starts_with(what, "leading zeroes are prohibited")) {
                /* It says so where the number ends; the place is to be where it begins. */
                for (size_t at = offset_of(text, *place); at > 0 && is_word(text[at - 1]); at--)
                        place->column--;
                return "a number may not begin with 0; was a string in quotes meant, as in mode = \"0644\"?";
        }

        if (scope == "inline table" && ends_with(what, "saw '\\n'"))
                return "an inline table must be on one line: expected '}' or more of it";

        for (auto &s : sentences)
                if (starts_with(what, s.theirs)) {
                        message = s.ours;
                        if (!s.whole)
                                message.append(what.substr(s.theirs.size()));
                        return message;
                }

        for (char c : what)
                if (c != '\n' && c != '\r') /* of what it saw: the end of the line is not meant */
                        message += c;
        if (!message.empty() && message[0] >= 'A' && message[0] <= 'Z')
                message[0] = static_cast<char>(message[0] - 'A' + 'a');
        if (starts_with(what, "cannot redefine existing ")) {
                /* The library spells names that need quotes wrongly: better the line itself. */
                if (message.find('"') != std::string::npos) {
                        size_t start = offset_of(text, Place{ place->file, place->line, 1 });

                        message.resize(message.find(" '"));
                        if (start < text.size())
                                message.append(": ").append(
                                        text.substr(start, text.find_first_of("\r\n", start) - start)
                                                .substr(0, 200));
                }
                message += "; it may be written only once";
        }
        while (!message.empty() && message.back() == '.')
                message.pop_back();
        return message;
}

} // namespace

int toml_parse(
        Arena *arena, const char *file, const char *text, size_t size, Value *ret, Diagnostic *reterr) {
        Place place = { file, 0, 0 };

        try {
                Scan scan;
                int r = toml_scan(arena, file, text, size, &scan, reterr);

                if (r < 0)
                        return r;

                try {
                        /* No path for the library: each node would count a reference to it. */
                        toml::table root = toml::parse(string_view(text, size));
                        Value value = {};

                        Converter(arena, file, scan).convert(root, &value);
                        *ret = value;
                        return 0;
                } catch (const toml::parse_error &error) {
                        std::string message;

                        place.line = error.source().begin.line;
                        place.column = error.source().begin.column;
                        message = translate(error.description(), string_view(text, size), &place);
                        return toml_error(arena, place, message.data(), message.size(), reterr);
                }
        } catch (const std::bad_alloc &) {
                diagnostic_set(reterr, arena, place, "out of memory");
                return -ENOMEM;
        } catch (const std::exception &error) {
                return toml_error(arena, place, error.what(), strlen(error.what()), reterr);
        } catch (...) {
                diagnostic_set(reterr, arena, place, "failed to parse the file");
                return -EINVAL;
        }
}

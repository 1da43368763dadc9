/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdalign.h>
#include <sys/mman.h>

#include "identity.h"
#include "image.h"

static size_t round_to_pages(size_t size) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);

        return (size + page - 1) & ~(page - 1);
}

int image_new(Image **ret) {
        _cleanup_(image_unrefp) Image *image = NULL;
        void *base;

        assert(ret);

        image = malloc(sizeof(*image));
        if (!image)
                return -ENOMEM;
        *image = (Image){ .n_ref = 1, .memfd = -EBADF };

        image->memfd = memfd_create("agentd-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (image->memfd < 0)
                return -errno;
        if (ftruncate(image->memfd, IMAGE_SIZE_MAX) < 0)
                return -errno;
        /* Before the fork, so that no module can make it grow beyond what the engine expects. */
        if (fcntl(image->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return -errno;

        base = mmap(NULL, IMAGE_SIZE_MAX, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
                return -errno;
        image->base = base;
        image->mapped = IMAGE_SIZE_MAX;

        *ret = TAKE_PTR(image);
        return 0;
}

Image *image_ref(Image *image) {
        assert(image->n_ref > 0);
        image->n_ref++;
        return image;
}

Image *image_unref(Image *image) {
        if (!image)
                return NULL;
        assert(image->n_ref > 0);
        if (--image->n_ref > 0)
                return NULL;

        if (image->base)
                (void) munmap(image->base, image->mapped);
        safe_close(image->memfd);
        identity_table_free(image->identities);
        free(image);
        return NULL;
}

int image_open_arena(Image *image, Arena *ret) {
        void *p;

        p = mmap(image->base, IMAGE_SIZE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, image->memfd,
                0);
        if (p == MAP_FAILED)
                return -errno;

        *ret = (Arena){ .base = p, .limit = IMAGE_SIZE_MAX };
        (void) arena_new(ret, ImageHeader);
        return 0;
}

int image_adopt(Image *image, uint64_t used, const char **ret_error) {
        const char *error;
        size_t size;
        void *p;

        assert(!image->header);

        if (used < sizeof(ImageHeader) || used > IMAGE_SIZE_MAX) {
                *ret_error = "its size is out of range";
                return -EBADMSG;
        }

        if (fcntl(image->memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
                *ret_error = errno == EBUSY
                                     ? "a process that a module left behind still has it mapped for writing"
                                     : "it cannot be sealed";
                return -errno;
        }

        /* Private: kernels before 6.7 refuse a shared mapping of a file sealed against writing. It makes no
         * difference to memory, as nobody writes. */
        size = round_to_pages((size_t) used);
        p = mmap(image->base, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, image->memfd, 0);
        if (p == MAP_FAILED) {
                *ret_error = "it cannot be mapped";
                return -errno;
        }
        if (size < image->mapped)
                (void) munmap(image->base + size, image->mapped - size);
        image->mapped = size;
        image->memfd = safe_close(image->memfd);

        error = image_validate(image->base, (size_t) used);
        if (error) {
                *ret_error = error;
                return -EBADMSG;
        }

        image->header = (const ImageHeader *) image->base;
        return 0;
}

bool image_state_is_same(const Image *a, uint32_t i, const Image *b, uint32_t k) {
        const ImageState *x = image_state(a, i), *y = image_state(b, k);
        const ImageModule *m = image_array(a, modules, ImageModule) + image_type(a, x->type)->module,
                          *n = image_array(b, modules, ImageModule) + image_type(b, y->type)->module;

        return memcmp(x->hash, y->hash, sizeof(x->hash)) == 0 && m->build_id_size == n->build_id_size &&
               memcmp(m->build_id, n->build_id, m->build_id_size) == 0;
}

static bool list_has(const Image *image, ImageArray list, const char *text) {
        for (uint32_t k = 0; k < list.n; k++)
                if (streq(image_list_text(image, list, k), text))
                        return true;
        return false;
}

bool image_state_has_tag(const Image *image, uint32_t state, const char *tag) {
        const ImageExtra *extra = image_extra(image, state);

        return list_has(image, image_array(image, roles, ImageRole)[image_state(image, state)->role].tags,
                       tag) ||
               (extra && list_has(image, extra->tags, tag));
}

const ImageListener *image_listeners(const Image *image, uint32_t state, uint32_t *ret_n) {
        const ImageListener *list = image_array(image, listeners, ImageListener);
        uint32_t first = 0, end = image->header->listeners.n, n = 0;

        while (first < end) {
                uint32_t middle = first + (end - first) / 2;

                if (list[middle].to < state)
                        first = middle + 1;
                else
                        end = middle;
        }
        while (first + n < image->header->listeners.n && list[first + n].to == state)
                n++;
        *ret_n = n;
        return list + first;
}

const char *hook_to_string(Hook hook) {
        static const char *const names[_HOOK_MAX] = {
                [HOOK_BEFORE_CHECK] = "before_check",
                [HOOK_AFTER_CHECK] = "after_check",
                [HOOK_BEFORE_CHANGE] = "before_change",
                [HOOK_AFTER_CHANGE] = "after_change",
                [HOOK_ON_SUCCESS] = "on_success",
                [HOOK_ON_FAILURE] = "on_failure",
        };

        assert(hook < _HOOK_MAX);
        return names[hook];
}

bool image_lists_are_same(const Image *a, ImageArray x, const Image *b, ImageArray y) {
        if (x.n != y.n)
                return false;
        for (uint32_t i = 0; i < x.n; i++)
                if (!streq(image_list_text(a, x, i), image_list_text(b, y, i)))
                        return false;
        return true;
}

static const ImageExtra no_extra;

bool image_hooks_are_same(const Image *a, uint32_t i, const Image *b, uint32_t k) {
        const ImageExtra *x = image_extra(a, i) ?: &no_extra, *y = image_extra(b, k) ?: &no_extra;

        for (Hook hook = 0; hook < _HOOK_MAX; hook++)
                if (!image_lists_are_same(a, x->hooks[hook], b, y->hooks[hook]))
                        return false;
        return true;
}

bool image_extra_is_same(const Image *a, uint32_t i, const Image *b, uint32_t k) {
        const ImageExtra *x = image_extra(a, i), *y = image_extra(b, k);

        if (!x || !y)
                return x == y;
        return x->retries == y->retries && x->retry_delay_usec == y->retry_delay_usec &&
               x->interval_usec == y->interval_usec && image_lists_are_same(a, x->tags, b, y->tags) &&
               image_lists_are_same(a, x->was, b, y->was) && x->removal.n == y->removal.n &&
               (x->removal.n == 0 || streq(image_text(a, x->removal), image_text(b, y->removal))) &&
               image_hooks_are_same(a, i, b, k);
}

const char *image_trigger_kind_to_string(uint32_t kind) {
        static const char *const names[_IMAGE_TRIGGER_MAX] = {
                [IMAGE_TRIGGER_PATH] = "path",
                [IMAGE_TRIGGER_EVERY] = "every",
        };

        assert(kind < _IMAGE_TRIGGER_MAX);
        return names[kind];
}

int path_compare(const char *a, const char *b) {
        while (*a && *a == *b) {
                a++;
                b++;
        }
        /* A slash comes before all else that a name can go on with. */
        return (*a == '/' ? 1 : *a ? 1 + (uint8_t) *a : 0) - (*b == '/' ? 1 : *b ? 1 + (uint8_t) *b : 0);
}

/* ---- Validation ------------------------------------------------------------------------------------------------ */

typedef struct Validation {
        const uint8_t *base;
        size_t size;
} Validation;

static bool array_fits(const Validation *v, ImageArray array, size_t element_size, size_t alignment) {
        if (array.n == 0)
                return true;
        return array.offset % alignment == 0 && array.offset <= v->size &&
               array.n <= (v->size - array.offset) / element_size;
}

static bool text_fits(const Validation *v, ImageText text) {
        /* Room for the terminator, and it is one. Text with a NUL inside would make names ambiguous. */
        return text.offset < v->size && text.n < v->size - text.offset &&
               v->base[text.offset + text.n] == 0 && memchr(v->base + text.offset, 0, text.n) == NULL;
}

/* Names go into JSON, which takes nothing else. */
static bool name_fits(const Validation *v, ImageText text) {
        return text_fits(v, text) && utf8_is_valid((const char *) v->base + text.offset, text.n);
}

static bool slice_fits(ImageArray slice, uint32_t n) {
        return slice.offset <= n && slice.n <= n - slice.offset;
}

#define ARRAY_FITS(v, array, type) array_fits((v), (array), sizeof(type), alignof(type))
#define ARRAY(v, array, type)      ((const type *) ((v)->base + (array).offset))

static const char *validate_extras(const Validation *v, const ImageHeader *h) {
        for (uint32_t i = 0; i < h->extras.n; i++) {
                const ImageExtra *extra = ARRAY(v, h->extras, ImageExtra) + i;
                bool good = extra->state < h->states.n &&
                            ARRAY(v, h->states, ImageState)[extra->state].extra == i + 1 &&
                            extra->retry_delay_usec > 0 && slice_fits(extra->tags, h->texts.n) &&
                            slice_fits(extra->was, h->texts.n) &&
                            (extra->removal.n == 0 || name_fits(v, extra->removal)) &&
                            (extra->name.n == 0 || name_fits(v, extra->name));

                for (Hook hook = 0; hook < _HOOK_MAX; hook++)
                        good = good && slice_fits(extra->hooks[hook], h->texts.n);
                if (!good)
                        return "a state's extras are not well-formed";
        }
        for (uint32_t i = 0; i < h->listeners.n; i++) {
                const ImageListener *listener = ARRAY(v, h->listeners, ImageListener) + i;

                if (listener->to >= h->states.n || listener->state >= h->states.n || listener->what == 0 ||
                        (listener->what & ~_IMAGE_LISTEN_ALL) != 0 ||
                        (i > 0 && listener[-1].to > listener->to))
                        return "a listener is not well-formed";
        }
        for (uint32_t i = 0; i < h->texts.n; i++)
                if (!name_fits(v, ARRAY(v, h->texts, ImageText)[i]))
                        return "a text is not well-formed";
        return NULL;
}

static const char *validate_triggers(const Validation *v, const ImageHeader *h) {
        for (uint32_t i = 0; i < h->triggers.n; i++) {
                const ImageTrigger *trigger = ARRAY(v, h->triggers, ImageTrigger) + i;
                bool good = name_fits(v, trigger->name) && trigger->kind < _IMAGE_TRIGGER_MAX &&
                            trigger->role < h->roles.n && trigger->recursive <= 1 &&
                            slice_fits(trigger->states, h->triggered.n);

                if (good && trigger->kind == IMAGE_TRIGGER_PATH)
                        good = name_fits(v, trigger->path) && v->base[trigger->path.offset] == '/' &&
                               (!trigger->recursive || text_fits(v, trigger->exclude));
                else if (good)
                        good = trigger->every_usec > 0;
                if (!good)
                        return "a trigger is not well-formed";
        }
        for (uint32_t i = 0; i < h->triggered.n; i++)
                if (ARRAY(v, h->triggered, uint32_t)[i] >= h->states.n)
                        return "a trigger is for no state";
        return NULL;
}

const char *image_validate(const uint8_t *base, size_t size) {
        const Validation v = { .base = base, .size = size };
        const ImageHeader *h = (const ImageHeader *) base;
        const uint32_t *dependents;

        if (size < sizeof(*h) || h->magic != IMAGE_MAGIC)
                return "it does not begin as an image does";
        if (h->version != IMAGE_VERSION)
                return "it is of another version";
        if (h->base != (uint64_t) (uintptr_t) base || h->used != size)
                return "it was built for another address or size";

        if (settings_validate(&h->settings))
                return "a setting is out of range";
        if (!ARRAY_FITS(&v, h->modules, ImageModule) || !ARRAY_FITS(&v, h->types, ImageType) ||
                !ARRAY_FITS(&v, h->roles, ImageRole) || !ARRAY_FITS(&v, h->states, ImageState) ||
                !ARRAY_FITS(&v, h->nodes, ImageNode) || !ARRAY_FITS(&v, h->dependents, uint32_t) ||
                !ARRAY_FITS(&v, h->watches, ImageWatch) || !ARRAY_FITS(&v, h->files, ImageFile) ||
                !ARRAY_FITS(&v, h->facts, ImageFact) || !ARRAY_FITS(&v, h->paths, ImagePath) ||
                !ARRAY_FITS(&v, h->extras, ImageExtra) || !ARRAY_FITS(&v, h->listeners, ImageListener) ||
                !ARRAY_FITS(&v, h->texts, ImageText) || !ARRAY_FITS(&v, h->triggers, ImageTrigger) ||
                !ARRAY_FITS(&v, h->triggered, uint32_t))
                return "an array lies outside";

        for (uint32_t i = 0; i < h->modules.n; i++) {
                const ImageModule *module = ARRAY(&v, h->modules, ImageModule) + i;

                if (!text_fits(&v, module->path) || module->build_id_size > IMAGE_BUILD_ID_SIZE)
                        return "a module is not well-formed";
        }

        for (uint32_t i = 0; i < h->types.n; i++) {
                const ImageType *type = ARRAY(&v, h->types, ImageType) + i;

                if (!name_fits(&v, type->name) || type->module >= h->modules.n)
                        return "a state type is not well-formed";
        }

        for (uint32_t i = 0; i < h->roles.n; i++) {
                const ImageRole *role = ARRAY(&v, h->roles, ImageRole) + i;

                if (!name_fits(&v, role->name) || !text_fits(&v, role->path) ||
                        !slice_fits(role->tags, h->texts.n))
                        return "a role is not well-formed";
        }

        for (uint32_t i = 0; i < h->states.n; i++) {
                const ImageState *state = ARRAY(&v, h->states, ImageState) + i;
                const ImageType *type;

                if (!name_fits(&v, state->id) || state->type >= h->types.n || state->role >= h->roles.n ||
                        !slice_fits(state->watches, h->watches.n) || state->timeout_usec == 0 ||
                        state->when >= size || state->data >= size || state->batch_key > h->n_batch_keys ||
                        state->extra > h->extras.n || (state->listens & ~_IMAGE_LISTEN_ALL) != 0)
                        return "a state is not well-formed";

                type = ARRAY(&v, h->types, ImageType) + state->type;
                if (state->id.n <= type->name.n ||
                        memcmp(base + state->id.offset, base + type->name.offset, type->name.n) != 0 ||
                        base[state->id.offset + type->name.n] != ':')
                        return "a state's id does not begin with its type";
        }

        if (h->n_batch_keys > h->states.n)
                return "there are too many keys of batches";
        if (h->nodes.n < h->states.n)
                return "a state has no node";
        for (uint32_t i = 0; i < h->nodes.n; i++)
                if (!slice_fits(ARRAY(&v, h->nodes, ImageNode)[i].dependents, h->dependents.n))
                        return "a node is not well-formed";

        dependents = ARRAY(&v, h->dependents, uint32_t);
        for (uint32_t i = 0; i < h->dependents.n; i++)
                if (dependents[i] >= h->nodes.n)
                        return "an edge leads nowhere";

        for (uint32_t i = 0; i < h->watches.n; i++) {
                const ImageWatch *watch = ARRAY(&v, h->watches, ImageWatch) + i;

                if (!text_fits(&v, watch->what) || watch->kind >= _IMAGE_WATCH_MAX ||
                        (watch->kind == IMAGE_WATCH_TREE && !text_fits(&v, watch->exclude)))
                        return "a watch is not well-formed";
        }

        for (uint32_t i = 0; i < h->files.n; i++) {
                const ImageFile *file = ARRAY(&v, h->files, ImageFile) + i;

                if (!text_fits(&v, file->path) || file->is_directory > 1)
                        return "a file is not well-formed";
        }
        for (uint32_t i = 0; i < h->facts.n; i++)
                if (!text_fits(&v, ARRAY(&v, h->facts, ImageFact)[i].name))
                        return "a fact is not well-formed";
        for (uint32_t i = 0; i < h->paths.n; i++) {
                const ImagePath *path = ARRAY(&v, h->paths, ImagePath) + i;

                if (!text_fits(&v, path->path) || path->state >= h->states.n)
                        return "a path is not well-formed";
        }

        return validate_extras(&v, h) ?: validate_triggers(&v, h);
}

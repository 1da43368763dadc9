/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "watch-list.h"

typedef struct Watched {
        const char *what;
        uint32_t state;
        const ImageWatch *watch;
} Watched;

static int compare(const void *a, const void *b) {
        const Watched *x = a, *y = b;
        int r = strcmp(x->what, y->what);

        return r != 0 ? r : (x->state > y->state) - (x->state < y->state);
}

static uint32_t collect(const Image *image, unsigned kinds, Watched *list) {
        const ImageWatch *watches = image_array(image, watches, ImageWatch);
        uint32_t n = 0;

        for (uint32_t i = 0; i < image_n_states(image); i++) {
                const ImageState *state = image_state(image, i);

                if (state->flags & IMAGE_STATE_UNWATCHED)
                        continue;
                for (uint32_t k = 0; k < state->watches.n; k++) {
                        const ImageWatch *watch = &watches[state->watches.offset + k];

                        if (kinds & 1U << watch->kind)
                                list[n++] = (Watched){
                                        .what = image_text(image, watch->what),
                                        .state = i,
                                        .watch = watch,
                                };
                }
        }
        for (uint32_t i = 0; kinds & 1U << IMAGE_WATCH_PATH && i < image_n_triggers(image); i++) {
                const ImageTrigger *trigger = image_trigger(image, i);

                if (trigger->kind == IMAGE_TRIGGER_PATH)
                        list[n++] = (Watched){
                                .what = image_text(image, trigger->path),
                                .state = image_n_states(image) + i,
                        };
        }
        qsort(list, n, sizeof(*list), compare);
        return n;
}

int watch_list_init(WatchList *list, const Image *image, unsigned kinds) {
        size_t n_watches = (size_t) image->header->watches.n + image_n_triggers(image) + 1;
        _cleanup_free_ Watched *all = malloc(n_watches * sizeof(*all));
        uint32_t n;

        *list = (WatchList){};
        if (!all)
                return -ENOMEM;
        n = collect(image, kinds, all);
        if (n == 0)
                return 0;
        list->what = malloc(n * sizeof(*list->what));
        list->first = malloc(((size_t) n + 1) * sizeof(*list->first));
        list->states = malloc(n * sizeof(*list->states));
        list->watches = malloc(n * sizeof(*list->watches));
        if (!list->what || !list->first || !list->states || !list->watches) {
                watch_list_done(list);
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < n; i++) {
                if (i == 0 || !streq(all[i].what, all[i - 1].what)) {
                        list->what[list->n] = all[i].what;
                        list->first[list->n++] = i;
                }
                list->states[i] = all[i].state;
                list->watches[i] = all[i].watch;
        }
        list->first[list->n] = n;
        return 0;
}

void watch_list_done(WatchList *list) {
        free(list->what);
        free(list->first);
        free(list->states);
        free(list->watches);
        *list = (WatchList){};
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the states of an image watch, of some kinds: each thing once, with the states that it is of. */

#include "image.h"
#include "util.h"

typedef struct WatchList {
        uint32_t n;
        const char **what; /* in the image: good while that is there */
        /* Thing i is watched for states[first[i]] up to the one before states[first[i + 1]], as watches[…] has it. */
        uint32_t *first, *states;
        const ImageWatch **watches;
} WatchList;

/* kinds: a bit for each ImageWatchKind. States that are not to be watched have none. Triggers of paths come with those of states: they
 * are numbered after the states, and their watch is NULL. Return: 0; -ENOMEM: then it stays empty. */
int watch_list_init(WatchList *list, const Image *image, unsigned kinds);
void watch_list_done(WatchList *list);

/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "util.h"

/* Runs a fuzz target over each file of the directories given: what a fuzzer once found stays fixed. */

static void run_file(int directory, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ uint8_t *data = NULL;
        struct stat st;

        fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                err(1, "Failed to open '%s'", name);
        if (!S_ISREG(st.st_mode))
                return;

        /* Exactly as large as the input is, so that a sanitizer sees reads beyond it. */
        data = malloc((size_t) st.st_size);
        if (!data && st.st_size > 0)
                err(1, "Failed to allocate memory for '%s'", name);
        if (read_full(fd, data, (size_t) st.st_size) != st.st_size)
                errx(1, "Failed to read '%s'", name);

        fprintf(stderr, "%s\n", name);
        (void) LLVMFuzzerTestOneInput(data, (size_t) st.st_size);
}

int main(int argc, char **argv) {
        size_t n = 0;

        for (int i = 1; i < argc; i++) {
                DIR *directory = opendir(argv[i]);

                if (!directory)
                        err(1, "Failed to open '%s'", argv[i]);
                for (struct dirent *entry; (entry = readdir(directory));)
                        if (entry->d_name[0] != '.') {
                                run_file(dirfd(directory), entry->d_name);
                                n++;
                        }
                closedir(directory);
        }

        if (n == 0)
                errx(1, "There is no corpus");
        return 0;
}

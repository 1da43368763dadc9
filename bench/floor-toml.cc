/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The floor of loading roles: toml++ parses each of them, and that is all. They are read before the clock starts.
 * Prints microseconds of wall time and of CPU, for all of them.
 *
 *      floor-toml FILE...
 */

#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

static double usec(clockid_t clock) {
        struct timespec now;

        (void) clock_gettime(clock, &now);
        return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
        std::vector<std::string> texts;
        size_t n = 0;

        for (int i = 1; i < argc; i++) {
                std::ifstream file(argv[i], std::ios::binary);

                texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
        }

        double wall = usec(CLOCK_MONOTONIC), cpu = usec(CLOCK_PROCESS_CPUTIME_ID);
        for (const std::string &text : texts)
                n += toml::parse(text).size();
        (void) std::printf(
                "%.1f %.1f\n", usec(CLOCK_MONOTONIC) - wall, usec(CLOCK_PROCESS_CPUTIME_ID) - cpu);
        return n > 0 ? 0 : 1;
}

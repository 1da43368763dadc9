#include "test.h"
TEST(x) {
}
RUN_TESTS(RUN(x))

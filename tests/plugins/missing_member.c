/* A connection without run(). */
#include "fixture.h"

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = NULL);
FIXTURE_PLUGIN("missing_member", .connection = &connection);

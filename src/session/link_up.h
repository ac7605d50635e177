/* link_up: what comes from streams on other workers, at the home of the session: the messages that
 * session/link.h sends. */
#pragma once
#include "session/link.h"

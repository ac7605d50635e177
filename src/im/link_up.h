/* link_up: what comes from streams on other workers, at the home of the session: the messages that
 * im/link.h sends. */
#pragma once
#include "im/link.h"

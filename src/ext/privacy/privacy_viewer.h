/* privacy_viewer: shows operators a user's availability as it is, or as a watcher sees it, with
 * every rule that was tested. */
#pragma once
#include "base/command.h"

extern struct command presence_view;

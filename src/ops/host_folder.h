/* host_folder: the folder of the server's host in which operators who are elsewhere may make files:
 * backups, exported rooms (struct command.inside). */
#pragma once
#include "base/setting.h"

extern struct setting host_folder;

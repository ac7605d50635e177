/* import_room: makes a room of a source by the command `room import`. On the worker that imports.
 */
#pragma once

struct import;

/* Makes x->room; import_room_end() is called when that is done. */
void import_room(struct import *x);

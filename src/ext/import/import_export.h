/* import_export: accounts as a file of the portable format (XEP-0227), with the command `export
 * xep0227`. Each feature gives its own elements (core/portable.h).
 *
 * Limits: one export at a time; PIE_ELEMENT_MAX bytes of an account. */
#pragma once

extern struct command export_pie_command;

/* s2s_show: the command `s2s show`: all that is known of one domain, as names and values. */
#pragma once

extern struct command s2s_show_command;

/* s2s_list_commands: the commands `s2s-route …` and `s2s-demand …`, and how their changes reach all
 * workers. */
#pragma once

struct feature;

extern const struct feature s2s_lists_feature;

/* config_check: the command `config check`, which reads a node file as a start would. */
#pragma once

struct feature;

extern const struct feature config_check_feature;

/* Sets the file that is checked if the command names none. The caller keeps the text. */
void config_check_path(const char *path);
const char *config_check_own_path(void);

/* config_check: the command `config check`, which reads a node file as a start would. */
#pragma once

struct feature;

extern const struct feature config_check_feature;

/* The file to check where the command names none; set at start, kept by the caller. */
void config_check_path(const char *path);

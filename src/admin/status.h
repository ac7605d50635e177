/* status: the commands `status`, `alarm list`, `metrics` and `log …`. */
#pragma once

struct feature;

extern const struct feature status_feature;
extern const struct feature metrics_feature; /* metrics_text.c */
extern const struct feature log_feature;

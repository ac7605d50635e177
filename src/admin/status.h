/* status: commands that show how the server is: status, alarm list, metrics; and those that steer
 * the log. They read what other parts count and raise. */
#pragma once

struct feature;

extern const struct feature status_feature;
extern const struct feature metrics_feature; /* metrics_text.c */
extern const struct feature log_feature;

/* import_report: what an import tells: how far it is, and the lines of its report. On the worker
 * that imports. */
#pragma once
#include "base/slice.h"

struct import;
struct import_user;

void import_note_progress(const struct import *x);
void import_tell(struct import *x); /* to the log, too */
/* A line of the report: `which` is behind `what`, if it is not empty. */
void import_report(struct import *x, slice user, const char *what, slice which);
void import_report_disabled(struct import *x, slice user);
void import_refuse(struct import *x, struct import_user *u, const char *why);
/* Whether it is to end before its next step. */
bool import_canceled(struct import *x);
void import_tell_progress(struct import *x);

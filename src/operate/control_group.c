#include "operate/control_group.h"
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void control_group(char out[CONTROL_GROUP_BYTES], const char *path)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) : 1,
             slash != NULL ? path : ".");
    *out = '\0';
    if ((stat(path, &st) != 0 && stat(folder, &st) != 0) || st.st_gid == 0)
        return;
    const struct group *group = getgrgid(st.st_gid);
    if (group == NULL)
        snprintf(out, CONTROL_GROUP_BYTES, "%u", (unsigned)st.st_gid);
    else if (strlen(group->gr_name) < CONTROL_GROUP_BYTES)
        snprintf(out, CONTROL_GROUP_BYTES, "%s", group->gr_name);
}

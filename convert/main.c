/* muster-convert: makes of the data of another server a folder that Muster imports
 * (convert/output.h). It needs no server. */
#include "convert/convert.h"
#include "convert/output.h"

enum { DONE, FAILED, USAGE, IS_PIE };

static const struct source {
    const char *name, *option; /* option: NULL: it has none */
    convert_fn *convert;
    const char *expects;
} sources[] = {
    { "ejabberd", NULL, ejabberd_convert,
      "a file of `ejabberdctl dump` with accounts, or one of XEP-0227" },
    { "prosody", "--groups-file", prosody_convert,
      "the data_path of Prosody, such as /var/lib/prosody, which has a folder for each host and in "
      "it a folder accounts with .dat files, or a file prosody.sqlite" },
    { "openfire", "--domain", openfire_convert,
      "a file of the plugin User Import/Export: <Openfire/> with a <User/>, or one of XEP-0227" },
};
enum { SOURCES = sizeof sources / sizeof sources[0] };

static int usage(void)
{
    fputs("Usage: muster-convert ejabberd FILE OUTPUT\n"
          "       muster-convert prosody FOLDER OUTPUT [--groups-file FILE]\n"
          "       muster-convert openfire FILE OUTPUT [--domain DOMAIN]\n\n"
          "Makes the folder OUTPUT of the data of another server: its accounts as XEP-0227, its\n"
          "rooms and groups as lines of JSON. `musterctl import xep0227 OUTPUT` imports it;\n"
          "`musterctl import ejabberd|prosody|openfire` does both at once. What is not converted\n"
          "is told by name, with its number.\n",
          stderr);
    return USAGE;
}

static int convert(const struct source *s, const char *const word[2], const char *option,
                   bool progress)
{
    struct output o;
    struct why why = { "" }, close_why;
    enum err e = output_open(&o, word[1], &why);
    o.progress = progress;
    if (e == OK)
        e = s->convert(&o, word[0], option, &why);
    /* A file of groups beside the source is no sign that the source is right. */
    if (e == OK && o.users + o.rooms + (option == NULL ? o.groups : 0) == 0) {
        e = E_NOTFOUND;
        why_set(&why, "%s: found no users, expected %s", word[0], s->expects);
    }
    if (output_close(&o, &close_why) != OK && e == OK) {
        e = E_IO;
        why = close_why;
    }
    if (e == OK && !progress)
        printf("users: %llu, rooms: %llu, groups: %llu; refused of them: %llu\n",
               (unsigned long long)o.users, (unsigned long long)o.rooms,
               (unsigned long long)o.groups, (unsigned long long)o.refused);
    if (e != OK)
        fprintf(stderr, "%s%s\n", progress ? "" : "muster-convert: ", why.text);
    return e == OK ? DONE : e == E_UNSUPPORTED ? IS_PIE : FAILED;
}

int main(int argc, char **argv)
{
    const char *word[3] = { NULL }, *option = NULL;
    const struct source *s = sources;
    int words = 0;
    bool progress = false;
    while (argc > 1 && s < sources + SOURCES && strcmp(argv[1], s->name) != 0)
        s++;
    if (argc < 2 || s == sources + SOURCES)
        return usage();
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--progress") == 0)
            progress = true;
        else if (s->option != NULL && strcmp(argv[i], s->option) == 0 && i + 1 < argc)
            option = argv[++i];
        else if (words < 2 && argv[i][0] != '-')
            word[words++] = argv[i];
        else
            return usage();
    }
    return words == 2 ? convert(s, word, option, progress) : usage();
}

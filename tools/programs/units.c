/* units: all unit tests in one program, since linking two hundred programs with the sanitizers
 * takes longer than running them. `units base/map_test` runs the main() of src/base/map_test.c.
 * The Makefile renames each main() and makes the table. */
#include <stdio.h>
#include <string.h>

#define UNIT(name, symbol) int symbol(int argc, char **argv);
#include "units.inc"
#undef UNIT

static const struct unit {
    const char *name;
    int (*run)(int argc, char **argv);
} units[] = {
#define UNIT(name, symbol) { name, symbol },
#include "units.inc"
#undef UNIT
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].name, argv[1]) == 0)
            return units[i].run(argc - 1, argv + 1);
    fprintf(stderr, "usage: units FOLDER/NAME_test, for example base/map_test\n");
    return 2;
}

"""tools/measure.py counts what is there in a small tree, and tells what got worse."""
import json
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# Three files of im call each other in a circle; a row of a table is a call as well. A fourth, a
# test, a comment and a string, a variable and a type of the same name do not count.
FILES = {
    "src/im/one.h": "void one(int n);\nstruct three {\n    int n;\n    unsigned to_worker;\n};\n",
    "src/im/one.c": """\
#include "im/worker.h"

static int helper(int n)
{
    if (n > 1)
        while (n > 2) {
            do
                n--;
            while (n > 3);
        }
    else if (n < 0)
        for (;;)
            n++;
    return n;
}

void one(int n)
{
    ensure(n > 0);
    two(helper(n));
}
""",
    "src/im/two.h": "void two(int n);\nstatic inline void two_more(void)\n{\n    three();\n}\n",
    "src/im/two.c": '#include "home/worker.h"\n\nvoid two(int n)\n{\n    (void)n;\n}\n',
    "src/im/three.c": """\
static void helper(void)
{
    node_call(0, 0);
    FEATURES_EACH (f, name)
        all(f);
    loop_post(0);
    goto end;
}

void three(void)
{
}

static void (*const rows[])(int) = { one };
""",
    "src/im/four.h": "void four(int n);\n",
    "src/im/four.c": """\
/* four: one(1) stands in
 * a comment */
void four(int n)
{
    const char *text = "one(1) \\" one(2)";
    struct three three = { .two = n };
    int one = n, five = three.two;
    say(text, one, five);
}
""",
    "src/im/five.c": "void five(void)\n{\n    four(1);\n}\n",
    "src/im/one_test.c": '#include "im/worker.h"\n\nstatic void helper(void)\n{\n    four(1);\n}\n',
    "src/im/test_live.h": '#include "im/worker.h"\n\nvoid four(int n);\n',
    "src/io/loop.c": "void loop_post(int p)\n{\n    (void)p;\n}\n\nint loop_all(void)\n{\n"
                     "    return loop_all();\n}\n",
    "src/store/late.c": "static void own(void)\n{\n    loop_post(0);\n}\n",
    "ctl/main.c": "int main(void)\n{\n    return 0;\n}\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


def run(tree, *options):
    return subprocess.run([ROOT / "tools/measure.py", "--tree", tree, *options],
                          capture_output=True, text=True, check=False, timeout=60)


def figures(tree):
    file = tree.parent / "figures.json"
    done = run(tree, "--json", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return json.loads(file.read_text())


def listed(tree, point):
    done = run(tree, "--list", point)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_figures(tree):
    found = figures(tree)
    assert {point: row["im"] for point, row in found.items() if "im" in row} == {
        "circle": 3, "worker": 2, "headers": 40.0, "closures": 1, "posts": 1, "workers": 1,
        "loops": 1, "names": 100.0, "ensure": 18.5,
        "median": 5, "p90": 13, "longest": 13, "gotos": 1,
        "nesting": 3, "openings": 0, "lines": 54, "h-lines": 11}
    assert {point: found[point]["rest"] for point in ("circle", "posts", "loops", "headers")} == {
        "circle": 0, "posts": 0, "loops": 0, "headers": 100.0}
    assert found["names"]["all"] == 66.7 and list(found["names"]) == ["all", "im", "rest"]


def test_places(tree):
    assert listed(tree, "circle") == [
        "a circle of 3: src/im/one.c, src/im/three.c, src/im/two.c",
        "src/im/one.c -> src/im/two.c: two",
        "src/im/three.c -> src/im/one.c: one",
        "src/im/two.c -> src/im/three.c: three"]
    assert listed(tree, "worker") == ["src/im/one.c", "src/im/two.c"]
    assert listed(tree, "headers") == ["src/im/five.c: five", "src/im/three.c: three",
                                       "src/io/loop.c: loop_all, loop_post"]
    assert listed(tree, "closures") == ["src/im/three.c:3: helper uses node_call"]
    assert listed(tree, "posts") == ["src/im/three.c:6: helper uses loop_post"]
    assert listed(tree, "workers") == ["src/im/one.h:4: a table uses to_worker"]
    assert listed(tree, "loops") == ["src/im/three.c:4: helper uses FEATURES_EACH (…, name)"]
    assert listed(tree, "names") == ["helper: 2 files: src/im/one.c, src/im/three.c"]
    assert listed(tree, "gotos") == ["src/im/three.c:7"]
    assert listed(tree, "nesting")[0] == "src/im/one.c:3: helper: 3"
    assert "src/im/one.c: 1 in 21 lines" in listed(tree, "ensure")
    assert listed(tree, "lines")[0] == "ctl: 4 in .c, 0 in .h"


def test_a_circle_through_two_folders(tree):
    """It belongs to neither, so "all" has it."""
    (tree / "src/muc").mkdir()
    (tree / "src/im/two.c").rename(tree / "src/muc/two.c")
    (tree / "src/im/two.h").rename(tree / "src/muc/two.h")
    assert figures(tree)["circle"] == {"all": 3, "im": 0, "muc": 0, "rest": 0}


def test_what_got_worse_is_told(tree):
    file = tree.parent / "before.json"
    run(tree, "--json", file)
    assert run(tree, "--against", file).stdout == ""

    with open(tree / "src/im/four.c", "a", encoding="utf-8") as four:
        four.write("\nvoid four_more(void)\n{\n    five();\n    three();\n}\n"
                   "\nvoid four_again(void)\n{\n    node_tour(0);\n}\n")
    (tree / "src/im/one.c").write_text(FILES["src/im/one.c"].replace("ensure(n > 0)", "four(n)"))
    (tree / "src/im/four.h").unlink()
    done = run(tree, "--against", file)
    assert done.returncode == 1 and done.stderr == ""
    told = [line.removeprefix(f"{file}: ") for line in done.stdout.splitlines()]
    assert "files in the largest call circle, im: 5, was 3: tools/measure.py --list circle" in told
    assert "ensure per 1,000 lines, im: 0.0, was 18.5: tools/measure.py --list ensure" in told
    assert [line.split(":")[0] for line in told] == [
        "files in the largest call circle, all", "files in the largest call circle, im",
        "modules without own header, %, all", "modules without own header, %, im",
        "uses of node_call, node_tour, all", "uses of node_call, node_tour, im",
        "ensure per 1,000 lines, all", "ensure per 1,000 lines, im", "lines of .c files, all"]


def test_numbers_of_workers_are_counted(tree):
    """Members of a struct and calls, not local variables; calls of home do not count, and what ends
    with its frame does not."""
    (tree / "src/home").mkdir()
    for folder in "home", "im":
        (tree / "src" / folder / "say.c").write_text(
            "struct said {\n    uint32_t node, worker;\n};\n\nstatic void say_to(uint64_t id)\n{\n"
            "    unsigned worker = connection_worker(id);\n    (void)worker;\n}\n")
    (tree / "src/io/mesh.h").write_text(
        "struct frame {\n    uint16_t worker;\n};\n\nstruct other {\n    uint16_t worker;\n};\n")
    assert sorted(listed(tree, "workers")) == [
        "src/home/say.c:2: a table uses worker", "src/im/one.h:4: a table uses to_worker",
        "src/im/say.c:2: a table uses worker", "src/im/say.c:7: say_to uses connection_worker",
        "src/io/mesh.h:6: a table uses worker"]


def test_comments_that_begin_with_a_pronoun_are_counted(tree):
    """At the begin of a comment or of a paragraph of it; not within a line, nor in a literal."""
    file = tree.parent / "before.json"
    run(tree, "--json", file)
    (tree / "src/im/five.c").write_text(
        "/* five: What is good. Of the rest, nothing.\n * Who knows.\n *\n * Those of one line.\n"
        " */\n/* Else. */\n/* Else it fails. */\n/*What is left. */\n/* Whatever it is. */\n"
        "static const char text[] = \"/* Who is it? */\";\n/*\n * Whoever asks.\n */\n")
    (tree / "src/im/five_test.c").write_text("/* Who is it? */\n")
    assert listed(tree, "openings") == ["src/im/five.c:4: Those", "src/im/five.c:7: Else",
                                        "src/im/five.c:8: What", "src/im/five.c:12: Whoever"]
    assert figures(tree)["openings"] == {"all": 4, "im": 4, "rest": 0}
    assert "beginning Who, What, Of, im: 4, was 0: tools/measure.py --list openings" in \
        run(tree, "--against", file).stdout


def test_what_got_better_is_not_told(tree):
    file = tree.parent / "before.json"
    run(tree, "--json", file)
    three = FILES["src/im/three.c"].replace("helper", "three_helper").replace("goto end", "end++")
    for name in ("node_call", "features_all", "loop_post"):
        three = three.replace(name, "ensure")
    (tree / "src/im/three.c").write_text(three.replace("{ one }", "{ 0 }"))
    (tree / "src/im/five.h").write_text("void five(void);\n")
    done = run(tree, "--against", file)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_new_folder_has_no_figures_yet(tree):
    file = tree.parent / "before.json"
    run(tree, "--json", file)
    (tree / "src/home").mkdir()
    (tree / "src/home/actor.c").write_text("static void actor_load(void)\n{\n}\n")
    done = run(tree, "--against", file)
    assert done.returncode == 1
    assert "files in the largest call circle, home: no figure: write it with" in done.stdout


def test_the_table_fits_a_terminal(tree):
    for folder in ("archive", "ext", "gate", "home", "muc", "ops"):
        (tree / "src" / folder).mkdir()
        (tree / "src" / folder / "long.c").write_text("\n" * 20000)
    done = run(tree)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["point", "all", "archive", "ext", "gate", "home", "im", "muc",
                                "ops", "rest"]
    assert any(line.startswith("lines ") and line.split()[-8:-6] == ["20000", "20000"]
               for line in lines)

# text: rules on the text of C files, outside comments and literals: banned calls, comment style,
# typedefs, declarations, size of the file.
function columns(s) { gsub(/[\200-\277]/, "", s); return length(s) } # UTF-8, in the C locale
function ban(pattern, message)
{
    if (code ~ "(^|[^A-Za-z0-9_.>])(" pattern ")[ \t]*\\(")
        print FILENAME ":" FNR ": " message
}
function strip(line,    out, c, i, n, two)
{
    out = ""
    n = length(line)
    for (i = 1; i <= n; i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) {
            if (two == "*/") { in_comment = 0; i++ }
        } else if (quote != "") {
            if (c == "\\") i++
            else if (c == quote) { quote = ""; out = out c }
        } else if (two == "/*") {
            in_comment = 1
            i++
        } else if (two == "//") {
            print FILENAME ":" FNR ": // comment: use /* */"
            return out
        } else {
            if (c == "\"" || c == "'") quote = c
            out = out c
        }
    }
    quote = ""
    return out
}
# Whether a declaration has a declarator without initialiser. Brackets hide the commas in them.
function bare(declaration,    part, n, i)
{
    while (gsub(/\([^()]*\)|\[[^][]*\]|\{[^{}]*\}/, "", declaration)) ;
    n = split(declaration, part, ",")
    for (i = 1; i <= n; i++)
        if (part[i] !~ /=/) return 1
    return 0
}
# A body that opens with declarations of which one has no initialiser, and an empty line.
function opening()
{
    if (!in_comment && $0 ~ /^[ \t]*$/) {
        if (bare_at)
            print FILENAME ":" bare_at ": declare where it is first used, without an empty line below"
        in_opening = 0
        return
    }
    statement = statement code " "
    if (code !~ /;[ \t]*$/)
        return
    gsub(/STACK_OF\([A-Za-z0-9_]*\)/, "STACK", statement)
    if (statement ~ /^ *(\(void\)[a-z_]+|static [^=]*); *$/ || statement ~ /^ *enum \{.*\}; *$/)
        statement = ""
    else if (statement !~ /^ *([A-Za-z_][A-Za-z0-9_]*[ *]+)+[A-Za-z_][A-Za-z0-9_]* *[[,;=]/ ||
        statement ~ /^ *(return|goto) /)
        in_opening = 0
    else if (!bare_at && bare(statement))
        bare_at = FNR
    statement = ""
}
function finish()
{
    if (last != "" && last !~ /_table\.c$/ && lines > 1000)
        print last ":1: " lines " lines, 1000 are allowed"
}
FNR == 1 {
    finish()
    last = FILENAME
    in_comment = 0
    in_opening = 0
    in_base = FILENAME ~ /^src\/base\//
    pure = FILENAME ~ /^src\/(codec|xmpp)\// && FILENAME !~ /_(test|fuzz|bench)\.c$/
    driver = FILENAME ~ /_(test|fuzz|bench)\.c$/
}
{
    lines = FNR
    code = strip($0)
    if (columns($0) > 100)
        print FILENAME ":" FNR ": longer than 100 columns"
    if (code ~ /\t/)
        print FILENAME ":" FNR ": a tab"
    if (code ~ /^[ \t]*#/)
        next
    if (code ~ /^\{[ \t]*$/) {
        in_opening = 1
        bare_at = 0
        statement = ""
    } else if (in_opening) {
        opening()
    }
    if (!in_base && !driver)
        ban("malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign|reallocarray",
            "the C allocator is for src/base alone")
    ban("strcpy|strcat|stpcpy|strncpy|strncat|sprintf|vsprintf|atoi|atol|atoll|strtok|strtok_r|gets" \
        "|scanf|sscanf|fscanf|system|popen|alloca|setjmp|longjmp|rand|srand", "a banned call")
    if (pure)
        ban("clock_gettime|gettimeofday|time|clock_(mono|wall)_us|log_(error|warn|info|debug|trace|fields)" \
            "|socket|read|write|open|send|recv|getenv", "codec and xmpp are pure")
    if (code ~ /typedef[ \t]+(struct|enum|union)/ && code !~ /[ }]slice;/ && code !~ /_fn\(/ &&
        FILENAME != "src/base/slice.h")
        print FILENAME ":" FNR ": no typedef of a struct or enum"
}
END { finish() }

# One non-recursive Makefile: sources, tests, fuzz targets and benches are found by file name.
#   make                 build/release/musterd, musterctl and muster-convert
#   make check [T=name]  unit tests in debug mode, all or one
#   make MODE=asan check   the same with address and undefined-behaviour sanitizers
#   make measure           figures of the structure of the sources
#   make web               the chat client that the server has at /chat
MODE ?= release
B    := build/$(MODE)
VERSION := 0.1.0
CONTAINER ?= podman
PREFIX  ?= /usr/local

CC_release := gcc
CC_checked := gcc
CC_debug   := clang
CC_asan    := clang
CC_tsan    := clang
CC_fuzz    := clang
CC := $(CC_$(MODE))

PKGS := libcares libssl libcrypto nettle sqlite3 icu-i18n icu-uc jansson yaml-0.1
# libpq is loaded when it is needed: src/store/libpq.h.
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wvla -Wimplicit-fallthrough -Wformat=2 -Werror
# Hardening that costs nothing measurable; what was measured and left out: docs/architecture.md §9.
release_CFLAGS := -O2 -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=3 -fPIE
release_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
# The release with all invariants checked: what ./check tests from end to end.
checked_CFLAGS  := $(release_CFLAGS) -DMUSTER_DEBUG
checked_LDFLAGS := $(release_LDFLAGS)
debug_CFLAGS := -O1 -DMUSTER_DEBUG
asan_CFLAGS  := -O1 -DMUSTER_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
asan_LDFLAGS := -fsanitize=address,undefined
tsan_CFLAGS  := -O1 -DMUSTER_DEBUG -fsanitize=thread
tsan_LDFLAGS := -fsanitize=thread
fuzz_CFLAGS  := -O1 -DMUSTER_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
fuzz_LDFLAGS := -fsanitize=address,undefined
# The second implementation of HTTP that src/codec/http_read_fuzz.c asks: Debian's node-llhttp.
LLHTTP := $(wildcard /usr/share/llhttp/llhttp.c)
LLHTTP_FUZZ := $(if $(LLHTTP),$(patsubst %,build/fuzz/llhttp/%.o,api http llhttp))
fuzz_CFLAGS += $(if $(LLHTTP),-DHAVE_LLHTTP -idirafter /usr/share/include/llhttp)
CFLAGS  := -std=c17 -D_GNU_SOURCE -DMUSTER_VERSION='"$(VERSION)"' -Isrc -I. -g -gdwarf-4 $(WARN) \
           -fno-common -MMD -MP -pthread $($(MODE)_CFLAGS) $(shell pkg-config --cflags $(PKGS) libpq)
LDFLAGS := -pthread $($(MODE)_LDFLAGS)
# Two hundred test programs are linked with the sanitizers, each of all objects: three times as fast by this linker.
ifneq ($(filter asan tsan fuzz,$(MODE)),)
LDFLAGS += $(if $(shell command -v ld.lld),-fuse-ld=lld)
endif
LIBS    := $(shell pkg-config --libs $(PKGS)) -lresolv -lm

# A large family has a folder inside that of its layer.
sources = $(wildcard src/*/$(1) src/*/*/$(1) src/*/*/*/$(1))
SRC   := $(sort $(call sources,*.c))
CORE  := $(filter-out %_test.c %_fuzz.c %_bench.c src/app/main.c,$(SRC))
CTL   := $(wildcard ctl/*.c)
# Reads the data of other servers: a program of its own, with the lowest layers alone.
CONVERT := $(filter-out %_test.c %_fuzz.c convert/main.c,$(wildcard convert/*.c))
LOWEST  := $(filter src/base/% src/codec/% src/xmpp/jid.c src/xmpp/precis.c,$(CORE))
T     ?= *
named  = $(patsubst src/%,%,$(basename $(call sources,$(1)) $(wildcard convert/$(1))))
TESTS := $(addprefix $(B)/,$(call named,$(T)_test.c))
ifeq ($(TESTS),)
$(error no $(T)_test.c in src or convert: T names a unit test without "_test")
endif
FUZZ  := $(addprefix build/fuzz/,$(call named,*_fuzz.c))
BENCH := $(patsubst src/%.c,build/release/%,$(call sources,*_bench.c))
obj    = $(patsubst %.c,$(B)/%.o,$(1))

all: $(B)/musterd $(B)/musterctl $(B)/muster-convert

# Made under another name: a build that is broken off leaves no part of it.
$(B)/libmuster.a: $(call obj,$(CORE))
	@rm -f $@.new
	@ar rcs $@.new $^
	@mv $@.new $@
$(B)/musterd: $(B)/src/app/main.o $(B)/libmuster.a
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
$(B)/musterctl: $(call obj,$(CTL)) $(B)/libmuster.a
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
$(B)/libconvert.a: $(call obj,$(CONVERT))
	@rm -f $@
	@ar rcs $@ $^
$(B)/muster-convert: $(call obj,convert/main.c) $(B)/libconvert.a $(call obj,$(LOWEST))
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ $(shell pkg-config --libs sqlite3 icu-i18n icu-uc jansson) -lm -o $@
$(B)/convert/%_test: $(B)/convert/%_test.o $(B)/libconvert.a $(call obj,$(LOWEST))
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ -lcmocka $(LIBS) -o $@
$(B)/%_test: $(B)/src/%_test.o $(B)/libmuster.a
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ -lcmocka -lexpat $(LIBS) -o $@
# All unit tests in one program, and all fuzz targets in another: tools/programs. A test that has a
# function in the place of one of a library stays a program of its own.
ALONE   := admin/health_test xmpp/nickname_test
UNIT_TESTS := $(filter-out $(ALONE),$(call named,*_test.c))
TARGETS := $(call named,*_fuzz.c)
symbol   = $(subst -,_,$(subst /,_,$(1)))
rename   = objcopy --redefine-sym main=$(call symbol,$(1)) \
           $(foreach f,Initialize TestOneInput,--redefine-sym LLVMFuzzer$f=$(call symbol,$(1))_LLVMFuzzer$f)
$(B)/renamed/convert/%.o: $(B)/convert/%.o
	@mkdir -p $(@D)
	@$(call rename,convert/$*) $< $@
$(B)/renamed/%.o: $(B)/src/%.o
	@mkdir -p $(@D)
	@$(call rename,$*) $< $@
$(B)/units.inc: $(call sources,*_test.c) $(wildcard convert/*_test.c) Makefile
	@mkdir -p $(@D)
	@printf '%s\n' $(foreach u,$(UNIT_TESTS),'UNIT("$(u)", $(call symbol,$(u)))') >$@
$(B)/targets.inc: $(call sources,*_fuzz.c) $(wildcard convert/*_fuzz.c) Makefile
	@mkdir -p $(@D)
	@printf '%s\n' $(foreach t,$(TARGETS),'TARGET("$(patsubst %_fuzz,%,$(notdir $(t)))", $(call symbol,$(t)))') >$@
$(B)/units: tools/programs/units.c $(B)/units.inc $(UNIT_TESTS:%=$(B)/renamed/%.o) $(B)/libconvert.a $(B)/libmuster.a
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) -I$(B) $(LDFLAGS) $(filter-out %.inc,$^) -lcmocka -lexpat $(LIBS) -o $@
units-alone: $(ALONE:%=$(B)/%)
$(B)/replay: tools/programs/replay.c $(B)/targets.inc $(TARGETS:%=$(B)/renamed/%.o) $(B)/libconvert.a $(B)/libmuster.a
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) -I$(B) $(LDFLAGS) $(filter-out %.inc,$^) -lexpat $(LIBS) -o $@
$(B)/%_bench: $(B)/src/%_bench.o $(B)/libmuster.a
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ -lexpat $(LIBS) -o $@
build/fuzz/convert/%_fuzz: build/fuzz/convert/%_fuzz.o build/fuzz/libconvert.a $(LOWEST:%.c=build/fuzz/%.o)
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ $(LIBS) -o $@
build/fuzz/%_fuzz: build/fuzz/src/%_fuzz.o build/fuzz/libmuster.a
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ -lexpat $(LIBS) -o $@
build/fuzz/codec/http_read_fuzz: $(LLHTTP_FUZZ)
build/fuzz/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC_fuzz) $(fuzz_CFLAGS) -w -c $< -o $@
# The web console, in the program: src/admin/console_page.c takes the files of build/admin.
build/admin/made: tools/console $(wildcard web/admin/*)
	@echo "  web console"
	@tools/console
$(call obj,src/admin/console_page.c): build/admin/made
$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  $(notdir $@)"
	@$(CC) $(CFLAGS) -c $< -o $@

ifeq ($(MODE),release)
check check-units fuzz-build:
	@$(MAKE) --no-print-directory MODE=$(if $(filter fuzz-build,$@),fuzz,debug) $@
bench: $(BENCH)
	@set -e; for b in $(BENCH); do $$b; done
else
check: check-units $(if $(filter *,$(T)),check-docs)
check-docs: $(B)/musterd $(B)/musterctl
	@tools/docs_current $(B)
check-units: $(TESTS)
	@set -e; for t in $(TESTS); do $$t; done
fuzz-build: $(FUZZ)
endif

lint:
	@tools/lint

# Writes test/slow.txt from what the tests of the last ./check took.
slow:
	@tools/slow.py --write build/log/durations.tsv

# The walls inside the house, as figures. Lint refuses what is worse than in tools/measure.json.
measure:
	@tools/measure.py

# Each extension of src/ext and each optional part of rooms can go: tools/check_delete.py.
check-delete: all
	@MODE=$(MODE) tools/check_delete.py

# Generated from the rows of settings, commands and node file keys.
docs: $(B)/musterd
	$(B)/musterd --dump-docs config >docs/config.md
	$(B)/musterd --dump-docs commands >docs/commands.md
	$(B)/musterd --dump-docs alarms >docs/alarms.md
	$(B)/musterd --dump-docs xeps >docs/xeps.md
	$(B)/musterd --dump-docs doap >doap.xml

# Accepts what was added to the messages between nodes; src/home/messages.txt says what they are.
messages:
	@$(MAKE) --no-print-directory MODE=debug build/debug/app/messages_wire_test
	build/debug/app/messages_wire_test accept

# The chat client for browsers, in build/share/muster/chat. The rest does not need it.
web:
	@tools/web

# A node file that is there already is left alone. The unit runs as user muster (systemd-sysusers).
# Programs go without their debugging data; with DEBUGDIR=/usr/lib/debug that goes there.
SYSCONF  ?= /etc
UNITS    ?= $(PREFIX)/lib/systemd/system
DEBUGDIR ?=
SHARE    := $(DESTDIR)$(PREFIX)/share
# The day on manual pages; the same source makes the same page.
install: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
# Where the shells look without being told: the folders of packages, or those of the administrator.
ZSH  := $(SHARE)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
FISH := $(if $(filter /usr,$(PREFIX)),$(SHARE)/fish/vendor_completions.d,$(DESTDIR)$(SYSCONF)/fish/completions)
install: all
	install -D -s -m 755 $(B)/musterd $(DESTDIR)$(PREFIX)/sbin/musterd
	install -D -s -m 755 $(B)/musterctl $(DESTDIR)$(PREFIX)/bin/musterctl
	install -D -s -m 755 $(B)/muster-convert $(DESTDIR)$(PREFIX)/bin/muster-convert
	if [ -n "$(DEBUGDIR)" ]; then for p in sbin/musterd bin/musterctl bin/muster-convert; do \
	    d=$(DESTDIR)$(DEBUGDIR)$(PREFIX)/$$p.debug; install -d $$(dirname $$d) && \
	    objcopy --only-keep-debug $(B)/$${p#*/} $$d && \
	    objcopy --add-gnu-debuglink=$$d $(DESTDIR)$(PREFIX)/$$p; done; fi
	install -d $(SHARE)/bash-completion/completions $(ZSH) $(FISH) $(SHARE)/man/man1 $(SHARE)/man/man5 \
	    $(SHARE)/man/man8 $(DESTDIR)$(UNITS)
	$(B)/musterctl completion bash >$(SHARE)/bash-completion/completions/musterctl
	$(B)/musterctl completion zsh >$(ZSH)/_musterctl
	$(B)/musterctl completion fish >$(FISH)/musterctl.fish
	$(B)/musterd --dump-docs man-musterctl >$(SHARE)/man/man1/musterctl.1
	$(B)/musterd --dump-docs man-muster.yaml >$(SHARE)/man/man5/muster.yaml.5
	$(B)/musterd --dump-docs man-musterd >$(SHARE)/man/man8/musterd.8
	if [ -d build/share/muster/chat ]; then \
	    rm -rf $(SHARE)/muster/chat && install -d $(SHARE)/muster && \
	    cp -R build/share/muster/chat $(SHARE)/muster/; fi
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|/etc/muster|$(SYSCONF)/muster|' packaging/muster.service >$(DESTDIR)$(UNITS)/muster.service
	install -D -m 644 packaging/muster.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/muster.conf
	test -e $(DESTDIR)$(SYSCONF)/muster/muster.yaml || \
	    install -D -m 644 packaging/muster.yaml $(DESTDIR)$(SYSCONF)/muster/muster.yaml

# Keeps the node file and the data.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/musterd $(DESTDIR)$(PREFIX)/bin/musterctl \
	    $(DESTDIR)$(PREFIX)/bin/muster-convert \
	    $(SHARE)/bash-completion/completions/musterctl $(ZSH)/_musterctl \
	    $(FISH)/musterctl.fish $(SHARE)/man/man1/musterctl.1 \
	    $(SHARE)/man/man5/muster.yaml.5 $(SHARE)/man/man8/musterd.8 \
	    $(DESTDIR)$(UNITS)/muster.service $(DESTDIR)$(PREFIX)/lib/sysusers.d/muster.conf
	rm -rf $(SHARE)/muster

# A Debian package of what `make install` puts into place: build/muster_VERSION_ARCH.deb.
deb: all
	@packaging/deb/build $(VERSION)

# CONTAINER: podman, buildah or docker.
image: deb
	$(CONTAINER) build -t muster:$(VERSION) -f packaging/Containerfile \
		--build-arg PACKAGE=muster_$(VERSION)_$(shell dpkg --print-architecture).deb build

clean:
	rm -rf build

-include $(patsubst %.o,%.d,$(call obj,$(SRC) $(CTL) $(wildcard convert/*.c)))
.PHONY: all units-alone check check-units check-docs bench fuzz-build lint slow measure check-delete docs messages web install uninstall deb image clean
.SECONDARY:

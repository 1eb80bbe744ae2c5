# kiln: build, test, install.  Plain GNU make; everything made goes below $(BUILD).
#
#   make              libraries and programs
#   make demo         install what the build needs, build, load a million objects and verify them
#   make test         install what the build needs, build, run every test
#   make help         all targets
#
# Variables: BUILD (build), CC, OPT (-O2 -g), NATIVE=1 (-march=native), WERROR=1, JOBS, PREFIX, DESTDIR,
# V=1 (show the commands).

BUILD  ?= build
PREFIX ?= /usr/local
OPT    ?= -O2 -g
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

ifeq ($(origin CC),default)
CC  := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif

LIBDIR     ?= $(PREFIX)/lib
BINDIR     ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man

# The public header is the one place that knows the version.
VERSION := $(shell awk '/^.define KILN_VERSION_(MAJOR|MINOR|PATCH) / { v = v dot $$3; dot = "." } END { print v }' \
             include/kiln.h 2>/dev/null)
ifeq ($(VERSION),)
VERSION := 0.0.0
endif
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

# ---- flags ------------------------------------------------------------------------------------

WARN_BOTH := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla \
             -Wformat=2 -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
ifdef WERROR
WARN_BOTH += -Werror
endif
WARN_C    := $(WARN_BOTH) -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition

# Our programs and tests allocate with jemalloc.  The libraries bring no allocator: a program has
# one already, and a library that holds jemalloc cannot be loaded by dlopen.
# SANITIZE: a list for -fsanitize=.  jemalloc and the sanitizers both want to be malloc.
ifdef SANITIZE
SAN       := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
CONFIG    += -DKILN_DEBUG=1
else
PROGRAM_ALLOC := -ljemalloc
endif
ifdef DEBUG
CONFIG    += -DKILN_DEBUG=1
endif
ifdef NATIVE
OPT       += -march=native
endif
# SCHEDULE=1: threads run one at a time, in an order drawn from a seed (tests/schedules/README.md).
# The library includes the points before everything else; what is not a protocol of its own, not.
ifdef SCHEDULE
CONFIG    += -DFTK_SCHEDULE=1 -DKILN_DEBUG=1
WARN_SCHEDULE   := -Wno-shadow
SCHEDULE_POINTS := -include ftk/schedule_atomics.h
endif

CPPFLAGS_ALL := -D_GNU_SOURCE -I. -Iinclude $(CONFIG) $(CPPFLAGS)
CFLAGS_ALL   := -std=c11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN_C) $(WARN_SCHEDULE) $(SAN) \
                $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(OPT) -fPIC -pthread $(WARN_BOTH) $(SAN) $(CXXFLAGS)
LDFLAGS_ALL  := -pthread $(SAN) $(LDFLAGS)
LIBS         := -laio -lxxhash -lz -lpthread -lm
LIBS_PROGRAM := $(PROGRAM_ALLOC) $(LIBS)
LIBS_SCREEN  := -Wl,--as-needed -lncursesw -ltinfo

# ---- sources ----------------------------------------------------------------------------------
# A folder that is not there, or is empty, is no error: what depends on it is left out.

LIB_SRC     := $(filter-out replication/kilnd% $(if $(SCHEDULE),ftk/thread.c,ftk/schedule%), \
               $(wildcard ftk/*.c cache/*.c rfl/*.c engine/*/*.c replication/*.c))
UTILS_SRC   := $(wildcard utils/*.c)
GIGA_SRC    := $(wildcard gigatest/*.c)
KILND_SRC   := $(wildcard replication/kilnd*.c)
SUPPORT_SRC := $(wildcard tests/support/*.c)
TEST_SRC    := $(wildcard tests/unit/test_*.c tests/crash/test_*.c tests/sim/test_*.c tests/cluster/test_*.c)
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
WORLD_SRC   := $(wildcard tests/schedules/world_*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
MICRO_SRC   := $(wildcard tests/bench/micro/*.c)
MICRO_SRCXX := $(wildcard tests/bench/micro/*.cc)

obj = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))

LIB_OBJ     := $(call obj,$(LIB_SRC))
UTILS_OBJ   := $(call obj,$(UTILS_SRC))
GIGA_OBJ    := $(call obj,$(GIGA_SRC))
KILND_OBJ   := $(call obj,$(KILND_SRC))
SUPPORT_OBJ := $(call obj,$(SUPPORT_SRC))
MICRO_OBJ   := $(call obj,$(MICRO_SRC) $(MICRO_SRCXX))
NATIVE_OBJ  := $(call obj,$(wildcard tests/crash/native/*.c))
DRIVER_OBJ  := $(BUILD)/obj/tests/fuzz/driver.o
WORLDS_OBJ  := $(call obj,$(wildcard tests/schedules/schedule_*.c))

# ---- products ---------------------------------------------------------------------------------

LIB_STATIC   := $(BUILD)/lib/libkiln.a
LIB_SHARED   := $(BUILD)/lib/libkiln.so.$(VERSION)
LIB_SONAME   := libkiln.so.$(SOVERSION)
INTERNAL     := $(BUILD)/internal/libkiln.a
INTERNAL_AUX := $(BUILD)/internal/libsupport.a $(BUILD)/internal/libutils.a $(BUILD)/internal/libgigatest.a

LIBRARIES := $(if $(LIB_SRC),$(LIB_STATIC) $(BUILD)/lib/libkiln.so)
PROGRAMS  := $(if $(UTILS_SRC),$(BUILD)/bin/kiln) $(if $(GIGA_SRC),$(BUILD)/bin/gigatest) \
             $(if $(KILND_SRC),$(BUILD)/bin/kilnd)
TESTS     := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC) $(FUZZ_SRC))
WORLDS    := $(patsubst %.c,$(BUILD)/%,$(WORLD_SRC))
EXAMPLES  := $(patsubst %.c,$(BUILD)/%,$(EXAMPLE_SRC))

.PHONY: all
all: $(LIBRARIES) $(PROGRAMS)

# make -j in the sub-makes below, unless the caller has said how many already.
PAR = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

# A line a step; with V=1 the command, with make -s nothing.
Q      := $(if $(filter-out 0,$(V)),,@)
SILENT := $(findstring s,$(filter-out --% %=%,$(firstword $(MAKEFLAGS))))
say     = $(if $(Q),$(if $(SILENT),,@printf '  %-5s %s\n' '$(1)' '$(2)'))

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

# Objects are made anew when the flags change.
FLAGS_NOW := $(CC) $(CXX) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CXXFLAGS_ALL) $(LDFLAGS_ALL)
SOURCES_NOW := $(LIB_SRC) $(SUPPORT_SRC) $(UTILS_SRC) $(GIGA_SRC) $(KILND_SRC)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@
# Archives are made anew when a source file comes or goes.
$(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(SOURCES_NOW)' | cmp -s - $@ || printf '%s\n' '$(SOURCES_NOW)' >$@
.PHONY: FORCE
FORCE:

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(POINTS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: %.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CPPFLAGS_ALL) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

# The commit that is built, for the reports of gigatest; its one object is made anew when it changes.
COMMIT := $(if $(wildcard .git),$(shell git describe --always --dirty --abbrev=12 2>/dev/null))
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(COMMIT)' | cmp -s - $@ || printf '%s\n' '$(COMMIT)' >$@
$(BUILD)/obj/gigatest/giga_machine.o: $(BUILD)/commit
$(BUILD)/obj/gigatest/giga_machine.o: POINTS := -DGIGA_COMMIT='"$(COMMIT)"'

ifdef SCHEDULE
$(LIB_OBJ): POINTS := $(SCHEDULE_POINTS)
$(SUPPORT_OBJ): POINTS := -DFTK_SCHEDULE_QUIET=1
endif

# All symbols: for the tests and for our own programs.
$(BUILD)/internal/libkiln.a: $(LIB_OBJ)
$(BUILD)/internal/libsupport.a: $(SUPPORT_OBJ)
$(BUILD)/internal/libutils.a: $(UTILS_OBJ)
$(BUILD)/internal/libgigatest.a: $(GIGA_OBJ)
$(BUILD)/internal/lib%.a: $(BUILD)/sources
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

# kiln_* only: one relocatable object with every hidden symbol made local.
$(LIB_STATIC): $(LIB_OBJ) $(BUILD)/sources
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(@D)/kiln.o $(LIB_OBJ)
	$(Q)objcopy --localize-hidden $(@D)/kiln.o
	$(Q)$(AR) rcs $@ $(@D)/kiln.o
	@rm -f $(@D)/kiln.o

$(LIB_SHARED): $(LIB_OBJ) kiln.map $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(LIB_SONAME) -Wl,--version-script=kiln.map $(if $(SANITIZE),,-Wl,-z,defs) \
	    -o $@ $(LIB_OBJ) $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/lib/libkiln.so: $(LIB_SHARED)
	$(Q)ln -sf $(<F) $(@D)/$(LIB_SONAME)
	$(Q)ln -sf $(LIB_SONAME) $@

$(BUILD)/bin/kiln: $(UTILS_OBJ) $(INTERNAL)
$(BUILD)/bin/gigatest: $(GIGA_OBJ) $(INTERNAL)
$(BUILD)/bin/kilnd: $(KILND_OBJ) $(INTERNAL)
$(BUILD)/bin/kiln $(BUILD)/bin/gigatest $(BUILD)/bin/kilnd:
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(LIBS_PROGRAM) $(LIBS_SCREEN)

# ---- tests ------------------------------------------------------------------------------------

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(DRIVER_OBJ) $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) $(LIBS_PROGRAM) $(LIBS_SCREEN)

$(WORLDS): $(BUILD)/tests/schedules/world_%: $(BUILD)/obj/tests/schedules/world_%.o $(WORLDS_OBJ) $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) $(LIBS_PROGRAM) $(LIBS_SCREEN)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) $(TEST_LDFLAGS) -Wl,--as-needed -lcunit $(LIBS_PROGRAM) $(LIBS_SCREEN)

# Programs that record what they ask of the file system: tests/crash/native/recorder.h.
NATIVE_WRAPS := open openat creat mkdir mkdirat link linkat unlink unlinkat rmdir remove rename renameat \
                renameat2 write pwrite pwritev ftruncate fallocate posix_fallocate fsync fdatasync \
                io_setup io_submit io_getevents
NATIVE_TESTS := $(filter $(BUILD)/tests/crash/test_native_%,$(TESTS))
$(NATIVE_TESTS): $(NATIVE_OBJ)
$(NATIVE_TESTS): TEST_LDFLAGS := $(NATIVE_WRAPS:%=-Wl,--wrap=%)

# As a user builds them: the public header and the library, nothing else.
$(BUILD)/examples/%: examples/%.c $(BUILD)/lib/libkiln.so
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=c11 $(OPT) -Wall -Wextra $(SAN) -Iinclude -MMD -MP -MF $@.d -o $@ $< \
	    -L$(BUILD)/lib -Wl,-rpath,$(abspath $(BUILD)/lib) -lkiln -pthread

.PHONY: build-tests
build-tests: all $(TESTS) $(EXAMPLES)

SHELL_TESTS := $(sort $(wildcard tests/test_*.sh tests/*/test_*.sh tests/*/*/test_*.sh))

# make NAME.run: build and run one test, e.g. make tests/unit/test_rfl.run, tests/tidy/test_sizes.sh.run
tests/%.sh.run: tests/%.sh
	@$(RUN_ENV) tests/tidy/run_tests.sh $<
tests/%.run: $(BUILD)/tests/%
	@$(RUN_ENV) tests/tidy/run_tests.sh $<

# TSan wants its address space unrandomised on some kernels; ASan wants its own limits stated.
RUN_ENV = KILN_BUILD='$(BUILD)' KILN_TEST_JOBS='$(TEST_JOBS)' KILN_TEST_TIMEOUT='$(TEST_TIMEOUT)' \
          KILN_TEST_WRAP='$(TEST_WRAP)' KILN_SANITIZE='$(SANITIZE)' KILN_CC='$(CC)' KILN_CXX='$(CXX)' \
          ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1:$$ASAN_OPTIONS \
          UBSAN_OPTIONS=print_stacktrace=1:$$UBSAN_OPTIONS \
          TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0:$$TSAN_OPTIONS
TEST_JOBS    ?= 2
SLOW_TIMEOUT ?= 2400
TEST_TIMEOUT ?= $(if $(SANITIZE),$(SLOW_TIMEOUT),300)
TEST_WRAP    ?= $(if $(findstring thread,$(SANITIZE)),$(shell setarch -R true 2>/dev/null && echo setarch -R))

# A part that does not build fails the run, and the rest is tested all the same.
.PHONY: test
test:
	@$(MAKE) --no-print-directory deps
	@sh tests/tidy/deps.sh $(DEPS_TEST)
	@rc=0; $(MAKE) --no-print-directory -k $(PAR) build-tests || rc=$$?; \
	KILN_BUILD_RC=$$rc $(RUN_ENV) tests/tidy/run_tests.sh $(TESTS) $(EXAMPLES) $(SHELL_TESTS)

.PHONY: asan tsan
asan:
	@$(MAKE) --no-print-directory test BUILD='$(BUILD)/asan' SANITIZE=address,undefined
# A crash program has one thread and nothing to race: a quarter of its states will do.
tsan:
	@KILN_CRASH_STATES=$${KILN_CRASH_STATES:-6000} KILN_NATIVE_STATES=$${KILN_NATIVE_STATES:-150} $(MAKE) --no-print-directory test BUILD='$(BUILD)/tsan' SANITIZE=thread

# Every crash point of the long crash programs, not only the sample that `make test` takes.
CRASH_STATES ?= 1000000
CRASH_TESTS  := $(filter $(BUILD)/tests/crash/%,$(TESTS))
.PHONY: crash
crash:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) $(CRASH_TESTS)
	@KILN_CRASH_STATES=$(CRASH_STATES) $(RUN_ENV) KILN_TEST_TIMEOUT=86400 \
	    tests/tidy/run_tests.sh $(CRASH_TESTS)

# The same below the operating system's files: make crash-native STATES=20000 KILLS=2000
STATES ?= 20000
KILLS  ?= 2000
.PHONY: crash-native
crash-native:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) $(NATIVE_TESTS)
	@KILN_NATIVE_STATES=$(STATES) KILN_NATIVE_KILLS=$(KILLS) $(RUN_ENV) KILN_TEST_TIMEOUT=86400 \
	    tests/tidy/run_tests.sh $(NATIVE_TESTS)

# libFuzzer on every decoder; new inputs that reach new code stay in $(BUILD)/fuzz/corpus.
FUZZ_SECONDS ?= 30
FUZZERS      := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzzers/%,$(FUZZ_SRC))
$(BUILD)/fuzzers/%: $(BUILD)/obj/tests/fuzz/%.o $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
	    -Wl,--end-group $(LDFLAGS_ALL) $(LIBS_PROGRAM) $(LIBS_SCREEN)

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)
fuzz:
	@$(MAKE) --no-print-directory deps
	@sh tests/tidy/deps.sh clang $(DEPS_FUZZ)
	@$(MAKE) --no-print-directory $(PAR) fuzzers BUILD='$(BUILD)/fuzz' CC=clang \
	    SANITIZE=fuzzer-no-link,address,undefined
	@FUZZ_SECONDS=$(FUZZ_SECONDS) KILN_BUILD='$(BUILD)/fuzz' tests/tidy/run_fuzzers.sh \
	    $(patsubst $(BUILD)/%,$(BUILD)/fuzz/%,$(FUZZERS))

# Many threads while memory, descriptors, threads and reads are refused by chance, for so long.
SHORTAGE_SECONDS ?= 600
.PHONY: shortages
shortages:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) $(BUILD)/tests/sim/test_engine_shortage_threads
	@KILN_SHORTAGE_SECONDS=$(SHORTAGE_SECONDS) $(RUN_ENV) KILN_TEST_TIMEOUT=86400 \
	    tests/tidy/run_tests.sh $(BUILD)/tests/sim/test_engine_shortage_threads

# Every world under schedules drawn from seeds, for so many seconds in all; then each fault put back.
SCHEDULE_SECONDS ?= 600
SCHEDULE_FIRST   ?= $(shell date +%s)000
WORLD_SECONDS     = $(shell echo $$(($(SCHEDULE_SECONDS) * $(TEST_JOBS) / $(words $(WORLD_SRC)))))
.PHONY: schedules
schedules:
	@$(MAKE) --no-print-directory deps
	@work=$$(mktemp -d) && cd "$$work" && rc=0; \
	for script in test_schedules test_schedule_faults; do \
	    $(RUN_ENV) KILN_BUILD='$(abspath $(BUILD))' KILN_SRC='$(CURDIR)' \
	        KILN_SCHEDULE_SECONDS=$(WORLD_SECONDS) KILN_SCHEDULE_FIRST=$(SCHEDULE_FIRST) \
	        bash '$(CURDIR)'/tests/schedules/$$script.sh || rc=1; \
	done; rm -rf "$$work"; exit $$rc

# Each mutant of tests/mutants is put into a copy of the tree, and a test must catch it.
MUTANTS ?=
.PHONY: mutants
mutants:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) build-tests
	@KILN_BUILD='$(BUILD)' KILN_CC='$(CC)' KILN_JOBS='$(JOBS)' bash tests/mutants/run.sh $(MUTANTS)

# Lines reached by the tests, by file.
.PHONY: coverage
coverage:
	@rm -rf '$(BUILD)/coverage'
	@rc=0; \
	$(MAKE) --no-print-directory test BUILD='$(BUILD)/coverage' OPT='-O0 -g' \
	    TEST_TIMEOUT='$(SLOW_TIMEOUT)' LDFLAGS='--coverage $(LDFLAGS)' \
	    CFLAGS='--coverage -fprofile-update=atomic $(CFLAGS)' || rc=$$?; \
	sh tests/tidy/coverage.sh '$(BUILD)/coverage' || rc=$$?; exit $$rc

# ---- benchmarks and demonstration -------------------------------------------------------------

$(BUILD)/bin/kiln_microbench: $(MICRO_OBJ) $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CXX) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) -lbenchmark_main -lbenchmark $(LIBS_PROGRAM) $(LIBS_SCREEN)

.PHONY: bench bench-peers
BENCH_ARGS ?=
bench:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) $(if $(MICRO_OBJ),$(BUILD)/bin/kiln_microbench,no-micro) \
	    $(BUILD)/tests/bench/waiters/waiters
	$(BUILD)/bin/kiln_microbench $(BENCH_ARGS)
	$(BUILD)/tests/bench/waiters/waiters

.PHONY: no-micro
no-micro:
	@echo "there is no micro benchmark below tests/bench/micro" >&2; exit 1

bench-peers:
	@$(MAKE) --no-print-directory deps
	@sh tests/tidy/deps.sh $(DEPS_PEERS)
	@$(MAKE) --no-print-directory $(PAR) all
	@$(MAKE) -C tests/bench/peers BUILD='$(abspath $(BUILD))' TOP='$(CURDIR)' bench-peers

# One million objects into a database that stays in build/demo, then every one of them checked.
DEMO_COUNT ?= 1m
DEMO_ARGS  ?=
.PHONY: demo
demo:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) all
	@tests/tidy/demo.sh '$(BUILD)' demo $(DEMO_COUNT) $(DEMO_ARGS)

# A long load with its report: make big COUNT=1g
COUNT    ?= 100m
BIG_ARGS ?=
.PHONY: big
big:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PAR) all
	@mkdir -p '$(BUILD)/report'
	@tests/tidy/demo.sh '$(BUILD)' big $(COUNT) --html '$(abspath $(BUILD))/report/gigatest.html' \
	    --json '$(abspath $(BUILD))/report/gigatest.json' $(BIG_ARGS)
	@echo "reports: $(BUILD)/report/gigatest.html $(BUILD)/report/gigatest.json"

# ---- looking after the source -----------------------------------------------------------------

ALL_C := $(wildcard $(addsuffix /*.[ch],ftk cache rfl engine/* replication utils gigatest include examples \
         tests/unit tests/crash tests/crash/native tests/sim tests/fuzz tests/schedules tests/support \
         tests/cluster tests/bench/micro tests/bench/peers))

# For editors and language servers (.clangd says where it is).
C_SRC := $(LIB_SRC) $(UTILS_SRC) $(GIGA_SRC) $(KILND_SRC) $(SUPPORT_SRC) $(TEST_SRC) $(FUZZ_SRC) $(MICRO_SRC)
.PHONY: compile_commands
compile_commands:
	@mkdir -p '$(BUILD)'
	@{ echo '['; sep=; for source in $(C_SRC); do \
	    printf '%s{"directory": "%s", "file": "%s", "command": "%s"}' "$$sep" '$(CURDIR)' "$$source" \
	        '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c '"$$source"; \
	    sep=",$$(printf '\nx')"; sep="$${sep%x}"; done; echo; echo ']'; } >'$(BUILD)/compile_commands.json'
	@echo '$(BUILD)/compile_commands.json'

.PHONY: lint format
lint:
	@$(MAKE) --no-print-directory deps
	@sh tests/tidy/deps.sh clang clang-tidy clang-format cppcheck
	@bash tests/tidy/lint.sh '$(BUILD)' $(CPPFLAGS_ALL)
format:
	@sh tests/tidy/deps.sh clang-format
	clang-format -i --style=file $(ALL_C)

# ---- installing -------------------------------------------------------------------------------

MAN_PAGES := $(foreach s,1 3 5 7 8,$(wildcard docs/man/*.$(s)))

.PHONY: install uninstall
install: all
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(BINDIR)'
	install -m 644 include/kiln.h '$(DESTDIR)$(INCLUDEDIR)/kiln.h'
	install -m 644 $(LIB_STATIC) '$(DESTDIR)$(LIBDIR)/libkiln.a'
	install -m 755 $(LIB_SHARED) '$(DESTDIR)$(LIBDIR)/$(notdir $(LIB_SHARED))'
	ln -sf $(notdir $(LIB_SHARED)) '$(DESTDIR)$(LIBDIR)/$(LIB_SONAME)'
	ln -sf $(LIB_SONAME) '$(DESTDIR)$(LIBDIR)/libkiln.so'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(LIBS)|' kiln.pc.in \
	    >'$(DESTDIR)$(LIBDIR)/pkgconfig/kiln.pc'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/kiln.pc'
	set -e; for program in $(PROGRAMS); do install -m 755 $$program '$(DESTDIR)$(BINDIR)/'; done
	set -e; for page in $(MAN_PAGES); do \
	    install -d "$(DESTDIR)$(MANDIR)/man$${page##*.}"; \
	    install -m 644 $$page "$(DESTDIR)$(MANDIR)/man$${page##*.}/"; done
	if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ]; then ldconfig || true; fi

uninstall:
	rm -f '$(DESTDIR)$(INCLUDEDIR)/kiln.h' '$(DESTDIR)$(LIBDIR)/libkiln.a' \
	    '$(DESTDIR)$(LIBDIR)/libkiln.so' '$(DESTDIR)$(LIBDIR)/$(LIB_SONAME)' \
	    '$(DESTDIR)$(LIBDIR)/$(notdir $(LIB_SHARED))' '$(DESTDIR)$(LIBDIR)/pkgconfig/kiln.pc' \
	    '$(DESTDIR)$(BINDIR)/kiln' '$(DESTDIR)$(BINDIR)/gigatest' '$(DESTDIR)$(BINDIR)/kilnd'
	for page in $(MAN_PAGES); do \
	    rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done

# The last commit, as a tar file.
.PHONY: dist
dist:
	@mkdir -p '$(BUILD)'
	git archive --format=tar.gz --prefix=kiln-$(VERSION)/ -o '$(BUILD)/kiln-$(VERSION).tar.gz' HEAD
	@echo '$(BUILD)/kiln-$(VERSION).tar.gz'

# ---- what must be installed -------------------------------------------------------------------

DEPS_BUILD := gcc g++ make binutils libc6-dev pkg-config libaio-dev libjemalloc-dev libxxhash-dev \
              zlib1g-dev libncurses-dev libcunit1-dev libbenchmark-dev
# What only tests use: the languages that load the library.
DEPS_TEST  := python3 nodejs
DEPS_PEERS := liblmdb-dev librocksdb-dev libleveldb-dev libwiredtiger-dev wiredtiger libdb5.3-dev \
              libsqlite3-dev fio python3
# clang's sanitizer runtimes are a package of their own where a clang version wants it so.
DEPS_FUZZ   = $(shell apt-cache depends clang 2>/dev/null | \
                sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$$/libclang-rt-\1-dev/p' | head -n 1)

.PHONY: deps
deps:
	@sh tests/tidy/deps.sh $(DEPS_BUILD)

.PHONY: clean
clean:
	rm -rf '$(BUILD)'

.PHONY: help
help:
	@echo 'make all          libraries and programs, below $(BUILD); V=1 shows the commands'
	@echo 'make demo         load $(DEMO_COUNT) objects and verify them (DEMO_COUNT, DEMO_ARGS)'
	@echo 'make test         every test; NAME.run for one, e.g. tests/unit/test_x.run'
	@echo 'make asan tsan    every test under the address and undefined, or the thread sanitizer'
	@echo 'make schedules    threads in orders drawn from seeds, for SCHEDULE_SECONDS ($(SCHEDULE_SECONDS))'
	@echo 'make shortages    threads while memory and descriptors are refused, for SHORTAGE_SECONDS'
	@echo 'make fuzz         libFuzzer on each decoder for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make crash        $(CRASH_STATES) crash states (CRASH_STATES)'
	@echo 'make crash-native $(STATES) crash states of the native disk (STATES), kills (KILLS)'
	@echo 'make mutants      each fault of tests/mutants is put in and must be caught (MUTANTS: some files)'
	@echo 'make coverage     lines reached by the tests'
	@echo 'make lint format  clang-tidy, cppcheck and format check; reformat'
	@echo 'make compile_commands    $(BUILD)/compile_commands.json, for editors'
	@echo 'make bench        micro benchmarks (BENCH_ARGS)'
	@echo 'make bench-peers  kiln beside LMDB, RocksDB, LevelDB, WiredTiger, Berkeley DB, SQLite'
	@echo 'make big          a load of COUNT ($(COUNT)) objects with its report'
	@echo 'make install uninstall   PREFIX ($(PREFIX)), DESTDIR'
	@echo 'make deps dist clean     packages the build needs; a tar file; remove $(BUILD)'

-include $(shell find $(BUILD)/obj $(BUILD)/examples -name '*.d' 2>/dev/null)

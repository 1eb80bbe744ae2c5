# kiln: build, test, install.  Plain GNU make; everything made goes below $(BUILD).
#
#   make              libraries and programs
#   make demo         install what the build needs, build, load a million objects and verify them
#   make test         install what the build needs, build, run every test
#   make help         all targets
#
# Variables: BUILD (build), CC, OPT (-O2 -g), NATIVE=1 (-march=native), WERROR=1, JOBS, PREFIX, DESTDIR.

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
VERSION := $(shell sed -n 's/^\#define KILN_VERSION_STRING "\(.*\)".*/\1/p' include/kiln.h 2>/dev/null)
ifeq ($(VERSION),)
VERSION := 0.1.0
endif
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

# ---- flags ------------------------------------------------------------------------------------

WARN_BOTH := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla \
             -Wformat=2 -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
WARN_C    := $(WARN_BOTH) -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
ifdef WERROR
WARN_BOTH += -Werror
endif

# SANITIZE: a list for -fsanitize=.  jemalloc and the sanitizers both want to be malloc.
ifdef SANITIZE
SAN       := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
CONFIG    += -DKILN_NO_JEMALLOC=1 -DKILN_DEBUG=1
else
LIB_ALLOC := -ljemalloc
endif
ifdef DEBUG
CONFIG    += -DKILN_DEBUG=1
endif
ifdef NATIVE
OPT       += -march=native
endif

CPPFLAGS_ALL := -D_GNU_SOURCE -I. -Iinclude $(CONFIG) $(CPPFLAGS)
CFLAGS_ALL   := -std=c11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN_C) $(SAN) $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(OPT) -fPIC -pthread $(WARN_BOTH) $(SAN) $(CXXFLAGS)
LDFLAGS_ALL  := -pthread $(SAN) $(LDFLAGS)
LIBS         := -laio $(LIB_ALLOC) -lxxhash -lz -lpthread -lm
LIBS_SCREEN  := -Wl,--as-needed -lncursesw -ltinfo

# ---- sources ----------------------------------------------------------------------------------
# A folder that is not there, or is empty, is no error: what depends on it is left out.

LIB_SRC     := $(filter-out replication/kilnd%,$(wildcard ftk/*.c cache/*.c rfl/*.c engine/*.c replication/*.c))
UTILS_SRC   := $(wildcard utils/*.c)
GIGA_SRC    := $(wildcard gigatest/*.c)
KILND_SRC   := $(wildcard replication/kilnd*.c)
SUPPORT_SRC := $(wildcard tests/support/*.c)
TEST_SRC    := $(wildcard tests/unit/test_*.c tests/crash/test_*.c tests/sim/test_*.c tests/cluster/test_*.c)
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
MICRO_SRC   := $(wildcard tests/bench/micro/*.c)
MICRO_SRCXX := $(wildcard tests/bench/micro/*.cc)
TIDY_SRC    := $(wildcard tests/tidy/canary_*.c)

obj = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))

LIB_OBJ     := $(call obj,$(LIB_SRC))
UTILS_OBJ   := $(call obj,$(UTILS_SRC))
GIGA_OBJ    := $(call obj,$(GIGA_SRC))
KILND_OBJ   := $(call obj,$(KILND_SRC))
SUPPORT_OBJ := $(call obj,$(SUPPORT_SRC))
MICRO_OBJ   := $(call obj,$(MICRO_SRC) $(MICRO_SRCXX))
DRIVER_OBJ  := $(BUILD)/obj/tests/fuzz/driver.o

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
EXAMPLES  := $(patsubst %.c,$(BUILD)/%,$(EXAMPLE_SRC))

.PHONY: all
all: $(LIBRARIES) $(PROGRAMS)

# make -j in the sub-makes below, unless the caller has said how many already.
PAR = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

# Objects are made anew when the flags change.
FLAGS_NOW := $(CC) $(CXX) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CXXFLAGS_ALL) $(LDFLAGS_ALL)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@
.PHONY: FORCE
FORCE:

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: %.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS_ALL) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

# All symbols: for the tests and for our own programs.
$(BUILD)/internal/libkiln.a: $(LIB_OBJ)
$(BUILD)/internal/libsupport.a: $(SUPPORT_OBJ)
$(BUILD)/internal/libutils.a: $(UTILS_OBJ)
$(BUILD)/internal/libgigatest.a: $(GIGA_OBJ)
$(BUILD)/internal/lib%.a: $(BUILD)/flags
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $(filter %.o,$^)

# kiln_* only: one relocatable object with every hidden symbol made local.
$(LIB_STATIC): $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(LD) -r -o $(@D)/kiln.o $(LIB_OBJ)
	objcopy --localize-hidden $(@D)/kiln.o
	$(AR) rcs $@ $(@D)/kiln.o
	@rm -f $(@D)/kiln.o

$(LIB_SHARED): $(LIB_OBJ) kiln.map
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,$(LIB_SONAME) -Wl,--version-script=kiln.map $(if $(SANITIZE),,-Wl,-z,defs) \
	    -o $@ $(LIB_OBJ) $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/lib/libkiln.so: $(LIB_SHARED)
	ln -sf $(<F) $(@D)/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) $@

$(BUILD)/bin/kiln: $(UTILS_OBJ) $(INTERNAL)
$(BUILD)/bin/gigatest: $(GIGA_OBJ) $(INTERNAL)
$(BUILD)/bin/kilnd: $(KILND_OBJ) $(INTERNAL)
$(BUILD)/bin/kiln $(BUILD)/bin/gigatest $(BUILD)/bin/kilnd:
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDFLAGS_ALL) $(LIBS) $(LIBS_SCREEN)

# ---- tests ------------------------------------------------------------------------------------

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(DRIVER_OBJ) $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) $(LIBS) $(LIBS_SCREEN)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(INTERNAL) $(INTERNAL_AUX)
	@mkdir -p $(@D)
	$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(LDFLAGS_ALL) -Wl,--as-needed -lcunit $(LIBS) $(LIBS_SCREEN)

# As a user builds them: the public header and the library, nothing else.
$(BUILD)/examples/%: examples/%.c $(BUILD)/lib/libkiln.so
	@mkdir -p $(@D)
	$(CC) -std=c11 $(OPT) -Wall -Wextra $(SAN) -Iinclude -MMD -MP -MF $@.d -o $@ $< \
	    -L$(BUILD)/lib -Wl,-rpath,$(abspath $(BUILD)/lib) -lkiln -pthread

.PHONY: build-tests
build-tests: all $(TESTS) $(EXAMPLES)

-include $(shell find $(BUILD)/obj $(BUILD)/examples -name '*.d' 2>/dev/null)

.PHONY: deps
DEPS_BUILD := gcc make libc6-dev pkg-config binutils libaio-dev libjemalloc-dev libxxhash-dev \
              zlib1g-dev libncurses-dev libcunit1-dev libbenchmark-dev g++
deps:
	@sh tests/tidy/deps.sh $(DEPS_BUILD)

.PHONY: clean
clean:
	rm -rf $(BUILD)

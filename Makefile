# nginx-fanout. "make help" lists what can be made.

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# the NGINX that is to load the module, and its source

ifndef NGINX_BINARY
NGINX_BINARY := $(or $(shell command -v nginx),/usr/sbin/nginx)
endif

NGINX_SRC    ?= /usr/share/nginx/src

PORT         ?= 8080
JOBS         ?= 2
FUZZ_TIME    ?= 600
T            ?=

ROOT   := $(CURDIR)
BUILD  := $(ROOT)/build
MODULE := $(BUILD)/ngx_http_fanout_module.so

export NGINX_BINARY NGINX_SRC

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif


.PHONY: all help deps run demo test format units fuzzers fuzz sanitize bench \
        install deb client page clean FORCE

all: $(MODULE)

help:
	@echo 'make               build/ngx_http_fanout_module.so for $(NGINX_BINARY)'
	@echo 'make run           install, build, and start it on 127.0.0.1:PORT'
	@echo 'make demo          the demo: all of it on one page, and a REST server'
	@echo 'make test          install, build, run all tests; T=t/x.t for one'
	@echo 'make format        check the style of the sources'
	@echo 'make sanitize      all tests on an NGINX built with ASan and UBSan'
	@echo 'make fuzz          each fuzzer for FUZZ_TIME seconds; F=name for one'
	@echo 'make bench         the figures of docs/benchmarks.md; F=name,name for some'
	@echo 'make deps          install what building and testing need (root)'
	@echo 'make install       module, client and command; DESTDIR is honoured'
	@echo 'make deb           a package for Debian, in build/deb/'
	@echo 'make client        the package for npm, with plain scripts, in build/npm/'
	@echo 'make page          build src/status/status.html into its header'
	@echo 'make clean         remove build/'
	@echo
	@echo 'PORT=$(PORT) JOBS=$(JOBS) FUZZ_TIME=$(FUZZ_TIME)'
	@echo 'NGINX_BINARY=$(NGINX_BINARY) NGINX_SRC=$(NGINX_SRC)'
	@echo 'NODEPS=1 installs nothing'

DEPS := build

deps:
ifndef NODEPS
	@t/tools/deps $(DEPS)
endif

test: DEPS := build test page rest client


# The module. NGINX's configure runs again when it would come out different:
# another NGINX, another list of files, other flags.

CODE  := $(sort $(wildcard src/*.[ch] src/*/*.[ch]))
SETUP := config t/tools/configure $(wildcard $(NGINX_SRC)/conf_flags)

ifneq ($(origin CC),default)
export MODULE_CC := $(CC)
endif

export MODULE_CFLAGS MODULE_LDFLAGS NGINX_FLAGS

$(BUILD)/state: FORCE
	@mkdir -p $(BUILD)
	@{ $(NGINX_BINARY) -V 2>&1 || true; echo $(CODE); \
	   echo '$(NGINX_SRC)|$(MODULE_CC)|$(MODULE_CFLAGS)|$(MODULE_LDFLAGS)|$(NGINX_FLAGS)'; \
	   sed -n '/NGINX_VERSION/p' $(NGINX_SRC)/src/core/nginx.h \
	       2> /dev/null || true; } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/nginx/configured: $(BUILD)/state $(SETUP)
	@echo configuring
	@t/tools/configure $(NGINX_SRC) $(BUILD)/nginx
	@touch $@

$(MODULE): $(BUILD)/nginx/configured src/ngx_http_fanout_module.map FORCE
	@if [ src/ngx_http_fanout_module.map -nt $@ ]; then \
	    rm -f $(BUILD)/nginx/objs/$(@F); fi
	@+$(MAKE) -s --no-print-directory -C $(BUILD)/nginx \
	    -f objs/Makefile modules
	@if ! cmp -s $(BUILD)/nginx/objs/$(@F) $@; then \
	    cp $(BUILD)/nginx/objs/$(@F) $@.new; mv $@.new $@; \
	    echo "built $(@:$(ROOT)/%=%)"; fi


# Unit tests and fuzzers: t/unit/NAME_test.c and t/fuzz/fuzz_NAME.c, beside
# t/fuzz/fuzz_NAME.pl, which are clients of an NGINX with sanitizers. A test
# names what it is linked with in its first lines, one after the other:
#
#     /* sources: src/wire/a.c src/zone/b*.c */
#     /* libs: -lyajl */
#     /* cflags: -DX=1 @nginx@ */
#
# "@nginx@" stands for the include flags of the configured NGINX.

INCS     := -Isrc -It/unit
NGX_INCS := $(addprefix -I$(BUILD)/nginx/,src/core src/event src/event/modules \
            src/os/unix src/http src/http/modules src/http/v2 objs)
WARN     := -Wall -Wextra -Wpointer-arith -Wno-unused-parameter -Werror
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
            -fno-omit-frame-pointer

UNIT_DIR   ?= $(BUILD)/unit
UNIT_FLAGS ?= -O2

UNITS   := $(patsubst t/unit/%.c,%,$(wildcard t/unit/*_test.c))
FUZZERS := $(patsubst t/fuzz/%.c,%,$(wildcard t/fuzz/fuzz_*.c))
CLIENTS := $(patsubst t/fuzz/%.pl,%,$(wildcard t/fuzz/fuzz_*.pl))

# What FILE says after "WORD:" in its first lines, read once: SAID_WORD_FILE

said = $(shell sed -n '1,20s@^/\* $(2): *\(.*[^ ]\) *\*/.*@\1@p' $(1))

define read_rule
SAID_cflags_$(1)  := $(call said,$(1),cflags)
SAID_libs_$(1)    := $(call said,$(1),libs)
SAID_sources_$(1) := $(1) $(wildcard $(call said,$(1),sources))
endef

# Programs with the same flags share their objects: $(call objects,DIR,FILE) of
# a program, in a directory for the flags. The words of OBJECTS_DIR are
# "FLAGS:SOURCE", with what FLAGS_FLAGS says.

empty :=
space := $(empty) $(empty)

tag     = $(or $(subst $(space),,$(subst =,,$(subst @,,$(SAID_cflags_$(1))))),\
          -)
object  = $(1)/objs/$(2)/$(subst /,_,$(3:.c=.o))
objects = $(foreach c,$(SAID_sources_$(2)),$(call object,$(1),$(call tag,$(2)),$(c)))

define program_rule
FLAGS_$(call tag,$(2)) := $(SAID_cflags_$(2))
OBJECTS_$(1) += $(SAID_sources_$(2):%=$(call tag,$(2)):%)

$(1)/$(basename $(notdir $(2))): $(call objects,$(1),$(2)) Makefile
	@echo 'building $$(@:$(ROOT)/%=%)'
	@$(LINK_$(1)) -o $$@ $$(filter %.o,$$^) $(SAID_libs_$(2)) -lpthread
endef

define object_rule
$(call object,$(1),$(2),$(3)): $(3) Makefile \
        $(if $(findstring @nginx@,$(FLAGS_$(2))),$(BUILD)/nginx/configured)
	@mkdir -p $$(@D)
	@$(COMPILE_$(1)) $(subst @nginx@,$(NGX_INCS),$(FLAGS_$(2))) \
	    -MMD -MP -c -o $$@ $$<

-include $(patsubst %.o,%.d,$(call object,$(1),$(2),$(3)))
endef

# the fuzzers are told apart by FUZZING

FUZZ_DIR := $(BUILD)/fuzz

COMPILE_$(UNIT_DIR) := $(or $(MODULE_CC),gcc) -std=gnu11 -g $(UNIT_FLAGS) \
                       $(WARN) $(INCS)
LINK_$(UNIT_DIR)    := $(or $(MODULE_CC),gcc) -g $(UNIT_FLAGS)
COMPILE_$(FUZZ_DIR) := clang -std=gnu11 -g -O1 $(WARN) $(INCS) -It/fuzz \
                       -DFUZZING=1 -fsanitize=fuzzer-no-link $(SANITIZE)
LINK_$(FUZZ_DIR)    := clang -g -fsanitize=fuzzer $(SANITIZE)

ifneq ($(MAKECMDGOALS),clean)
$(foreach u,$(UNITS),$(eval $(call read_rule,t/unit/$(u).c)))
$(foreach f,$(FUZZERS),$(eval $(call read_rule,t/fuzz/$(f).c)))
$(foreach u,$(UNITS),$(eval $(call program_rule,$(UNIT_DIR),t/unit/$(u).c)))
$(foreach f,$(FUZZERS),$(eval $(call program_rule,$(FUZZ_DIR),t/fuzz/$(f).c)))
$(foreach d,$(UNIT_DIR) $(FUZZ_DIR),$(foreach o,$(sort $(OBJECTS_$(d))),\
    $(eval $(call object_rule,$(d),$(firstword $(subst :, ,$(o))),$(lastword $(subst :, ,$(o)))))))
endif

units: $(UNITS:%=$(UNIT_DIR)/%)

fuzzers: $(FUZZERS:%=$(FUZZ_DIR)/%)

fuzz:
ifndef NODEPS
	@t/tools/deps build test fuzz sanitize
endif
	@$(MAKE) --no-print-directory \
	    $(if $(F),$(or $(filter $(FUZZERS:%=$(FUZZ_DIR)/%),\
	        $(F:%=$(FUZZ_DIR)/fuzz_%)),FORCE),fuzzers)
	@+$(if $(F),$(if $(filter $(CLIENTS),$(F:%=fuzz_%)),\
	    t/tools/sanitize build $(BUILD),:),t/tools/sanitize build $(BUILD))
	@FUZZ_TIME=$(FUZZ_TIME) t/tools/fuzz $(or $(F),$(FUZZERS) $(CLIENTS))


# Tests. The fuzzers' corpora are run where clang is at hand.

TESTS := $(sort $(wildcard t/*.t t/scenarios/*.t))

# $(call needed,NAME.t,GOALS): GOALS, unless T has other tests than NAME.t

needed = $(if $(and $(T),$(if $(filter-out %.t,$(T)),,other)),\
    $(if $(filter $(1),$(notdir $(T))),$(2)),$(2))

test: deps
	@$(MAKE) --no-print-directory all $(call needed,unit.t,units) \
	    $(call needed,fuzz.t,$$(t/tools/fuzz --able && echo fuzzers))
	@TEST_NGINX_BINARY=$(NGINX_BINARY) TEST_NGINX_MODULE=$(MODULE) \
	    TEST_UNIT_DIR=$(UNIT_DIR) \
	    t/tools/prove -It/lib -j $(JOBS) $(or $(T),$(TESTS))

format:
	@t/tools/format

# NGINX and the module, in one binary, with every report fatal

sanitize:
ifndef NODEPS
	@t/tools/deps build test page rest client sanitize
endif
	@+t/tools/sanitize build $(BUILD)
	@$(MAKE) --no-print-directory FORCE $(call needed,unit.t,units) \
	    $(call needed,fuzz.t,$$(t/tools/fuzz --able && echo fuzzers)) \
	    UNIT_DIR=$(BUILD)/sanitize/unit UNIT_FLAGS='-O1 $(SANITIZE)'
	@t/tools/sanitize run $(BUILD) \
	    t/tools/prove -It/lib -j $(JOBS) $(or $(T),$(TESTS))

bench:
ifndef NODEPS
	@t/tools/deps build test bench
endif
	@$(MAKE) --no-print-directory all
	@TEST_NGINX_BINARY=$(NGINX_BINARY) TEST_NGINX_MODULE=$(MODULE) t/bench/run \
	    $(if $(F),--figure=$(F))


run: deps
	@$(MAKE) --no-print-directory all
	@PORT=$(PORT) t/tools/run

demo: DEPS := build rest

demo: deps
	@$(MAKE) --no-print-directory all
	@PORT=$(PORT) t/tools/run demo

MODULES_DIR ?= $(or $(shell $(NGINX_BINARY) -V 2>&1 | tr ' ' '\n' \
                    | sed -n 's/^--modules-path=//p'),/usr/lib/nginx/modules)

# where a page can be served from

CLIENT_DIR ?= /usr/share/nginx-fanout/client

# the command-line client is part of it

BIN_DIR ?= /usr/bin

# stripped, as nobody debugs what is installed; STRIP=: leaves it as it is

STRIP ?= strip --strip-unneeded

install: all
	install -D -m 644 $(MODULE) $(DESTDIR)$(MODULES_DIR)/$(notdir $(MODULE))
	$(STRIP) $(DESTDIR)$(MODULES_DIR)/$(notdir $(MODULE))
	cd src/client && for file in *.* */*.*; do \
	    install -D -m 644 $$file $(DESTDIR)$(CLIENT_DIR)/$$file; done
	chmod 755 $(DESTDIR)$(CLIENT_DIR)/bin/fanout.js
	mkdir -p $(DESTDIR)$(BIN_DIR)
	ln -sfr $(DESTDIR)$(CLIENT_DIR)/bin/fanout.js $(DESTDIR)$(BIN_DIR)/fanout

deb: DEPS := build deb

deb: deps
	@$(MAKE) --no-print-directory all
	@t/tools/deb $(MODULE) $(BUILD)/deb

client: DEPS := client

client: deps
	@t/tools/client $(BUILD)/npm

page:
	@t/tools/embed

clean:
	rm -rf $(BUILD)

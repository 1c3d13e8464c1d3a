# Two shared objects and one install script. `make` builds, `make install` installs, ./dev does the rest.
PG_CONFIG ?= pg_config
EXTENSION = pg_usher
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_usher.control)

SOURCES_CORE := $(sort $(wildcard extension/*.c extension/*/*.c))
SOURCES_RELAY := $(sort $(wildcard bgworkers/*.c bgworkers/*/*.c))
OBJS_CORE := $(SOURCES_CORE:.c=.o)
OBJS_RELAY := $(SOURCES_RELAY:.c=.o)
USHER_HEADERS := $(wildcard extension/*.h extension/*/*.h bgworkers/*.h bgworkers/*/*.h)
# The client libraries of brokers: in the workers' shared object only.
LIBS_RELAY = -lrdkafka -lhiredis -lnats -lssl -lcrypto
SQL_SOURCES := $(sort $(wildcard sql/*/*.sql sql/*/*/*.sql))

OBJS = $(OBJS_CORE)
MODULE_big = pg_usher
ASSEMBLED_SQL := build/$(EXTENSION)--$(EXTVERSION).sql
DATA = $(wildcard migrations/pg_usher--*.sql)
DATA_built = $(ASSEMBLED_SQL)
EXTRA_CLEAN = build/$(EXTENSION)--*.sql pg_usher_relay.so $(OBJS_RELAY)

PG_CPPFLAGS = -I$(srcdir)/extension -I$(srcdir)/bgworkers
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers \
	-Wno-declaration-after-statement -Wno-cast-function-type
# No bitcode: nothing here is worth inlining into expressions.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

all: pg_usher_relay.so

pg_usher_relay.so: $(OBJS_RELAY)
	$(CC) $(CFLAGS) $(OBJS_RELAY) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(LIBS_RELAY)

$(OBJS_CORE) $(OBJS_RELAY): $(USHER_HEADERS)

# In the order of the folders' numbers; each file under its name, so that an error shows where it stands.
$(ASSEMBLED_SQL): $(SQL_SOURCES) pg_usher.control
	@mkdir -p build
	@{ printf '\\echo Use "CREATE EXTENSION pg_usher" to load this file. \\quit\n'; \
	  for f in $(SQL_SOURCES); do printf '\n-- %s\n' "$$f"; cat "$$f"; done; } > $@

install: install-relay
install-relay: pg_usher_relay.so
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) pg_usher_relay.so '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-relay
uninstall-relay:
	rm -f '$(DESTDIR)$(pkglibdir)/pg_usher_relay.so'

.PHONY: install-relay uninstall-relay

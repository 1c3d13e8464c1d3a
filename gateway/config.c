/*
 * gateway/config.c
 *	  The settings: one table, and where their values come from.
 *
 * A configuration is built anew from defaults, file, environment and flags,
 * checked as a whole, and only then put in the place of the old one; so a
 * mistake never leaves half of it.  Only the loop's thread reads or changes it.
 */
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"
#include "lib/text.h"

Config config;

#define FIELD(name) #name
#define PLACE(name) offsetof(Config, name), sizeof(((Config *) 0)->name)

#define TEXT(name, fallback, flags)                                \
	{                                                              \
		FIELD(name), TYPE_TEXT, PLACE(name), fallback, 0, 0, flags \
	}
#define INTEGER(name, fallback, min, max, flags)                          \
	{                                                                     \
		FIELD(name), TYPE_INTEGER, PLACE(name), fallback, min, max, flags \
	}
#define BYTES(name, fallback, min, max, flags)                          \
	{                                                                   \
		FIELD(name), TYPE_BYTES, PLACE(name), fallback, min, max, flags \
	}
#define SECONDS(name, fallback, min, max, flags)                          \
	{                                                                     \
		FIELD(name), TYPE_SECONDS, PLACE(name), fallback, min, max, flags \
	}

#define KB 1024.0
#define MB (1024.0 * KB)
#define GB (1024.0 * MB)

/* In order of name; docs/usherd.md says what each means, and a check compares the two. */
const Setting config_settings[] = {
	TEXT(access_log, "-", RELOAD),
	TEXT(allow, "", RELOAD),
	TEXT(anonymous_scopes, "", RELOAD),
	TEXT(anonymous_tenant, "default", RELOAD),
	SECONDS(api_key_cache_seconds, "10s", 0, 3600, RELOAD),
	BYTES(batch_bytes_max, "16MB", 64 * KB, GB, 0),
	INTEGER(batch_events_max, "5000", 1, 100000, 0),
	INTEGER(batch_requests_max, "1000", 1, 10000, 0),
	BYTES(body_bytes_max, "1MB", KB, GB, RELOAD),
	INTEGER(body_rate_min, "500", 0, 1000000000, RELOAD),
	SECONDS(body_timeout_seconds, "60s", 0.1, 86400, RELOAD),
	BYTES(buffer_bytes_max, "256MB", MB, 1024 * GB, RELOAD),
	INTEGER(connections_max, "20000", 1, 1000000, 0),
	INTEGER(connections_per_address_max, "1000", 1, 1000000, RELOAD),
	TEXT(cors_origins, "", RELOAD),
	TEXT(database, "", SECRET),
	TEXT(deny, "", RELOAD),
	SECONDS(drain_timeout_seconds, "30s", 0, 86400, RELOAD),
	TEXT(error_log, "-", RELOAD),
	INTEGER(events_per_request_max, "1000", 1, 100000, RELOAD),
	INTEGER(gzip_bytes_min, "1024", 0, 1000000000, RELOAD),
	BYTES(header_bytes_max, "16kB", KB, MB, RELOAD),
	SECONDS(header_timeout_seconds, "10s", 0.1, 3600, RELOAD),
	SECONDS(idle_timeout_seconds, "75s", 0.1, 86400, RELOAD),
	BYTES(journal_buffer_bytes, "1MB", 64 * KB, GB, 0),
	INTEGER(json_depth_max, "64", 1, 1000, RELOAD),
	TEXT(jwt_audience, "", RELOAD),
	TEXT(jwt_default_tenant, "", RELOAD),
	TEXT(jwt_issuer, "", RELOAD),
	TEXT(jwt_keys, "", RELOAD),
	SECONDS(jwt_skew_seconds, "30s", 0, 3600, RELOAD),
	TEXT(jwt_tenant_claim, "tenant", RELOAD),
	TEXT(listen, "127.0.0.1:8080", 0),
	TEXT(listen_admin, "127.0.0.1:8081", 0),
	INTEGER(live_connections_per_tenant_percent, "95", 1, 100, RELOAD),
	INTEGER(live_connections_per_user_max, "1000", 0, 1000000, RELOAD),
	INTEGER(live_messages_per_user, "200", 0, 1000000, RELOAD),
	INTEGER(live_subscriptions_per_user_max, "4000", 0, 100000000, RELOAD),
	TEXT(log_level, "info", RELOAD),
	TEXT(operator_tenant, "default", RELOAD),
	SECONDS(queue_age_seconds, "1s", 0.01, 60, RELOAD),
	INTEGER(queue_max, "10000", 1, 1000000, RELOAD),
	INTEGER(rate_buckets, "1048576", 1024, 67108864, 0),
	TEXT(rate_limits,
		 "general=100/20 key=6000/1000 credentials=600/100 login=5/3 register=3/2 reserve=20/10",
		 RELOAD),
	INTEGER(read_connections, "4", 1, 64, 0),
	INTEGER(read_pipeline, "32", 1, 1000, 0),
	SECONDS(read_timeout_seconds, "5s", 0.01, 3600, 0),
	BYTES(reply_bytes_max, "1MB", KB, GB, RELOAD),
	INTEGER(requests_in_flight_max, "10000", 1, 1000000, RELOAD),
	INTEGER(reserve_connections, "2", 1, 16, 0),
	INTEGER(slow_connections, "2", 1, 64, 0),
	SECONDS(slow_timeout_seconds, "30s", 0.01, 3600, 0),
	TEXT(tls_certificate, "", RELOAD),
	TEXT(tls_key, "", RELOAD),
	INTEGER(token_cache_entries, "10000", 1, 10000000, 0),
	TEXT(trusted_proxies, "", RELOAD),
	SECONDS(wait_seconds_max, "55s", 0, 3600, RELOAD),
	INTEGER(waiters_max, "10000", 0, 1000000, RELOAD),
	INTEGER(websocket_deflate_level, "0", 0, 9, RELOAD),
	INTEGER(write_connections, "2", 1, 16, 0),
	SECONDS(write_timeout_seconds, "5s", 0.01, 3600, 0),
};

#define SETTINGS (sizeof(config_settings) / sizeof(config_settings[0]))

const int config_settings_count = SETTINGS;

static int arguments_count;
static char **arguments;

/* Where a value comes from, for errors. */
typedef struct Origin
{
	const char *file; /* or NULL */
	int line;
	const char *what; /* "environment variable USHERD_X", "--x" */
} Origin;

static char *
copy(const char *text, size_t len)
{
	char *result = malloc(len + 1);

	if (result == NULL)
		abort();
	memcpy(result, text, len);
	result[len] = '\0';
	return result;
}

static void explain(char *error, size_t size, const Origin *origin, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void
explain(char *error, size_t size, const Origin *origin, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (origin->file != NULL && origin->line > 0)
		snprintf(error, size, "%s:%d: %s", origin->file, origin->line, text);
	else if (origin->what != NULL)
		snprintf(error, size, "%s: %s", origin->what, text);
	else
		snprintf(error, size, "%s", text);
}

static const Setting *
find(Slice name)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (slice_is(name, config_settings[i].name))
			return &config_settings[i];
	return NULL;
}

void
config_format(const Setting *setting, double value, char *out)
{
	if (setting->type == TYPE_BYTES)
		settings_format_bytes((int64_t) value, out);
	else if (setting->type == TYPE_SECONDS)
		settings_format_seconds(value, out);
	else
		snprintf(out, SETTINGS_NUMBER_SIZE, "%.0f", value);
}

static bool
set_number(Config *into, const Setting *setting, Slice value, const Origin *origin, char *error,
		   size_t size)
{
	static const char *const wanted[] = {
		[TYPE_INTEGER] = "a whole number",
		[TYPE_BYTES] = "a number of bytes (512, 16kB, 1MB, 1GB)",
		[TYPE_SECONDS] = "a number of seconds (10, 0.5, 500ms, 10s, 5min, 1h, 1d)",
	};
	char *place = (char *) into + setting->offset;
	char min[SETTINGS_NUMBER_SIZE], max[SETTINGS_NUMBER_SIZE];
	int64_t whole = 0;
	double number = 0;
	bool read;

	if (setting->type == TYPE_SECONDS)
		read = settings_seconds(value, &number);
	else if (setting->type == TYPE_BYTES)
		read = settings_bytes(value, &whole);
	else
		read = settings_integer(value, &whole);
	if (!read)
	{
		explain(error, size, origin, "\"%s\" needs %s, not \"%.*s\"", setting->name,
				wanted[setting->type], (int) (value.len > 100 ? 100 : value.len), value.data);
		return false;
	}
	if (setting->type != TYPE_SECONDS)
		number = (double) whole;
	if (number < setting->min || number > setting->max)
	{
		config_format(setting, setting->min, min);
		config_format(setting, setting->max, max);
		explain(error, size, origin, "\"%s\" must lie between %s and %s", setting->name, min, max);
		return false;
	}
	if (setting->type == TYPE_SECONDS)
		memcpy(place, &number, sizeof(number));
	else if (setting->size == sizeof(int))
		*(int *) (void *) place = (int) whole;
	else
		memcpy(place, &whole, sizeof(whole));
	return true;
}

char **
config_text(const Config *from, const Setting *setting)
{
	return (char **) (void *) ((char *) (uintptr_t) from + setting->offset);
}

static bool
set(Config *into, const Setting *setting, Slice value, const Origin *origin, char *error,
	size_t size)
{
	if (setting->type != TYPE_TEXT)
		return set_number(into, setting, value, origin, error, size);
	free(*config_text(into, setting));
	*config_text(into, setting) = copy(value.data, value.len);
	return true;
}

static void
config_free(Config *old)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (config_settings[i].type == TYPE_TEXT)
		{
			free(*config_text(old, &config_settings[i]));
			*config_text(old, &config_settings[i]) = NULL;
		}
}

static bool
set_defaults(Config *into, char *error, size_t size)
{
	Origin origin = {NULL, 0, "default"};

	for (size_t i = 0; i < SETTINGS; i++)
		if (!set(into, &config_settings[i],
				 (Slice){config_settings[i].fallback, strlen(config_settings[i].fallback)}, &origin,
				 error, size))
			return false;
	return true;
}

static bool
set_from_line(Config *into, Slice line, const Origin *origin, int *lines, char *error, size_t size)
{
	Slice name, value;
	const char *fault;
	const Setting *setting;

	switch (settings_line(line, &name, &value, &fault))
	{
		case SETTINGS_LINE_EMPTY:
			return true;
		case SETTINGS_LINE_WRONG:
			explain(error, size, origin, "%s", fault);
			return false;
		case SETTINGS_LINE_SET:
			break;
	}
	setting = find(name);
	if (setting == NULL)
	{
		explain(error, size, origin, "there is no setting \"%.*s\"",
				(int) (name.len > 100 ? 100 : name.len), name.data);
		return false;
	}
	if (lines[setting - config_settings] != 0)
	{
		explain(error, size, origin, "\"%s\" stands in line %d, too", setting->name,
				lines[setting - config_settings]);
		return false;
	}
	lines[setting - config_settings] = origin->line;
	return set(into, setting, value, origin, error, size);
}

static bool
set_from_file(Config *into, const char *path, char *error, size_t size)
{
	Origin origin = {path, 0, NULL};
	FILE *file = fopen(path, "re");
	int lines[SETTINGS] = {0};
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	bool right = true;

	if (file == NULL)
	{
		snprintf(error, size, "could not open \"%s\": %m", path);
		return false;
	}
	while (right && (len = getline(&line, &room, file)) >= 0)
	{
		origin.line++;
		if (len > 0 && line[len - 1] == '\n')
			len--;
		right = set_from_line(into, (Slice){line, (size_t) len}, &origin, lines, error, size);
	}
	if (right && ferror(file))
	{
		snprintf(error, size, "could not read \"%s\": %m", path);
		right = false;
	}
	free(line);
	fclose(file);
	return right;
}

static bool
set_from_environment(Config *into, char *error, size_t size)
{
	for (size_t i = 0; i < SETTINGS; i++)
	{
		char what[100], *variable = what + strlen("environment variable ");
		const char *value;
		Origin origin = {NULL, 0, what};

		snprintf(what, sizeof(what), "environment variable USHERD_%s", config_settings[i].name);
		for (char *c = variable; *c != '\0'; c++)
			if (*c >= 'a' && *c <= 'z')
				*c = (char) (*c - 'a' + 'A');
		value = getenv(variable);
		if (value != NULL &&
			!set(into, &config_settings[i], (Slice){value, strlen(value)}, &origin, error, size))
			return false;
	}
	return true;
}

static bool
set_action(const char *flag, ConfigAction *action)
{
	static const struct
	{
		const char *flag;
		ConfigAction action;
	} actions[] = {
		{"--check-config", CONFIG_CHECK},
		{"--print-config", CONFIG_PRINT},
		{"--list-settings", CONFIG_LIST},
		{"--help", CONFIG_HELP},
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(flag, actions[i].flag) == 0)
		{
			*action = actions[i].action;
			return true;
		}
	return false;
}

/* One flag with its value, which may be the next argument; *at moves behind it.  A blank between words may be "-" or "_". */
static bool
next_flag(int *at, char name[64], const char **value, char *error, size_t size)
{
	const char *flag = arguments[(*at)++], *equals;
	size_t len;

	if (strcmp(flag, "-c") == 0)
		flag = "--config";
	equals = strchr(flag, '=');
	len = equals ? (size_t) (equals - flag) : strlen(flag);
	if (strncmp(flag, "--", 2) != 0 || len < 3 || len - 2 >= 64)
	{
		snprintf(error, size, "\"%.100s\" is no flag; usherd --help lists them", flag);
		return false;
	}
	for (size_t i = 2; i < len; i++)
		name[i - 2] = flag[i] == '-' ? '_' : flag[i];
	name[len - 2] = '\0';
	*value = equals ? equals + 1 : *at < arguments_count ? arguments[(*at)++] : NULL;
	if (*value == NULL)
		snprintf(error, size, "%s: a value is missing", flag);
	return *value != NULL;
}

/* into == NULL: only the file's name and the action are wanted. */
static bool
set_from_flags(Config *into, const char **file, ConfigAction *action, char *error, size_t size)
{
	int at = 1;

	while (at < arguments_count)
	{
		char name[64], what[70];
		const char *value;
		const Setting *setting;
		Origin origin = {NULL, 0, what};

		if (set_action(arguments[at], action))
		{
			at++;
			continue;
		}
		if (!next_flag(&at, name, &value, error, size))
			return false;
		if (strcmp(name, "config") == 0)
		{
			*file = value;
			continue;
		}
		snprintf(what, sizeof(what), "--%s", name);
		setting = find((Slice){name, strlen(name)});
		if (setting == NULL)
		{
			explain(error, size, &origin, "there is no such setting; usherd --help lists them");
			return false;
		}
		if (into != NULL &&
			!set(into, setting, (Slice){value, strlen(value)}, &origin, error, size))
			return false;
	}
	return true;
}

/* What a setting alone cannot tell. */
static bool
check(const Config *new, char *error, size_t size)
{
	static const char *const levels[] = {"debug", "info", "warning", "error"};
	PQconninfoOption *options;
	char *fault = NULL;
	size_t level = 0;

	while (level < 4 && strcmp(new->log_level, levels[level]) != 0)
		level++;
	if (level == 4)
	{
		snprintf(error, size, "\"log_level\" must be debug, info, warning or error, not \"%.50s\"",
				 new->log_level);
		return false;
	}
	if ((new->tls_certificate[0] == '\0') != (new->tls_key[0] == '\0'))
	{
		snprintf(error, size, "\"tls_certificate\" and \"tls_key\" go together");
		return false;
	}
	if (new->listen[0] == '\0')
	{
		snprintf(error, size, "\"listen\" is empty");
		return false;
	}
	options = PQconninfoParse(new->database, &fault);
	if (options == NULL)
	{
		/* libpq's message may have parts of a password in it. */
		snprintf(error, size, "\"database\" is no connection string of libpq");
		PQfreemem(fault);
		return false;
	}
	PQconninfoFree(options);
	return true;
}

static bool
build(Config *new, ConfigAction *action, char *error, size_t size)
{
	const char *file = getenv("USHERD_CONFIG");

	memset(new, 0, sizeof(*new));
	return set_from_flags(NULL, &file, action, error, size) && set_defaults(new, error, size) &&
		   (file == NULL || set_from_file(new, file, error, size)) &&
		   set_from_environment(new, error, size) &&
		   set_from_flags(new, &file, action, error, size) && check(new, error, size);
}

bool
config_load(int argc, char **argv, ConfigAction *action, char *error, size_t size)
{
	Config new;

	arguments_count = argc;
	arguments = argv;
	*action = CONFIG_RUN;
	error[0] = '\0';
	if (!build(&new, action, error, size))
	{
		config_free(&new);
		return false;
	}
	config_free(&config);
	config = new;
	return true;
}

static bool
same(const Config *a, const Config *b, const Setting *setting)
{
	if (setting->type == TYPE_TEXT)
		return strcmp(*config_text(a, setting), *config_text(b, setting)) == 0;
	return memcmp((const char *) a + setting->offset, (const char *) b + setting->offset,
				  setting->size) == 0;
}

bool
config_reload(char *error, size_t size)
{
	Config new;
	ConfigAction action;
	size_t used = 0;

	error[0] = '\0';
	if (!build(&new, &action, error, size))
	{
		config_free(&new);
		return false;
	}
	for (size_t i = 0; i < SETTINGS; i++)
	{
		const Setting *setting = &config_settings[i];
		char *place = (char *) &config + setting->offset, *other = (char *) &new + setting->offset;

		if (same(&config, &new, setting))
			continue;
		if ((setting->flags & RELOAD) == 0)
		{
			if (used < size)
				used += (size_t) snprintf(error + used, size - used, "%s%s",
										  used == 0 ? "only a restart changes " : ", ",
										  setting->name);
			continue;
		}
		if (setting->type == TYPE_TEXT)
		{
			char *old = *config_text(&config, setting);

			*config_text(&config, setting) = *config_text(&new, setting);
			*config_text(&new, setting) = old;
		}
		else
			memcpy(place, other, setting->size);
	}
	config_free(&new);
	return true;
}

/*
 * test/unit/settings.c
 *	  The syntax of usherd.conf: lines, numbers, sizes, times; and a whole configuration from its sources.
 *
 * unit sources: gateway/config.c gateway/config_print.c -lpq
 */
#include "config.h"
#include "lib/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *text)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: ", passed ? "" : "not ", tests, what);
	for (int i = 0; text[i] != '\0'; i++)
		putchar(text[i] < ' ' || text[i] == '#' || text[i] == 127 ? '?' : text[i]);
	putchar('\n');
}

static Slice
slice(const char *text)
{
	return (Slice){text, strlen(text)};
}

static const struct
{
	const char *line;
	SettingsLine result;
	const char *name, *value;
} lines[] = {
	{"", SETTINGS_LINE_EMPTY, NULL, NULL},
	{" \t\r", SETTINGS_LINE_EMPTY, NULL, NULL},
	{"# listen = x", SETTINGS_LINE_EMPTY, NULL, NULL},
	{"  # x", SETTINGS_LINE_EMPTY, NULL, NULL},
	{"listen=x", SETTINGS_LINE_SET, "listen", "x"},
	{" listen\t =  a b = c # d \t", SETTINGS_LINE_SET, "listen", "a b = c # d"},
	{"listen =", SETTINGS_LINE_SET, "listen", ""},
	{"a1_b = 'x'\r", SETTINGS_LINE_SET, "a1_b", "'x'"},
	{"listen", SETTINGS_LINE_WRONG, NULL, NULL},
	{"listen x", SETTINGS_LINE_WRONG, NULL, NULL},
	{"= x", SETTINGS_LINE_WRONG, NULL, NULL},
	{"1a = x", SETTINGS_LINE_WRONG, NULL, NULL},
	{"Listen = x", SETTINGS_LINE_WRONG, NULL, NULL},
	{"lis ten = x", SETTINGS_LINE_WRONG, NULL, NULL},
	{"listen = a\x01", SETTINGS_LINE_WRONG, NULL, NULL},
};

static void
check_lines(void)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
	{
		size_t len = strlen(lines[i].line);
		char *copy = malloc(len + (len == 0));
		const char *fault = NULL;
		Slice name, value;
		SettingsLine result;

		memcpy(copy, lines[i].line, len);
		result = settings_line((Slice){copy, len}, &name, &value, &fault);
		ok(result == lines[i].result && (fault != NULL) == (result == SETTINGS_LINE_WRONG) &&
			   (result != SETTINGS_LINE_SET ||
				(slice_is(name, lines[i].name) && slice_is(value, lines[i].value))),
		   "line", lines[i].line);
		free(copy);
	}
}

static void
check_numbers(void)
{
	static const struct
	{
		const char *text;
		int64_t bytes; /* -1: refused */
		double seconds; /* -1: refused */
	} cases[] = {
		{"0", 0, 0},
		{"10", 10, 10},
		{"1.5", -1, 1.5},
		{".5", -1, .5},
		{"10s", -1, 10},
		{"10 s", -1, 10},
		{"500ms", -1, .5},
		{"1ms", -1, .001},
		{"5min", -1, 300},
		{"1.5h", -1, 5400},
		{"2d", -1, 172800},
		{"16kB", 16384, -1},
		{"1 MB", 1048576, -1},
		{"2GB", 2147483648, -1},
		{"7B", 7, -1},
		{"", -1, -1},
		{".", -1, -1},
		{"kB", -1, -1},
		{"-1", -1, -1},
		{"1m", -1, -1},
		{"1KB", -1, -1},
		{"1e3", -1, -1},
		{"0x10", -1, -1},
		{"9223372036854775807", INT64_MAX, -1},
		{"9223372036854775808", -1, -1},
		{"9007199254740993GB", -1, -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		int64_t bytes = -1;
		double seconds = -1;

		settings_bytes(slice(cases[i].text), &bytes);
		settings_seconds(slice(cases[i].text), &seconds);
		ok(bytes == cases[i].bytes && seconds == cases[i].seconds, "number", cases[i].text);
	}
}

/* What is printed is read as the same. */
static void
check_format(void)
{
	static const int64_t sizes[] = {0, 1, 1000, 1024, 1536, 1048576, 3221225472, INT64_MAX};
	static const double times[] = {0, .001, .5, 1, 1.5, 30, 86400, .0005, 12345.678};
	char text[SETTINGS_NUMBER_SIZE];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		int64_t back = -1;

		settings_format_bytes(sizes[i], text);
		ok(settings_bytes(slice(text), &back) && back == sizes[i], "comes back", text);
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
	{
		double back = -1;

		settings_format_seconds(times[i], text);
		ok(settings_seconds(slice(text), &back) && back == times[i], "comes back", text);
	}
}

static char path[] = "/tmp/usherd-settings-XXXXXX";
static char fault[400];

static void
write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
}

static bool
load(const char *flag1, const char *flag2)
{
	char *flags[] = {"usherd", "-c", path, (char *) (uintptr_t) flag1, (char *) (uintptr_t) flag2};
	static char *kept[5];
	ConfigAction action;

	memcpy(kept, flags, sizeof(flags));
	return config_load(flag1 == NULL   ? 3
					   : flag2 == NULL ? 4
									   : 5,
					   kept, &action, fault, sizeof(fault)) &&
		   action == CONFIG_RUN;
}

static void
refused(const char *text, const char *expected)
{
	write_file(text);
	ok(!load(NULL, NULL) && strstr(fault, expected) != NULL && config.queue_max == 5,
	   "is refused, and nothing has changed", text);
	if (strstr(fault, expected) == NULL)
		printf("# %s\n", fault);
}

static void
check_sources(void)
{
	write_file("queue_max = 1\nread_pipeline = 1\nwaiters_max = 1\nlisten = [::1]:1\n");
	setenv("USHERD_READ_PIPELINE", "2", 1);
	setenv("USHERD_WAITERS_MAX", "2", 1);
	ok(load("--waiters-max=3", NULL) && config.queue_max == 1 && config.read_pipeline == 2 &&
		   config.waiters_max == 3 && config.json_depth_max == 64 &&
		   strcmp(config.listen, "[::1]:1") == 0,
	   "a flag wins over the environment, that over the file, that over the default", "4 settings");
	ok(load("--queue_max", "4") && config.queue_max == 4, "a flag's value", "is the next argument");
	ok(load("--queue-max=5", "--body_bytes_max=2MB") && config.body_bytes_max == 2097152,
	   "a flag's name", "with - or _");
	ok(!load("--queue-maximum=5", NULL) && strstr(fault, "--queue_maximum") &&
		   config.queue_max == 5,
	   "is refused", "a flag that is none");
	ok(!load("--queue-max", NULL) && strstr(fault, "missing"), "is refused",
	   "a flag without value");
	unsetenv("USHERD_WAITERS_MAX");
	setenv("USHERD_READ_PIPELINE", "many", 1);
	refused("", "environment variable USHERD_READ_PIPELINE");
	unsetenv("USHERD_READ_PIPELINE");
}

static void
check_faults(void)
{
	char expected[100];

	snprintf(expected, sizeof(expected), "%s:3: there is no setting \"que\"", path);
	refused("\n# x\nque = 1\n", expected);
	snprintf(expected, sizeof(expected), "%s:1: \"queue_max\" must lie between 1 and 1000000",
			 path);
	refused("queue_max = 0", expected);
	refused("queue_max = 1000001", "must lie between");
	refused("queue_max = 1kB", "whole number");
	refused("body_bytes_max = 1000B", "between 1kB and 1GB");
	refused("queue_age_seconds = 2min", "between 10ms and 60s");
	snprintf(expected, sizeof(expected), "%s:2: \"listen\" stands in line 1", path);
	refused("listen = a:1\nlisten = a:2\n", expected);
	refused("log_level = loud", "log_level");
	refused("tls_key = x", "go together");
	refused("listen =", "empty");
	refused("database = host='x password=secret", "database");
	ok(strstr(fault, "secret") == NULL, "an error tells no password", fault);
	unlink(path);
	ok(!load(NULL, NULL) && strstr(fault, "could not open") != NULL, "is refused",
	   "a file that does not exist");
}

static void
check_reload(void)
{
	write_file("listen = a:1\nlog_level = info\nqueue_max = 5\n");
	load(NULL, NULL);
	write_file("listen = b:1\nlog_level = debug\nqueue_max = 6\nwrite_connections = 3\n");
	ok(config_reload(fault, sizeof(fault)) && config.queue_max == 6 &&
		   strcmp(config.log_level, "debug") == 0,
	   "reload changes", "queue_max and log_level");
	ok(strcmp(config.listen, "a:1") == 0 && config.write_connections == 2 &&
		   strcmp(fault, "only a restart changes listen, write_connections") == 0,
	   "reload changes nothing of", fault);
	write_file("queue_max = 7\nnonsense\n");
	ok(!config_reload(fault, sizeof(fault)) && config.queue_max == 6,
	   "a wrong file changes nothing", fault);
	write_file("queue_max = 5\n");
	ok(config_reload(fault, sizeof(fault)) && config.queue_max == 5 &&
		   strcmp(config.log_level, "info") == 0,
	   "what the file does not say any more", "is the default again");
}

int
main(void)
{
	if (mkstemp(path) < 0)
		return 2;
	check_lines();
	check_numbers();
	check_format();
	check_sources();
	load("--queue-max=5", NULL);
	check_faults();
	check_reload();
	unlink(path);
	printf("1..%d\n", tests);
	return failures > 0;
}

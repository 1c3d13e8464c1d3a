/*
 * gateway/config_print.c
 *	  The settings as text: for people, for another usherd, and for the check of the documentation.
 *
 * Prints to standard output, before anything is served.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "config_table.h"

/* The connection string with *** for what is secret in it. */
static void
print_database(const char *database)
{
	PQconninfoOption *options = PQconninfoParse(database, NULL);
	const char *blank = "";

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
	{
		if (o->val == NULL)
			continue;
		printf("%s%s=", blank, o->keyword);
		blank = " ";
		if (strchr(o->dispchar, '*') != NULL)
		{
			printf("***");
			continue;
		}
		putchar('\'');
		for (const char *c = o->val; *c != '\0'; c++)
			printf("%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
		putchar('\'');
	}
	PQconninfoFree(options);
}

static double
number_of(const Setting *setting)
{
	const char *place = (const char *) &config + setting->offset;
	int64_t whole;
	double number;

	if (setting->type == TYPE_SECONDS)
	{
		memcpy(&number, place, sizeof(number));
		return number;
	}
	if (setting->size == sizeof(int))
		return *(const int *) (const void *) place;
	memcpy(&whole, place, sizeof(whole));
	return (double) whole;
}

void
config_print(void)
{
	for (int i = 0; i < config_settings_count; i++)
	{
		char number[SETTINGS_NUMBER_SIZE];

		printf("%s = ", config_settings[i].name);
		if (config_settings[i].flags & SECRET)
			print_database(*config_text(&config, &config_settings[i]));
		else if (config_settings[i].type == TYPE_TEXT)
			printf("%s", *config_text(&config, &config_settings[i]));
		else
		{
			config_format(&config_settings[i], number_of(&config_settings[i]), number);
			printf("%s", number);
		}
		putchar('\n');
	}
}

void
config_list(void)
{
	static const char *const types[] = {"text", "integer", "bytes", "seconds"};

	for (int i = 0; i < config_settings_count; i++)
	{
		const Setting *s = &config_settings[i];
		char min[SETTINGS_NUMBER_SIZE] = "", max[SETTINGS_NUMBER_SIZE] = "";

		if (s->type != TYPE_TEXT)
		{
			config_format(s, s->min, min);
			config_format(s, s->max, max);
		}
		printf("%s\t%s\t%s\t%s\t%s\t%s\n", s->name, types[s->type], s->fallback, min, max,
			   s->flags & RELOAD ? "reload" : "restart");
	}
}

void
config_help(void)
{
	printf(
		"usherd: HTTP in front of pg_usher's log\n\n"
		"usherd [-c FILE] [--SETTING=VALUE ...]   serve\n"
		"usherd ... --check-config                say whether the settings are right\n"
		"usherd ... --print-config                print all settings (passwords as ***)\n"
		"usherd --list-settings                   name, type, default, least, most, reload or restart\n\n"
		"Each setting is a line \"name = value\" of FILE, the environment's USHERD_NAME and the flag --name.\n"
		"Settings:\n");
	for (int i = 0; i < config_settings_count; i++)
		printf("  --%s=%s\n", config_settings[i].name,
			   config_settings[i].fallback[0] ? config_settings[i].fallback : "\"\"");
}

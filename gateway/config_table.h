/*
 * gateway/config_table.h
 *	  What config.c and config_print.c share: the table of settings.
 */
#ifndef USHERD_CONFIG_TABLE_H
#define USHERD_CONFIG_TABLE_H

#include "config.h"
#include "lib/settings.h"

typedef enum SettingType
{
	TYPE_TEXT, /* char * */
	TYPE_INTEGER, /* int */
	TYPE_BYTES, /* int or int64_t, by size */
	TYPE_SECONDS, /* double */
} SettingType;

#define RELOAD 1 /* SIGHUP changes it */
#define SECRET 2 /* a connection string: its password is not shown */

typedef struct Setting
{
	const char *name;
	SettingType type;
	size_t offset, size;
	const char *fallback;
	double min, max;
	int flags;
} Setting;

extern const Setting config_settings[];
extern const int config_settings_count;

/* Where a text setting stands in a configuration. */
extern char **config_text(const Config *from, const Setting *setting);
extern void config_format(const Setting *setting, double value, char *out);

#endif /* USHERD_CONFIG_TABLE_H */

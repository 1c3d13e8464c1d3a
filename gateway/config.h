/*
 * gateway/config.h
 *	  The settings: one table, in config.c.
 *
 * Each setting `some_name` is a line `some_name = value` of the configuration
 * file, the environment's USHERD_SOME_NAME, and the flag --some-name=value;
 * a flag wins over the environment, the environment over the file.
 */
#ifndef USHERD_CONFIG_H
#define USHERD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the settings are called is what the file calls them; docs/usherd.md says what they mean. */
typedef struct Config
{
	/* who listens where */
	char *listen; /* address:port of the API */
	char *listen_admin; /* address:port of /readyz and /metrics; loopback */
	char *tls_certificate, *tls_key; /* PEM files; "" without TLS */
	/* the database */
	char *database; /* a libpq connection string */
	int write_connections, reserve_connections, read_connections, slow_connections;
	int read_pipeline; /* calls in flight on a connection of the read lane */
	int queue_max; /* entries of a lane's queue */
	double queue_age_seconds;
	double write_timeout_seconds, read_timeout_seconds,
		slow_timeout_seconds; /* statement_timeout */
	int batch_requests_max, batch_events_max;
	int64_t batch_bytes_max;
	/* limits of a request */
	int64_t body_bytes_max;
	int header_bytes_max;
	int json_depth_max;
	int events_per_request_max;
	int64_t reply_bytes_max;
	int64_t buffer_bytes_max; /* of all that clients make us hold */
	int requests_in_flight_max;
	int connections_max, connections_per_address_max;
	int live_connections_per_tenant_percent, live_connections_per_user_max;
	int live_messages_per_user, live_subscriptions_per_user_max;
	double header_timeout_seconds, body_timeout_seconds, idle_timeout_seconds,
		drain_timeout_seconds;
	int body_rate_min; /* bytes a second, beyond the first seconds: slow clients are ended */
	int websocket_deflate_level; /* of permessage-deflate, 1 to 9; 0: it is not offered */
	int gzip_bytes_min; /* smaller replies are not compressed; 0: none is */
	double wait_seconds_max; /* of a long poll */
	int waiters_max; /* parked requests */
	/* identity */
	char *jwt_keys; /* JWKS file, or directory of PEM files with an algorithm each */
	char *jwt_issuer, *jwt_audience;
	char *jwt_tenant_claim; /* where the tenant stands in a token */
	char *jwt_default_tenant; /* of tokens without that claim; "" refuses them */
	double jwt_skew_seconds;
	double api_key_cache_seconds; /* how long a key is believed without asking the database again */
	int token_cache_entries;
	char *anonymous_tenant; /* for routes that allow nobody */
	char *anonymous_scopes;
	char *operator_tenant; /* whose users may see what belongs to no tenant; "" nobody */
	char *cors_origins; /* separated by blanks; "*" all; "" none */
	/* addresses and rates */
	char *allow, *deny, *trusted_proxies; /* CIDR lists */
	char *rate_limits; /* class=per_minute/burst, separated by blanks */
	int rate_buckets;
	/* logs */
	char *access_log, *error_log; /* files; "-" standard error; "" none */
	char *log_level;
	int journal_buffer_bytes;
} Config;

extern Config config;

/* What the flags ask for besides settings; main.c does it. */
typedef enum ConfigAction
{
	CONFIG_RUN,
	CONFIG_CHECK, /* --check-config */
	CONFIG_PRINT, /* --print-config */
	CONFIG_LIST, /* --list-settings */
	CONFIG_HELP, /* --help */
} ConfigAction;

/*
 * From defaults, file (-c FILE or --config=FILE; without it there is none), environment and flags.  argv[0] is
 * skipped; argv and environment must live as long as the program.  false: error has the file's line, or the
 * variable or flag, and what is wrong with it, and config is as before.
 */
extern bool config_load(int argc, char **argv, ConfigAction *action, char *error, size_t size);
/*
 * Reads all of it again, at SIGHUP.  Strings of config that changed are freed: keep no pointers to them.  true with
 * an error that is not empty: it names changed settings that only a restart can change; they stay as they were.
 */
extern bool config_reload(char *error, size_t size);
extern void config_print(void); /* all settings, as a file; a password is *** */
/* For the check that docs/usherd.md describes each: name, type, default, least, most, "reload" or "restart". */
extern void config_list(void);
extern void config_help(void);

#endif /* USHERD_CONFIG_H */

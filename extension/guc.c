/*
 * extension/guc.c
 *	  The settings: one sorted table, one loop that defines them.
 *
 * Each line must have its counterpart in docs/settings.md; ./dev lint compares.
 */
#include "usher.h"

#include "shmem.h"

#include "utils/guc.h"

char *usher_tenant_slug;
char *usher_correlation_id;
char *usher_causation_id;
char *usher_actor;
char *usher_traceparent;
char *usher_source;
int usher_dedupe_window_s;
int usher_append_buffer_kb;
int usher_max_transaction_events;
int usher_max_event_size_kb;
int usher_failover_gap;
int usher_position_chunk;
int usher_partition_size;
int usher_partitions_ahead;
int usher_snapshot_every;
int usher_stable_mark_interval_ms;
int usher_max_databases;
int usher_max_relays;
int usher_max_leases;
bool usher_synchronous_ack;
int usher_once_timeout_s;
int usher_metric_series;
int usher_signal_buffer_kb;
int usher_handler_workers;
int usher_handler_memory_kb;
int usher_zone_slots;
int usher_box_max_hold_s;
int usher_box_payment_timeout_s;
char *usher_before_reserve;

typedef struct Setting
{
	const char *name;
	const char *what;
	int *integer; /* exactly one of integer, string, boolean is set */
	char **string;
	bool *boolean;
	const char *boot_string;
	int boot, min, max;
	GucContext context;
	int flags;
} Setting;

#define TEXT(name, var, boot, what)                                \
	{                                                              \
		name, what, NULL, var, NULL, boot, 0, 0, 0, PGC_USERSET, 0 \
	}
#define INTEGER(name, var, boot, min, max, context, flags, what)          \
	{                                                                     \
		name, what, var, NULL, NULL, NULL, boot, min, max, context, flags \
	}
#define BOOLEAN(name, var, boot, what)                                \
	{                                                                 \
		name, what, NULL, NULL, var, NULL, boot, 0, 0, PGC_USERSET, 0 \
	}
#define SUPERUSERS_TEXT(name, var, boot, what)                   \
	{                                                            \
		name, what, NULL, var, NULL, boot, 0, 0, 0, PGC_SUSET, 0 \
	}

static const Setting settings[] = {
	INTEGER("boxoffice.max_hold", &usher_box_max_hold_s, 1800, 1, 86400 * 7, PGC_SUSET, GUC_UNIT_S,
			"Longest time for which a reservation holds its places before a payment begins."),
	INTEGER("boxoffice.payment_timeout", &usher_box_payment_timeout_s, 900, 1, 86400 * 7, PGC_SUSET,
			GUC_UNIT_S, "How long a payment that has begun holds the places of its booking."),
	INTEGER("boxoffice.zone_slots", &usher_zone_slots, 16384, 8, 10000000, PGC_POSTMASTER, 0,
			"Zones of this cluster whose free places are kept in memory."),
	TEXT("usher.actor", &usher_actor, "",
		 "Actor of appended events, a JSON object {\"id\", \"type\"} or a plain id."),
	INTEGER("usher.append_buffer", &usher_append_buffer_kb, 16384, 64, MAX_KILOBYTES, PGC_USERSET,
			GUC_UNIT_KB,
			"Memory for a transaction's pending events before they spill to a temporary file."),
	SUPERUSERS_TEXT("usher.before_reserve", &usher_before_reserve, "",
					"Function that is asked before places are reserved through the gateway."),
	TEXT("usher.causation_id", &usher_causation_id, "", "Causation id of appended events."),
	TEXT("usher.correlation_id", &usher_correlation_id, "", "Correlation id of appended events."),
	INTEGER("usher.dedupe_window", &usher_dedupe_window_s, 7 * 86400, 0, INT_MAX, PGC_SUSET,
			GUC_UNIT_S, "How far back a given event_id is looked up."),
	INTEGER("usher.failover_gap", &usher_failover_gap, 1000000, 0, INT_MAX, PGC_SIGHUP, 0,
			"Positions that are skipped on a new timeline."),
	INTEGER("usher.handler_memory", &usher_handler_memory_kb, 512 * 1024, 0, MAX_KILOBYTES,
			PGC_SIGHUP, GUC_UNIT_KB,
			"Memory that a handler's worker can allocate before it fails; 0: no limit."),
	INTEGER("usher.handler_workers", &usher_handler_workers, 4, 0, USHER_HANDLER_WORKERS_MAX,
			PGC_SIGHUP, 0, "Workers that run the handlers of a database."),
	INTEGER("usher.max_databases", &usher_max_databases, 64, 1, 10000, PGC_POSTMASTER, 0,
			"Databases of this cluster that can have a log."),
	INTEGER("usher.max_event_size", &usher_max_event_size_kb, 1024, 1, 512 * 1024, PGC_SUSET,
			GUC_UNIT_KB, "Largest data or metadata of one event."),
	INTEGER("usher.max_leases", &usher_max_leases, 4096, 64, 1000000, PGC_POSTMASTER, 0,
			"Partitions of subscriptions that can be leased at a time in this cluster."),
	INTEGER("usher.max_relays", &usher_max_relays, 64, 1, 10000, PGC_POSTMASTER, 0,
			"Lanes of sinks and replays that can be relayed at a time in this cluster."),
	INTEGER("usher.max_transaction_events", &usher_max_transaction_events, 100000, 1, 10000000,
			PGC_SUSET, 0, "Most events that one transaction can append."),
	INTEGER("usher.metric_series", &usher_metric_series, 1024, 64, 1000000, PGC_POSTMASTER, 0,
			"Combinations of tenant, source and type that events are counted by in this cluster."),
	INTEGER("usher.once_timeout", &usher_once_timeout_s, 60, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S,
			"How long a request that was begun and not answered keeps its idempotency key."),
	INTEGER("usher.partition_size", &usher_partition_size, 10000000, 1000, INT_MAX, PGC_SIGHUP, 0,
			"Positions in a new partition of the log."),
	INTEGER("usher.partitions_ahead", &usher_partitions_ahead, 2, 1, 100, PGC_SIGHUP, 0,
			"Empty partitions that are kept ready."),
	INTEGER(
		"usher.position_chunk", &usher_position_chunk, 65536, 1024, 100000000, PGC_SIGHUP, 0,
		"Positions that are reserved durably at a time; a crash skips at most about twice as many."),
	INTEGER("usher.signal_buffer", &usher_signal_buffer_kb, 256, 16, 65536, PGC_POSTMASTER,
			GUC_UNIT_KB, "Memory of each database for signals."),
	INTEGER("usher.snapshot_every", &usher_snapshot_every, 100, 0, INT_MAX, PGC_USERSET, 0,
			"Events folded by usher.aggregate before it keeps a snapshot; 0 keeps none."),
	TEXT("usher.source", &usher_source, "", "Source (CloudEvents) of appended events."),
	INTEGER("usher.stable_mark_interval", &usher_stable_mark_interval_ms, 50, 5, 60000, PGC_SIGHUP,
			GUC_UNIT_MS, "Least time between two records of the stable position for standbys."),
	BOOLEAN("usher.synchronous_ack", &usher_synchronous_ack, false,
			"Whether a transaction that only acknowledges waits until that is on disk."),
	TEXT("usher.tenant", &usher_tenant_slug, USHER_DEFAULT_TENANT, "Tenant of this session."),
	TEXT("usher.traceparent", &usher_traceparent, "", "W3C trace context of appended events."),
};

void
usher_guc_init(void)
{
	for (int i = 0; i < (int) lengthof(settings); i++)
	{
		const Setting *s = &settings[i];

		if (s->string)
			DefineCustomStringVariable(s->name, s->what, NULL, s->string, s->boot_string,
									   s->context, s->flags, NULL, NULL, NULL);
		else if (s->boolean)
			DefineCustomBoolVariable(s->name, s->what, NULL, s->boolean, s->boot != 0, s->context,
									 s->flags, NULL, NULL, NULL);
		else
			DefineCustomIntVariable(s->name, s->what, NULL, s->integer, s->boot, s->min, s->max,
									s->context, s->flags, NULL, NULL, NULL);
	}
	MarkGUCPrefixReserved(USHER_SCHEMA);
	MarkGUCPrefixReserved("boxoffice");
}

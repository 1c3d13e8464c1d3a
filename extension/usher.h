/*
 * extension/usher.h
 *	  What every room of the extension may use: basic types, limits, settings.
 */
#ifndef USHER_H
#define USHER_H

#include "postgres.h"

#include "compat.h"
#include "errors.h"

#include "utils/timestamp.h"

#define USHER_SCHEMA            "usher"
#define USHER_NAME_MAX          255 /* bytes in a stream, type, topic, key or pattern */
#define USHER_DEFAULT_TENANT    "default"
#define USHER_DEFAULT_TENANT_ID 1
#define USHER_SLOTS             65536 /* hash slots of keys, for partitioned consumers */
#define USHER_TYPE_DELETED      "usher.stream_deleted"

/* An impossible state: assert in debug builds, an error (never a wrong answer) in release builds. */
#define Ensure(cond, what)                                                                   \
	do                                                                                       \
	{                                                                                        \
		if (unlikely(!(cond)))                                                               \
		{                                                                                    \
			Assert(cond);                                                                    \
			ereport(ERROR, (errcode(ERRCODE_USHER_CORRUPTED),                                \
							errmsg("pg_usher internal state is inconsistent: %s", (what)))); \
		}                                                                                    \
	} while (0)

/* Settings, defined in guc.c from one table. */
extern char *usher_tenant_slug;
extern char *usher_correlation_id;
extern char *usher_causation_id;
extern char *usher_actor;
extern char *usher_traceparent;
extern char *usher_source;
extern int usher_dedupe_window_s;
extern int usher_append_buffer_kb;
extern int usher_max_transaction_events;
extern int usher_max_event_size_kb;
extern int usher_failover_gap;
extern int usher_position_chunk;
extern int usher_partition_size;
extern int usher_partitions_ahead;
extern int usher_snapshot_every;
extern int usher_stable_mark_interval_ms;
extern int usher_max_databases;
extern int usher_max_relays;
extern int usher_max_leases;
extern bool usher_synchronous_ack;
extern int usher_once_timeout_s;
extern int usher_metric_series;
extern int usher_signal_buffer_kb;
extern int usher_handler_workers;
extern int usher_handler_memory_kb;
extern int usher_zone_slots;
extern char *usher_before_reserve;
extern int usher_box_max_hold_s;
extern int usher_box_payment_timeout_s;

extern void usher_guc_init(void);

#endif /* USHER_H */

/*
 * bgworkers/relay_config.c
 *	  What the tables say about a lane or replay, read as a whole.
 */
#include "relay.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define BATCH_EVENTS     1000
#define BATCH_EVENTS_MAX 10000
#define IN_FLIGHT        20000
#define IN_FLIGHT_MAX    200000

/* Column `column` of the only row, as text in the configuration's memory; NULL: null. */
static char *
result_text(RelayConfig *config, int row, int column)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(config->context, value) : NULL;
}

static int64
result_int(int column)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	return value ? strtoll(value, NULL, 10) : 0;
}

static bool
result_is(int column, const char *expected)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	return value != NULL && strcmp(value, expected) == 0;
}

static bool
query(const char *sql, int64 a, int64 b)
{
	Oid types[2] = {INT8OID, INT8OID};
	Datum values[2] = {Int64GetDatum(a), Int64GetDatum(b)};

	if (SPI_execute_with_args(sql, 2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("a sink cannot be read")));
	return SPI_processed > 0;
}

static void
load_options(RelayConfig *config, int32 sink_id)
{
	UsherOption *options;

	(void) query("SELECT o.section, o.name, o.value FROM usher.sink_options($1::int) o"
				 " WHERE $2 OPERATOR(pg_catalog.=) 0",
				 sink_id, 0);
	options = MemoryContextAllocZero(config->context, (SPI_processed + 1) * sizeof(UsherOption));
	for (int i = 0; i < (int) SPI_processed; i++)
	{
		char *value = result_text(config, i, 3);

		options[i].section = result_text(config, i, 1);
		options[i].name = result_text(config, i, 2);
		if (value == NULL)
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
							errmsg("the secret of option \"%s\" of sink \"%s\" does not exist",
								   options[i].name, config->name),
							errhint("Set it with usher.set_sink_secret.")));
		options[i].value = value;
	}
	config->sink.options = options;
	config->sink.noptions = (int) SPI_processed;
}

static void
common_options(RelayConfig *config)
{
	const UsherSinkContext *sink = &config->sink;

	config->structured = strcmp(usher_option(sink, "", "mode", "binary"), "structured") == 0;
	config->with_metadata = usher_option_bool(sink, "", "metadata", false);
	config->block_rejected = strcmp(usher_option(sink, "", "on_rejected", "dead_letter"),
									"block") == 0;
	config->dead_letter_topic = usher_option_bool(sink, "", "dlq", false);
	config->source = (char *) usher_option(sink, "", "source", NULL);
	config->batch_events = (int) Max(
		1, Min(usher_option_int(sink, "", "batch_events", BATCH_EVENTS), BATCH_EVENTS_MAX));
	config->in_flight = (int) Max(
		1, Min(usher_option_int(sink, "", "in_flight", IN_FLIGHT), IN_FLIGHT_MAX));
}

static void
load_replay(Relay *relay, RelayConfig *config)
{
	config->exists = query("SELECT r.kind, r.from_position, r.to_position, r.pattern, r.position"
						   " FROM usher.replays r WHERE r.replay_id OPERATOR(pg_catalog.=) $1"
						   " AND r.sink_id OPERATOR(pg_catalog.=) $2"
						   " AND r.state OPERATOR(pg_catalog.=) 'running'",
						   relay->replay_id, relay->sink_id);
	if (!config->exists)
		return;
	config->replay_of_dead_letters = result_is(1, "dead_letters");
	config->replay_from = result_int(2);
	config->replay_to = result_int(3);
	config->replay_pattern = result_text(config, 0, 4);
	config->sink.position = Max(result_int(5), config->replay_from - 1);
	config->sink.lanes = 1;
}

/*
 * False: another cursor is taking its place at this moment, or has since we read
 * the lane: a new cursor with the old epoch would repeat without saying so.  Who
 * makes one has raised the generation before its lock on it is released.
 */
static bool
load_cursor(Relay *relay, RelayConfig *config)
{
	Relation rel = NULL;
	bool current;

	config->cursor = get_relname_relid(psprintf("sink_%d_%d", relay->sink_id, relay->lane),
									   get_namespace_oid(USHER_SCHEMA, false));
	if (OidIsValid(config->cursor))
		rel = try_relation_open(config->cursor, AccessShareLock);
	current = config->generation == pg_atomic_read_u32(&relay->db->sinks_generation);
	if (rel == NULL && !current)
		return false;
	if (rel == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_CORRUPTED),
						errmsg("the cursor of lane %d of sink \"%s\" is missing", relay->lane,
							   config->name),
						errhint("Set it with usher.seek_sink.")));
	config->sink.position = usher_mark_get(rel);
	relation_close(rel, AccessShareLock);
	return current;
}

/* False: look again. */
static bool
load_lane(Relay *relay, RelayConfig *config)
{
	config->exists = query("SELECT l.epoch, l.repeat_upto,"
						   " (SELECT pg_catalog.count(*) FROM usher.sink_lanes n"
						   "  WHERE n.sink_id OPERATOR(pg_catalog.=) l.sink_id)"
						   " FROM usher.sink_lanes l WHERE l.sink_id OPERATOR(pg_catalog.=) $1"
						   " AND l.lane OPERATOR(pg_catalog.=) $2",
						   relay->sink_id, relay->lane);
	if (!config->exists)
		return true;
	config->sink.epoch = result_int(1);
	config->repeat_upto = result_int(2);
	config->sink.lanes = (int) result_int(3);
	return load_cursor(relay, config);
}

/* Which log this is, worldwide: a copy made by dump and restore, or an extension made anew, is another. */
static const char *
log_id(RelayConfig *config)
{
	return MemoryContextStrdup(config->context,
							   psprintf(UINT64_FORMAT "-%u-%u", GetSystemIdentifier(), MyDatabaseId,
										usher_catalog()->log));
}

/* False: look again. */
static bool
load(Relay *relay, RelayConfig *config)
{
	bool complete = true;

	/* before the tables are looked at: a later change shows as another generation */
	config->generation = pg_atomic_read_u32(&relay->db->sinks_generation);
	pg_read_barrier();
	usher_worker_begin("reading the configuration");
	SPI_connect();
	config->exists = query("SELECT s.name, s.kind, s.paused, usher.sink_signature(s.sink_id)"
						   " FROM usher.sinks s"
						   " WHERE s.sink_id OPERATOR(pg_catalog.=) $1"
						   " AND $2 OPERATOR(pg_catalog.=) 0",
						   relay->sink_id, 0);
	if (config->exists)
	{
		config->name = result_text(config, 0, 1);
		config->kind = result_text(config, 0, 2);
		config->paused = result_is(3, "t");
		config->signature = result_text(config, 0, 4);
		config->sink.sink = config->name;
		config->sink.sink_id = relay->sink_id;
		config->sink.lane = relay->lane;
		config->sink.lanes = 1;
		config->sink.epoch = 1;
		config->sink.replay = relay->replay_id;
		config->sink.log_id = log_id(config);
		if (relay->replay_id != 0)
			load_replay(relay, config);
		else
			complete = load_lane(relay, config);
	}
	if (complete && config->exists && !config->paused)
	{
		load_options(config, relay->sink_id);
		common_options(config);
		config->routes = usher_routes_load(relay->sink_id, config->context);
	}
	SPI_finish();
	relay_commit();
	return complete;
}

/* Opens a transaction of its own. */
RelayConfig *
relay_config_load(Relay *relay)
{
	bool complete = false;
	RelayConfig *config = NULL;

	while (!complete)
	{
		MemoryContext context = AllocSetContextCreate(TopMemoryContext, "usher relay configuration",
													  ALLOCSET_SMALL_SIZES);

		config = MemoryContextAllocZero(context, sizeof(RelayConfig));
		config->context = context;
		PG_TRY();
		{
			complete = load(relay, config);
		}
		PG_CATCH();
		{
			MemoryContextDelete(context);
			PG_RE_THROW();
		}
		PG_END_TRY();
		if (!complete)
			MemoryContextDelete(context);
	}
	return config;
}

void
relay_config_free(RelayConfig *config)
{
	if (config)
		MemoryContextDelete(config->context);
}

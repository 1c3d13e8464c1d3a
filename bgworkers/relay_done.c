/*
 * bgworkers/relay_done.c
 *	  What is recorded of batches that are acknowledged: the cursor, dead
 *	  letters, the progress of replays.
 *
 * The cursor is a durable cell, written without a transaction id and without
 * a flush: a crash may take it back a little, and what is sent again is
 * recognised by its position.  Dead letters are committed before the cursor
 * passes them; one that is recorded twice is one row.
 */
#include "relay.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static void
run(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		if (*plan == NULL)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("a statement of the relay cannot be prepared")));
		SPI_keepplan(*plan);
	}
	if (SPI_execute_plan(*plan, values, nulls, false, 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("a statement of the relay failed")));
}

static const UsherAttribute *
find_attribute(const UsherMessage *m, const char *name)
{
	for (int i = 0; i < m->nattributes; i++)
		if (strcmp(m->attributes[i].name, name) == 0)
			return &m->attributes[i];
	return NULL;
}

static Datum
attribute_datum(const UsherMessage *m, const char *name, char *null)
{
	const UsherAttribute *a = find_attribute(m, name);

	*null = a ? ' ' : 'n';
	return a ? PointerGetDatum(cstring_to_text_with_len(a->value, a->len)) : (Datum) 0;
}

/* The event in structured mode. */
static Datum
envelope(const Relay *relay, const UsherMessage *m)
{
	size_t len;
	text *result;

	if (relay->config->structured && m->body)
		return PointerGetDatum(cstring_to_text_with_len(m->body, m->body_len));
	len = usher_cloudevent_json(m->attributes, m->nattributes, m->body, m->body_len, NULL, 0);
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	(void) usher_cloudevent_json(m->attributes, m->nattributes, m->body, m->body_len,
								 VARDATA(result), len);
	return PointerGetDatum(result);
}

static void
insert_dead_letter(Relay *relay, const UsherMessage *m)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
				   TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID};
	char nulls[] = "           ";
	Datum values[lengthof(types)] = {
		Int32GetDatum(relay->sink_id),
		Int64GetDatum(m->position),
		attribute_datum(m, "tenant", &nulls[2]),
		attribute_datum(m, "type", &nulls[3]),
		m->topic_len > 0 ? CStringGetTextDatum(m->topic) : (Datum) 0,
		Int32GetDatum(m->partition),
		m->key ? PointerGetDatum(cstring_to_text_with_len(m->key, m->key_len)) : (Datum) 0,
		envelope(relay, m),
		CStringGetTextDatum(m->error_code ? m->error_code : "rejected"),
		CStringGetTextDatum(m->error_text ? m->error_text : "no text"),
		Int32GetDatum(m->attempts + 1),
	};

	if (m->topic_len == 0)
		nulls[4] = 'n';
	if (m->partition < 0)
		nulls[5] = 'n';
	if (m->key == NULL)
		nulls[6] = 'n';
	run(&plan,
		"INSERT INTO usher.dead_letters AS d (sink_id, position, tenant_id, type, topic, partition,"
		" key, envelope, error_code, error, attempts)"
		" SELECT $1, $2, t.tenant_id, $4, $5, $6, $7, $8::pg_catalog.jsonb, $9, $10, $11"
		" FROM usher.tenants t WHERE t.slug OPERATOR(pg_catalog.=) $3"
		" ON CONFLICT (sink_id, position) DO UPDATE SET topic = EXCLUDED.topic,"
		" partition = EXCLUDED.partition, key = EXCLUDED.key, envelope = EXCLUDED.envelope,"
		" error_code = EXCLUDED.error_code, error = EXCLUDED.error,"
		" attempts = d.attempts OPERATOR(pg_catalog.+) EXCLUDED.attempts,"
		" last_failure = EXCLUDED.last_failure, replay_id = NULL",
		lengthof(types), types, values, nulls);
}

static void
record_rejected(Relay *relay, UsherMessage *m)
{
	insert_dead_letter(relay, m);
	ereport(LOG,
			(errmsg("sink \"%s\": the event at position %lld was rejected: %s", relay->config->name,
					(long long) m->position, m->error_code ? m->error_code : "rejected"),
			 errdetail("topic %s: %s", m->topic_len > 0 ? m->topic : "-",
					   m->error_text ? m->error_text : "")));
}

/*
 * In a transaction of its own, before the cursor passes them; durable, since the
 * peer may be the one who has the cursor.
 */
void
relay_record_rejected(Relay *relay, RelayBatch *batch)
{
	int n = 0;

	usher_worker_begin("recording dead letters");
	SPI_connect();
	for (int i = 0; i < batch->b.count; i++)
		if (batch->b.messages[i].state == MESSAGE_REJECTED && !batch->b.messages[i].recorded)
		{
			record_rejected(relay, &batch->b.messages[i]);
			n++;
		}
	SPI_finish();
	relay_commit();
	if (n > 0)
		XLogFlush(XactLastCommitEnd);
	for (int i = 0; n > 0 && i < batch->b.count; i++)
		batch->b.messages[i].recorded = batch->b.messages[i].state == MESSAGE_REJECTED;
}

/* Where a live lane is; a seek that came between has replaced the cell, and ours is of no interest. */
void
relay_record_cursor(Relay *relay)
{
	Relation rel;

	if (relay->replay_id != 0 || relay->acked_position <= relay->cursor_written)
		return;
	usher_worker_begin("recording the position");
	rel = try_relation_open(relay->config->cursor, RowExclusiveLock);
	if (rel)
	{
		usher_mark_set(rel, relay->acked_position, false);
		relation_close(rel, RowExclusiveLock);
	}
	relay_commit();
	relay->cursor_written = relay->acked_position;
	relay->cursor_written_at = GetCurrentTimestamp();
}

/* What comes again after a seek is a replay up to `upto`.  Durable before anything of it is sent. */
void
relay_record_repeat(Relay *relay, int64 epoch, int64 upto)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, INT8OID, INT8OID};
	Datum values[lengthof(types)] = {Int32GetDatum(relay->sink_id), Int32GetDatum(relay->lane),
									 Int64GetDatum(epoch), Int64GetDatum(upto)};

	usher_worker_begin("recording what is repeated");
	SPI_connect();
	run(&plan,
		"UPDATE usher.sink_lanes l SET repeat_upto = $4 WHERE l.sink_id OPERATOR(pg_catalog.=) $1"
		" AND l.lane OPERATOR(pg_catalog.=) $2 AND l.epoch OPERATOR(pg_catalog.=) $3"
		" AND l.repeat_upto OPERATOR(pg_catalog.<) $4",
		lengthof(types), types, values, NULL);
	SPI_finish();
	relay_commit();
	XLogFlush(XactLastCommitEnd);
}

/* Dead letters that were delivered now are none any more. */
static void
delete_delivered(Relay *relay, RelayBatch *batch)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT8OID, INT8ARRAYOID};
	Datum *positions = palloc(Max(batch->b.count, 1) * sizeof(Datum));
	Datum values[3] = {Int32GetDatum(relay->sink_id), Int64GetDatum(relay->replay_id)};
	int n = 0;

	for (int i = 0; i < batch->b.count; i++)
		if (batch->b.messages[i].state == MESSAGE_DONE)
			positions[n++] = Int64GetDatum(batch->b.messages[i].position);
	values[2] = PointerGetDatum(
		construct_array(positions, n, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE));
	run(&plan,
		"DELETE FROM usher.dead_letters d WHERE d.sink_id OPERATOR(pg_catalog.=) $1"
		" AND d.replay_id OPERATOR(pg_catalog.=) $2"
		" AND d.position OPERATOR(pg_catalog.=) ANY ($3)",
		lengthof(types), types, values, NULL);
}

/* Rejected ones are recorded already.  Progress and its effects commit together. */
void
relay_record_replayed(Relay *relay, RelayBatch *batch)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT8OID, INT8OID, INT8OID, INT8OID, INT8OID};
	Datum values[lengthof(types)] = {
		Int64GetDatum(relay->replay_id),
		Int64GetDatum(batch->b.upto),
		Int64GetDatum(batch->b.count - batch->b.rejected),
		Int64GetDatum(batch->b.rejected),
		Int64GetDatum(batch->unmatched),
	};

	usher_worker_begin("recording the progress of a replay");
	SPI_connect();
	if (relay->config->replay_of_dead_letters)
		delete_delivered(relay, batch);
	run(&plan,
		"UPDATE usher.replays r SET position = $2,"
		" replayed = r.replayed OPERATOR(pg_catalog.+) $3,"
		" failed = r.failed OPERATOR(pg_catalog.+) $4,"
		" skipped = r.skipped OPERATOR(pg_catalog.+) $5"
		" WHERE r.replay_id OPERATOR(pg_catalog.=) $1",
		lengthof(types), types, values, NULL);
	SPI_finish();
	relay_commit();
}

/* error NULL: it is complete. */
void
relay_end_replay(Relay *relay, const char *error)
{
	static SPIPlanPtr end, release;
	Oid types[] = {INT8OID, TEXTOID};
	Datum values[2] = {Int64GetDatum(relay->replay_id),
					   error ? CStringGetTextDatum(error) : (Datum) 0};

	usher_worker_begin("ending a replay");
	SPI_connect();
	run(&end,
		"UPDATE usher.replays r SET state = CASE WHEN $2 IS NULL THEN 'done' ELSE 'failed' END,"
		" error = $2, ended_at = pg_catalog.now()"
		" WHERE r.replay_id OPERATOR(pg_catalog.=) $1",
		2, types, values, error ? "  " : " n");
	/* those that are left were not found in the log any more: they stay dead letters */
	run(&release,
		"UPDATE usher.dead_letters d SET replay_id = NULL"
		" WHERE d.replay_id OPERATOR(pg_catalog.=) $1",
		1, types, values, NULL);
	SPI_finish();
	relay_commit();
}

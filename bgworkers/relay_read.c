/*
 * bgworkers/relay_read.c
 *	  The log -> batches of messages.
 *
 * A batch is read in one short transaction.  Its messages lie in memory of its
 * own, so that a sink may point into them until they are acknowledged; then all
 * of it goes at once.
 */
#include "relay.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#define BATCH_BYTES_MAX  (1024 * 1024) /* of messages; one that is larger is a batch of its own */
#define SCAN_MAX         50000 /* events examined for one batch */
#define DEAD_LETTERS_MAX 100 /* in one batch of a replay */

typedef struct Reading
{
	Relay *relay;
	RelayBatch *batch;
	MemoryContext scratch; /* for one event */
	int64 examined; /* events */
	bool full;
	bool found; /* for a single event */
} Reading;

/* ---- a batch ---- */

static RelayBatch *
batch_create(void)
{
	return MemoryContextAllocZero(TopMemoryContext, sizeof(RelayBatch));
}

/* Before the first message. */
static void
batch_room(RelayBatch *batch, int messages)
{
	batch->size = messages;
	batch->b.messages = relay_alloc(&batch->memory, messages * sizeof(UsherMessage));
}

static MemoryContext
scratch(void)
{
	static MemoryContext context;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "usher relay event",
										ALLOCSET_DEFAULT_SIZES);
	return context;
}

void
relay_batch_free(RelayBatch *batch)
{
	if (batch->b.rejected > 0)
		for (int i = 0; i < batch->b.count; i++)
		{
			free(batch->b.messages[i].error_code);
			free(batch->b.messages[i].error_text);
		}
	relay_memory_free(&batch->memory);
	pfree(batch);
}

/*
 * An event that can be sent nowhere, and the sink blocks at such: it stands
 * alone, so that all before it is acknowledged by then, and nothing behind it
 * is sent.  True: the batch ends here.
 */
static bool
stops_at(Relay *relay, RelayBatch *batch, int before)
{
	UsherMessage *m = &batch->b.messages[before];

	if (!relay->config->block_rejected || relay->replay_id != 0 || batch->b.count == before ||
		m->state != MESSAGE_REJECTED)
		return false;
	if (before == 0)
	{
		batch->stops = true;
		return true;
	}
	free(m->error_code);
	free(m->error_text);
	batch->b.count--;
	batch->b.rejected--;
	batch->b.upto = m->position - 1;
	return true;
}

static bool
read_visit(TupleTableSlot *slot, void *arg)
{
	Reading *reading = arg;
	RelayBatch *batch = reading->batch;
	MemoryContext old = MemoryContextSwitchTo(reading->scratch);
	int before = batch->b.count;

	batch->b.upto = relay_message_add(reading->relay, batch, slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(reading->scratch);
	reading->examined++;
	reading->found = true;
	reading->full = stops_at(reading->relay, batch, before) || batch->b.count >= batch->size ||
					batch->bytes >= BATCH_BYTES_MAX || reading->examined >= SCAN_MAX;
	return !reading->full;
}

/* ---- batches ---- */

/* What was removed by retention is skipped by a replay; for a live cursor it is an error. */
static void
read_range(Relay *relay, RelayBatch *batch)
{
	Reading reading = {.relay = relay, .batch = batch, .scratch = scratch()};
	int64 upto = usher_stable(&batch->lsn);

	relay->stable = upto;
	if (relay->replay_id != 0)
		upto = Min(upto, relay->config->replay_to);
	batch->b.upto = relay->read_position;
	if (upto > relay->read_position)
	{
		batch_room(batch, (int) Min(upto - relay->read_position, relay->config->batch_events));
		if (relay->replay_id != 0)
			usher_look_positions(relay->read_position, upto, read_visit, &reading);
		else
			usher_read_positions(relay->read_position, upto, read_visit, &reading);
	}
	if (!reading.full)
	{
		batch->complete = true;
		batch->b.upto = Max(upto, relay->read_position);
		if (relay->replay_id == 0)
			usher_follow_examined(relay->db, relay->stable);
	}
}

/* The events of the next dead letters of a replay, looked up in the log one by one. */
static void
read_dead_letters(Relay *relay, RelayBatch *batch)
{
	static SPIPlanPtr plan;
	Oid types[3] = {INT8OID, INT8OID, INT4OID};
	Datum values[3] = {
		Int64GetDatum(relay->replay_id),
		Int64GetDatum(relay->read_position),
		Int32GetDatum(Min(relay->config->batch_events, DEAD_LETTERS_MAX)),
	};
	int64 positions[DEAD_LETTERS_MAX];
	int n;

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT d.position FROM usher.dead_letters d"
						   " WHERE d.replay_id OPERATOR(pg_catalog.=) $1"
						   " AND d.position OPERATOR(pg_catalog.>) $2"
						   " ORDER BY d.position LIMIT $3",
						   3, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, NULL, true, 0);
	n = (int) SPI_processed;
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		positions[i] = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	batch_room(batch, n);
	relay->stable = usher_stable(&batch->lsn);
	batch->b.upto = relay->read_position;
	for (int i = 0; i < n; i++)
	{
		Reading reading = {.relay = relay, .batch = batch, .scratch = scratch()};

		usher_look_positions(positions[i] - 1, positions[i], read_visit, &reading);
		if (!reading.found)
			batch->unmatched++;
		batch->b.upto = positions[i];
	}
	batch->complete = n == 0;
}

/*
 * The next batch.  Never NULL; one without messages has moved over events that
 * are not ours.  Called outside of a transaction.
 */
RelayBatch *
relay_read(Relay *relay)
{
	RelayBatch *batch = batch_create();

	PG_TRY();
	{
		usher_worker_begin("reading the log");
		AcceptInvalidationMessages();
		if (relay->config->replay_of_dead_letters)
			read_dead_letters(relay, batch);
		else
			read_range(relay, batch);
		relay_commit();
	}
	PG_CATCH();
	{
		relay_batch_free(batch);
		PG_RE_THROW();
	}
	PG_END_TRY();
	relay->read_position = batch->b.upto;
	return batch;
}

/* Copies of the rejected messages for <topic>.dlq, with the cause as attributes. */
RelayBatch *
relay_dead_letter_batch(Relay *relay, RelayBatch *batch)
{
	RelayBatch *copies = batch_create();

	batch_room(copies, batch->b.rejected);
	copies->dead_letter_topics = true;
	copies->b.upto = batch->b.upto;
	for (int i = 0; i < batch->b.count; i++)
	{
		const UsherMessage *from = &batch->b.messages[i];
		UsherMessage *m;
		UsherAttribute *list;

		if (from->state != MESSAGE_REJECTED || from->topic_len == 0 ||
			from->topic_len + 4 > USHER_TOPIC_MAX)
			continue;
		m = &copies->b.messages[copies->b.count++];
		*m = *from;
		m->state = MESSAGE_PENDING;
		m->batch = &copies->b;
		m->error_code = m->error_text = NULL;
		m->replay = from->replay != 0 ? from->replay : relay->config->sink.epoch;
		m->topic = relay_text(&copies->memory, psprintf("%s.dlq", from->topic),
							  from->topic_len + 4);
		m->topic_len = from->topic_len + 4;
		if (from->key)
			m->key = relay_text(&copies->memory, from->key, from->key_len);
		if (from->body)
			m->body = relay_text(&copies->memory, from->body, from->body_len);
		list = relay_alloc(&copies->memory, (from->nattributes + 2) * sizeof(UsherAttribute));
		for (int k = 0; k < from->nattributes; k++)
		{
			list[k] = from->attributes[k];
			list[k].value = relay_text(&copies->memory, list[k].value, list[k].len);
		}
		list[from->nattributes] = (UsherAttribute){
			"errorcode", relay_text(&copies->memory, from->error_code, strlen(from->error_code)),
			strlen(from->error_code), false};
		list[from->nattributes + 1] = (UsherAttribute){
			"errormessage", relay_text(&copies->memory, from->error_text, strlen(from->error_text)),
			strlen(from->error_text), false};
		m->attributes = list;
		m->nattributes = from->nattributes + 2;
		copies->b.pending++;
	}
	return copies;
}

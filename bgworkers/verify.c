/*
 * bgworkers/verify.c
 *	  The worker behind usher.verify_sink: what should the peer have, what has it?
 *
 * It routes the range of the log as a relay would, notes which position
 * belongs to which topic, then reads these topics back.  Memory: three bytes
 * a position, and an entry for each key.
 */
#include "relay.h"

#include "relay/verify.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/shm_mq.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define FINDINGS_MAX 1000 /* of each problem; the summary counts all */
#define TOPICS_MAX   60000
#define TIMEOUT_MS   15000

PGDLLEXPORT void usher_verify_main(Datum arg);

enum
{
	POSITION_EXPECTED = 1,
	POSITION_SEEN = 2, /* live */
	POSITION_DEAD = 4, /* a dead letter */
	POSITION_REPEATED =
		8 /* on purpose; the live message may come before or behind it, or be trimmed */
};

typedef enum Problem
{
	MISSING,
	DUPLICATE,
	OUT_OF_ORDER,
	UNEXPECTED,
	TRIMMED,
	PROBLEMS
} Problem;

static const char *const problem_names[PROBLEMS] = {"missing", "duplicate", "out of order",
													"unexpected", "trimmed"};

typedef struct KeyEntry
{
	uint64 hash;
	int64 position; /* of its newest message */
} KeyEntry;

typedef struct Verify
{
	UsherVerifyRequest request;
	shm_mq_handle *queue;
	Relay relay;
	UsherVerifier verifier;
	uint8 *flags;
	uint16 *topic_of;
	HTAB *topics; /* name -> number */
	int64 *oldest; /* by topic: positions below may have been trimmed; 0: none was */
	HTAB *keys;
	int64 expected, found, counts[PROBLEMS];
} Verify;

typedef struct TopicEntry
{
	char name[256];
	int number;
} TopicEntry;

/* ---- what we say ---- */

static void
say(Verify *v, char kind, int sqlstate, int64 position, const char *problem, const char *topic,
	const char *detail)
{
	char buffer[offsetof(UsherFinding, texts) + USHER_VERIFY_TEXT_MAX];
	UsherFinding *finding = (UsherFinding *) buffer;
	int len = 0;
	const char *texts[] = {problem, topic, detail};

	finding->kind = kind;
	finding->sqlstate = sqlstate;
	finding->position = position;
	for (int i = 0; i < (int) lengthof(texts); i++)
		len += snprintf(finding->texts + len, 640, "%.639s", texts[i]) + 1;
	if (shm_mq_send(v->queue, offsetof(UsherFinding, texts) + len, buffer, false, true) !=
		SHM_MQ_SUCCESS)
		proc_exit(0); /* nobody listens any more */
}

static void found_problem(Verify *v, Problem problem, int64 position, const char *topic,
						  const char *format, ...) pg_attribute_printf(5, 6);

static void
found_problem(Verify *v, Problem problem, int64 position, const char *topic, const char *format,
			  ...)
{
	char detail[512];
	va_list args;

	if (++v->counts[problem] > FINDINGS_MAX)
		return;
	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	say(v, 'F', 0, position, problem_names[problem], topic, detail);
}

/* ---- what the peer should have ---- */

static int
topic_number(Verify *v, const char *name)
{
	char key[256] = {0};
	bool found;
	TopicEntry *entry;

	strlcpy(key, name, sizeof(key));
	entry = hash_search(v->topics, key, HASH_ENTER, &found);
	if (!found)
	{
		entry->number = v->verifier.ntopics++;
		if (entry->number >= TOPICS_MAX)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the range has more than %d topics", TOPICS_MAX),
							errhint("Verify a smaller range.")));
	}
	return entry->number;
}

static void
expect(Verify *v, const UsherMessage *m)
{
	int64 i = m->position - v->request.from;

	if (m->state != MESSAGE_PENDING)
		return; /* no topic: never sent */
	v->flags[i] |= POSITION_EXPECTED;
	v->topic_of[i] = (uint16) topic_number(v, m->topic);
	v->expected++;
}

static void
expect_range(Verify *v)
{
	Relay *r = &v->relay;

	while (r->read_position < v->request.to)
	{
		RelayBatch *batch;

		CHECK_FOR_INTERRUPTS();
		batch = relay_read(r);
		for (int i = 0; i < batch->b.count; i++)
			expect(v, &batch->b.messages[i]);
		relay_batch_free(batch);
	}
}

static void
note_dead_letters(Verify *v)
{
	Oid types[] = {INT4OID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(v->request.sink_id), Int64GetDatum(v->request.from),
					  Int64GetDatum(v->request.to)};

	usher_worker_begin("reading the dead letters");
	SPI_connect();
	SPI_execute_with_args("SELECT d.position FROM usher.dead_letters d"
						  " WHERE d.sink_id OPERATOR(pg_catalog.=) $1"
						  " AND d.position OPERATOR(pg_catalog.>=) $2"
						  " AND d.position OPERATOR(pg_catalog.<=) $3",
						  3, types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		int64 position = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		v->flags[position - v->request.from] |= POSITION_DEAD;
	}
	SPI_finish();
	relay_commit();
}

/* The time of the first event, for peers that can be read from a time on. */
static void
note_since(Verify *v)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(v->request.from)};
	bool isnull;

	usher_worker_begin("reading the log");
	SPI_connect();
	SPI_execute_with_args(
		"SELECT pg_catalog.floor(pg_catalog.extract('epoch', l.recorded_at)"
		" OPERATOR(pg_catalog.*) 1000)::bigint FROM usher.log l"
		" WHERE l.position OPERATOR(pg_catalog.>=) $1 ORDER BY l.position LIMIT 1",
		1, types, values, NULL, true, 0);
	if (SPI_processed == 1)
		v->verifier.since_ms = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	relay_commit();
}

/* ---- what it has ---- */

static bool
seen(UsherVerifier *verifier, const char *topic, int partition, const char *key, size_t key_len,
	 int64_t position, bool replay)
{
	Verify *v = verifier->arg;
	uint8 *flags;
	KeyEntry *entry;
	uint64 hash;
	bool known;

	CHECK_FOR_INTERRUPTS();
	if (position < v->request.from || position > v->request.to)
		return true;
	flags = &v->flags[position - v->request.from];
	if (!(*flags & POSITION_EXPECTED))
	{
		found_problem(v, UNEXPECTED, position, topic,
					  "the log has no such event, or its routes send it nowhere");
		return true;
	}
	if (replay)
	{
		*flags |= POSITION_REPEATED; /* out of order by its nature */
		return true;
	}
	if (*flags & POSITION_SEEN)
	{
		/* behind what came before its repetition, by its nature */
		found_problem(v, DUPLICATE, position, topic, "partition %d", partition);
		return true;
	}
	*flags |= POSITION_SEEN;
	if (key == NULL)
		return true;
	hash = hash_bytes_extended((const unsigned char *) key, (int) key_len,
							   hash_bytes((const unsigned char *) topic, (int) strlen(topic)));
	entry = hash_search(v->keys, &hash, HASH_ENTER, &known);
	if (known && entry->position > position)
		found_problem(v, OUT_OF_ORDER, position, topic, "behind position %lld of the same key",
					  (long long) entry->position);
	if (!known || entry->position < position)
		entry->position = position;
	return true;
}

static void
oldest(UsherVerifier *verifier, const char *topic, int partition, int64_t position)
{
	Verify *v = verifier->arg;
	int number = topic_number(v, topic);

	v->oldest[number] = Max(v->oldest[number], position);
}

static void
list_topics(Verify *v)
{
	HASH_SEQ_STATUS scan;
	TopicEntry *entry;

	v->verifier.topics = palloc0(Max(v->verifier.ntopics, 1) * sizeof(char *));
	v->oldest = palloc0((v->verifier.ntopics + 1) * sizeof(int64));
	hash_seq_init(&scan, v->topics);
	while ((entry = hash_seq_search(&scan)) != NULL)
		v->verifier.topics[entry->number] = pstrdup(entry->name);
}

static void
compare(Verify *v)
{
	char summary[512];

	for (int64 position = v->request.from; position <= v->request.to; position++)
	{
		int64 i = position - v->request.from;
		int topic = v->topic_of[i];

		if (!(v->flags[i] & POSITION_EXPECTED))
			continue;
		if (v->flags[i] & (POSITION_SEEN | POSITION_REPEATED))
			v->found++;
		else if (v->flags[i] & POSITION_DEAD)
			continue;
		else if (position < v->oldest[topic])
			found_problem(v, TRIMMED, position, v->verifier.topics[topic],
						  "the peer keeps nothing before position %lld any more",
						  (long long) v->oldest[topic]);
		else
			found_problem(v, MISSING, position, v->verifier.topics[topic], "not found");
	}
	snprintf(summary, sizeof(summary),
			 "expected %lld, found %lld, missing %lld, duplicate %lld, out of order %lld, "
			 "unexpected %lld, trimmed %lld",
			 (long long) v->expected, (long long) v->found, (long long) v->counts[MISSING],
			 (long long) v->counts[DUPLICATE], (long long) v->counts[OUT_OF_ORDER],
			 (long long) v->counts[UNEXPECTED], (long long) v->counts[TRIMMED]);
	say(v, 'E', 0, 0, "summary", "", summary);
}

/* ---- the worker ---- */

static void
prepare(Verify *v)
{
	int64 n = v->request.to - v->request.from + 1;
	HASHCTL topics = {.keysize = 256, .entrysize = sizeof(TopicEntry)};
	HASHCTL keys = {.keysize = sizeof(uint64), .entrysize = sizeof(KeyEntry)};
	Relay *r = &v->relay;

	v->flags = MemoryContextAllocHuge(TopMemoryContext, n);
	v->topic_of = MemoryContextAllocHuge(TopMemoryContext, n * sizeof(uint16));
	memset(v->flags, 0, n);
	memset(v->topic_of, 0, n * sizeof(uint16));
	v->topics = hash_create("topics", 64, &topics, HASH_ELEM | HASH_BLOBS);
	v->keys = hash_create("keys", 1024, &keys, HASH_ELEM | HASH_BLOBS);
	v->verifier.from = v->request.from;
	v->verifier.to = v->request.to;
	v->verifier.timeout_ms = TIMEOUT_MS;
	v->verifier.seen = seen;
	v->verifier.oldest = oldest;
	v->verifier.arg = v;

	usher_worker_begin("looking for the log");
	r->db = usher_db();
	relay_commit();
	r->sink_id = v->request.sink_id;
	r->config = relay_config_load(r);
	if (!r->config->exists)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_SINK), errmsg("the sink does not exist")));
	r->ops = usher_sink_ops(r->config->kind);
	if (r->ops->verify == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("a sink of kind %s cannot be read back", r->config->kind)));
	/* all lanes at once, over what retention has left */
	r->config->sink.lanes = 1;
	r->config->replay_to = v->request.to;
	r->replay_id = PG_INT64_MAX;
	r->read_position = v->request.from - 1;
}

static void
verify(Verify *v)
{
	char error[512] = "";

	prepare(v);
	expect_range(v);
	note_dead_letters(v);
	note_since(v);
	list_topics(v);
	pgstat_report_activity(STATE_RUNNING, "reading the peer");
	if (v->verifier.ntopics > 0 &&
		!v->relay.ops->verify(&v->relay.config->sink, &v->verifier, error, sizeof(error)))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("sink \"%s\" could not be read back: %s", v->relay.config->name, error)));
	compare(v);
}

/* The argument is the handle of the segment with the request. */
void
usher_verify_main(Datum arg)
{
	static Verify v;
	dsm_segment *segment;
	shm_mq *queue;

	usher_worker_signals(false);
	segment = dsm_attach(DatumGetUInt32(arg));
	if (segment == NULL)
		proc_exit(0);
	memcpy(&v.request, dsm_segment_address(segment), sizeof(v.request));
	queue = (shm_mq *) ((char *) dsm_segment_address(segment) +
						MAXALIGN(sizeof(UsherVerifyRequest)));
	shm_mq_set_sender(queue, MyProc);
	v.queue = shm_mq_attach(queue, segment, NULL);
	dsm_pin_mapping(segment);
	BackgroundWorkerInitializeConnectionByOid(v.request.dboid, InvalidOid, 0);
	usher_worker_settings();
	MemoryContextSwitchTo(TopMemoryContext);
	PG_TRY();
	{
		verify(&v);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		FlushErrorState();
		say(&v, 'X', error->sqlerrcode, 0, "error", "", error->message);
	}
	PG_END_TRY();
	proc_exit(0);
}

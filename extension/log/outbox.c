/*
 * extension/log/outbox.c
 *	  This transaction's pending events.
 *
 * Each is a formed tuple of usher.log that lacks only its position and time.
 * A savepoint that rolls back drops its tail.  Beyond usher.append_buffer
 * the tuples move to a temporary file.  All memory is a child of
 * TopTransactionContext and goes with the transaction.
 */
#include "log.h"

#include "metrics/metrics.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "storage/buffile.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

typedef struct IdKey
{
	int32 tenant_id;
	pg_uuid_t id;
} IdKey;

typedef struct IdEntry
{
	IdKey key;
	int pending;
	char status;
} IdEntry;

#define SH_PREFIX          ids
#define SH_ELEMENT_TYPE    IdEntry
#define SH_KEY_TYPE        IdKey
#define SH_KEY             key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) &(k), sizeof(IdKey))
#define SH_EQUAL(tb, a, b) (memcmp(&(a), &(b), sizeof(IdKey)) == 0)
#define SH_SCOPE           static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Events from `start` on belong to (sub)transaction `subid`, up to the next mark. */
typedef struct Mark
{
	SubTransactionId subid;
	int start;
} Mark;

static struct
{
	MemoryContext context;
	UsherPending *pending;
	int n, size;
	Mark *marks;
	int nmarks, marks_size;
	ids_hash *given_ids;
	UsherCommitted types[USHER_COMMITTED_MAX];
	int ntypes;
	Size bytes; /* of tuples in memory */
	BufFile *file;
	int file_end;
	off_t offset_end;
	bool spilling; /* stays set when it failed: the file is not to be trusted */
	bool sealed; /* flushing has begun */
} outbox;

MemoryContext
usher_outbox_context(void)
{
	if (outbox.context == NULL)
	{
		outbox.context = AllocSetContextCreate(TopTransactionContext, "usher outbox",
											   ALLOCSET_DEFAULT_SIZES);
	}
	return outbox.context;
}

int
usher_outbox_count(void)
{
	return outbox.n;
}

UsherPending *
usher_outbox_get(int i)
{
	return &outbox.pending[i];
}

/* Which of this transaction's events it is, from 1. */
int
usher_outbox_ordinal(const UsherPending *p)
{
	return (int) (p - outbox.pending) + 1;
}

UsherCommitted *
usher_outbox_types(int *n)
{
	*n = outbox.ntypes;
	return outbox.types;
}

/* A savepoint may have caught the error of a spill (a full disk): events from before it are lost with the file. */
static void
check_spilled(void)
{
	if (outbox.spilling)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("the transaction's pending events could not be kept in a temporary file"),
				 errhint("Roll the transaction back.")));
}

void
usher_outbox_seal(void)
{
	check_spilled();
	outbox.sealed = true;
}

UsherPending *
usher_outbox_find(int32 tenant_id, const pg_uuid_t *id)
{
	IdKey key = {tenant_id, *id};
	IdEntry *entry = outbox.given_ids ? ids_lookup(outbox.given_ids, key) : NULL;

	return entry ? &outbox.pending[entry->pending] : NULL;
}

/* Index of (tenant, type) among the kinds; the last one stands for any when there are too many. */
static int
committed_type(int32 tenant_id, const text *type)
{
	UsherCommitted *t;
	const char *name = VARDATA_ANY(type);
	int len = VARSIZE_ANY_EXHDR(type);

	for (int i = 0; i < outbox.ntypes; i++)
	{
		t = &outbox.types[i];
		if (t->type == NULL ||
			(t->tenant_id == tenant_id && t->type_len == len && memcmp(t->type, name, len) == 0))
			return i;
	}
	t = &outbox.types[outbox.ntypes++];
	memset(t, 0, sizeof(*t));
	if (outbox.ntypes < USHER_COMMITTED_MAX)
	{
		t->tenant_id = tenant_id;
		t->type_len = len;
		t->type = memcpy(MemoryContextAlloc(outbox.context, len + 1), name, len);
	}
	return outbox.ntypes - 1;
}

static void
spill(void)
{
	outbox.spilling = true;
	if (outbox.file == NULL)
	{
		ResourceOwner owner = CurrentResourceOwner;
		MemoryContext old = MemoryContextSwitchTo(outbox.context);

		/* it must outlive the savepoint that happens to be open */
		CurrentResourceOwner = TopTransactionResourceOwner;
		outbox.file = BufFileCreateTemp(false);
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(old);
	}
	else if (BufFileSeek(outbox.file, outbox.file_end, outbox.offset_end, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not seek in the spilled events")));

	for (int i = outbox.n - 1; i >= 0 && outbox.pending[i].tuple != NULL; i--)
	{
		UsherPending *p = &outbox.pending[i];

		BufFileTell(outbox.file, &p->file, &p->offset);
		BufFileWrite(outbox.file, p->tuple->t_data, p->tuple->t_len);
		p->len = p->tuple->t_len;
		heap_freetuple(p->tuple);
		p->tuple = NULL;
	}
	BufFileTell(outbox.file, &outbox.file_end, &outbox.offset_end);
	outbox.bytes = 0;
	outbox.spilling = false;
}

/* The event's tuple; of a spilled one a copy in the current memory context. */
HeapTuple
usher_outbox_tuple(UsherPending *p)
{
	HeapTuple tuple = p->tuple;

	if (tuple != NULL)
		return tuple;
	tuple = palloc(HEAPTUPLESIZE + p->len);
	tuple->t_len = p->len;
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	if (BufFileSeek(outbox.file, p->file, p->offset, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not seek in the spilled events")));
	usher_buffile_read_exact(outbox.file, tuple->t_data, p->len);
	return tuple;
}

/* The same, to be freed by the caller; for the flush, the last who wants it. */
HeapTuple
usher_outbox_take(UsherPending *p)
{
	HeapTuple tuple = usher_outbox_tuple(p);

	p->tuple = NULL;
	return tuple;
}

static HeapTuple
form_tuple(const UsherEvent *event, int64 version)
{
	Datum values[LOG_NATTS];
	bool nulls[LOG_NATTS] = {0};
	const text *key = event->stream ? event->stream->name : event->key;

	values[LOG_POSITION - 1] = Int64GetDatum(0);
	values[LOG_RECORDED_AT - 1] = TimestampTzGetDatum(0);
	values[LOG_ID - 1] = UUIDPGetDatum(&event->id);
	values[LOG_TENANT_ID - 1] = Int32GetDatum(event->tenant_id);
	values[LOG_SLOT - 1] = Int32GetDatum(
		hash_bytes((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) % USHER_SLOTS);
	values[LOG_FLAGS - 1] = Int32GetDatum(event->flags);
	values[LOG_CATEGORY_HASH - 1] = Int32GetDatum(event->stream ? event->stream->category_hash : 0);
	values[LOG_VERSION - 1] = Int64GetDatum(version);
	values[LOG_STREAM - 1] = PointerGetDatum(event->stream ? event->stream->name : NULL);
	values[LOG_CATEGORY - 1] = PointerGetDatum(event->stream ? event->stream->category : NULL);
	values[LOG_TYPE - 1] = PointerGetDatum(event->type);
	values[LOG_TOPIC - 1] = PointerGetDatum(event->topic);
	values[LOG_KEY - 1] = PointerGetDatum(event->key);
	values[LOG_DATA - 1] = PointerGetDatum(event->data);
	values[LOG_METADATA - 1] = PointerGetDatum(event->metadata);
	nulls[LOG_VERSION - 1] = nulls[LOG_STREAM - 1] = nulls[LOG_CATEGORY - 1] = event->stream ==
																			   NULL;
	nulls[LOG_TOPIC - 1] = event->topic == NULL;
	nulls[LOG_KEY - 1] = event->key == NULL;
	return heap_form_tuple(usher_catalog()->log_desc, values, nulls);
}

static void
mark_subtransaction(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (outbox.nmarks > 0 && outbox.marks[outbox.nmarks - 1].subid == subid)
		return;
	if (outbox.nmarks == outbox.marks_size)
	{
		int size = Max(8, outbox.marks_size * 2);

		outbox.marks = outbox.marks ? repalloc(outbox.marks, size * sizeof(Mark))
									: MemoryContextAlloc(outbox.context, size * sizeof(Mark));
		outbox.marks_size = size; /* not before: the allocation may fail in a savepoint */
	}
	outbox.marks[outbox.nmarks].subid = subid;
	outbox.marks[outbox.nmarks++].start = outbox.n;
}

static void
remember_given_id(const UsherEvent *event, int pending)
{
	IdKey key = {event->tenant_id, event->id};
	bool found;

	if (outbox.given_ids == NULL)
		outbox.given_ids = ids_create(outbox.context, 16, NULL);
	ids_insert(outbox.given_ids, key, &found)->pending = pending;
}

/* Append to the transaction; the stream is locked and gets its next version. */
UsherPending *
usher_outbox_add(const UsherEvent *event)
{
	MemoryContext old = MemoryContextSwitchTo(usher_outbox_context());
	UsherPending *p;

	if (outbox.sealed)
		ereport(ERROR, (errcode(ERRCODE_USHER_APPEND_AFTER_FLUSH),
						errmsg("cannot append an event while the transaction commits"),
						errhint("pg_usher must stand first in shared_preload_libraries.")));
	check_spilled();
	if (outbox.n >= usher_max_transaction_events)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_TOO_MANY_EVENTS),
				 errmsg("more than %d events in one transaction", usher_max_transaction_events),
				 errhint("Commit in smaller parts, or raise usher.max_transaction_events.")));
	if (outbox.n == outbox.size)
	{
		int size = Max(16, outbox.size * 2);

		outbox.pending = outbox.pending ? repalloc_huge(outbox.pending, size * sizeof(UsherPending))
										: palloc(size * sizeof(UsherPending));
		outbox.size = size;
	}
	mark_subtransaction();
	p = &outbox.pending[outbox.n];
	p->stream = event->stream;
	p->version = event->stream ? event->stream->head + 1 : 0;
	p->tuple = form_tuple(event, p->version);
	p->tenant_id = event->tenant_id;
	p->id = event->id;
	p->id_given = (event->flags & LOG_FLAG_ID_INDEXED) != 0;
	p->series = event->series;
	p->committed_type = committed_type(event->tenant_id, event->type);
	if (p->id_given)
		remember_given_id(event, outbox.n);
	outbox.n++;
	if (event->stream)
	{
		p->flags_before = event->stream->head_flags;
		event->stream->head_flags = event->flags;
		event->stream->head = p->version;
	}
	outbox.bytes += p->tuple->t_len;
	if (outbox.bytes > (Size) usher_append_buffer_kb * 1024)
		spill();
	MemoryContextSwitchTo(old);
	return p;
}

void
usher_outbox_subcommit(SubTransactionId from, SubTransactionId to)
{
	Mark *top = outbox.nmarks > 0 ? &outbox.marks[outbox.nmarks - 1] : NULL;

	if (top == NULL || top->subid != from)
		return;
	if (outbox.nmarks > 1 && top[-1].subid == to)
		outbox.nmarks--;
	else
		top->subid = to;
}

void
usher_outbox_subabort(SubTransactionId subid)
{
	int start;

	if (outbox.nmarks == 0 || outbox.marks[outbox.nmarks - 1].subid != subid)
		return;
	start = outbox.marks[--outbox.nmarks].start;
	while (outbox.n > start)
	{
		UsherPending *p = &outbox.pending[--outbox.n];

		if (p->stream)
		{
			p->stream->head--;
			p->stream->head_flags = p->flags_before;
		}
		if (p->id_given)
		{
			IdKey key = {p->tenant_id, p->id};

			ids_delete(outbox.given_ids, key);
		}
		if (p->tuple)
		{
			outbox.bytes -= p->tuple->t_len;
			heap_freetuple(p->tuple);
		}
	}
}

/* The events have been committed: count them.  Allocates nothing and cannot fail. */
void
usher_outbox_published(UsherDb *db)
{
	int begun = 0;

	for (int i = 1; i <= outbox.n; i++)
		if (i == outbox.n || outbox.pending[i].series != outbox.pending[begun].series)
		{
			usher_series_published(outbox.pending[begun].series, i - begun);
			begun = i;
		}
	usher_count(db, COUNT_TRANSACTIONS, 1);
	usher_count(db, COUNT_EVENTS, outbox.n);
}

/*
 * Before a commit: the temporary file is closed, or its owner would complain.
 * (An abort closes it without a word.)
 */
void
usher_outbox_close(void)
{
	if (outbox.file != NULL)
		BufFileClose(outbox.file);
	outbox.file = NULL;
}

/* End of the transaction; its memory goes by itself. */
void
usher_outbox_reset(void)
{
	if (outbox.context != NULL)
		memset(&outbox, 0, sizeof(outbox));
}

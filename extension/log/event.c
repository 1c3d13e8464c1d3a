/*
 * extension/log/event.c
 *	  A row of the log -> a value of type usher.event.
 */
#include "log.h"

#include "lib/glob.h"
#include "tenancy/tenant.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "utils/typcache.h"

/* Columns of usher.event. */
enum
{
	EVENT_POSITION = 1,
	EVENT_TENANT,
	EVENT_STREAM,
	EVENT_VERSION,
	EVENT_ID,
	EVENT_TYPE,
	EVENT_TOPIC,
	EVENT_KEY,
	EVENT_SLOT,
	EVENT_DATA,
	EVENT_METADATA,
	EVENT_RECORDED_AT,
	EVENT_NATTS = USHER_EVENT_NATTS
};

TupleTableSlot *
usher_log_slot(const TupleTableSlotOps *ops)
{
	return MakeSingleTupleTableSlot(usher_catalog()->log_desc, ops);
}

/* Whether a row of the log is of the tenant (0: of any), and its type matches the pattern (NULL: any does). */
bool
usher_event_wanted(TupleTableSlot *log_slot, int32 tenant_id, const text *pattern)
{
	bool isnull;
	text *type;

	if (tenant_id != 0 &&
		DatumGetInt32(slot_getattr(log_slot, LOG_TENANT_ID, &isnull)) != tenant_id)
		return false;
	if (pattern == NULL)
		return true;
	type = DatumGetTextPP(slot_getattr(log_slot, LOG_TYPE, &isnull));
	return usher_glob_match(VARDATA_ANY(pattern), VARSIZE_ANY_EXHDR(pattern), VARDATA_ANY(type),
							VARSIZE_ANY_EXHDR(type));
}

/* Large values live in the partition's TOAST table, which we do not keep locked: fetch them now. */
static Datum
fetched(Datum value, bool isnull)
{
	if (!isnull && VARATT_IS_EXTERNAL(DatumGetPointer(value)))
		return PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(value)));
	return value;
}

/* The columns of usher.event.  A pending event has no position and no time yet. */
void
usher_event_values(TupleTableSlot *log_slot, Datum *values, bool *nulls)
{
	static const AttrNumber columns[EVENT_NATTS] = {
		[EVENT_POSITION - 1] = LOG_POSITION,
		[EVENT_STREAM - 1] = LOG_STREAM,
		[EVENT_VERSION - 1] = LOG_VERSION,
		[EVENT_ID - 1] = LOG_ID,
		[EVENT_TYPE - 1] = LOG_TYPE,
		[EVENT_TOPIC - 1] = LOG_TOPIC,
		[EVENT_KEY - 1] = LOG_KEY,
		[EVENT_SLOT - 1] = LOG_SLOT,
		[EVENT_DATA - 1] = LOG_DATA,
		[EVENT_METADATA - 1] = LOG_METADATA,
		[EVENT_RECORDED_AT - 1] = LOG_RECORDED_AT,
	};
	text *slug;

	slot_getallattrs(log_slot);
	for (int i = 0; i < EVENT_NATTS; i++)
	{
		if (columns[i] == 0)
			continue;
		values[i] = log_slot->tts_values[columns[i] - 1];
		nulls[i] = log_slot->tts_isnull[columns[i] - 1];
	}
	values[EVENT_DATA - 1] = fetched(values[EVENT_DATA - 1], nulls[EVENT_DATA - 1]);
	values[EVENT_METADATA - 1] = fetched(values[EVENT_METADATA - 1], nulls[EVENT_METADATA - 1]);
	slug = usher_tenant_slug_of(DatumGetInt32(log_slot->tts_values[LOG_TENANT_ID - 1]));
	values[EVENT_TENANT - 1] = PointerGetDatum(slug);
	nulls[EVENT_TENANT - 1] = slug == NULL;
	if (nulls[EVENT_KEY - 1])
	{
		values[EVENT_KEY - 1] = values[EVENT_STREAM - 1];
		nulls[EVENT_KEY - 1] = nulls[EVENT_STREAM - 1];
	}
	if (DatumGetInt64(values[EVENT_POSITION - 1]) == 0)
		nulls[EVENT_POSITION - 1] = nulls[EVENT_RECORDED_AT - 1] = true;
}

HeapTuple
usher_event_form(TupleTableSlot *log_slot)
{
	Datum values[EVENT_NATTS];
	bool nulls[EVENT_NATTS];

	usher_event_values(log_slot, values, nulls);
	return heap_form_tuple(usher_catalog()->event_desc, values, nulls);
}

Datum
usher_event_datum(TupleTableSlot *log_slot)
{
	return heap_copy_tuple_as_datum(usher_event_form(log_slot), usher_catalog()->event_desc);
}

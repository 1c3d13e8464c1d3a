/*
 * extension/api/watch.c
 *	  watch, unwatch, record_read, the trigger function, and what the view of
 *	  watches and the snapshot in batches call: check the arguments, then
 *	  extension/watch.
 */
#include "usher.h"

#include "log/log.h"
#include "watch/watch.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define BATCH_MAX 100000 /* rows */

static void
invalid(const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s", message)));
}

static Oid
table_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		invalid("the table is null");
	return PG_GETARG_OID(0);
}

/* The strings of a text[]; NULL when it is null. */
static char **
strings_argument(FunctionCallInfo fcinfo, int n, const char *what, int *count)
{
	Datum *values;
	bool *nulls;
	char **strings;

	if (PG_ARGISNULL(n))
		return NULL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  count);
	strings = palloc_array(char *, Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			invalid(psprintf("%s has a null in it", what));
		strings[i] = TextDatumGetCString(values[i]);
	}
	return strings;
}

static int
operations_argument(FunctionCallInfo fcinfo, int n)
{
	int count = 0, operations = 0;
	char **names = strings_argument(fcinfo, n, "the array of operations", &count);

	for (int i = 0; i < count; i++)
	{
		int event = 0;

		while (event < WATCH_TRIGGERS && strcmp(names[i], usher_watch_event_names[event]) != 0)
			event++;
		if (event == WATCH_TRIGGERS)
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
							errmsg("\"%s\" is not an operation", names[i]),
							errhint("Operations are create, update, delete, truncate.")));
		operations |= usher_watch_bit(event);
	}
	if (operations == 0)
		invalid("there are no operations to watch");
	return operations;
}

PG_FUNCTION_INFO_V1(usher_watch);
Datum
usher_watch(PG_FUNCTION_ARGS)
{
	UsherWatch watch = {.ncolumns = -1};
	Oid table = table_argument(fcinfo);

	watch.operations = operations_argument(fcinfo, 1);
	watch.key = strings_argument(fcinfo, 2, "the key", &watch.nkey);
	if (watch.key != NULL && watch.nkey == 0)
		invalid("the key has no columns");
	watch.columns = strings_argument(fcinfo, 3, "the array of columns", &watch.ncolumns);
	if (!PG_ARGISNULL(4))
		watch.condition = text_to_cstring(PG_GETARG_TEXT_PP(4));
	watch.snapshot = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	usher_watch_define(table, &watch);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(usher_unwatch);
Datum
usher_unwatch(PG_FUNCTION_ARGS)
{
	usher_watch_drop(table_argument(fcinfo));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(usher_watch_event);
Datum
usher_watch_event(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		TRIGGER_FIRED_FOR_ROW(data->tg_event) == TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("usher.watch_event is for the triggers that usher.watch creates")));
	usher_watch_fired(data);
	return PointerGetDatum(NULL);
}

/* ---- record_read ---- */

static char *
scalar_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		case jbvNumeric:
			return DatumGetCString(
				OidFunctionCall1(F_NUMERIC_OUT, NumericGetDatum(value->val.numeric)));
		default:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	}
}

/* The value of the i-th column of the key: an object by its name, an array by its place. */
static JsonbValue *
key_part(Jsonb *key, const UsherWatchShape *shape, int i)
{
	JsonbValue *value;

	if (JB_ROOT_IS_OBJECT(key))
		value = getKeyJsonValueFromContainer(&key->root, shape->key[i].name, shape->key[i].name_len,
											 NULL);
	else
		value = getIthJsonbValueFromContainer(&key->root, i);
	if (value == NULL || JB_ROOT_COUNT(key) != shape->nkey)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("the given key is not one of table \"%s\"", text_to_cstring(shape->topic)),
				 errdetail("It lacks column \"%s\", or has others.", shape->key[i].name)));
	return value;
}

PG_FUNCTION_INFO_V1(usher_record_read);
Datum
usher_record_read(PG_FUNCTION_ARGS)
{
	Oid relid = table_argument(fcinfo);
	Relation rel;
	const Trigger *trigger;
	UsherWatchShape *shape;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];
	pg_uuid_t *id = palloc_object(pg_uuid_t);

	if (PG_ARGISNULL(1))
		invalid("the key is null");
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(relid));
	rel = relation_open(relid, AccessShareLock);
	trigger = usher_watch_trigger_for(rel, WATCH_ROWS);
	if (trigger == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("table \"%s\" is not watched", RelationGetRelationName(rel)),
						errhint("usher.watch says by which columns its rows are known.")));
	shape = usher_watch_shape(trigger, rel);
	for (int i = 0; i < shape->nkey; i++)
	{
		char *s = scalar_text(key_part(PG_GETARG_JSONB_P(1), shape, i));
		Oid input, parameter;

		getTypeInputInfo(shape->key[i].type, &input, &parameter);
		values[i] = OidInputFunctionCall(input, s, parameter, shape->key[i].typmod);
		nulls[i] = s == NULL;
	}
	*id = usher_watch_capture_read(shape, values, nulls);
	relation_close(rel, AccessShareLock);
	PG_RETURN_UUID_P(id);
}

/* ---- for usher.watches ---- */

static Datum
names_of(Oid relid, const AttrNumber *attnums, int n)
{
	Datum *names = palloc_array(Datum, Max(n, 1));

	for (int i = 0; i < n; i++)
		names[i] = CStringGetTextDatum(get_attname(relid, attnums[i], false));
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The columns that a trigger's WHEN clause names: the first nkey of them, and the others. */
PG_FUNCTION_INFO_V1(usher_watched_columns);
Datum
usher_watched_columns(PG_FUNCTION_ARGS)
{
	Relation rel = table_open(TriggerRelationId, AccessShareLock);
	int nkey = PG_GETARG_INT32(1), ncolumns = PG_GETARG_INT32(2);
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	TupleDesc desc;

	(void) get_call_result_type(fcinfo, NULL, &desc);
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(PG_GETARG_OID(0)));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && nkey >= 0 && ncolumns >= 0)
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
		bool isnull;
		Datum when = heap_getattr(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(rel), &isnull);
		Trigger trigger = {.tgname = NameStr(form->tgname),
						   .tgqual = isnull ? NULL : TextDatumGetCString(when)};
		AttrNumber *attnums = usher_watch_when_columns(&trigger, nkey + ncolumns);

		values[0] = names_of(form->tgrelid, attnums, nkey);
		values[1] = names_of(form->tgrelid, attnums + nkey, ncolumns);
		nulls[0] = nulls[1] = false;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- for usher.watch_snapshot ---- */

PG_FUNCTION_INFO_V1(usher_watch_snapshot_step);
Datum
usher_watch_snapshot_step(PG_FUNCTION_ARGS)
{
	Oid relid = table_argument(fcinfo);
	UsherWatchPlace place = {.partition = PG_GETARG_OID(1), .row = PG_GETARG_INT64(2)};
	Datum values[3];
	bool nulls[3] = {0};
	TupleDesc desc;

	if (PG_GETARG_INT32(3) < 1 || PG_GETARG_INT32(3) > BATCH_MAX)
		invalid(psprintf("a batch has 1 to %d rows", BATCH_MAX));
	if (place.row < 0 || place.row >> 16 > MaxBlockNumber)
		invalid("there is no such row");
	(void) get_call_result_type(fcinfo, NULL, &desc);
	usher_watch_check_owner(relid);
	values[0] = Int64GetDatum(usher_watch_snapshot_batch(relid, &place, PG_GETARG_INT32(3)));
	values[1] = ObjectIdGetDatum(place.partition);
	values[2] = Int64GetDatum(place.row);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

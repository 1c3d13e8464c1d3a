/*
 * extension/watch/capture.c
 *	  A change of a row -> an event in the transaction's outbox.
 *
 * Called by the triggers, after the change, in the memory of one row.  A change
 * of the key is the end of one row and the beginning of another.  Nothing here
 * waits: the row is locked by its change until the commit, where its events get
 * their positions, so the events of a key are in the order of its changes.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#define KEY_OF_ALL_ROWS "*" /* of a TRUNCATE */
#define OVERSIZE_FACTOR 4 /* above so many times the limit we do not even try */

/* ---- data ---- */

static void
set_key(JsonbPair *pair, int order, const char *name, int len)
{
	pair->key.type = jbvString;
	pair->key.val.string.val = unconstify(char *, name);
	pair->key.val.string.len = len;
	pair->order = order;
}

/* Pairs must come in the order in which jsonb stores them. */
static void
set_object(JsonbValue *value, JsonbPair *pairs, int n)
{
	value->type = jbvObject;
	value->val.object.nPairs = n;
	value->val.object.pairs = pairs;
}

/* What an event says of a row; pointers are NULL where there is nothing to say. */
typedef struct RowEvent
{
	UsherWatchEvent event;
	JsonbValue *key; /* one a column, in the order of the key */
	JsonbPair *old;
	JsonbPair *new;
	bool *changed; /* one a shown column */
	bool oversize; /* too large for an event: without the columns */
} RowEvent;

static void
set_row(JsonbPair *pair, int order, const char *name, JsonbPair *row, int n)
{
	set_key(pair, order, name, strlen(name));
	if (row)
		set_object(&pair->value, row, n);
	else
		pair->value.type = jbvNull;
}

static void
set_changed(JsonbPair *pair, int order, const UsherWatchShape *shape, const bool *changed)
{
	JsonbValue *names = palloc_array(JsonbValue, Max(shape->nshown, 1));
	int n = 0;

	for (int i = 0; i < shape->nshown; i++)
		if (changed[i])
		{
			names[n].type = jbvString;
			names[n].val.string.val = unconstify(char *, shape->shown[i].name);
			names[n++].val.string.len = shape->shown[i].name_len;
		}
	set_key(pair, order, "changed", strlen("changed"));
	pair->value.type = jbvArray;
	pair->value.val.array.nElems = n;
	pair->value.val.array.elems = names;
	pair->value.val.array.rawScalar = false;
}

static Jsonb *
data_of(const UsherWatchShape *shape, const RowEvent *row)
{
	JsonbPair *key = palloc_array(JsonbPair, shape->nkey);
	JsonbPair pairs[5]; /* in the order of a jsonb object's keys */
	JsonbValue data;
	int n = 0;

	for (int i = 0; i < shape->nkey; i++)
	{
		const UsherWatchColumn *column = &shape->key[shape->key_order[i]];

		set_key(&key[i], i, column->name, column->name_len);
		key[i].value = row->key[shape->key_order[i]];
	}
	set_row(&pairs[0], n++, "key", key, shape->nkey);
	set_row(&pairs[1], n++, "new", row->new, shape->nshown);
	set_row(&pairs[2], n++, "old", row->old, shape->nshown);
	if (row->changed)
	{
		set_changed(&pairs[n], n, shape, row->changed);
		n++;
	}
	if (row->oversize)
	{
		set_key(&pairs[n], n, "oversize", strlen("oversize"));
		pairs[n].value.type = jbvBool;
		pairs[n++].value.val.boolean = true;
	}
	set_object(&data, pairs, n);
	return JsonbValueToJsonb(&data);
}

/* ---- the key as a text ---- */

static char *
scalar_text(const JsonbValue *value, int *len)
{
	char *s = NULL;

	switch (value->type)
	{
		case jbvString:
			*len = value->val.string.len;
			return value->val.string.val;
		case jbvNumeric:
			s = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		case jbvBool:
			s = value->val.boolean ? "true" : "false";
			break;
		default:
			return NULL;
	}
	*len = strlen(s);
	return s;
}

/* Names cannot be longer than 255 bytes, nor empty, nor have control characters; keys can. */
static bool
is_name(const char *s, int len)
{
	if (len == 0 || len > USHER_NAME_MAX)
		return false;
	for (int i = 0; i < len; i++)
		if ((unsigned char) s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return true;
}

static text *
hashed(const char *s, int len)
{
	static const char prefix[] = "sha256:";
	bytea *hash = DatumGetByteaPP(
		DirectFunctionCall1(sha256_bytea, PointerGetDatum(cstring_to_text_with_len(s, len))));
	int hash_len = VARSIZE_ANY_EXHDR(hash);
	text *result = palloc(VARHDRSZ + strlen(prefix) + 2 * hash_len);

	memcpy(VARDATA(result), prefix, strlen(prefix));
	(void) hex_encode(VARDATA_ANY(hash), hash_len, VARDATA(result) + strlen(prefix));
	SET_VARSIZE(result, VARHDRSZ + strlen(prefix) + 2 * hash_len);
	return result;
}

/* One column: its value.  Several, or a null: a JSON array.  What cannot be a name: a hash of it. */
static text *
key_text(const UsherWatchShape *shape, JsonbValue *values)
{
	JsonbValue array = {.type = jbvArray};
	int len = 0;
	char *s = shape->nkey == 1 ? scalar_text(&values[0], &len) : NULL;

	if (s == NULL)
	{
		Jsonb *jsonb;

		array.val.array.nElems = shape->nkey;
		array.val.array.elems = values;
		jsonb = JsonbValueToJsonb(&array);
		s = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
		len = strlen(s);
	}
	return is_name(s, len) ? cstring_to_text_with_len(s, len) : hashed(s, len);
}

/* ---- the event ---- */

/* `key` is NULL for an event of all rows.  Returns the event's id. */
static pg_uuid_t
append(const UsherWatchShape *shape, UsherWatchEvent what, text *key, Jsonb *data)
{
	UsherEvent event = {.type = shape->types[what], .topic = shape->topic, .data = data};

	usher_check_object(data, "event data");
	event.tenant_id = usher_watch_tenant();
	event.metadata = usher_watch_metadata();
	event.key = key ? key : cstring_to_text(KEY_OF_ALL_ROWS);
	(void) usher_append_event(&event);
	return event.id;
}

/* The event with everything; if that is too large, without the columns. */
static pg_uuid_t
append_row(const UsherWatchShape *shape, RowEvent *row)
{
	Size limit = (Size) usher_max_event_size_kb * 1024;
	Jsonb *data = data_of(shape, row);

	if (VARSIZE(data) > limit && !row->oversize)
	{
		row->old = row->new = NULL;
		row->oversize = true;
		data = data_of(shape, row);
	}
	return append(shape, row->event, key_text(shape, row->key), data);
}

/* ---- rows ---- */

static bool
is_null(const UsherWatchColumn *column, TupleTableSlot *slot)
{
	return slot->tts_isnull[column->attnum - 1];
}

static Datum
value_of(const UsherWatchColumn *column, TupleTableSlot *slot)
{
	return slot->tts_values[column->attnum - 1];
}

/* Equal to the last bit; large values that were not touched are not fetched for that. */
static bool
is_same(const UsherWatchColumn *column, TupleTableSlot *a, TupleTableSlot *b)
{
	Datum x = value_of(column, a), y = value_of(column, b);

	if (is_null(column, a) || is_null(column, b))
		return is_null(column, a) && is_null(column, b);
	if (column->byval)
		return x == y;
	if (column->len == -1)
	{
		Size size = VARSIZE_ANY(DatumGetPointer(x));

		if (size == VARSIZE_ANY(DatumGetPointer(y)) &&
			memcmp(DatumGetPointer(x), DatumGetPointer(y), size) == 0)
			return true;
		if (!VARATT_IS_EXTENDED(DatumGetPointer(x)) && !VARATT_IS_EXTENDED(DatumGetPointer(y)))
			return false;
	}
	return datum_image_eq(x, y, false, column->len);
}

/* Bytes of the large values of a row, without fetching them. */
static Size
large_bytes(const UsherWatchShape *shape, TupleTableSlot *slot)
{
	Size bytes = 0;

	for (int i = 0; slot != NULL && i < shape->nshown; i++)
	{
		const UsherWatchColumn *column = &shape->shown[i];

		if (column->len == -1 && !is_null(column, slot) &&
			VARATT_IS_EXTENDED(DatumGetPointer(value_of(column, slot))))
			bytes += toast_raw_datum_size(value_of(column, slot));
	}
	return bytes;
}

/* Whether to do without the columns of a row, before anything of it is fetched. */
static bool
is_hopeless(const UsherWatchShape *shape, TupleTableSlot *old, TupleTableSlot *new)
{
	Size limit = (Size) usher_max_event_size_kb * 1024;

	return large_bytes(shape, old) + large_bytes(shape, new) > OVERSIZE_FACTOR * limit;
}

/* Both rows as objects; what they have in common is converted once. */
static void
convert_rows(UsherWatchShape *shape, RowEvent *row, TupleTableSlot *old, TupleTableSlot *new)
{
	int n = shape->nshown;

	row->old = old ? palloc_array(JsonbPair, Max(n, 1)) : NULL;
	row->new = new ? palloc_array(JsonbPair, Max(n, 1)) : NULL;
	for (int i = 0; i < n; i++)
	{
		UsherWatchColumn *column = &shape->shown[i];

		if (row->new)
		{
			set_key(&row->new[i], i, column->name, column->name_len);
			usher_watch_value(column, value_of(column, new), is_null(column, new),
							  &row->new[i].value);
		}
		if (row->old == NULL)
			continue;
		if (row->changed && !row->changed[i])
		{
			row->old[i] = row->new[i];
			continue;
		}
		set_key(&row->old[i], i, column->name, column->name_len);
		usher_watch_value(column, value_of(column, old), is_null(column, old), &row->old[i].value);
	}
}

static JsonbValue *
convert_key(UsherWatchShape *shape, TupleTableSlot *slot)
{
	JsonbValue *values = palloc_array(JsonbValue, shape->nkey);

	for (int i = 0; i < shape->nkey; i++)
		usher_watch_value(&shape->key[i], value_of(&shape->key[i], slot),
						  is_null(&shape->key[i], slot), &values[i]);
	return values;
}

static void
capture_row(UsherWatchShape *shape, UsherWatchEvent event, TupleTableSlot *keyed,
			TupleTableSlot *old, TupleTableSlot *new, bool *changed)
{
	RowEvent row = {.event = event, .changed = changed};
	int nest_level = usher_watch_settings_begin();

	row.key = convert_key(shape, keyed);
	row.oversize = is_hopeless(shape, old, new);
	if (!row.oversize)
		convert_rows(shape, &row, old, new);
	(void) append_row(shape, &row);
	usher_watch_settings_end(nest_level);
}

static bool
is_key_changed(const UsherWatchShape *shape, TupleTableSlot *old, TupleTableSlot *new)
{
	for (int i = 0; i < shape->nkey; i++)
		if (!is_same(&shape->key[i], old, new))
			return true;
	return false;
}

static void
capture_update(UsherWatchShape *shape, TupleTableSlot *old, TupleTableSlot *new)
{
	int operations = shape->operations;
	int moves = operations & (usher_watch_bit(WATCH_CREATE) | usher_watch_bit(WATCH_DELETE));
	bool *changed, any = false;

	if (moves != 0 && is_key_changed(shape, old, new))
	{
		if (moves & usher_watch_bit(WATCH_DELETE))
			capture_row(shape, WATCH_DELETE, old, old, NULL, NULL);
		if (moves & usher_watch_bit(WATCH_CREATE))
			capture_row(shape, WATCH_CREATE, new, NULL, new, NULL);
		return;
	}
	if (!(operations & usher_watch_bit(WATCH_UPDATE)))
		return;
	changed = palloc_array(bool, Max(shape->nshown, 1));
	for (int i = 0; i < shape->nshown; i++)
		any |= changed[i] = !is_same(&shape->shown[i], old, new);
	if (any)
		capture_row(shape, WATCH_UPDATE, old, old, new, changed);
}

/* Slots may be NULL where the event has no such row. */
void
usher_watch_capture(UsherWatchShape *shape, UsherWatchEvent event, TupleTableSlot *old,
					TupleTableSlot *new)
{
	usher_append_check_state();
	if (old)
		slot_getallattrs(old);
	if (new)
		slot_getallattrs(new);
	if (event == WATCH_UPDATE)
		capture_update(shape, old, new);
	else if (event == WATCH_TRUNCATE)
		(void) append(shape, WATCH_TRUNCATE, NULL, usher_empty_object());
	else
		capture_row(shape, event, new ? new : old, old, new, NULL);
}

/* A row was read, says who has read it: nothing of it but its key.  Returns the event's id. */
pg_uuid_t
usher_watch_capture_read(UsherWatchShape *shape, const Datum *key, const bool *nulls)
{
	RowEvent row = {.event = WATCH_READ};
	int nest_level;
	pg_uuid_t id;

	usher_append_check_state();
	nest_level = usher_watch_settings_begin();
	row.key = palloc_array(JsonbValue, shape->nkey);
	for (int i = 0; i < shape->nkey; i++)
		usher_watch_value(&shape->key[i], key[i], nulls[i], &row.key[i]);
	id = append_row(shape, &row);
	usher_watch_settings_end(nest_level);
	return id;
}

/* ---- the trigger ---- */

static void
trigger_context(void *rel)
{
	errcontext("event of watched table \"%s\"", RelationGetRelationName((Relation) rel));
}

void
usher_watch_fired(TriggerData *data)
{
	ErrorContextCallback context = {error_context_stack, trigger_context, data->tg_relation};
	UsherWatchShape *shape;

	error_context_stack = &context;
	shape = usher_watch_shape(data->tg_trigger, data->tg_relation);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		usher_watch_capture(shape, WATCH_CREATE, NULL, data->tg_trigslot);
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		usher_watch_capture(shape, WATCH_UPDATE, data->tg_trigslot, data->tg_newslot);
	else if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		usher_watch_capture(shape, WATCH_DELETE, data->tg_trigslot, NULL);
	else
		usher_watch_capture(shape, WATCH_TRUNCATE, NULL, NULL);
	error_context_stack = context.previous;
}

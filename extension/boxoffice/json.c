/*
 * extension/boxoffice/json.c
 *	  A new booking as jsonb, for its event and for who has asked for it.
 *
 * Written straight into the form in which jsonb is stored, as
 * JsonbValueToJsonb would: building the tree of values first took a tenth of
 * the time of a reservation.  Keys are given in the order in which jsonb keeps
 * them: shorter ones first, those of a length by their bytes.
 */
#include "boxoffice/box.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#define LEVELS     4 /* booking, items, item, seats */
#define NUMBERS    64 /* kept in the form in which they are stored */
#define NUMBER_MAX 24 /* bytes of it */
#define TIMES      4

typedef struct Level
{
	uint32 entries; /* where the container's JEntries stand */
	uint32 begun; /* where the container begins, its padding included */
	int next; /* the JEntry of the next key, value or element */
	uint32 total; /* bytes of what these stand for, so far */
} Level;

typedef struct Json
{
	char *data;
	uint32 len, size;
	int depth;
	Level levels[LEVELS];
} Json;

static char *
more(Json *json, uint32 n)
{
	char *at;

	if (json->len + n > json->size)
	{
		json->size = Max(2 * json->size, json->len + n);
		json->data = repalloc(json->data, json->size);
	}
	at = json->data + json->len;
	json->len += n;
	return at;
}

static uint32
align(Json *json)
{
	uint32 n = INTALIGN(json->len) - json->len;

	memset(more(json, n), 0, n);
	return n;
}

/* What was written last is the next entry of the open container. */
static void
entry(Json *json, uint32 type, uint32 len)
{
	Level *level = &json->levels[json->depth];
	JEntry e = type | len;

	level->total += len;
	if (level->total > JENTRY_OFFLENMASK)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a booking is too large for its event")));
	if (level->next % JB_OFFSET_STRIDE == 0)
		e = type | level->total | JENTRY_HAS_OFF;
	memcpy(json->data + level->entries + level->next++ * sizeof(JEntry), &e, sizeof(JEntry));
}

static void
begin(Json *json, uint32 kind, uint32 count)
{
	uint32 header = kind | count;
	uint32 entries = (kind == JB_FOBJECT ? 2 : 1) * count * sizeof(JEntry);
	Level *level = &json->levels[++json->depth];

	Ensure(json->depth < LEVELS, "a booking's JSON is deeper than this library knows");
	level->begun = json->len;
	level->next = 0;
	level->total = 0;
	(void) align(json);
	memcpy(more(json, sizeof(header)), &header, sizeof(header));
	level->entries = json->len;
	(void) more(json, entries);
}

static void
end(Json *json)
{
	uint32 len = json->len - json->levels[json->depth].begun;

	if (json->depth-- > 0)
		entry(json, JENTRY_ISCONTAINER, len);
}

static void
add_string(Json *json, const char *s, uint32 len)
{
	memcpy(more(json, len), s, len);
	entry(json, JENTRY_ISSTRING, len);
}

static void
add_keys(Json *json, const char *const *keys, int n)
{
	for (int i = 0; i < n; i++)
		add_string(json, keys[i], strlen(keys[i]));
}

/* Most numbers of a sale come again and again: prices, ids of zones and shows. */
static void
add_integer(Json *json, int64 n)
{
	static struct
	{
		int64 n;
		uint32 len; /* 0: nothing is kept here */
		char bytes[NUMBER_MAX];
	} kept[NUMBERS];
	int k = (int) ((uint64) n * UINT64CONST(0x9e3779b97f4a7c15) >> 58);
	uint32 padding;

	if (kept[k].len == 0 || kept[k].n != n)
	{
		Numeric numeric = int64_to_numeric(n);

		Ensure(VARSIZE_ANY(numeric) <= NUMBER_MAX, "a bigint is longer than expected");
		kept[k].n = n;
		kept[k].len = VARSIZE_ANY(numeric);
		memcpy(kept[k].bytes, numeric, kept[k].len);
		pfree(numeric);
	}
	padding = align(json);
	memcpy(more(json, kept[k].len), kept[k].bytes, kept[k].len);
	entry(json, JENTRY_ISNUMERIC, padding + kept[k].len);
}

/* Those of a batch were all made at one time, and most expire at one.  Valid until some calls later. */
const char *
usher_box_time_text(TimestampTz at)
{
	static struct
	{
		TimestampTz at; /* 0: nothing is kept here */
		char text[MAXDATELEN + 1];
	} kept[TIMES];
	static int next = 0;
	int utc = 0;

	for (int i = 0; i < TIMES; i++)
		if (kept[i].at == at && at != 0)
			return kept[i].text;
	next = (next + 1) % TIMES;
	kept[next].at = 0;
	(void) JsonEncodeDateTime(kept[next].text, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	kept[next].at = at;
	return kept[next].text;
}

static void
add_time(Json *json, TimestampTz at)
{
	const char *text = usher_box_time_text(at);

	add_string(json, text, strlen(text));
}

static void
add_seats(Json *json, ArrayType *seats)
{
	Datum *labels;
	int n;

	deconstruct_array(seats, TEXTOID, -1, false, TYPALIGN_INT, &labels, NULL, &n);
	begin(json, JB_FARRAY, n);
	for (int i = 0; i < n; i++)
	{
		text *label = DatumGetTextPP(labels[i]);

		add_string(json, VARDATA_ANY(label), VARSIZE_ANY_EXHDR(label));
	}
	end(json);
	pfree(labels);
}

static void
add_item(Json *json, const UsherBoxItem *item, int number)
{
	static const char *const keys[] = {"fee",      "tax",        "item",      "zone",
									   "quantity", "price_type", "unit_price"};
	static const char *const keys_seats[] = {"fee",   "tax",      "item",       "zone",
											 "seats", "quantity", "price_type", "unit_price"};

	if (item->seats)
	{
		begin(json, JB_FOBJECT, lengthof(keys_seats));
		add_keys(json, keys_seats, lengthof(keys_seats));
	}
	else
	{
		begin(json, JB_FOBJECT, lengthof(keys));
		add_keys(json, keys, lengthof(keys));
	}
	add_integer(json, item->fee);
	add_integer(json, item->tax);
	add_integer(json, number);
	add_integer(json, item->zone_id);
	if (item->seats)
		add_seats(json, item->seats);
	add_integer(json, item->quantity);
	add_integer(json, item->config.price_type_id);
	add_integer(json, item->config.unit_price);
	end(json);
}

static void
add_items(Json *json, const UsherBoxRequest *r)
{
	begin(json, JB_FARRAY, r->nitems);
	for (int i = 0; i < r->nitems; i++)
		add_item(json, &r->items[i], i + 1);
	end(json);
}

static Json
start(uint32 size)
{
	Json json = {.data = palloc(size), .size = size, .depth = -1};

	(void) more(&json, VARHDRSZ);
	return json;
}

static Jsonb *
finished(const Json *json)
{
	SET_VARSIZE(json->data, json->len);
	return (Jsonb *) json->data;
}

Jsonb *
usher_box_items_json(const UsherBoxRequest *r)
{
	Json json = start(256);

	add_items(&json, r);
	return finished(&json);
}

/* The booking's code is for the customer alone, and not in it. */
Jsonb *
usher_box_booking_json(const UsherBoxRequest *r)
{
	static const char *const keys[] = {"fee",      "tax",        "show",      "user",    "event",
									   "items",    "total",      "status",    "booking", "currency",
									   "quantity", "created_at", "expires_at"};
	static const char status[] = "reserved";
	Json json = start(640);
	char id[USHER_UUID_LEN];

	begin(&json, JB_FOBJECT, lengthof(keys));
	add_keys(&json, keys, lengthof(keys));
	add_integer(&json, r->fee);
	add_integer(&json, r->tax);
	add_integer(&json, r->show_id);
	add_string(&json, VARDATA_ANY(r->user_id), VARSIZE_ANY_EXHDR(r->user_id));
	add_integer(&json, r->event_id);
	add_items(&json, r);
	add_integer(&json, r->total);
	add_string(&json, status, sizeof(status) - 1);
	usher_box_uuid_text(&r->booking_id, id);
	add_string(&json, id, sizeof(id));
	add_string(&json, r->items[0].config.currency, strlen(r->items[0].config.currency));
	add_integer(&json, r->quantity);
	add_time(&json, r->created_at);
	add_time(&json, r->expires_at);
	end(&json);
	return finished(&json);
}

/* Data of the event that ends a booking. */
Jsonb *
usher_box_ended_json(const UsherBoxEnded *b, const text *reason)
{
	static const char *const keys[] = {"show",   "user",    "event",    "total",
									   "status", "booking", "quantity", "refund_due"};
	static const char *const keys_reason[] = {
		"show", "user", "event", "total", "reason", "status", "booking", "quantity", "refund_due"};
	Json json = start(256);
	char id[USHER_UUID_LEN];

	if (reason)
	{
		begin(&json, JB_FOBJECT, lengthof(keys_reason));
		add_keys(&json, keys_reason, lengthof(keys_reason));
	}
	else
	{
		begin(&json, JB_FOBJECT, lengthof(keys));
		add_keys(&json, keys, lengthof(keys));
	}
	add_integer(&json, b->show_id);
	add_string(&json, VARDATA_ANY(b->user_id), VARSIZE_ANY_EXHDR(b->user_id));
	add_integer(&json, b->event_id);
	add_integer(&json, b->total);
	if (reason)
		add_string(&json, VARDATA_ANY(reason), VARSIZE_ANY_EXHDR(reason));
	add_string(&json, b->status, strlen(b->status));
	usher_box_uuid_text(&b->id, id);
	add_string(&json, id, sizeof(id));
	add_integer(&json, b->quantity);
	add_integer(&json, b->refund_due);
	end(&json);
	return finished(&json);
}

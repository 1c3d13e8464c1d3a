/*
 * extension/relay/route.c
 *	  Which events a sink gets, and under which topic and key.
 *
 * The routes of a sink are read once, sorted by precedence, their templates and
 * filters taken apart.  An event then costs a walk over the routes until one
 * matches, and the copying of a topic and a key into the caller's memory.
 */
#include "relay/route.h"
#include "relay/filter.h"

#include "lib/glob.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Columns of usher.routes. */
enum
{
	ROUTES_ROUTE_ID = 1,
	ROUTES_SINK_ID,
	ROUTES_PATTERN,
	ROUTES_TOPIC,
	ROUTES_KEY,
	ROUTES_FILTER,
	ROUTES_PRIORITY,
	ROUTES_TOMBSTONES
};

/* ---- values of places ---- */

typedef struct Rendering
{
	const UsherRouteEvent *event;
	char *numbers[USHER_TEMPLATE_PARTS]; /* texts of numbers, freed once the template is rendered */
	int nnumbers;
} Rendering;

static inline bool
text_value(const text *t, const char **value, size_t *len)
{
	if (t == NULL)
		return false;
	*value = VARDATA_ANY(t);
	*len = VARSIZE_ANY_EXHDR(t);
	return true;
}

/* Numbers, booleans and strings become text; null, arrays and objects are no value. */
static bool
scalar_value(Rendering *r, const JsonbValue *v, const char **value, size_t *len)
{
	switch (v->type)
	{
		case jbvString:
			*value = v->val.string.val;
			*len = v->val.string.len;
			return true;
		case jbvBool:
			*value = v->val.boolean ? "true" : "false";
			*len = strlen(*value);
			return true;
		case jbvNumeric:
			*value = r->numbers[r->nnumbers++] = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
			*len = strlen(*value);
			return true;
		default:
			return false;
	}
}

/* A field of data or metadata; the path's names stand between dots. */
static bool
field_value(Rendering *r, Jsonb *json, const char *path, size_t path_len, const char **value,
			size_t *len)
{
	const char *end = path + path_len;
	JsonbContainer *container;
	JsonbValue v;

	if (json == NULL)
		return false;
	container = &json->root;
	for (;;)
	{
		const char *dot = memchr(path, '.', end - path);

		if (!JsonContainerIsObject(container) ||
			getKeyJsonValueFromContainer(container, path, (dot ? dot : end) - path, &v) == NULL)
			return false;
		if (dot == NULL)
			return scalar_value(r, &v, value, len);
		if (v.type != jbvBinary)
			return false;
		container = v.val.binary.data;
		path = dot + 1;
	}
}

/* The topic of a stream's event is its category, its key the stream. */
static bool
place_value(void *arg, const UsherTemplatePart *part, const char **value, size_t *len)
{
	Rendering *r = arg;
	const UsherRouteEvent *e = r->event;

	switch (part->place)
	{
		case PLACE_CATEGORY:
			return text_value(e->category, value, len);
		case PLACE_TENANT:
			return text_value(e->tenant, value, len);
		case PLACE_TYPE:
			return text_value(e->type, value, len);
		case PLACE_STREAM:
			return text_value(e->stream, value, len);
		case PLACE_TOPIC:
			return text_value(e->topic ? e->topic : e->category, value, len);
		case PLACE_KEY:
			return text_value(e->key ? e->key : e->stream, value, len);
		case PLACE_DATA:
			return field_value(r, e->data, part->text, part->len, value, len);
		case PLACE_METADATA:
			return field_value(r, e->metadata, part->text, part->len, value, len);
		case PLACE_LITERAL:
		case PLACE_TYPE_SEGMENT:
			break;
	}
	Ensure(false, "a template asks for a value that it has itself");
	return false;
}

/* Into out[size + 1], zero-terminated; false when there is no value, or it is empty or too long. */
static bool
copy_value(const text *t, char *out, size_t size, int *out_len)
{
	size_t len = t ? VARSIZE_ANY_EXHDR(t) : 0;

	if (len == 0 || len > size)
		return false;
	memcpy(out, VARDATA_ANY(t), len);
	out[len] = '\0';
	*out_len = (int) len;
	return true;
}

static bool
render(const UsherTemplate *template, const UsherRouteEvent *event, char *out, size_t size,
	   int *out_len)
{
	Rendering r;
	long len;

	r.event = event;
	r.nnumbers = 0;
	len = usher_template_render(template, place_value, &r, out, size + 1);
	for (int i = 0; i < r.nnumbers; i++)
		pfree(r.numbers[i]);
	if (len <= 0)
		return false;
	*out_len = (int) len;
	return true;
}

/* ---- one event ---- */

static inline bool
texts_equal(const text *a, const text *b)
{
	return b != NULL && VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static bool
route_matches(const UsherRoutes *routes, const UsherRoute *route, const UsherRouteEvent *e)
{
	const char *type = VARDATA_ANY(e->type);
	int len = VARSIZE_ANY_EXHDR(e->type);

	if (route->exact ? len != route->pattern_len || memcmp(type, route->pattern, len) != 0
					 : !route->everything &&
						   !usher_glob_match(route->pattern, route->pattern_len, type, len))
		return false;
	return (route->type == NULL || texts_equal(route->type, e->type)) &&
		   (route->stream == NULL || texts_equal(route->stream, e->stream)) &&
		   (route->data == NULL ||
			usher_filter_match(route->data, &e->data->root, routes->scratch)) &&
		   (route->metadata == NULL ||
			usher_filter_match(route->metadata, &e->metadata->root, routes->scratch));
}

static const UsherRoute *
find_route(const UsherRoutes *routes, const UsherRouteEvent *event)
{
	for (int i = 0; i < routes->count; i++)
		if (route_matches(routes, &routes->routes[i], event))
			return &routes->routes[i];
	return NULL;
}

UsherRouteResult
usher_route_event(const UsherRoutes *routes, const UsherRouteEvent *event, char *topic,
				  int *topic_len, char *key, int *key_len, const UsherRoute **route)
{
	const text *own_key = event->key ? event->key : event->stream;
	bool named;

	*route = find_route(routes, event);
	if (*route == NULL && routes->count > 0)
		return ROUTE_NONE;
	if (*route && (*route)->key.nparts == 0)
		*key_len = -1;
	else if (!(*route && render(&(*route)->key, event, key, USHER_KEY_MAX, key_len)) &&
			 !copy_value(own_key, key, USHER_KEY_MAX, key_len))
		*key_len = -1;
	named = *route ? render(&(*route)->topic, event, topic, USHER_TOPIC_MAX, topic_len)
				   : copy_value(event->topic ? event->topic : event->category, topic,
								USHER_TOPIC_MAX, topic_len);
	if (!named)
	{
		topic[0] = '\0';
		*topic_len = 0;
		return ROUTE_NO_TOPIC;
	}
	return ROUTE_OK;
}

/* ---- loading ---- */

static void
parse_template(const char *what, const text *source, UsherTemplate *template)
{
	char error[128];

	if (!usher_template_parse(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source), template, error,
							  sizeof(error)))
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
			 errmsg("the %s \"%s\" is not a template: %s", what, text_to_cstring(source), error),
			 errhint(
				 "Places: {category}, {tenant}, {type}, {type[0]}, {stream}, {topic}, {key}, {data.field}, {metadata.field}; a brace is written twice.")));
}

static void
filter_error(const char *name, const char *what)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
		 errmsg("\"%s\" of a route's filter %s", name, what),
		 errhint(
			 "A filter is an object of type and stream (strings), data and metadata (objects).")));
}

static void
set_filter(UsherRoute *route, Jsonb *filter)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	char *name = NULL;

	if (filter == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(filter))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("the filter of a route is not an object")));
	it = JsonbIteratorInit(&filter->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		text **string;
		UsherFilter **object;

		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		if (token != WJB_VALUE)
			continue;
		string = strcmp(name, "type") == 0     ? &route->type
				 : strcmp(name, "stream") == 0 ? &route->stream
											   : NULL;
		object = strcmp(name, "data") == 0       ? &route->data
				 : strcmp(name, "metadata") == 0 ? &route->metadata
												 : NULL;
		if (string == NULL && object == NULL)
			filter_error(name, "is nothing that an event has");
		if (string)
		{
			if (v.type != jbvString)
				filter_error(name, "is not a string");
			*string = cstring_to_text_with_len(v.val.string.val, v.val.string.len);
		}
		else
		{
			if (v.type != jbvBinary || !JsonContainerIsObject(v.val.binary.data))
				filter_error(name, "is not an object");
			*object = usher_filter_compile(v.val.binary.data);
		}
	}
}

void
usher_route_check(const text *topic, const text *key, Jsonb *filter)
{
	UsherRoute route = {0};

	parse_template("topic", topic, &route.topic);
	parse_template("key", key, &route.key);
	if (route.topic.nparts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the topic of a route is empty")));
	set_filter(&route, filter);
}

/* A copy in the current memory context, without TOAST. */
static text *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	Ensure(!isnull, "a route has a null where none may be");
	return DatumGetTextPCopy(value);
}

static void
load_route(UsherRoute *route, HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum filter;
	text *pattern = text_column(tuple, desc, ROUTES_PATTERN);

	memset(route, 0, sizeof(*route));
	route->route_id = DatumGetInt64(heap_getattr(tuple, ROUTES_ROUTE_ID, desc, &isnull));
	route->priority = DatumGetInt32(heap_getattr(tuple, ROUTES_PRIORITY, desc, &isnull));
	route->tombstones = DatumGetBool(heap_getattr(tuple, ROUTES_TOMBSTONES, desc, &isnull));
	route->pattern = VARDATA_ANY(pattern);
	route->pattern_len = VARSIZE_ANY_EXHDR(pattern);
	route->exact = memchr(route->pattern, '*', route->pattern_len) == NULL;
	route->everything = (route->pattern_len == 1 && route->pattern[0] == '*') ||
						(route->pattern_len == 2 && memcmp(route->pattern, "**", 2) == 0);
	parse_template("topic", text_column(tuple, desc, ROUTES_TOPIC), &route->topic);
	parse_template("key", text_column(tuple, desc, ROUTES_KEY), &route->key);
	filter = heap_getattr(tuple, ROUTES_FILTER, desc, &isnull);
	set_filter(route, isnull ? NULL : DatumGetJsonbPCopy(filter));
}

/* Higher priority, then exact before wildcard, longer before shorter, oldest first. */
static int
compare_routes(const void *a, const void *b)
{
	const UsherRoute *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (x->exact != y->exact)
		return x->exact ? -1 : 1;
	if (x->pattern_len != y->pattern_len)
		return x->pattern_len > y->pattern_len ? -1 : 1;
	return x->route_id < y->route_id ? -1 : x->route_id > y->route_id;
}

UsherRoutes *
usher_routes_load(int32 sink_id, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	UsherRoutes *routes = palloc0_object(UsherRoutes);
	Oid nsp = get_namespace_oid(USHER_SCHEMA, false);
	Relation rel = table_open(get_relname_relid("routes", nsp), AccessShareLock);
	int size = 8;
	SysScanDesc scan;
	HeapTuple tuple;
	ScanKeyData key;

	routes->scratch = AllocSetContextCreate(context, "usher route filters", ALLOCSET_SMALL_SIZES);
	routes->routes = palloc_array(UsherRoute, size);
	ScanKeyInit(&key, ROUTES_SINK_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(sink_id));
	scan = systable_beginscan(rel, get_relname_relid("routes_sink", nsp), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (routes->count == size)
			routes->routes = repalloc_array(routes->routes, UsherRoute, size *= 2);
		load_route(&routes->routes[routes->count++], tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	qsort(routes->routes, routes->count, sizeof(UsherRoute), compare_routes);
	MemoryContextSwitchTo(old);
	return routes;
}

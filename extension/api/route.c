/*
 * extension/api/route.c
 *	  Functions behind the SQL of routes: may one be so, and which one wins.
 */
#include "usher.h"

#include "log/log.h"
#include "relay/route.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* (pattern, topic, key, filter or null) */
PG_FUNCTION_INFO_V1(usher_check_route);
Datum
usher_check_route(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"pattern", "topic", "key"};

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
							errmsg("the %s of a route cannot be null", names[i])));
	usher_check_name(PG_GETARG_TEXT_PP(0), "pattern");
	usher_route_check(PG_GETARG_TEXT_PP(1), PG_GETARG_TEXT_PP(2),
					  PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	PG_RETURN_VOID();
}

enum
{
	ARG_SINK_ID,
	ARG_TENANT,
	ARG_STREAM,
	ARG_CATEGORY,
	ARG_TYPE,
	ARG_TOPIC,
	ARG_KEY,
	ARG_DATA,
	ARG_METADATA
};

enum
{
	RESULT_ROUTE_ID,
	RESULT_TOPIC,
	RESULT_KEY,
	RESULT_OUTCOME,
	RESULT_NATTS
};

static text *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

/* What the relay would do with such an event; the caller has checked the arguments. */
PG_FUNCTION_INFO_V1(usher_route_of);
Datum
usher_route_of(PG_FUNCTION_ARGS)
{
	static const char *const outcomes[] = {
		[ROUTE_NONE] = "none", [ROUTE_OK] = "ok", [ROUTE_NO_TOPIC] = "no_topic"};
	UsherRoutes *routes = usher_routes_load(PG_GETARG_INT32(ARG_SINK_ID), CurrentMemoryContext);
	UsherRouteEvent event = {
		.tenant = text_argument(fcinfo, ARG_TENANT),
		.stream = text_argument(fcinfo, ARG_STREAM),
		.category = text_argument(fcinfo, ARG_CATEGORY),
		.type = PG_GETARG_TEXT_PP(ARG_TYPE),
		.topic = text_argument(fcinfo, ARG_TOPIC),
		.key = text_argument(fcinfo, ARG_KEY),
		.data = PG_GETARG_JSONB_P(ARG_DATA),
		.metadata = PG_GETARG_JSONB_P(ARG_METADATA),
	};
	char topic[USHER_TOPIC_MAX + 1], key[USHER_KEY_MAX + 1];
	int topic_len = 0, key_len = -1;
	const UsherRoute *route;
	Datum values[RESULT_NATTS] = {0};
	bool nulls[RESULT_NATTS] = {true, true, true, false};
	UsherRouteResult result;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.route_of is called in a context that takes no row")));
	result = usher_route_event(routes, &event, topic, &topic_len, key, &key_len, &route);
	if (route)
	{
		values[RESULT_ROUTE_ID] = Int64GetDatum(route->route_id);
		nulls[RESULT_ROUTE_ID] = false;
	}
	if (result == ROUTE_OK)
	{
		values[RESULT_TOPIC] = PointerGetDatum(cstring_to_text_with_len(topic, topic_len));
		nulls[RESULT_TOPIC] = false;
	}
	if (result != ROUTE_NONE && key_len >= 0)
	{
		values[RESULT_KEY] = PointerGetDatum(cstring_to_text_with_len(key, key_len));
		nulls[RESULT_KEY] = false;
	}
	values[RESULT_OUTCOME] = CStringGetTextDatum(outcomes[result]);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

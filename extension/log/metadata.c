/*
 * extension/log/metadata.c
 *	  Fill an event's metadata from the session's settings.
 */
#include "log.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

typedef struct Filled
{
	const char *key;
	char **setting;
} Filled;

static const Filled filled[] = {
	{"actor", &usher_actor},
	{"causation_id", &usher_causation_id},
	{"correlation_id", &usher_correlation_id},
	{"source", &usher_source},
	{"traceparent", &usher_traceparent},
};

Jsonb *
usher_empty_object(void)
{
	static Jsonb *empty;

	if (empty == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		empty = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
		MemoryContextSwitchTo(old);
	}
	return empty;
}

static JsonbValue *
find_key(Jsonb *object, const char *key)
{
	return getKeyJsonValueFromContainer(&object->root, key, strlen(key), NULL);
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *s)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, s);
	value.val.string.len = strlen(s);
	pushJsonbValue(state, token, &value);
}

/* The actor may be given as an object; a plain id becomes {"id": ...}. */
static void
push_actor(JsonbParseState **state, const char *actor)
{
	if (actor[0] == '{')
	{
		Jsonb *object = usher_jsonb_parse(actor, "setting usher.actor");
		JsonbValue value = {.type = jbvBinary};

		value.val.binary.data = &object->root;
		value.val.binary.len = VARSIZE(object) - VARHDRSZ;
		pushJsonbValue(state, WJB_VALUE, &value);
		return;
	}
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, "id");
	push_string(state, WJB_VALUE, actor);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* `given` plus the settings whose keys it lacks. */
Jsonb *
usher_metadata_fill(Jsonb *given)
{
	JsonbParseState *state = NULL;
	Jsonb *additions;
	bool any = false;

	for (int i = 0; i < (int) lengthof(filled); i++)
	{
		const char *value = *filled[i].setting;

		if (value == NULL || value[0] == '\0' || find_key(given, filled[i].key))
			continue;
		if (!any)
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		any = true;
		push_string(&state, WJB_KEY, filled[i].key);
		if (filled[i].setting == &usher_actor)
			push_actor(&state, value);
		else
			push_string(&state, WJB_VALUE, value);
	}
	if (!any)
		return given;
	additions = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (JB_ROOT_COUNT(given) == 0)
		return additions;
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(given), JsonbPGetDatum(additions)));
}

/* Whether `stored` is what `given` became: equal but for keys that a session filled in. */
bool
usher_metadata_same(Jsonb *given, Jsonb *stored)
{
	Datum rest = JsonbPGetDatum(stored);

	for (int i = 0; i < (int) lengthof(filled); i++)
		if (!find_key(given, filled[i].key))
			rest = DirectFunctionCall2(jsonb_delete, rest, CStringGetTextDatum(filled[i].key));
	return compareJsonbContainers(&given->root, &DatumGetJsonbP(rest)->root) == 0;
}

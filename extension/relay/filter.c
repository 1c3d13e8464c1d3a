/*
 * extension/relay/filter.c
 *	  What the data or metadata of an event must contain.
 *
 * The same relation as the operator @> of jsonb between objects.  The filter is
 * taken apart once, so that names with scalar values, which filters mostly are,
 * are looked up and compared without allocating anything; arrays are left to
 * PostgreSQL.
 */
#include "relay/filter.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

typedef struct FilterField
{
	char *name;
	int name_len;
	JsonbValue value; /* a scalar; of jbvBinary an array */
	UsherFilter *object; /* not NULL: an inner object instead */
} FilterField;

struct UsherFilter
{
	int count;
	FilterField fields[FLEXIBLE_ARRAY_MEMBER];
};

UsherFilter *
usher_filter_compile(JsonbContainer *object)
{
	UsherFilter *filter = palloc0(offsetof(UsherFilter, fields) +
								  JsonContainerSize(object) * sizeof(FilterField));
	JsonbIterator *it = JsonbIteratorInit(object);
	FilterField *field = filter->fields;
	JsonbIteratorToken token;
	JsonbValue v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			field->name = v.val.string.val;
			field->name_len = v.val.string.len;
		}
		else if (token == WJB_VALUE)
		{
			field->value = v;
			if (v.type == jbvBinary && JsonContainerIsObject(v.val.binary.data))
				field->object = usher_filter_compile(v.val.binary.data);
			filter->count++;
			field++;
		}
	}
	return filter;
}

static bool
scalars_equal(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				   memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
		case jbvNumeric:
			return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(a->val.numeric),
													NumericGetDatum(b->val.numeric)));
		default:
			return false;
	}
}

static bool
array_contains(JsonbContainer *value, JsonbContainer *wanted, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	JsonbIterator *value_it = JsonbIteratorInit(value);
	JsonbIterator *wanted_it = JsonbIteratorInit(wanted);
	bool result = JsonbDeepContains(&value_it, &wanted_it);

	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return result;
}

bool
usher_filter_match(const UsherFilter *filter, JsonbContainer *value, MemoryContext scratch)
{
	if (!JsonContainerIsObject(value))
		return false;
	for (int i = 0; i < filter->count; i++)
	{
		const FilterField *field = &filter->fields[i];
		JsonbValue v;
		bool is_object;

		if (getKeyJsonValueFromContainer(value, field->name, field->name_len, &v) == NULL)
			return false;
		if (field->value.type != jbvBinary)
		{
			if (!scalars_equal(&field->value, &v))
				return false;
			continue;
		}
		if (v.type != jbvBinary)
			return false;
		is_object = JsonContainerIsObject(v.val.binary.data);
		if (is_object != (field->object != NULL))
			return false;
		if (is_object ? !usher_filter_match(field->object, v.val.binary.data, scratch)
					  : !array_contains(v.val.binary.data, field->value.val.binary.data, scratch))
			return false;
	}
	return true;
}

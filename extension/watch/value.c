/*
 * extension/watch/value.c
 *	  A column's value -> JSON, as to_jsonb would give it.
 *
 * What is to be done for a type is found out once.  Results point into the
 * value or live in the current memory context.
 */
#include "watch/watch.h"

#include "catalog/pg_cast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

/* jsonb stores numbers below 10^131072 with up to 16383 digits behind the point. */
#define NUMBER_DIGITS          10000
#define NUMBER_EXPONENT_DIGITS 3

/* As jsonb_categorize_type, and with a way of its own for what is frequent. */
static UsherConversion
conversion_for(Oid type)
{
	Oid cast;

	switch (type)
	{
		case BOOLOID:
			return CONVERT_BOOL;
		case INT2OID:
			return CONVERT_INT2;
		case INT4OID:
			return CONVERT_INT4;
		case INT8OID:
			return CONVERT_INT8;
		case FLOAT4OID:
		case FLOAT8OID:
			return CONVERT_FLOAT;
		case NUMERICOID:
			return CONVERT_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return CONVERT_TEXT;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return CONVERT_TIME;
		case JSONBOID:
			return CONVERT_JSONB;
		case JSONOID:
			return CONVERT_JSON;
		default:
			break;
	}
	if (OidIsValid(get_element_type(type)) || type_is_rowtype(type))
		return CONVERT_TO_JSONB;
	if (type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &cast) == COERCION_PATH_FUNC)
		return CONVERT_TO_JSONB;
	return CONVERT_OUTPUT;
}

/* to_jsonb asks its call for the argument's type. */
static void
init_to_jsonb(UsherWatchColumn *column, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Node *argument = (Node *) makeNullConst(column->type, -1, InvalidOid);

	fmgr_info_cxt(F_TO_JSONB, &column->function, context);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument), InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   &column->function);
	MemoryContextSwitchTo(old);
}

void
usher_watch_column_init(UsherWatchColumn *column, Form_pg_attribute attribute,
						MemoryContext context)
{
	Oid output;
	bool isvarlena;

	memset(column, 0, sizeof(*column));
	column->name = MemoryContextStrdup(context, NameStr(attribute->attname));
	column->name_len = strlen(column->name);
	column->attnum = attribute->attnum;
	column->len = attribute->attlen;
	column->byval = attribute->attbyval;
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->base_type = getBaseType(attribute->atttypid);
	column->conversion = conversion_for(column->base_type);
	if (column->conversion == CONVERT_TO_JSONB)
		init_to_jsonb(column, context);
	else if (column->conversion == CONVERT_OUTPUT || column->conversion == CONVERT_FLOAT)
	{
		getTypeOutputInfo(column->base_type, &output, &isvarlena);
		fmgr_info_cxt(output, &column->function, context);
	}
}

/*
 * What output functions say depends on settings of the session; events do not.
 * Returns what usher_watch_settings_end needs; an error restores them as well.
 */
int
usher_watch_settings_begin(void)
{
	static const char *const fixed[][2] = {{"bytea_output", "hex"},
										   {"datestyle", "ISO"},
										   {"extra_float_digits", "1"},
										   {"intervalstyle", "postgres"}};
	int nest_level;

	if (likely(DateStyle == USE_ISO_DATES && IntervalStyle == INTSTYLE_POSTGRES &&
			   bytea_output == BYTEA_OUTPUT_HEX && extra_float_digits > 0))
		return 0;
	nest_level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(fixed); i++)
		(void) set_config_option(fixed[i][0], fixed[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

void
usher_watch_settings_end(int nest_level)
{
	if (nest_level != 0)
		AtEOXact_GUC(false, nest_level);
}

static void
set_string(JsonbValue *result, char *s, int len)
{
	result->type = jbvString;
	result->val.string.val = s;
	result->val.string.len = len;
}

static void
set_numeric(JsonbValue *result, Numeric number)
{
	result->type = jbvNumeric;
	result->val.numeric = number;
}

/* A jsonb value cannot be a part of a larger one before it is taken apart. */
static void
set_jsonb(JsonbValue *result, Jsonb *jsonb)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbValue value, *whole = NULL;
	JsonbIteratorToken token;

	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		(void) JsonbExtractScalar(&jsonb->root, result);
		return;
	}
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		whole = pushJsonbValue(&state, token,
							   token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ? &value
																						   : NULL);
	Ensure(whole != NULL, "a jsonb value without parts");
	*result = *whole;
}

static int
hex4(const char *s)
{
	int n = 0;

	for (int i = 0; i < 4; i++)
		n = n * 16 + (s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
	return n;
}

/* Whether the escape \uXXXX at s, in valid JSON, is a character that jsonb can store; *len is its length. */
static bool
is_storable_escape(const char *s, int *len)
{
	int unit = hex4(s + 2);

	*len = 6;
	if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return false;
	if (unit < 0xd800 || unit > 0xdbff)
		return unit < 0x80 || GetDatabaseEncoding() == PG_UTF8;
	*len = 12;
	return GetDatabaseEncoding() == PG_UTF8 && s[6] == '\\' && s[7] == 'u' &&
		   hex4(s + 8) >= 0xdc00 && hex4(s + 8) <= 0xdfff;
}

/* Whether it is certain that a text of type json is a jsonb as well. */
static bool
is_jsonb(const char *s)
{
	bool in_string = false;

	for (int len = 1; *s != '\0'; s += len)
	{
		len = 1;
		if (*s == '"')
			in_string = !in_string;
		else if (*s == '\\' && s[1] == 'u')
		{
			if (!is_storable_escape(s, &len))
				return false;
		}
		else if (*s == '\\')
			len = 2;
		else if (!in_string && (*s == 'e' || *s == 'E'))
		{
			/* (true and false go through here as well) */
			size_t sign = strspn(s + 1, "+-");

			if (strspn(s + 1 + sign, "0123456789") > NUMBER_EXPONENT_DIGITS)
				return false;
		}
		else if (!in_string && *s >= '0' && *s <= '9')
		{
			len = strspn(s, "0123456789.");
			if (len > NUMBER_DIGITS)
				return false;
		}
	}
	return true;
}

/*
 * The type json takes what jsonb does not: \u0000, half a surrogate pair,
 * numbers without end.  A table must remain writable, so such a value goes as
 * a string.
 */
static void
set_json(JsonbValue *result, Datum value)
{
	char *s = TextDatumGetCString(value);

	if (is_jsonb(s))
		set_jsonb(result, DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(s))));
	else
		set_string(result, s, strlen(s));
}

static void
set_float(JsonbValue *result, char *s)
{
	if (strpbrk(s, "Nn") != NULL) /* NaN, Infinity */
		set_string(result, s, strlen(s));
	else
		set_numeric(result, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(s),
																ObjectIdGetDatum(InvalidOid),
																Int32GetDatum(-1))));
}

static void
set_number(JsonbValue *result, Datum value)
{
	Numeric number = DatumGetNumeric(value);
	char *s;

	if (likely(!numeric_is_nan(number) && !numeric_is_inf(number)))
	{
		set_numeric(result, number);
		return;
	}
	s = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	set_string(result, s, strlen(s));
}

void
usher_watch_value(UsherWatchColumn *column, Datum value, bool isnull, JsonbValue *result)
{
	char *s;

	if (isnull)
	{
		result->type = jbvNull;
		return;
	}
	switch (column->conversion)
	{
		case CONVERT_BOOL:
			result->type = jbvBool;
			result->val.boolean = DatumGetBool(value);
			return;
		case CONVERT_INT2:
			set_numeric(result, int64_to_numeric(DatumGetInt16(value)));
			return;
		case CONVERT_INT4:
			set_numeric(result, int64_to_numeric(DatumGetInt32(value)));
			return;
		case CONVERT_INT8:
			set_numeric(result, int64_to_numeric(DatumGetInt64(value)));
			return;
		case CONVERT_FLOAT:
			set_float(result, OutputFunctionCall(&column->function, value));
			return;
		case CONVERT_NUMERIC:
			set_number(result, value);
			return;
		case CONVERT_TEXT:
		{
			text *t = DatumGetTextPP(value);

			set_string(result, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
			return;
		}
		case CONVERT_TIME:
			s = palloc(MAXDATELEN + 1);
			JsonEncodeDateTime(s, value, column->base_type, NULL);
			set_string(result, s, strlen(s));
			return;
		case CONVERT_JSONB:
			set_jsonb(result, DatumGetJsonbP(value));
			return;
		case CONVERT_JSON:
			set_json(result, value);
			return;
		case CONVERT_OUTPUT:
			s = OutputFunctionCall(&column->function, value);
			set_string(result, s, strlen(s));
			return;
		case CONVERT_TO_JSONB:
			set_jsonb(result, DatumGetJsonbP(FunctionCall1(&column->function, value)));
			return;
	}
}

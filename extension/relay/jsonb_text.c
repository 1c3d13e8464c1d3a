/*
 * extension/relay/jsonb_text.c
 *	  The text of a jsonb value, into memory of the caller.
 *
 * JsonbToCString() copies every name and string twice, escapes byte by byte,
 * and prints numbers through several buffers: that was a fifth of what a relay
 * spends on an event.  This writes each byte once.  What is rare (numbers of a
 * hundred digits, values nested deeper than a stack should follow) is left to
 * PostgreSQL.
 */
#include "relay/jsonb_text.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define DEPTH_MAX    200
#define NUMBER_CHARS 200 /* longest number that is written here */

/* How numeric.c stores a number: on disk, so it cannot change. */
#define NUMBER_FORM        0xC000
#define NUMBER_SHORT       0x8000
#define NUMBER_SPECIAL     0xC000
#define NUMBER_NEGATIVE    0x4000
#define NUMBER_DSCALE      0x3FFF
#define SHORT_NEGATIVE     0x2000
#define SHORT_DSCALE       0x1F80
#define SHORT_DSCALE_SHIFT 7
#define SHORT_WEIGHT_SIGN  0x0040
#define SHORT_WEIGHT       0x003F
#define DIGITS_A_GROUP     4

typedef struct Number
{
	bool negative;
	int scale; /* decimals that are shown */
	int weight; /* of the first group: 10000 to the power of it */
	int ngroups;
	const int16 *groups; /* 0 to 9999 */
} Number;

typedef struct Writer
{
	char *at, *end;
	bool too_deep;
} Writer;

static bool container_put(Writer *w, JsonbContainer *container, int depth);

static inline bool
room(const Writer *w, size_t n)
{
	return (size_t) (w->end - w->at) >= n;
}

static inline bool
put(Writer *w, const char *bytes, size_t n)
{
	if (!room(w, n))
		return false;
	memcpy(w->at, bytes, n);
	w->at += n;
	return true;
}

#define put_constant(w, text) put(w, text, sizeof(text) - 1)

/* ---- strings ---- */

#define EACH_BYTE(b) (UINT64CONST(0x0101010101010101) * (b))

/* Some byte that may have to be escaped?  Exact as an answer for the whole word. */
static inline bool
word_has_special(uint64 x)
{
	uint64 quote = x ^ EACH_BYTE('"'), backslash = x ^ EACH_BYTE('\\');

	return (((x - EACH_BYTE(0x20)) & ~x) | ((quote - EACH_BYTE(1)) & ~quote) |
			((backslash - EACH_BYTE(1)) & ~backslash)) &
		   EACH_BYTE(0x80);
}

static inline bool
is_special(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* The letter of a two-character escape, 0: it is written as \u00xx. */
static char
escape_letter(unsigned char c)
{
	switch (c)
	{
		case '\b':
			return 'b';
		case '\f':
			return 'f';
		case '\n':
			return 'n';
		case '\r':
			return 'r';
		case '\t':
			return 't';
		case '"':
		case '\\':
			return (char) c;
		default:
			return 0;
	}
}

static char *
escape_put(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char letter = escape_letter(c);

	*out++ = '\\';
	if (letter)
		*out++ = letter;
	else
	{
		memcpy(out, "u00", 3);
		out[3] = hex[c >> 4];
		out[4] = hex[c & 15];
		out += 5;
	}
	return out;
}

static size_t
escaped_len(const char *s, size_t len)
{
	size_t result = len;

	for (size_t i = 0; i < len; i++)
		if (is_special((unsigned char) s[i]))
			result += escape_letter((unsigned char) s[i]) ? 1 : 5;
	return result;
}

static bool
string_put(Writer *w, const char *s, size_t len)
{
	const char *end = s + len;
	char *out = w->at;

	/* six bytes for each is enough; if there is no such room, it may fit all the same */
	if (!room(w, len * 6 + 2) && !room(w, escaped_len(s, len) + 2))
		return false;
	*out++ = '"';
	while (s < end)
	{
		const char *stop;
		uint64 x;

		while (end - s >= 8)
		{
			memcpy(&x, s, 8);
			if (word_has_special(x))
				break;
			memcpy(out, &x, 8);
			s += 8;
			out += 8;
		}
		for (stop = end - s > 8 ? s + 8 : end; s < stop; s++)
		{
			unsigned char c = (unsigned char) *s;

			if (likely(!is_special(c)))
				*out++ = (char) c;
			else
				out = escape_put(out, c);
		}
	}
	*out++ = '"';
	w->at = out;
	return true;
}

/* ---- numbers ---- */

/* False: not one of the usual forms. */
static bool
number_parse(Numeric numeric, Number *n)
{
	const uint16 *words = (const uint16 *) VARDATA_ANY(numeric);
	int nwords = VARSIZE_ANY_EXHDR(numeric) / sizeof(uint16);
	uint16 head = nwords > 0 ? words[0] : NUMBER_SPECIAL;
	int nhead = 1;

	if (!VARATT_IS_4B_U(numeric) || (head & NUMBER_FORM) == NUMBER_SPECIAL)
		return false;
	if ((head & NUMBER_FORM) == NUMBER_SHORT)
	{
		n->negative = (head & SHORT_NEGATIVE) != 0;
		n->scale = (head & SHORT_DSCALE) >> SHORT_DSCALE_SHIFT;
		n->weight = (head & SHORT_WEIGHT) - (head & SHORT_WEIGHT_SIGN);
	}
	else
	{
		n->negative = (head & NUMBER_FORM) == NUMBER_NEGATIVE;
		n->scale = head & NUMBER_DSCALE;
		n->weight = (int16) words[1];
		nhead = 2;
	}
	n->groups = (const int16 *) words + nhead;
	n->ngroups = nwords - nhead;
	return (n->weight + 1) * DIGITS_A_GROUP + n->scale < NUMBER_CHARS;
}

static inline int
number_group(const Number *n, int i)
{
	return i >= 0 && i < n->ngroups ? n->groups[i] : 0;
}

static inline char *
group_put(char *out, int group)
{
	out[0] = (char) ('0' + group / 1000);
	out[1] = (char) ('0' + group / 100 % 10);
	out[2] = (char) ('0' + group / 10 % 10);
	out[3] = (char) ('0' + group % 10);
	return out + DIGITS_A_GROUP;
}

/* Into out[NUMBER_CHARS + 8]: sign, whole groups without leading zeros, decimals cut to the scale. */
static char *
number_print(char *out, const Number *n)
{
	char group[DIGITS_A_GROUP];
	int skip = 0;

	if (n->negative)
		*out++ = '-';
	group_put(group, number_group(n, 0));
	while (skip < DIGITS_A_GROUP - 1 && group[skip] == '0')
		skip++;
	if (n->weight < 0)
		*out++ = '0';
	else
		for (; skip < DIGITS_A_GROUP; skip++)
			*out++ = group[skip];
	for (int i = 1; i <= n->weight; i++)
		out = group_put(out, number_group(n, i));
	if (n->scale > 0)
	{
		char *end = out + 1 + n->scale;

		*out++ = '.';
		for (int i = n->weight + 1; out < end; i++)
			out = group_put(out, number_group(n, i));
		out = end;
	}
	return out;
}

static bool
number_put(Writer *w, Numeric numeric)
{
	char buffer[NUMBER_CHARS + 8];
	Number n;
	char *text;
	bool result;

	if (number_parse(numeric, &n))
	{
		if (room(w, sizeof(buffer)))
		{
			w->at = number_print(w->at, &n);
			return true;
		}
		return put(w, buffer, number_print(buffer, &n) - buffer);
	}
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(numeric)));
	result = put(w, text, strlen(text));
	pfree(text);
	return result;
}

/* ---- structure ---- */

/* Where the children of a container begin, and how far they have been read. */
typedef struct Children
{
	const JEntry *entry;
	char *base;
	uint32 offset;
} Children;

static inline uint32
child_len(const Children *c)
{
	return JBE_OFFLENFLD(*c->entry) - (JBE_HAS_OFF(*c->entry) ? c->offset : 0);
}

static inline void
child_pass(Children *c)
{
	JBE_ADVANCE_OFFSET(c->offset, *c->entry);
	c->entry++;
}

static bool
child_put(Writer *w, const Children *c, int depth)
{
	JEntry entry = *c->entry;

	if (JBE_ISSTRING(entry))
		return string_put(w, c->base + c->offset, child_len(c));
	if (JBE_ISNUMERIC(entry))
		return number_put(w, (Numeric) (c->base + INTALIGN(c->offset)));
	if (JBE_ISCONTAINER(entry))
		return container_put(w, (JsonbContainer *) (c->base + INTALIGN(c->offset)), depth + 1);
	if (JBE_ISBOOL_TRUE(entry))
		return put_constant(w, "true");
	if (JBE_ISBOOL_FALSE(entry))
		return put_constant(w, "false");
	return put_constant(w, "null");
}

static bool
array_put(Writer *w, JsonbContainer *container, int depth)
{
	int n = JsonContainerSize(container);
	Children elements = {container->children, (char *) &container->children[n], 0};
	bool scalar = JsonContainerIsScalar(container);

	if (!scalar && !put_constant(w, "["))
		return false;
	for (int i = 0; i < n; i++)
	{
		if ((i > 0 && !put_constant(w, ", ")) || !child_put(w, &elements, depth))
			return false;
		child_pass(&elements);
	}
	return scalar || put_constant(w, "]");
}

/* All names come first, then all values. */
static bool
object_put(Writer *w, JsonbContainer *container, int depth)
{
	int n = JsonContainerSize(container);
	Children names = {container->children, (char *) &container->children[2 * n], 0};
	Children values = names;

	for (int i = 0; i < n; i++)
		child_pass(&values);
	if (!put_constant(w, "{"))
		return false;
	for (int i = 0; i < n; i++)
	{
		if ((i > 0 && !put_constant(w, ", ")) ||
			!string_put(w, names.base + names.offset, child_len(&names)) ||
			!put_constant(w, ": ") || !child_put(w, &values, depth))
			return false;
		child_pass(&names);
		child_pass(&values);
	}
	return put_constant(w, "}");
}

static bool
container_put(Writer *w, JsonbContainer *container, int depth)
{
	if (depth > DEPTH_MAX)
	{
		w->too_deep = true;
		return false;
	}
	return JsonContainerIsObject(container) ? object_put(w, container, depth)
											: array_put(w, container, depth);
}

/* PostgreSQL follows it in memory, not on the stack. */
static size_t
text_of_deep(Jsonb *json, char *out, size_t size)
{
	StringInfoData text;
	size_t len;

	initStringInfo(&text);
	(void) JsonbToCString(&text, &json->root, VARSIZE(json));
	len = text.len;
	if (len <= size)
		memcpy(out, text.data, len);
	pfree(text.data);
	return len <= size ? len : USHER_JSONB_NO_ROOM;
}

size_t
usher_jsonb_text(Jsonb *json, char *out, size_t size)
{
	Writer w = {out, out + size, false};

	if (container_put(&w, &json->root, 0))
		return w.at - out;
	return w.too_deep ? text_of_deep(json, out, size) : USHER_JSONB_NO_ROOM;
}

/*
 * extension/lib/cloudevents.c
 *	  CloudEvents 1.0.2 in JSON (structured mode), and the rules of attributes.
 *
 * Everything writes through put(), which counts on when the room is used up.
 * Plain text, by far the most, is looked at eight bytes at a time and copied in
 * runs.
 */
#include "cloudevents.h"

#include <string.h>

typedef struct Writer
{
	char *out;
	size_t size;
	size_t len; /* what would have been written; beyond size nothing was */
} Writer;

static inline void
put(Writer *w, const char *bytes, size_t n)
{
	if (n != 0 && w->len <= w->size && n <= w->size - w->len)
		memcpy(w->out + w->len, bytes, n);
	w->len += n;
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Is there a zero byte in x?  Exact as an answer for the whole word. */
static inline uint64_t
zero_byte(uint64_t x)
{
	return (x - EACH_BYTE(0x01)) & ~x & EACH_BYTE(0x80);
}

/* Do all eight bytes stand for themselves in a JSON string? */
static inline bool
plain_word(const char *s)
{
	uint64_t x;

	memcpy(&x, s, sizeof(x));
	return ((x & EACH_BYTE(0x80)) | ((x - EACH_BYTE(0x20)) & ~x & EACH_BYTE(0x80)) |
			zero_byte(x ^ EACH_BYTE('"')) | zero_byte(x ^ EACH_BYTE('\\'))) == 0;
}

static inline bool
plain_byte(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static inline bool
continues(const unsigned char *s, const unsigned char *end, int n)
{
	if (end - s <= n)
		return false;
	for (int i = 1; i <= n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* Length of the character of two to four bytes that begins here, 0 if it is none (RFC 3629). */
static size_t
utf8_len(const unsigned char *s, const unsigned char *end)
{
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return continues(s, end, 1) ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef)
	{
		if (!continues(s, end, 2) || (s[0] == 0xe0 && s[1] < 0xa0) || /* too long */
			(s[0] == 0xed && s[1] > 0x9f)) /* surrogate */
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4)
	{
		if (!continues(s, end, 3) || (s[0] == 0xf0 && s[1] < 0x90) ||
			(s[0] == 0xf4 && s[1] > 0x8f)) /* beyond U+10FFFF */
			return 0;
		return 4;
	}
	return 0;
}

/* What does not stand for itself; returns how many bytes it took. */
static size_t
put_special(Writer *w, const unsigned char *s, const unsigned char *end)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	char escape[6] = {'\\', 'u', '0', '0', 0, 0};
	size_t n;

	if (*s >= 0x80)
	{
		n = utf8_len(s, end);
		put(w, n ? (const char *) s : "\xef\xbf\xbd", n ? n : 3);
		return n ? n : 1;
	}
	for (size_t i = 0; i < sizeof(letters) - 1; i += 2)
		if ((char) *s == letters[i])
		{
			escape[1] = letters[i + 1];
			put(w, escape, 2);
			return 1;
		}
	escape[4] = hex[*s >> 4];
	escape[5] = hex[*s & 15];
	put(w, escape, sizeof(escape));
	return 1;
}

static void
put_string(Writer *w, const char *s, size_t len)
{
	const char *end = s + len;

	put(w, "\"", 1);
	while (s < end)
	{
		const char *run = s;

		while (end - s >= 8 && plain_word(s))
			s += 8;
		while (s < end && plain_byte((unsigned char) *s))
			s++;
		put(w, run, (size_t) (s - run));
		if (s < end)
			s += put_special(w, (const unsigned char *) s, (const unsigned char *) end);
	}
	put(w, "\"", 1);
}

/* As CloudEvents and JSON write an Integer: -2147483648 to 2147483647, no leading zero. */
static bool
is_integer(const char *s, size_t len)
{
	bool negative = len > 0 && s[0] == '-';
	int64_t number = 0;
	size_t digits = len - negative;

	s += negative;
	if (digits == 0 || digits > 10 || (s[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < digits; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return false;
		number = number * 10 + (s[i] - '0');
	}
	return number <= (int64_t) INT32_MAX + negative;
}

size_t
usher_cloudevent_json(const UsherAttribute *attributes, int n, const char *data, size_t data_len,
					  char *out, size_t size)
{
	Writer w = {out, size, 0};

	put(&w, "{", 1);
	for (int i = 0; i < n; i++)
	{
		const UsherAttribute *a = &attributes[i];

		if (i > 0)
			put(&w, ",", 1);
		put_string(&w, a->name, strlen(a->name));
		put(&w, ":", 1);
		if (a->is_number && is_integer(a->value, a->len))
			put(&w, a->value, a->len);
		else
			put_string(&w, a->value, a->len);
	}
	if (data != NULL)
	{
		if (n > 0)
			put(&w, ",", 1);
		put(&w, "\"data\":", 7);
		put(&w, data, data_len);
	}
	put(&w, "}", 1);
	return w.len;
}

bool
usher_cloudevent_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return name[len] == '\0' && len >= 1 && len <= 20 && strcmp(name, "data") != 0;
}

size_t
usher_cloudevent_percent(const char *value, size_t len, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	Writer w = {out, size, 0};
	const char *end = value + len;

	while (value < end)
	{
		const char *run = value;

		while (value<end && * value> ' ' && *value < 0x7f && *value != '"' && *value != '%')
			value++;
		put(&w, run, (size_t) (value - run));
		if (value < end)
		{
			unsigned char c = (unsigned char) *value++;
			const char escape[3] = {'%', hex[c >> 4], hex[c & 15]};

			put(&w, escape, sizeof(escape));
		}
	}
	return w.len;
}

#define US_PER_DAY      INT64_C(86400000000)
#define DAYS_PER_400Y   146097
#define FIRST_DAY       INT64_C(-719528) /* 0000-01-01 */
#define LAST_DAY        INT64_C(2932896) /* 9999-12-31 */
#define DAYS_FROM_MARCH 60 /* from 0000-01-01 to 0000-03-01: year 0 is a leap year */

static void
digits(char *out, int count, int number)
{
	while (count-- > 0)
	{
		out[count] = (char) ('0' + number % 10);
		number /= 10;
	}
}

/*
 * The day's date.  A year that begins in March has its leap day at its end, so
 * that the months before it always have the same lengths: 153 days for five.
 */
static void
put_date(char *out, int64_t day)
{
	/* From 0400 BC in March on, so that everything below is positive. */
	int since = (int) (day - FIRST_DAY) - DAYS_FROM_MARCH + DAYS_PER_400Y;
	int era = since / DAYS_PER_400Y;
	int in_era = since % DAYS_PER_400Y;
	int year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int in_year = in_era - (365 * year + year / 4 - year / 100);
	int month = (5 * in_year + 2) / 153; /* 0: March */

	year += (era - 1) * 400 + (month >= 10);
	digits(out, 4, year);
	digits(out + 5, 2, month < 10 ? month + 3 : month - 9);
	digits(out + 8, 2, in_year - (153 * month + 2) / 5 + 1);
}

void
usher_cloudevent_time(int64_t us, char out[USHER_TIME_LEN])
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";
	int64_t day, in_day;
	int second;

	if (us < FIRST_DAY * US_PER_DAY)
		us = FIRST_DAY * US_PER_DAY;
	if (us > (LAST_DAY + 1) * US_PER_DAY - 1)
		us = (LAST_DAY + 1) * US_PER_DAY - 1;
	day = us / US_PER_DAY - (us % US_PER_DAY < 0);
	in_day = us - day * US_PER_DAY;
	second = (int) (in_day / 1000000);
	for (int i = 0; i < USHER_TIME_LEN; i++)
		out[i] = form[i];
	put_date(out, day);
	digits(out + 11, 2, second / 3600);
	digits(out + 14, 2, second / 60 % 60);
	digits(out + 17, 2, second % 60);
	digits(out + 20, 6, (int) (in_day % 1000000));
}

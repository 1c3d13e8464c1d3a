/*
 * test/unit/interest_index.c
 *	  Many patterns and filters at once say what each says alone: by chance, while they come and go.
 */
#include "interest_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/glob.h"
#include "pattern_trie.h"

#include "tap.h"

#define ROUNDS    300
#define MANY      40
#define INTERESTS 60

static const SipKey key = {1, 2};

/* The same on every machine. */
static unsigned
chance(unsigned below)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned) (state >> 33) % below;
}

/* One to five segments of few, so that much matches. */
static Slice
text_by_chance(bool pattern)
{
	static const char *const plain[] = {"a", "b", "ab", "aab", "", "ba"};
	static const char *const globs[] = {"*", "**", "a*", "*b", "a*b", "***", "ab*", "*a*"};
	Text text = {0};
	unsigned segments = 1 + chance(5);

	text_reserve(&text, 1);
	for (unsigned i = 0; i < segments; i++)
	{
		if (i > 0)
			text_char(&text, '.');
		text_puts(&text, pattern && chance(2) ? globs[chance(8)] : plain[chance(6)]);
	}
	return (Slice){text.data, text.len};
}

/*
 * The trie
 */

typedef struct Held
{
	Slice pattern;
	int users, found;
} Held;

static void
found_one(void *context, void *held)
{
	(void) context;
	((Held *) held)->found++;
}

static bool
names_agree(PatternTrie *trie, Held *held, int n)
{
	for (int i = 0; i < 20; i++)
	{
		Slice name = text_by_chance(false);
		bool agree = true;

		trie_match(trie, name, found_one, NULL);
		for (int k = 0; k < n; k++)
		{
			Slice p = held[k].pattern;

			if (held[k].users > 0)
				agree = agree &&
						held[k].found == usher_glob_match(p.data, p.len, name.data, name.len);
			else
				agree = agree && held[k].found == 0;
			held[k].found = 0;
		}
		free((char *) name.data);
		if (!agree)
			return false;
	}
	return true;
}

static bool
trie_round(void)
{
	PatternTrie *trie = trie_make(key);
	Held held[MANY] = {0};
	bool agree = true;
	int n = 0;

	for (int i = 0; i < MANY; i++)
	{
		Slice pattern = text_by_chance(true);
		void **place = trie_place(trie, pattern);

		if (*place) /* the same, or another text that means the same */
		{
			((Held *) *place)->users++;
			free((char *) pattern.data);
			continue;
		}
		*place = &held[n];
		held[n++] = (Held){pattern, 1, 0};
	}
	agree = names_agree(trie, held, n);
	for (int i = 0; i < n; i += 2)
	{
		trie_remove(trie, held[i].pattern);
		held[i].users = 0;
	}
	agree = agree && names_agree(trie, held, n);
	for (int i = 1; i < n; i += 2)
		trie_remove(trie, held[i].pattern);
	agree = agree && trie_is_empty(trie);
	for (int i = 0; i < n; i++)
		free((char *) held[i].pattern.data);
	trie_free(trie);
	return agree;
}

/*
 * The index
 */

typedef struct Subscriber
{
	Interest interest; /* first */
	bool there;
	int found;
} Subscriber;

static void
found_interest(void *context, Interest *interest)
{
	(void) context;
	((Subscriber *) interest)->found++;
}

static JsonValue
checked(const char *text)
{
	JsonValue value;
	JsonFault fault;

	if (!json_check(text, strlen(text), 10, &value, &fault))
		abort();
	return value;
}

static void
begin_by_chance(Interest *interest)
{
	static const char *const members[] = {
		"{\"data.n\":1}",
		"{\"data.n\":[1,2,1,1.0]}",
		"{\"data.n\":\"1\"}",
		"{\"data.n\":null,\"type\":\"a\"}",
		"{\"data.s\":\"\\u0078\",\"data.n\":[1,3]}",
		"{\"data.deep.b\":true,\"data.n\":2}",
		"{\"data.deep.b\":[]}",
		"{\"data.\":-0}",
		"{}",
	};
	Slice types[3], streams[3];
	EventFilter filter = {.types = types, .streams = streams};

	filter.ntypes = (int) chance(4);
	filter.nstreams = chance(2) ? (int) chance(4) : 0;
	for (int i = 0; i < filter.ntypes; i++)
		types[i] = text_by_chance(true);
	for (int i = 0; i < filter.nstreams; i++)
		streams[i] = text_by_chance(true);
	if (chance(2))
		filter.members = checked(members[chance(9)]);
	interest_begin(interest, &filter);
	for (int i = 0; i < filter.ntypes; i++)
		free((char *) types[i].data);
	for (int i = 0; i < filter.nstreams; i++)
		free((char *) streams[i].data);
}

static bool
events_agree(InterestIndex *index, Subscriber *subscribers)
{
	static const char *const events[] = {
		"{\"type\":\"a\",\"data\":{\"n\":1,\"s\":\"x\"}}",
		"{\"data\":{\"n\":1e0,\"\":0}}",
		"{\"data\":{\"n\":2,\"deep\":{\"b\":true},\"deep\":{\"b\":false,\"b\":true}}}",
		"{\"data\":{\"n\":\"\\u0031\",\"deep\":[1]}}",
		"{\"type\":\"a\",\"data\":{\"n\":null}}",
		"{\"data\":{\"\\u006e\":3,\"s\":\"\\u0078\"}}",
		"{\"data\":7}",
	};

	for (int i = 0; i < 20; i++)
	{
		Slice type = text_by_chance(false), topic = text_by_chance(false),
			  stream = text_by_chance(false);
		FilterEvent event = {type, chance(2) ? topic : (Slice){"", 0},
							 chance(3) ? stream : (Slice){"", 0}, checked(events[chance(7)]).text};
		bool agree = true;

		index_match(index, &event, found_interest, NULL);
		for (int k = 0; k < INTERESTS; k++)
		{
			Subscriber *s = &subscribers[k];

			agree = agree &&
					s->found == (s->there && filter_wants(&s->interest.filter, &event) ? 1 : 0);
			s->found = 0;
		}
		free((char *) type.data);
		free((char *) topic.data);
		free((char *) stream.data);
		if (!agree)
			return false;
	}
	return true;
}

static bool
index_round(void)
{
	static Subscriber subscribers[INTERESTS];
	InterestIndex *index = index_make(key);
	bool agree = true;

	memset(subscribers, 0, sizeof(subscribers));
	for (int turn = 0; turn < 4 && agree; turn++)
	{
		for (int i = 0; i < INTERESTS; i++)
		{
			Subscriber *s = &subscribers[i];

			if (chance(2))
				continue;
			if (s->there)
			{
				index_remove(index, &s->interest);
				interest_end(&s->interest);
			}
			else
			{
				begin_by_chance(&s->interest);
				index_add(index, &s->interest);
			}
			s->there = !s->there;
		}
		agree = events_agree(index, subscribers);
	}
	for (int i = 0; i < INTERESTS; i++)
		if (subscribers[i].there)
		{
			index_remove(index, &subscribers[i].interest);
			interest_end(&subscribers[i].interest);
		}
	index_free(index);
	return agree;
}

static void
found_stranger(void *context, Interest *interest)
{
	(void) interest;
	++*(int *) context;
}

/* Ten thousand that cannot match: none of them is asked. */
static void
strangers(const char *what, const char *type, const char *stream, const char *members)
{
	enum
	{
		STRANGERS = 10000
	};
	Interest *interests = calloc(STRANGERS + 1, sizeof(Interest));
	InterestIndex *index = index_make(key);
	FilterEvent event = {{"order77777.paid", 15},
						 {"", 0},
						 {"order-77777", 11},
						 {"{\"data\":{\"user\":77777,\"kind\":1}}", 32}};
	int64_t asked;
	int found = 0;

	for (int i = 0; i <= STRANGERS; i++)
	{
		char texts[3][128];
		Slice type_slice, stream_slice;
		EventFilter filter = {.types = &type_slice, .streams = &stream_slice};
		int n = i < STRANGERS ? i : 77777;

		snprintf(texts[0], sizeof(texts[0]), type, n);
		snprintf(texts[1], sizeof(texts[1]), stream, n);
		snprintf(texts[2], sizeof(texts[2]), members, n);
		type_slice = (Slice){texts[0], strlen(texts[0])};
		stream_slice = (Slice){texts[1], strlen(texts[1])};
		filter.ntypes = type[0] != '\0';
		filter.nstreams = stream[0] != '\0';
		if (members[0])
			filter.members = checked(texts[2]);
		interest_begin(&interests[i], &filter);
		index_add(index, &interests[i]);
	}
	asked = index_asked(index);
	index_match(index, &event, found_stranger, &found);
	ok(found == 1 && index_asked(index) - asked <= 2, what);
	for (int i = 0; i <= STRANGERS; i++)
	{
		index_remove(index, &interests[i]);
		interest_end(&interests[i]);
	}
	index_free(index);
	free(interests);
}

int
main(void)
{
	bool tries = true, indexes = true;

	for (int i = 0; i < ROUNDS && tries; i++)
		tries = trie_round();
	ok(tries, "a trie finds what each pattern alone does, while they come and go");
	for (int i = 0; i < ROUNDS && indexes; i++)
		indexes = index_round();
	ok(indexes, "an index finds what each filter alone does, while they come and go");
	strangers("types that do not match are not asked", "order%d.paid", "", "");
	strangers("globs that do not match are not asked", "*.paid", "order-%05d*", "");
	strangers("streams that do not match are not asked", "order*.**", "order-%d", "");
	strangers("values that do not match are not asked", "**", "", "{\"data.user\":%d}");
	strangers("the rarer of two members finds", "", "order-*",
			  "{\"data.kind\":1,\"data.user\":%d}");
	return tap_end();
}

/*
 * gateway/lib/interest_index.c
 *	  Which of many filters want an event.
 *
 *		types (trie) ─► Stage ─► streams (trie) ─► Bucket ─► values (hash) ─► Posting: interests
 *		  none: anything ┘  none: any ┘                └ plain: those without members
 *
 * An interest stands at each of its types, behind it at each of its streams, behind it at each value of one member: that whose
 * values are the rarest when it is added.  Where that would be too many places, the rest is left to be asked.
 */
#include <stdlib.h>
#include <string.h>

#include "hash_table.h"
#include "interest_index.h"
#include "pattern_trie.h"

#define PLACES_MAX 256 /* of one interest */

typedef struct List
{
	Interest **interests;
	int n, size;
} List;

/* A path that members of some bucket have; what the event of now has there. */
typedef struct Path
{
	struct Path *next;
	int users;
	uint64_t read; /* the event */
	Slice key; /* kind and value, as in Posting; none: nothing that a filter could want */
	Text text;
	size_t len;
	char path[];
} Path;

typedef struct Bucket
{
	List plain;
	struct PathUse
	{
		Path *path;
		int interests;
	} * paths;
	int npaths;
} Bucket;

typedef struct Stage
{
	Bucket any; /* whose streams do not matter, or are asked */
	PatternTrie *streams; /* of Bucket; NULL: none */
	int interests;
	uint64_t seen; /* the last event, which may have come by its type already */
} Stage;

typedef struct Posting
{
	Hashed hashed; /* first */
	const Bucket *bucket;
	const Path *path;
	List list;
	size_t len;
	char key[];
} Posting;

struct InterestIndex
{
	SipKey sip;
	PatternTrie *types; /* of Stage */
	Stage all; /* those without types */
	Path *paths;
	HashTable postings;
	uint64_t event;
	int64_t asked;
	/* of the call of index_match() */
	const FilterEvent *now;
	EventDocument document;
	InterestFound found;
	void *context;
};

static void *
zalloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL)
		abort();
	return memory;
}

InterestIndex *
index_make(SipKey key)
{
	InterestIndex *index = zalloc(sizeof(InterestIndex));

	index->sip = key;
	index->types = trie_make(key);
	return index;
}

void
index_free(InterestIndex *index)
{
	trie_free(index->types);
	hash_free(&index->postings, NULL);
	document_free(&index->document);
	free(index);
}

int64_t
index_asked(const InterestIndex *index)
{
	return index->asked;
}

/*
 * Lists, paths and values
 */

static void
list_add(List *list, Interest *interest)
{
	if (list->n == list->size)
	{
		list->size = list->size ? list->size * 2 : 1;
		list->interests = realloc(list->interests, sizeof(Interest *) * (size_t) list->size);
		if (list->interests == NULL)
			abort();
	}
	list->interests[list->n++] = interest;
}

static void
list_remove(List *list, const Interest *interest)
{
	for (int i = 0; i < list->n; i++)
		if (list->interests[i] == interest)
		{
			list->interests[i] = list->interests[--list->n];
			break;
		}
	if (list->n == 0)
	{
		free(list->interests);
		*list = (List){0};
	}
}

static Path *
path_find(const InterestIndex *index, Slice path)
{
	Path *at = index->paths;

	while (at && !(at->len == path.len && memcmp(at->path, path.data, path.len) == 0))
		at = at->next;
	return at;
}

static Path *
path_use(InterestIndex *index, Slice text)
{
	Path *path = path_find(index, text);

	if (path == NULL)
	{
		path = zalloc(sizeof(Path) + text.len + 1);
		path->len = text.len;
		memcpy(path->path, text.data, text.len);
		path->next = index->paths;
		index->paths = path;
	}
	path->users++;
	return path;
}

static void
path_leave(InterestIndex *index, Path *path)
{
	Path **at = &index->paths;

	if (--path->users > 0)
		return;
	while (*at != path)
		at = &(*at)->next;
	*at = path->next;
	text_free(&path->text);
	free(path);
}

/* The same for values that are the same, whatever their text. */
static Slice
value_key(Text *text, JsonKind kind, Slice string, double number)
{
	text->len = 0;
	text_char(text, (char) ('0' + kind));
	if (kind == JSON_STRING)
		text_add(text, string.data, string.len);
	else if (kind == JSON_NUMBER)
	{
		number += 0.0; /* there is but one zero */
		text_add(text, (char *) &number, sizeof(number));
	}
	return (Slice){text->data, text->len};
}

static uint64_t
posting_hash(const InterestIndex *index, const Bucket *bucket, const Path *path, Slice key)
{
	SipKey sip = {index->sip.k0 ^ (uint64_t) (uintptr_t) bucket,
				  index->sip.k1 ^ (uint64_t) (uintptr_t) path};

	return siphash(sip, key.data, key.len);
}

static Posting *
posting_find(const InterestIndex *index, const Bucket *bucket, const Path *path, Slice key)
{
	uint64_t hash = posting_hash(index, bucket, path, key);
	Posting *at = (Posting *) hash_first(&index->postings, hash);

	while (at && !(at->bucket == bucket && at->path == path && at->len == key.len &&
				   memcmp(at->key, key.data, key.len) == 0))
		at = (Posting *) hash_next(&at->hashed);
	return at;
}

static Posting *
posting_add(InterestIndex *index, const Bucket *bucket, const Path *path, Slice key)
{
	Posting *posting = zalloc(sizeof(Posting) + key.len);

	posting->hashed.hash = posting_hash(index, bucket, path, key);
	posting->bucket = bucket;
	posting->path = path;
	posting->len = key.len;
	memcpy(posting->key, key.data, key.len);
	hash_add(&index->postings, &posting->hashed);
	return posting;
}

static void
posting_remove(InterestIndex *index, Posting *posting)
{
	hash_remove(&index->postings, &posting->hashed);
	free(posting);
}

/*
 * Buckets
 */

/* How many a value of this member would be asked with; the member with the fewest is the best to be found by. */
static int64_t
load(const InterestIndex *index, const Bucket *bucket, const WantedMember *member)
{
	static Text text;
	const Path *path = path_find(index, member->path);
	int64_t sum = 0;

	for (int i = 0; path && i < member->nvalues; i++)
	{
		const WantedValue *value = &member->values[i];
		const Posting *posting = posting_find(
			index, bucket, path, value_key(&text, value->kind, value->text, value->number));

		sum += posting ? posting->list.n : 0;
	}
	return sum;
}

static int
rarest_member(const InterestIndex *index, const Bucket *bucket, const Interest *interest,
			  int places)
{
	int best = -1;
	int64_t best_load = INT64_MAX;

	for (int i = 0; i < interest->nmembers; i++)
	{
		int64_t its;

		if (interest->members[i].nvalues * places > PLACES_MAX)
			continue;
		its = load(index, bucket, &interest->members[i]);
		if (its < best_load)
		{
			best = i;
			best_load = its;
		}
	}
	return best;
}

static void
bucket_path(InterestIndex *index, Bucket *bucket, Slice text)
{
	int i = 0;

	while (i < bucket->npaths && !(bucket->paths[i].path->len == text.len &&
								   memcmp(bucket->paths[i].path->path, text.data, text.len) == 0))
		i++;
	if (i == bucket->npaths)
	{
		bucket->paths = realloc(bucket->paths, sizeof(struct PathUse) * (size_t) (i + 1));
		if (bucket->paths == NULL)
			abort();
		bucket->paths[i] = (struct PathUse){path_use(index, text), 0};
		bucket->npaths++;
	}
	bucket->paths[i].interests++;
}

static void
bucket_add(InterestIndex *index, Bucket *bucket, Interest *interest)
{
	static Text text;
	const WantedMember *member;
	const Path *path;

	if (interest->by_member < 0)
	{
		list_add(&bucket->plain, interest);
		return;
	}
	member = &interest->members[interest->by_member];
	bucket_path(index, bucket, member->path);
	path = path_find(index, member->path);
	for (int i = 0; i < member->nvalues; i++)
	{
		const WantedValue *value = &member->values[i];
		Slice key = value_key(&text, value->kind, value->text, value->number);
		Posting *posting = posting_find(index, bucket, path, key);

		if (posting == NULL)
			posting = posting_add(index, bucket, path, key);
		list_add(&posting->list, interest);
	}
}

static void
bucket_remove(InterestIndex *index, Bucket *bucket, const Interest *interest)
{
	static Text text;
	const WantedMember *member;
	Path *path;

	if (interest->by_member < 0)
	{
		list_remove(&bucket->plain, interest);
		return;
	}
	member = &interest->members[interest->by_member];
	path = path_find(index, member->path);
	for (int i = 0; i < member->nvalues; i++)
	{
		const WantedValue *value = &member->values[i];
		Posting *posting = posting_find(index, bucket, path,
										value_key(&text, value->kind, value->text, value->number));

		if (posting == NULL)
			continue; /* a value that stands twice */
		list_remove(&posting->list, interest);
		if (posting->list.n == 0)
			posting_remove(index, posting);
	}
	for (int i = 0; i < bucket->npaths; i++)
		if (bucket->paths[i].path == path && --bucket->paths[i].interests == 0)
		{
			bucket->paths[i] = bucket->paths[--bucket->npaths];
			path_leave(index, path);
			break;
		}
	if (bucket->npaths == 0)
	{
		free(bucket->paths);
		bucket->paths = NULL;
	}
}

/*
 * Interests come and go
 */

static Bucket *
stream_bucket(const InterestIndex *index, Stage *stage, Slice pattern)
{
	Bucket **bucket;

	stage->streams = stage->streams ? stage->streams : trie_make(index->sip);
	bucket = (Bucket **) trie_place(stage->streams, pattern);
	if (*bucket == NULL)
		*bucket = zalloc(sizeof(Bucket));
	return *bucket;
}

static Stage *
type_stage(const InterestIndex *index, Slice pattern)
{
	Stage **stage = (Stage **) trie_place(index->types, pattern);

	if (*stage == NULL)
		*stage = zalloc(sizeof(Stage));
	return *stage;
}

static void
stage_add(InterestIndex *index, Stage *stage, Interest *interest)
{
	stage->interests++;
	if (!interest->by_stream)
		bucket_add(index, &stage->any, interest);
	else
		for (int i = 0; i < interest->filter.nstreams; i++)
			bucket_add(index, stream_bucket(index, stage, interest->filter.streams[i]), interest);
}

static void
stage_remove(InterestIndex *index, Stage *stage, const Interest *interest)
{
	stage->interests--;
	if (!interest->by_stream)
	{
		bucket_remove(index, &stage->any, interest);
		return;
	}
	for (int i = 0; i < interest->filter.nstreams; i++)
	{
		Bucket *bucket = stream_bucket(index, stage, interest->filter.streams[i]);

		bucket_remove(index, bucket, interest);
		if (bucket->plain.n == 0 && bucket->npaths == 0)
		{
			trie_remove(stage->streams, interest->filter.streams[i]);
			free(bucket);
		}
	}
	if (trie_is_empty(stage->streams))
	{
		trie_free(stage->streams);
		stage->streams = NULL;
	}
}

void
index_add(InterestIndex *index, Interest *interest)
{
	const EventFilter *filter = &interest->filter;
	int types = filter->ntypes > 0 ? filter->ntypes : 1;
	int streams = filter->nstreams > 0 ? filter->nstreams : 1;
	Stage *first = filter->ntypes > 0 ? type_stage(index, filter->types[0]) : &index->all;

	interest->by_stream = filter->nstreams > 0 && types * streams <= PLACES_MAX;
	interest->by_member = rarest_member(
		index, interest->by_stream ? stream_bucket(index, first, filter->streams[0]) : &first->any,
		interest, types * (interest->by_stream ? streams : 1));
	if (filter->ntypes == 0)
		stage_add(index, &index->all, interest);
	for (int i = 0; i < filter->ntypes; i++)
		stage_add(index, type_stage(index, filter->types[i]), interest);
}

void
index_remove(InterestIndex *index, Interest *interest)
{
	const EventFilter *filter = &interest->filter;

	if (filter->ntypes == 0)
		stage_remove(index, &index->all, interest);
	for (int i = 0; i < filter->ntypes; i++)
	{
		Stage *stage = type_stage(index, filter->types[i]);

		stage_remove(index, stage, interest);
		if (stage->interests == 0)
		{
			trie_remove(index->types, filter->types[i]);
			free(stage);
		}
	}
}

/*
 * Events
 */

static void
ask(InterestIndex *index, const List *list)
{
	for (int i = 0; i < list->n; i++)
	{
		Interest *interest = list->interests[i];

		if (interest->found == index->event)
			continue;
		interest->found = index->event;
		index->asked++;
		if (interest_wants(interest, index->now, &index->document))
			index->found(index->context, interest);
	}
}

/* What the event has at the path, read once. */
static Slice
path_key(InterestIndex *index, Path *path)
{
	static Text room;
	WantedValue value;

	if (path->read == index->event)
		return path->key;
	path->read = index->event;
	value = interest_value(document_at(&index->document, (Slice){path->path, path->len}), &room);
	path->key = (Slice){NULL, 0};
	if (value.kind != JSON_NONE && value.kind != JSON_ARRAY && value.kind != JSON_OBJECT)
		path->key = value_key(&path->text, value.kind, value.text, value.number);
	return path->key;
}

static void
ask_bucket(void *context, void *held)
{
	InterestIndex *index = context;
	const Bucket *bucket = held;

	ask(index, &bucket->plain);
	for (int i = 0; i < bucket->npaths; i++)
	{
		Slice key = path_key(index, bucket->paths[i].path);
		const Posting *posting = key.data ? posting_find(index, bucket, bucket->paths[i].path, key)
										  : NULL;

		if (posting)
			ask(index, &posting->list);
	}
}

static void
ask_stage(void *context, void *held)
{
	InterestIndex *index = context;
	Stage *stage = held;

	if (stage->seen == index->event)
		return;
	stage->seen = index->event;
	ask_bucket(index, &stage->any);
	if (stage->streams && index->now->stream.len > 0)
		trie_match(stage->streams, index->now->stream, ask_bucket, index);
}

void
index_match(InterestIndex *index, const FilterEvent *event, InterestFound found, void *context)
{
	index->event++;
	index->now = event;
	index->found = found;
	index->context = context;
	document_begin(&index->document, event->json);
	if (index->all.interests > 0)
		ask_stage(index, &index->all);
	trie_match(index->types, event->type, ask_stage, index);
	if (event->topic.len > 0)
		trie_match(index->types, event->topic, ask_stage, index);
}

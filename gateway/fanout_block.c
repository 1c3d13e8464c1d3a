/*
 * gateway/fanout_block.c
 *	  Pages of the log behind the events in memory.
 *
 * A page has all of the tenant's events, because what a subscription wants is decided here (a pattern may be of
 * the topic), and because it is for many.  A page that is on its way belongs to nobody; who waits for it may go.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "fanout_block.h"
#include "fanout_class.h"
#include "handlers/handlers.h"
#include "usherd.h"

#define READERS       4
#define BLOCKS        12 /* in memory: with pages of about 1 MB that is their bound */
#define PAGE_EVENTS   500
#define PAGE_SCAN     "20000"
#define BLOCK_SECONDS 0.5 /* that one is given to who comes later */

typedef struct Page
{
	bool reading;
	char *tenant;
	int64_t after;
	char parameter[24];
} Page;

static struct
{
	const BlockCalls *calls;
	Block blocks[BLOCKS];
	Page pages[READERS];
	Subscription *first, *last; /* those who wait */
	uint64_t clock;
	int64_t read;
} block;

#define TEXT(x)   #x
#define NUMBER(x) TEXT(x)

static const DbStatement page_statement = {
	.name = "fanout_page",
	.sql =
		"SELECT next, position, stream, version, id, type, topic, key, data, metadata, recorded_at"
		" FROM usher.gateway_read_log($1, $2, " NUMBER(PAGE_EVENTS) ", NULL, " PAGE_SCAN ")",
	.nparams = 2,
};

void
block_start(const BlockCalls *calls)
{
	block.calls = calls;
}

int64_t
block_pages(void)
{
	return block.read;
}

/*
 * Who waits
 */

static void
wait_join(Subscription *s)
{
	s->waits = true;
	s->wait_next = NULL;
	s->wait_previous = block.last;
	if (block.last)
		block.last->wait_next = s;
	else
		block.first = s;
	block.last = s;
}

static void
wait_leave(Subscription *s)
{
	s->waits = false;
	if (s->wait_previous)
		s->wait_previous->wait_next = s->wait_next;
	else
		block.first = s->wait_next;
	if (s->wait_next)
		s->wait_next->wait_previous = s->wait_previous;
	else
		block.last = s->wait_previous;
}

void
block_forget(Subscription *s)
{
	if (s->waits)
		wait_leave(s);
	if (s->block)
		s->block->users--;
	s->block = NULL;
}

/*
 * Blocks
 */

static bool
covers(const Block *b, const Subscription *s)
{
	return b->tenant && b->after <= s->position && s->position < b->next &&
		   tenant_is(s->client->tenant, b->tenant);
}

static void
block_free(Block *b)
{
	free(b->tenant);
	arena_free(&b->arena);
	*b = (Block){0};
}

/* The place of the one that was not used for the longest; NULL: all are needed. */
static Block *
block_place(void)
{
	Block *oldest = NULL;

	for (int i = 0; i < BLOCKS; i++)
		if (block.blocks[i].users == 0 && (oldest == NULL || block.blocks[i].used < oldest->used))
			oldest = &block.blocks[i];
	return oldest;
}

static int
blocks_needed(void)
{
	int n = 0;

	for (int i = 0; i < BLOCKS; i++)
		n += block.blocks[i].users > 0;
	return n;
}

int
block_find(const Block *b, int64_t position)
{
	int low = 0, high = b->n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (b->events[middle].position <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static Slice
field(Arena *arena, const PGresult *result, int row, int column)
{
	return arena_slice(
		arena, (Slice){PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)});
}

/* A last row without a position says only how far was read. */
static void
block_fill(Block *b, Page *page, const PGresult *result)
{
	static Text json;
	int rows = PQntuples(result);

	block_free(b);
	b->tenant = page->tenant;
	page->tenant = NULL;
	b->after = page->after;
	b->next = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	b->used = ++block.clock;
	b->read = ev_now(usherd_loop);
	b->events = arena_zalloc(&b->arena, sizeof(RingEvent) * (size_t) rows);
	for (int row = 0; row < rows; row++)
	{
		RingEvent *event = &b->events[b->n];

		if (PQgetisnull(result, row, 1))
			continue;
		json.len = 0;
		event_json(&json, result, row);
		event->position = strtoll(PQgetvalue(result, row, 1), NULL, 10);
		event->tenant = b->tenant;
		event->event = (FilterEvent){
			field(&b->arena, result, row, 5), field(&b->arena, result, row, 6),
			field(&b->arena, result, row, 2), arena_slice(&b->arena, (Slice){json.data, json.len})};
		b->n++;
	}
}

/*
 * Readers
 */

static void page_read(void *context, DbOutcome outcome, PGresult *result);

/* A page on its way will have what this one waits for: positions go up by one at least. */
static bool
is_coming(const Subscription *s)
{
	for (int i = 0; i < READERS; i++)
	{
		const Page *page = &block.pages[i];

		if (page->reading && page->after <= s->position &&
			s->position < page->after + PAGE_EVENTS && tenant_is(s->client->tenant, page->tenant))
			return true;
	}
	return false;
}

static void
submit(Page *page, const Subscription *s)
{
	DbCall call = {.statement = &page_statement, .done = page_read, .context = page};

	page->reading = true;
	page->tenant = strdup(s->client->identity->tenant);
	if (page->tenant == NULL)
		abort();
	page->after = s->position;
	snprintf(page->parameter, sizeof(page->parameter), "%" PRId64, page->after);
	call.tenant = call.values[0] = page->tenant;
	call.values[1] = page->parameter;
	block.read++;
	db_submit(LANE_READ, &call);
}

/* The pages that are wanted first, while there are readers, and room for what they bring. */
static void
read_on(void)
{
	const Subscription *s = block.first;
	int reading = 0;

	for (int i = 0; i < READERS; i++)
		reading += block.pages[i].reading;
	for (; s && reading < READERS && reading + blocks_needed() < BLOCKS; s = s->wait_next)
		if (!is_coming(s))
		{
			Page *page = block.pages;

			while (page->reading)
				page++;
			submit(page, s);
			reading++;
		}
}

static void
take(Subscription *s, Block *b)
{
	b->users++;
	b->used = ++block.clock;
	s->block = b;
}

/* false: there is no room, or it brings nothing (the server has forgotten what it knew). */
static bool
page_came(Page *page, PGresult *result)
{
	Block *b = block_place();

	if (b == NULL || strtoll(PQgetvalue(result, 0, 0), NULL, 10) <= page->after)
		return false;
	block_fill(b, page, result);
	for (Subscription *s = block.first, *next; s; s = next)
	{
		next = s->wait_next;
		if (!covers(b, s))
			continue;
		wait_leave(s);
		take(s, b);
		block.calls->came(s);
	}
	return true;
}

/* So it is for all of the tenant who wait there or in front of it. */
static void
page_gone(const Page *page, int64_t oldest)
{
	for (Subscription *s = block.first, *next; s; s = next)
	{
		next = s->wait_next;
		if (s->position > page->after || !tenant_is(s->client->tenant, page->tenant))
			continue;
		wait_leave(s);
		block.calls->gone(s, oldest);
	}
}

static void
page_read(void *context, DbOutcome outcome, PGresult *result)
{
	Page *page = context;
	int64_t oldest = db_oldest_position(result);
	bool failed = false;

	page->reading = false;
	if (outcome == DB_DONE && PQntuples(result) > 0)
		failed = !page_came(page, result);
	else if (oldest >= 0)
		page_gone(page, oldest);
	else
		failed = true; /* block_sweep() comes */
	free(page->tenant);
	page->tenant = NULL;
	if (!failed)
		read_on();
}

static bool
is_old(const Block *b)
{
	return ev_now(usherd_loop) - b->read > BLOCK_SECONDS;
}

void
block_sweep(void)
{
	for (int i = 0; i < BLOCKS; i++)
		if (block.blocks[i].tenant && block.blocks[i].users == 0 && is_old(&block.blocks[i]))
			block_free(&block.blocks[i]);
	read_on();
}

Block *
block_get(Subscription *s)
{
	if (s->waits)
		return NULL;
	if (s->block && covers(s->block, s))
		return s->block;
	block_forget(s);
	for (int i = 0; i < BLOCKS; i++)
		if (covers(&block.blocks[i], s) && !is_old(&block.blocks[i]))
		{
			take(s, &block.blocks[i]);
			return s->block;
		}
	wait_join(s);
	read_on();
	return NULL;
}

/*
 * bgworkers/relay_memory.c
 *	  The memory of batches: pieces of one size, used again and again.
 *
 * A batch takes pieces as it is read and gives all of them back at once, a few
 * milliseconds later.  Malloc would return them to the kernel each time, and
 * the page faults of getting them again cost as much as rendering the events.
 * What does not fit into a piece is allocated by itself.
 *
 * Pieces that nobody uses are kept as long as something is in flight: then they
 * will be wanted at once.  With nothing in flight only KEPT of them stay.
 */
#include "relay.h"

#include "utils/memutils.h"

#define PIECE_SIZE (256 * 1024)
#define KEPT       16

struct RelayPiece
{
	RelayPiece *next;
};

#define PIECE_HEADER MAXALIGN(sizeof(RelayPiece))

static MemoryContext context;
static RelayPiece *unused;
static int nunused, nused;

static RelayPiece *
piece_get(void)
{
	RelayPiece *piece = unused;

	if (piece)
	{
		unused = piece->next;
		nunused--;
	}
	else
	{
		if (context == NULL)
			context = AllocSetContextCreate(TopMemoryContext, "usher relay batches",
											ALLOCSET_DEFAULT_SIZES);
		piece = MemoryContextAlloc(context, PIECE_SIZE);
	}
	nused++;
	return piece;
}

static void
pieces_keep(int most)
{
	while (nunused > most)
	{
		RelayPiece *piece = unused;

		unused = piece->next;
		nunused--;
		pfree(piece);
	}
}

static void
next_piece(RelayMemory *memory)
{
	RelayPiece *piece = piece_get();

	piece->next = memory->pieces;
	memory->pieces = piece;
	memory->at = (char *) piece + PIECE_HEADER;
	memory->left = PIECE_SIZE - PIECE_HEADER;
}

static void *
alone(RelayMemory *memory, size_t size)
{
	RelayPiece *piece = MemoryContextAllocHuge(context, PIECE_HEADER + size);

	piece->next = memory->large;
	memory->large = piece;
	return (char *) piece + PIECE_HEADER;
}

/* When the rest of a piece is too small, it is lost: so what is not small gets memory of its own. */
void *
relay_alloc_slow(RelayMemory *memory, size_t size)
{
	void *result;

	if (memory->pieces == NULL || size <= PIECE_SIZE / 16)
		next_piece(memory);
	if (size > memory->left)
		return alone(memory, size);
	result = memory->at;
	memory->at += size;
	memory->left -= size;
	return result;
}

/* Make room that can be written to at memory->at, at least `size`, before it is known how much is needed. */
void
relay_room(RelayMemory *memory, size_t size)
{
	if (size <= memory->left)
		return;
	if (size <= PIECE_SIZE - PIECE_HEADER)
		next_piece(memory);
	else
	{
		memory->at = alone(memory, MAXALIGN(size));
		memory->left = MAXALIGN(size);
	}
}

void
relay_memory_free(RelayMemory *memory)
{
	RelayPiece *next;

	for (RelayPiece *piece = memory->pieces; piece; piece = next)
	{
		next = piece->next;
		piece->next = unused;
		unused = piece;
		nunused++;
		nused--;
	}
	for (RelayPiece *piece = memory->large; piece; piece = next)
	{
		next = piece->next;
		pfree(piece);
	}
	memset(memory, 0, sizeof(*memory));
	if (nused == 0)
		pieces_keep(KEPT);
}

/*
 * extension/log/rows.c
 *	  Insert many rows with their index entries, one index after the other.
 *
 * The executor inserts row by row, each into every index: a page of one index
 * has left the CPU's cache when the next row comes to it.  Here an index gets
 * all rows at once, and the log's stream index gets them in the order of
 * streams, in which neighbours meet.  The heap keeps the order that is given.
 *
 * Takes no locks: the caller has opened the table and its indexes for writing
 * (ExecOpenIndices, CatalogOpenIndexes).  Slots stay filled.
 */
#include "log.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"

/* The executor's way, for what only it checks; our tables have no such constraints by themselves. */
static bool
needs_executor(const ResultRelInfo *rri)
{
	for (int i = 0; i < rri->ri_NumIndices; i++)
		if (rri->ri_IndexRelationInfo[i]->ii_ExclusionOps != NULL ||
			!rri->ri_IndexRelationDescs[i]->rd_index->indimmediate)
			return true;
	return false;
}

/* INDEX_COUNT: not one of the log's own. */
static UsherIndex
kind_of(Relation index, const Oid *log_indexes)
{
	UsherIndex kind = log_indexes ? 0 : INDEX_COUNT;

	while (kind < INDEX_COUNT && log_indexes[kind] != RelationGetRelid(index))
		kind++;
	return kind;
}

static bool
predicate_holds(UsherIndex kind, Oid index, IndexInfo *info, TupleTableSlot *slot, EState *estate,
				UsherPredicate known)
{
	ExprContext *context;
	bool isnull, holds;

	switch (kind)
	{
		case INDEX_POSITION:
			return true;
		case INDEX_STREAM:
		case INDEX_CATEGORY:
			return !slot_attisnull(slot, LOG_STREAM); /* has both or none */
		case INDEX_ID:
			return DatumGetInt32(slot_getattr(slot, LOG_FLAGS, &isnull)) & LOG_FLAG_ID_INDEXED;
		case INDEX_COUNT:
			break;
	}
	if (info->ii_Predicate == NIL)
		return true;
	if (known && known(index, slot, &holds))
		return holds;
	if (info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, estate);
	context = GetPerTupleExprContext(estate);
	context->ecxt_scantuple = slot;
	return ExecQual(info->ii_PredicateState, context);
}

static void
index_rows(Relation rel, Relation index, UsherIndex kind, IndexInfo *info, EState *estate,
		   TupleTableSlot **slots, int n, bool new_keys, UsherPredicate known)
{
	IndexUniqueCheck unique = new_keys && index->rd_index->indisunique ? UNIQUE_CHECK_YES
																	   : UNIQUE_CHECK_NO;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	if (!info->ii_ReadyForInserts)
		return;
	for (int i = 0; i < n; i++)
	{
		if (!predicate_holds(kind, RelationGetRelid(index), info, slots[i], estate, known))
			continue;
		if (info->ii_Expressions != NIL)
			GetPerTupleExprContext(estate)->ecxt_scantuple = slots[i];
		FormIndexDatum(info, slots[i], estate, values, nulls);
		(void) index_insert(index, values, nulls, &slots[i]->tts_tid, rel, unique, false, info);
	}
	if (kind == INDEX_COUNT && (info->ii_Predicate != NIL || info->ii_Expressions != NIL))
		ResetPerTupleExprContext(estate);
}

static void
index_all(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots, int n, bool new_keys,
		  UsherPredicate known, const Oid *log_indexes, TupleTableSlot **by_stream)
{
	Relation rel = rri->ri_RelationDesc;

	for (int i = 0; i < n; i++)
		slots[i]->tts_tableOid = RelationGetRelid(rel);
	if (unlikely(needs_executor(rri)))
	{
		for (int i = 0; i < n; i++)
		{
			(void) usher_insert_index_tuples(rri, slots[i], estate);
			ResetPerTupleExprContext(estate);
		}
		return;
	}
	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		Relation index = rri->ri_IndexRelationDescs[i];
		UsherIndex kind = kind_of(index, log_indexes);

		index_rows(rel, index, kind, rri->ri_IndexRelationInfo[i], estate,
				   kind == INDEX_STREAM ? by_stream : slots, n, new_keys, known);
	}
}

/*
 * Index entries for new versions of rows whose older ones are ours, with the
 * same values in the columns of unique indexes, so that nothing need be checked.
 * `known` says without the executor whether a partial index has a row; NULL: ask it.
 */
void
usher_rows_index_updated(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots, int n,
						 UsherPredicate known)
{
	index_all(rri, estate, slots, n, false, known, NULL, NULL);
}

/*
 * For the log `log_indexes` are the partition's own (others may have been
 * added), and `by_stream` the slots in the order for its stream index.
 */
void
usher_rows_insert(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots, int n,
				  UsherPredicate known, const Oid *log_indexes, TupleTableSlot **by_stream)
{
	heap_multi_insert(rri->ri_RelationDesc, slots, n, GetCurrentCommandId(true), 0, NULL);
	index_all(rri, estate, slots, n, true, known, log_indexes, by_stream);
}

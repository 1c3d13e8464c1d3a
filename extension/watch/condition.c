/*
 * extension/watch/condition.c
 *	  The WHEN clause of a watch's triggers: the condition, and the columns that
 *	  were named.
 *
 * The condition is parsed as one expression, and never becomes a part of another
 * SQL text.  A created row has no OLD and a deleted one no NEW: there their
 * columns are null.  A name without either is of NEW, or of OLD in a deletion.
 *
 * The columns of key and list stand in front of it, in an arm that is always
 * true and that the planner folds away:
 *
 *     (true OR ROW(new.id, new.status) IS NULL) AND (condition)
 *
 * So PostgreSQL knows of them: they are renamed with the column, a dump has
 * their names, and a column that a watch needs cannot be dropped by accident.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/prs2lock.h"
#include "utils/builtins.h"
#include "utils/rel.h"

/* The position of an error is one in the condition, not in the caller's statement. */
static void
condition_context(void *text)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(text);
	}
	errcontext("condition of a watch");
}

/* One expression and nothing else. */
static Node *
parse_condition(const char *text)
{
	List *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
	ResTarget *target = list_length(select->targetList) == 1
							? linitial_node(ResTarget, select->targetList)
							: NULL;

	if (target == NULL || target->name != NULL || select->distinctClause != NIL ||
		select->intoClause != NULL || select->fromClause != NIL || select->whereClause != NULL ||
		select->groupClause != NIL || select->havingClause != NULL || select->windowClause != NIL ||
		select->valuesLists != NIL || select->sortClause != NIL || select->limitOffset != NULL ||
		select->limitCount != NULL || select->lockingClause != NIL || select->withClause != NULL ||
		select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("the condition is not a single expression"),
				 errhint("For example: NEW.status = 'paid' AND OLD.status <> 'paid'")));
	return target->val;
}

static List *
add_references(List *references, const char *row, char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		ColumnRef *reference = makeNode(ColumnRef);

		reference->fields = list_make2(makeString(pstrdup(row)), makeString(names[i]));
		reference->location = -1;
		references = lappend(references, reference);
	}
	return references;
}

/* true OR ROW(...) IS NULL */
static Node *
columns_arm(const UsherWatch *watch, UsherWatchEvent event)
{
	const char *row = event == WATCH_DELETE ? "old" : "new";
	A_Const *yes = makeNode(A_Const);
	RowExpr *columns = makeNode(RowExpr);
	NullTest *test = makeNode(NullTest);

	yes->val.boolval.type = T_Boolean;
	yes->val.boolval.boolval = true;
	yes->location = -1;
	columns->args = add_references(NIL, row, watch->key, watch->nkey);
	columns->args = add_references(columns->args, row, watch->columns, Max(watch->ncolumns, 0));
	columns->row_format = COERCE_EXPLICIT_CALL;
	columns->location = -1;
	test->arg = (Expr *) columns;
	test->nulltesttype = IS_NULL;
	test->location = -1;
	return (Node *) makeBoolExpr(OR_EXPR, list_make2(yes, test), -1);
}

static void
add_row(ParseState *state, Relation rel, const char *name, bool by_bare_names)
{
	ParseNamespaceItem *item = addRangeTableEntryForRelation(state, rel, AccessShareLock,
															 makeAlias(name, NIL), false, false);

	addNSItemToQuery(state, item, false, true, by_bare_names);
}

static Node *
transform(ParseState *state, Node *raw)
{
	return raw ? transformWhereClause(state, raw, EXPR_KIND_TRIGGER_WHEN, "WHEN") : NULL;
}

static Node *
null_row(Node *node, void *varno)
{
	Var *var = (Var *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && var->varno == *(int *) varno && var->varlevelsup == 0)
		return (Node *) makeNullConst(var->vartype, var->vartypmod, var->varcollid);
	return expression_tree_mutator(node, null_row, varno);
}

static Node *
transform_condition(ParseState *state, const char *text, UsherWatchEvent event)
{
	int missing = event == WATCH_DELETE ? PRS2_NEW_VARNO : PRS2_OLD_VARNO;
	ErrorContextCallback context = {error_context_stack, condition_context,
									unconstify(char *, text)};
	Node *condition;

	error_context_stack = &context;
	state->p_sourcetext = text;
	condition = transform(state, parse_condition(text));
	if (event != WATCH_UPDATE)
		condition = null_row(condition, &missing);
	error_context_stack = context.previous;
	return condition;
}

/* What the WHEN clause of the trigger for that kind of event is to be. */
void
usher_watch_when_make(Relation rel, const UsherWatch *watch, UsherWatchEvent event,
					  UsherWatchWhen *when)
{
	ParseState *state = make_parsestate(NULL);
	Node *columns = NULL;

	add_row(state, rel, "old", event == WATCH_DELETE); /* PRS2_OLD_VARNO */
	add_row(state, rel, "new", event != WATCH_DELETE); /* PRS2_NEW_VARNO */
	if (watch->nkey > 0 || watch->ncolumns > 0)
		columns = transform(state, columns_arm(watch, event));
	when->expression = watch->condition ? transform_condition(state, watch->condition, event)
										: columns;
	if (watch->condition && columns)
		when->expression = (Node *) makeBoolExpr(AND_EXPR, list_make2(columns, when->expression),
												 -1);
	if (when->expression)
		assign_expr_collations(state, when->expression);
	when->range_table = state->p_rtable;
}

/* The columns that the WHEN clause begins with; an error when they are not n. */
AttrNumber *
usher_watch_when_columns(const Trigger *trigger, int n)
{
	Node *node = trigger->tgqual ? stringToNode(trigger->tgqual) : NULL;
	AttrNumber *attnums = palloc_array(AttrNumber, Max(n, 1));
	List *columns = NIL;
	ListCell *lc;
	int found = 0;

	if (n == 0)
		return attnums;
	if (node && IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == AND_EXPR)
		node = linitial(((BoolExpr *) node)->args);
	if (node && IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == OR_EXPR)
		node = lsecond(((BoolExpr *) node)->args);
	if (node && IsA(node, NullTest) && IsA(((NullTest *) node)->arg, RowExpr))
		columns = ((RowExpr *) ((NullTest *) node)->arg)->args;
	foreach(lc, columns)
		if (found < n && IsA(lfirst(lc), Var) && ((Var *) lfirst(lc))->varattno > 0)
			attnums[found++] = ((Var *) lfirst(lc))->varattno;
	if (found != n || list_length(columns) != n)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("trigger \"%s\" does not name the columns of its watch", trigger->tgname),
				 errhint("Drop it and call usher.watch again.")));
	return attnums;
}

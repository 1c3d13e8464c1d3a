/*
 * test/unit/turns.c
 *	  The queue whose tenants are served in turn: order, bounds, who gives way; and
 *	  random steps beside a model of plain arrays.
 */
#include "lib/turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define MODEL_MAX 40

typedef struct Entry
{
	Turn turn;
	int number;
	int tenant;
} Entry;

static Entry *
entry(int number)
{
	Entry *e = calloc(1, sizeof(*e));

	e->number = number;
	return e;
}

static bool
add(Turns *turns, const char *tenant, int number, Entry **evicted)
{
	Entry *e = entry(number);
	Turn *left;
	bool added = turns_add(turns, &e->turn, tenant, number, &left);

	if (evicted != NULL)
		*evicted = (Entry *) left;
	if (!added)
		free(e);
	return added;
}

/* The number of the next; -1: nobody. */
static int
take(Turns *turns)
{
	Entry *e = (Entry *) turns_take(turns);
	int number = e != NULL ? e->number : -1;

	free(e);
	return number;
}

static void
test_order(void)
{
	Turns turns = {.max = 100};
	int expected[] = {1, 11, 21, 2, 12, 3, 4, -1};
	bool right = true;

	add(&turns, "a", 1, NULL);
	add(&turns, "a", 2, NULL);
	add(&turns, "a", 3, NULL);
	add(&turns, "a", 4, NULL);
	add(&turns, "b", 11, NULL);
	add(&turns, "b", 12, NULL);
	add(&turns, "c", 21, NULL);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		right = take(&turns) == expected[i] && right;
	ok(right, "tenants in turn, each in its order");
	ok(turns.count == 0 && turns.oldest == NULL && turns.youngest == NULL && turns.ntenants == 0,
	   "empty again");
	turns_free(&turns);
}

static void
test_share(void)
{
	Turns turns = {.max = 10};
	Entry *left = NULL;
	int n = 0;

	while (add(&turns, "hog", n, NULL))
		n++;
	ok(n == 10, "alone a tenant may fill the queue");
	ok(add(&turns, "small", 100, &left) && left != NULL && left->number == 9,
	   "another one has its place, and the hog's youngest leaves");
	free(left);
	ok(!add(&turns, "hog", 50, NULL), "the hog has no more than half while others wait");
	for (int i = 0; i < 4; i++)
	{
		add(&turns, "small", 101 + i, &left);
		free(left);
	}
	ok(turns.count == 10 && turns.hog == NULL, "down to half");
	ok(!add(&turns, "small", 110, NULL) && !add(&turns, "third", 111, NULL),
	   "full for everybody when nobody has more than half");
	ok(take(&turns) == 0 && take(&turns) == 100 && take(&turns) == 1, "still in turn");
	ok(add(&turns, "third", 112, &left) && left == NULL, "room again");
	while (take(&turns) >= 0)
		;
	turns_free(&turns);
}

static void
test_put_back(void)
{
	Turns turns = {.max = 10};
	Entry *first, *second;

	for (int i = 1; i <= 3; i++)
		add(&turns, "a", i, NULL);
	add(&turns, "b", 4, NULL);
	first = (Entry *) turns_take(&turns);
	second = (Entry *) turns_take(&turns);
	turns_put_back(&turns, &second->turn, "b");
	turns_put_back(&turns, &first->turn, "a");
	ok(((Entry *) turns.oldest)->number == 1 && ((Entry *) turns.youngest)->number == 4,
	   "what is put back has its age");
	turns_remove(&turns, turns.oldest);
	free(first);
	ok(((Entry *) turns.oldest)->number == 2, "the next oldest");
	ok(turns.count == 3, "and is counted");
	while (take(&turns) >= 0)
		;
	turns_free(&turns);
}

/* The model: entries by tenant in arrays; whose turn it is follows from who was served last. */
typedef struct Model
{
	Entry *entries[MODEL_MAX];
	int n;
} Model;

static int
model_count(const Model *m, int tenant)
{
	int count = 0;

	for (int i = 0; i < m->n; i++)
		count += m->entries[i]->tenant == tenant;
	return count;
}

static void
model_remove(Model *m, const Entry *e)
{
	int i = 0;

	while (m->entries[i] != e)
		i++;
	memmove(&m->entries[i], &m->entries[i + 1], (size_t) (m->n - i - 1) * sizeof(Entry *));
	m->n--;
}

static bool
model_add(Turns *turns, Model *m, int number, unsigned *seed)
{
	Entry *e = entry(number);
	Turn *left;
	char name[8];
	bool added, expected;

	e->tenant = rand_r(seed) % 3 == 0 ? rand_r(seed) % 20 : 0;
	snprintf(name, sizeof(name), "t%d", e->tenant);
	added = turns_add(turns, &e->turn, name, number, &left);
	if (left != NULL)
	{
		if (model_count(m, ((Entry *) left)->tenant) <= MODEL_MAX / 2)
			return false;
		model_remove(m, (Entry *) left);
		free(left);
	}
	expected = m->n < MODEL_MAX &&
			   (model_count(m, e->tenant) < MODEL_MAX / 2 || model_count(m, e->tenant) == m->n);
	if (added)
		m->entries[m->n++] = e;
	else
		free(e);
	return added == expected;
}

/* The oldest of its tenant must come, and after as many takes as there are tenants everybody was served. */
static bool
model_take(Turns *turns, Model *m, int *served)
{
	Entry *e = (Entry *) turns_take(turns);

	if (e == NULL)
		return m->n == 0;
	for (int i = 0; i < m->n && m->entries[i] != e; i++)
		if (m->entries[i]->tenant == e->tenant)
			return false;
	for (int tenant = 0; tenant < 20; tenant++)
		served[tenant]++;
	if (served[e->tenant] > 20)
		return false;
	served[e->tenant] = 0;
	model_remove(m, e);
	free(e);
	return true;
}

static void
test_model(void)
{
	Turns turns = {.max = MODEL_MAX};
	Model m = {.n = 0};
	int served[20] = {0}; /* takes of others while it waited */
	unsigned seed = 3;
	bool right = true, counts = true;

	for (int step = 0; step < 200000 && right && counts; step++)
	{
		int what = rand_r(&seed) % 100;

		if (what < 50 + (step / 1000 % 2 ? 20 : -20))
			right = model_add(&turns, &m, step, &seed);
		else if (what < 97 || m.n == 0)
			right = model_take(&turns, &m, served);
		else
		{
			Entry *e = (Entry *) turns.oldest;

			right = e == m.entries[0];
			turns_remove(&turns, &e->turn);
			model_remove(&m, e);
			free(e);
		}
		for (int i = 0; i < 20; i++)
			if (model_count(&m, i) == 0)
				served[i] = 0;
		counts = turns.count == (size_t) m.n;
	}
	ok(right, "200,000 steps are as the model says");
	ok(counts, "and counted");
	while (m.n > 0 && right)
		right = model_take(&turns, &m, served);
	turns_free(&turns);
}

int
main(void)
{
	test_order();
	test_share();
	test_put_back();
	test_model();
	return tap_end();
}

/*
 * gateway/lib/pattern_trie.c
 *	  Which of many patterns match a name.
 *
 * A node stands for the first segments of a pattern.  Its children are found in
 * one table of the whole trie, by the node and their text (or the text in front
 * of their first asterisk); a child of `*` and one of `**` are pointed to.
 */
#include <stdlib.h>
#include <string.h>

#include "hash_table.h"
#include "lib/glob.h"
#include "pattern_trie.h"

typedef enum NodeKind
{
	NODE_EXACT,
	NODE_ONE, /* "*" */
	NODE_ANY, /* "**" */
	NODE_GLOB, /* a segment with asterisks in it */
} NodeKind;

typedef struct Node Node;
struct Node
{
	Hashed hashed; /* first */
	Node *parent;
	NodeKind kind;
	size_t prefix; /* bytes that are hashed: all, or those in front of the first asterisk */
	int children;
	Node *one, *any;
	struct PrefixLength
	{
		size_t len;
		int nodes;
	} * prefixes; /* of children with asterisks: which lengths there are */
	int nprefixes;
	void *held;
	uint64_t stamp; /* the step in which it was reached */
	size_t len;
	char text[];
};

typedef struct NodeSet
{
	Node **nodes;
	int n, size;
} NodeSet;

struct PatternTrie
{
	SipKey key;
	Node *root;
	HashTable nodes;
	uint64_t step;
	NodeSet now, then;
};

static void *
zalloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL)
		abort();
	return memory;
}

static uint64_t
hash_of(const PatternTrie *trie, const Node *parent, NodeKind kind, const char *text, size_t len)
{
	SipKey key = trie->key;

	key.k0 ^= (uint64_t) (uintptr_t) parent;
	key.k1 ^= kind == NODE_GLOB;
	return siphash(key, text, len);
}

PatternTrie *
trie_make(SipKey key)
{
	PatternTrie *trie = zalloc(sizeof(PatternTrie));

	trie->key = key;
	trie->root = zalloc(sizeof(Node));
	return trie;
}

static void
free_node(Hashed *hashed)
{
	Node *node = (Node *) hashed;

	free(node->prefixes);
	free(node);
}

/* Nodes of "*" and "**" are in the table, too, for this alone. */
void
trie_free(PatternTrie *trie)
{
	hash_free(&trie->nodes, free_node);
	free_node(&trie->root->hashed);
	free(trie->now.nodes);
	free(trie->then.nodes);
	free(trie);
}

bool
trie_is_empty(const PatternTrie *trie)
{
	return trie->nodes.count == 0;
}

/*
 * Patterns
 */

/* The next segment of a text; false: there is none. */
static bool
next_segment(Slice *rest, Slice *segment)
{
	const char *dot;

	if (rest->data == NULL)
		return false;
	dot = memchr(rest->data, '.', rest->len);
	*segment = (Slice){rest->data, dot ? (size_t) (dot - rest->data) : rest->len};
	if (dot)
		*rest = (Slice){dot + 1, rest->len - segment->len - 1};
	else
		*rest = (Slice){NULL, 0};
	return true;
}

/* A lone asterisk is everything. */
static Slice
canonical(Slice pattern)
{
	return pattern.len == 1 && pattern.data[0] == '*' ? (Slice){"**", 2} : pattern;
}

static NodeKind
kind_of(Slice segment, size_t *prefix)
{
	const char *star = memchr(segment.data, '*', segment.len);

	*prefix = star ? (size_t) (star - segment.data) : segment.len;
	if (star == NULL)
		return NODE_EXACT;
	if (segment.len == 1)
		return NODE_ONE;
	return segment.len == 2 && *prefix == 0 && segment.data[1] == '*' ? NODE_ANY : NODE_GLOB;
}

/* The first that is such a child, of this one and those of its hash behind it. */
static Node *
such_child(Hashed *hashed, const Node *parent, NodeKind kind)
{
	while (hashed && !(((Node *) hashed)->parent == parent && ((Node *) hashed)->kind == kind))
		hashed = hash_next(hashed);
	return (Node *) hashed;
}

/* Children whose text begins so: candidates, since only the hash was compared. */
static Node *
first_child(const PatternTrie *trie, const Node *parent, NodeKind kind, const char *text,
			size_t len)
{
	return such_child(hash_first(&trie->nodes, hash_of(trie, parent, kind, text, len)), parent,
					  kind);
}

static Node *
next_child(const Node *node)
{
	return such_child(hash_next(&node->hashed), node->parent, node->kind);
}

static bool
is_text(const Node *node, Slice text)
{
	return node->len == text.len && memcmp(node->text, text.data, text.len) == 0;
}

static Node *
find_child(const PatternTrie *trie, Node *parent, Slice segment)
{
	size_t prefix;
	NodeKind kind = kind_of(segment, &prefix);
	Node *node;

	if (kind == NODE_ONE || kind == NODE_ANY)
		return kind == NODE_ONE ? parent->one : parent->any;
	node = first_child(trie, parent, kind, segment.data, prefix);
	while (node && !is_text(node, segment))
		node = next_child(node);
	return node;
}

static void
count_prefix(Node *parent, size_t len, int by)
{
	int i = 0;

	while (i < parent->nprefixes && parent->prefixes[i].len != len)
		i++;
	if (i == parent->nprefixes)
	{
		parent->prefixes = realloc(parent->prefixes,
								   sizeof(struct PrefixLength) * (size_t) (i + 1));
		if (parent->prefixes == NULL)
			abort();
		parent->prefixes[i] = (struct PrefixLength){len, 0};
		parent->nprefixes++;
	}
	parent->prefixes[i].nodes += by;
	if (parent->prefixes[i].nodes == 0)
		parent->prefixes[i] = parent->prefixes[--parent->nprefixes];
}

static Node *
add_child(PatternTrie *trie, Node *parent, Slice segment)
{
	Node *node = zalloc(sizeof(Node) + segment.len + 1);

	node->kind = kind_of(segment, &node->prefix);
	node->parent = parent;
	node->len = segment.len;
	memcpy(node->text, segment.data, segment.len);
	node->hashed.hash = hash_of(trie, parent, node->kind, node->text, node->prefix);
	parent->children++;
	if (node->kind == NODE_ONE)
		parent->one = node;
	else if (node->kind == NODE_ANY)
		parent->any = node;
	else if (node->kind == NODE_GLOB)
		count_prefix(parent, node->prefix, 1);
	hash_add(&trie->nodes, &node->hashed);
	return node;
}

void **
trie_place(PatternTrie *trie, Slice pattern)
{
	Slice rest = canonical(pattern), segment;
	Node *node = trie->root;

	if (rest.data == NULL)
		rest = (Slice){"", 0};
	while (next_segment(&rest, &segment))
	{
		Node *child = find_child(trie, node, segment);

		node = child ? child : add_child(trie, node, segment);
	}
	return &node->held;
}

static void
remove_node(PatternTrie *trie, Node *node)
{
	Node *parent = node->parent;

	hash_remove(&trie->nodes, &node->hashed);
	parent->children--;
	if (node->kind == NODE_ONE)
		parent->one = NULL;
	else if (node->kind == NODE_ANY)
		parent->any = NULL;
	else if (node->kind == NODE_GLOB)
		count_prefix(parent, node->prefix, -1);
	free_node(&node->hashed);
}

void
trie_remove(PatternTrie *trie, Slice pattern)
{
	Slice rest = canonical(pattern), segment;
	Node *node = trie->root;

	if (rest.data == NULL)
		rest = (Slice){"", 0};
	while (node && next_segment(&rest, &segment))
		node = find_child(trie, node, segment);
	if (node == NULL)
		return;
	node->held = NULL;
	while (node != trie->root && node->held == NULL && node->children == 0)
	{
		Node *parent = node->parent;

		remove_node(trie, node);
		node = parent;
	}
}

/*
 * Names
 */

/* A node is reached; "**" behind it stands also for no segment. */
static void
reach(PatternTrie *trie, NodeSet *set, Node *node)
{
	for (; node && node->stamp != trie->step; node = node->any)
	{
		node->stamp = trie->step;
		if (set->n == set->size)
		{
			set->size = set->size ? set->size * 2 : 16;
			set->nodes = realloc(set->nodes, sizeof(Node *) * (size_t) set->size);
			if (set->nodes == NULL)
				abort();
		}
		set->nodes[set->n++] = node;
	}
}

static void
follow(PatternTrie *trie, const Node *from, Slice segment)
{
	for (Node *node = first_child(trie, from, NODE_EXACT, segment.data, segment.len); node;
		 node = next_child(node))
		if (is_text(node, segment))
			reach(trie, &trie->then, node);
	reach(trie, &trie->then, from->one);
	for (int i = 0; i < from->nprefixes; i++)
	{
		size_t len = from->prefixes[i].len;

		if (len > segment.len)
			continue;
		for (Node *node = first_child(trie, from, NODE_GLOB, segment.data, len); node;
			 node = next_child(node))
			if (node->prefix == len &&
				usher_glob_match(node->text, node->len, segment.data, segment.len))
				reach(trie, &trie->then, node);
	}
}

void
trie_match(PatternTrie *trie, Slice name, TrieFound found, void *context)
{
	Slice rest = name.data ? name : (Slice){"", 0}, segment;

	if (trie_is_empty(trie))
		return;
	trie->now.n = 0;
	trie->step++;
	reach(trie, &trie->now, trie->root);
	while (trie->now.n > 0 && next_segment(&rest, &segment))
	{
		NodeSet before;

		trie->step++;
		trie->then.n = 0;
		for (int i = 0; i < trie->now.n; i++)
		{
			Node *node = trie->now.nodes[i];

			if (node->children > 0)
				follow(trie, node, segment);
			if (node->kind == NODE_ANY && node != trie->root)
				reach(trie, &trie->then, node);
		}
		before = trie->now;
		trie->now = trie->then;
		trie->then = before;
	}
	for (int i = 0; i < trie->now.n; i++)
		if (trie->now.nodes[i]->held)
			found(context, trie->now.nodes[i]->held);
}

/*
 * gateway/lib/pattern_trie.h
 *	  Which of many patterns match a name, without trying each.
 *
 * Pure C.  Patterns and names are those of extension/lib/glob.h.  A pattern is a
 * path of segments; a name follows all paths at once that it fits.  Segments
 * without asterisks are found by their hash, those with one by the hash of what
 * stands in front of it, so only patterns that share that text are tried one by
 * one (`order-*` costs a look-up, `*-paid` and `*-sent` cost two comparisons).
 */
#ifndef USHERD_PATTERN_TRIE_H
#define USHERD_PATTERN_TRIE_H

#include <stdbool.h>

#include "siphash.h"
#include "text.h"

typedef struct PatternTrie PatternTrie;

extern PatternTrie *trie_make(SipKey key);
extern void trie_free(PatternTrie *trie); /* what it holds for its patterns is the caller's */
/* What is held for a pattern; it is NULL when the pattern is new, and must not stay so. */
extern void **trie_place(PatternTrie *trie, Slice pattern);
extern void trie_remove(PatternTrie *trie, Slice pattern);
extern bool trie_is_empty(const PatternTrie *trie);

/* found() is called once for each pattern that matches, and leaves the trie as it is. */
typedef void (*TrieFound)(void *context, void *held);
extern void trie_match(PatternTrie *trie, Slice name, TrieFound found, void *context);

#endif /* USHERD_PATTERN_TRIE_H */

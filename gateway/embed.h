/*
 * gateway/embed.h
 *	  Files that are part of the program.
 */
#ifndef USHERD_EMBED_H
#define USHERD_EMBED_H

#include <stddef.h>

typedef struct Embedded
{
	const char *name; /* as a request names it */
	const char *content_type;
	const char *data, *end;
} Embedded;

extern const Embedded embedded_docs[]; /* the first is the page */
extern const int embedded_ndocs;
extern const Embedded embedded_live[]; /* the page of /, and clients/js for it and for others */
extern const int embedded_nlive;
extern const Embedded embedded_schemas; /* the members of components/schemas, as one object */

#endif /* USHERD_EMBED_H */

/*
 * gateway/lib/accept_encoding.h
 *	  Does a client want its reply compressed? (RFC 9110, 12.5.3)
 *
 * Pure C.
 */
#ifndef USHERD_ACCEPT_ENCODING_H
#define USHERD_ACCEPT_ENCODING_H

#include <stdbool.h>

#include "text.h"

/* The header's value, or absent.  What cannot be read counts as not wanted. */
extern bool accepts_gzip(Slice header);

#endif /* USHERD_ACCEPT_ENCODING_H */

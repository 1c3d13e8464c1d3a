/*
 * gateway/frame.h
 *	  Bytes that many connections write: made once, counted, gone with the last that needs them.
 */
#ifndef USHERD_FRAME_H
#define USHERD_FRAME_H

#include "budget.h"
#include "lib/text.h"

typedef struct Frame
{
	int users;
	int events; /* that it brings, if somebody counts them */
	const char *data;
	size_t len;
	char *memory;
	bool held; /* counts as this tenant's: */
	BudgetShare *share;
} Frame;

/* Takes the text's memory over, without its first bytes; the caller is the first user. */
extern Frame *frame_of(Text *text, size_t without);
extern Frame *frame_keep(Frame *frame);
/* Somebody of this tenant does not take it: it is counted, once for all.  false: there is no room. */
extern bool frame_hold(Frame *frame, BudgetShare *share);
extern void frame_release(Frame *frame);
extern int64_t frame_bytes(void); /* of all that there are */

#endif /* USHERD_FRAME_H */

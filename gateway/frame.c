/*
 * gateway/frame.c
 *	  Bytes that many connections write.
 */
#include <stdlib.h>

#include "frame.h"

static int64_t bytes;

Frame *
frame_of(Text *text, size_t without)
{
	Frame *frame = malloc(sizeof(Frame));

	if (frame == NULL)
		abort();
	*frame = (Frame){
		.users = 1, .data = text->data + without, .len = text->len - without, .memory = text->data};
	bytes += (int64_t) frame->len;
	*text = (Text){0};
	return frame;
}

Frame *
frame_keep(Frame *frame)
{
	frame->users++;
	return frame;
}

bool
frame_hold(Frame *frame, BudgetShare *share)
{
	if (frame->held)
		return true;
	if (!budget_has_room(share, (int64_t) frame->len))
		return false;
	frame->held = true;
	frame->share = budget_keep(share);
	budget_change(share, (int64_t) frame->len);
	return true;
}

void
frame_release(Frame *frame)
{
	if (--frame->users > 0)
		return;
	if (frame->held)
	{
		budget_change(frame->share, -(int64_t) frame->len);
		budget_release(frame->share);
	}
	bytes -= (int64_t) frame->len;
	free(frame->memory);
	free(frame);
}

int64_t
frame_bytes(void)
{
	return bytes;
}

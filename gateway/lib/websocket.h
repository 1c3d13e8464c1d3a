/*
 * gateway/lib/websocket.h
 *	  The framing of WebSocket (RFC 6455), the server's side.
 *
 * Pure C.  Bytes go in as they come; messages and control frames come out one
 * by one.  The only memory is that of an unfinished message, and it is bounded, also that of one which was compressed.
 * Whatever the RFC lets a server fail is failed, with the close code that it
 * names: unmasked or reserved frames, fragments in the wrong place, control
 * frames that are too long, text that is not UTF-8 (as soon as it cannot be any
 * more), close codes that nobody may send.
 */
#ifndef USHERD_WEBSOCKET_H
#define USHERD_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

typedef enum WebsocketOpcode
{
	WEBSOCKET_CONTINUATION = 0,
	WEBSOCKET_TEXT = 1,
	WEBSOCKET_BINARY = 2,
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING = 9,
	WEBSOCKET_PONG = 10,
} WebsocketOpcode;

typedef enum WebsocketResult
{
	WEBSOCKET_MORE, /* all was used, and more must come */
	WEBSOCKET_MESSAGE, /* *opcode TEXT or BINARY, *payload whole; valid until the next call */
	WEBSOCKET_CONTROL, /* *opcode CLOSE, PING or PONG with its payload, 0 to 125 bytes */
	WEBSOCKET_FAILED, /* close with close_code; nothing else is read */
} WebsocketResult;

/* Begin with websocket_begin, end with websocket_end. */
typedef struct Websocket
{
	size_t message_max;
	Text message; /* the unfinished message */
	unsigned char control[125];
	unsigned char head[14];
	uint8_t head_have;
	uint8_t opcode; /* of the frame */
	uint8_t message_opcode; /* of the message that its fragments belong to; 0: none */
	bool in_payload, final, delivered;
	bool failed;
	unsigned fragments; /* frames that ended no message, since the caller has set it to 0 */
	bool deflate; /* the handshake has agreed on permessage-deflate: set it behind websocket_begin() */
	bool compressed; /* the message is */
	unsigned char mask[4];
	uint64_t left, offset; /* of the frame's payload */
	uint32_t utf8; /* state of the text so far */
	uint16_t close_code; /* when failed: 1002, 1007 or 1009 */
} Websocket;

extern void websocket_begin(Websocket *ws, size_t message_max);
extern void websocket_end(Websocket *ws);

/* Takes from *data, *len what it uses. */
extern WebsocketResult websocket_next(Websocket *ws, const char **data, size_t *len, WebsocketOpcode *opcode,
									  Slice *payload);

#define WEBSOCKET_COMPRESSED 0x40 /* may be added to the opcode */

/* A server's frame: final, unmasked.  Returns the length of its head, 2 to 10 bytes. */
#define WEBSOCKET_HEAD_MAX 10
extern size_t websocket_head(char head[WEBSOCKET_HEAD_MAX], WebsocketOpcode opcode, uint64_t payload_len);

/* A close frame's code and reason; 1005 when it is empty.  false: it may not be sent so (answer with 1002 or 1007). */
extern bool websocket_close_code(Slice payload, uint16_t *code);

/* Sec-WebSocket-Accept of a Sec-WebSocket-Key; false: the key is not 16 bytes in base64. */
extern bool websocket_accept(Slice key, char accept[29]);

#endif /* USHERD_WEBSOCKET_H */

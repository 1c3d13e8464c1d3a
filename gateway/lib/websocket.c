/*
 * gateway/lib/websocket.c
 *	  The framing of WebSocket (RFC 6455), the server's side.
 */
#include <openssl/evp.h>
#include <string.h>

#include "websocket.h"
#include "websocket_deflate.h"

#define UTF8_ACCEPT 0
#define UTF8_REJECT UINT32_MAX

/*
 * UTF-8 byte by byte (RFC 3629): the state holds how many continuation bytes are missing, and the
 * bounds of the next one; overlong forms, surrogates and what is beyond U+10FFFF never pass.
 */
static uint32_t
utf8_next(uint32_t state, unsigned char byte)
{
	unsigned missing = state & 0xff, low = state >> 8 & 0xff, high = state >> 16 & 0xff;

	if (state == UTF8_REJECT)
		return state;
	if (missing > 0)
	{
		if (byte < low || byte > high)
			return UTF8_REJECT;
		return missing == 1 ? UTF8_ACCEPT : (missing - 1) | 0x80u << 8 | 0xbfu << 16;
	}
	if (byte < 0x80)
		return UTF8_ACCEPT;
	if (byte >= 0xc2 && byte <= 0xdf)
		return 1 | 0x80u << 8 | 0xbfu << 16;
	if (byte >= 0xe0 && byte <= 0xef)
		return 2 | (byte == 0xe0 ? 0xa0u : 0x80u) << 8 | (byte == 0xed ? 0x9fu : 0xbfu) << 16;
	if (byte >= 0xf0 && byte <= 0xf4)
		return 3 | (byte == 0xf0 ? 0x90u : 0x80u) << 8 | (byte == 0xf4 ? 0x8fu : 0xbfu) << 16;
	return UTF8_REJECT;
}

static uint32_t
utf8_run(uint32_t state, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		/* Most text is ASCII: eight bytes at a time. */
		uint64_t eight;

		if (state == UTF8_ACCEPT && len - i >= 8 &&
			(memcpy(&eight, data + i, 8), (eight & 0x8080808080808080u) == 0))
		{
			i += 7;
			continue;
		}
		state = utf8_next(state, (unsigned char) data[i]);
	}
	return state;
}

void
websocket_begin(Websocket *ws, size_t message_max)
{
	memset(ws, 0, sizeof(*ws));
	ws->message_max = message_max;
}

void
websocket_end(Websocket *ws)
{
	text_free(&ws->message);
}

static WebsocketResult
fail(Websocket *ws, uint16_t code)
{
	ws->failed = true;
	ws->close_code = code;
	text_free(&ws->message);
	return WEBSOCKET_FAILED;
}

/* The head's length by what is there of it; 0: two bytes are needed first. */
static size_t
head_len(const Websocket *ws)
{
	unsigned len;

	if (ws->head_have < 2)
		return 0;
	len = ws->head[1] & 0x7f;
	return 2u + (len == 126 ? 2 : len == 127 ? 8 : 0) + 4;
}

/* The whole head is there.  0, or a close code. */
static uint16_t
begin_frame(Websocket *ws)
{
	unsigned short_len = ws->head[1] & 0x7f;
	unsigned bytes = short_len == 126 ? 2 : short_len == 127 ? 8 : 0;
	bool control = (ws->head[0] & 8) != 0;
	uint64_t len = short_len;

	ws->opcode = ws->head[0] & 15;
	ws->final = (ws->head[0] & 0x80) != 0;
	if ((ws->head[0] & 0x30) != 0 || (ws->head[1] & 0x80) == 0)
		return 1002;
	/* Only the first frame of a message says that it is compressed (RFC 7692, 6). */
	if ((ws->head[0] & 0x40) != 0 &&
		(!ws->deflate || control || ws->opcode == WEBSOCKET_CONTINUATION))
		return 1002;
	if (bytes > 0)
	{
		len = 0;
		for (unsigned i = 0; i < bytes; i++)
			len = len << 8 | ws->head[2 + i];
		if (len < (bytes == 2 ? 126u : 65536u) || len >> 63)
			return 1002; /* not the shortest form (5.2) */
	}
	memcpy(ws->mask, ws->head + 2 + bytes, 4);
	if (control)
	{
		if (ws->opcode > WEBSOCKET_PONG || !ws->final || len > sizeof(ws->control))
			return 1002;
	}
	else if (ws->opcode > WEBSOCKET_BINARY || (ws->opcode == WEBSOCKET_CONTINUATION) != (ws->message_opcode != 0))
		return 1002;
	else if (ws->opcode != WEBSOCKET_CONTINUATION)
	{
		ws->message_opcode = ws->opcode;
		ws->compressed = (ws->head[0] & 0x40) != 0;
		ws->utf8 = UTF8_ACCEPT;
	}
	if (!control && len > ws->message_max - ws->message.len)
		return 1009;
	ws->left = len;
	ws->offset = 0;
	ws->in_payload = true;
	return 0;
}

static void
unmask(Websocket *ws, char *out, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (char) ((unsigned char) data[i] ^ ws->mask[(ws->offset + i) & 3]);
}

/* A part of the payload.  false: the text cannot be UTF-8 any more. */
static bool
take_payload(Websocket *ws, const char **data, size_t *len)
{
	size_t take = ws->left < *len ? (size_t) ws->left : *len;
	bool ok = true;

	if (ws->opcode & 8)
		unmask(ws, (char *) ws->control + ws->offset, *data, take);
	else if (take > 0)
	{
		char *out;

		text_reserve(&ws->message, take + 1);
		out = ws->message.data + ws->message.len;
		unmask(ws, out, *data, take);
		ws->message.len += take;
		if (ws->message_opcode == WEBSOCKET_TEXT && !ws->compressed)
		{
			ws->utf8 = utf8_run(ws->utf8, out, take);
			ok = ws->utf8 != UTF8_REJECT;
		}
	}
	ws->offset += take;
	ws->left -= take;
	*data += take;
	*len -= take;
	return ok;
}

/* 0, or a close code. */
static uint16_t
decompress(Websocket *ws)
{
	Slice payload = {ws->message.data ? ws->message.data : "", ws->message.len};
	Text message = {0};
	InflateResult result = inflate_message(payload, ws->message_max, &message);

	text_free(&ws->message);
	ws->message = message;
	if (result != INFLATE_OK)
		return result == INFLATE_TOO_LARGE ? 1009 : 1007;
	if (ws->message_opcode == WEBSOCKET_TEXT)
		ws->utf8 = utf8_run(UTF8_ACCEPT, message.data, message.len);
	return 0;
}

/* The frame's payload is whole: a control frame, a message, or a fragment of one. */
static WebsocketResult
end_frame(Websocket *ws, WebsocketOpcode *opcode, Slice *payload)
{
	ws->in_payload = false;
	ws->head_have = 0;
	if (ws->opcode & 8)
	{
		*opcode = (WebsocketOpcode) ws->opcode;
		*payload = (Slice){(char *) ws->control, (size_t) ws->offset};
		return WEBSOCKET_CONTROL;
	}
	if (!ws->final)
	{
		ws->fragments++;
		return WEBSOCKET_MORE;
	}
	if (ws->compressed)
	{
		uint16_t code = decompress(ws);

		if (code != 0)
			return fail(ws, code);
	}
	if (ws->message_opcode == WEBSOCKET_TEXT && ws->utf8 != UTF8_ACCEPT)
		return fail(ws, 1007);
	*opcode = (WebsocketOpcode) ws->message_opcode;
	*payload = (Slice){ws->message.data ? ws->message.data : "", ws->message.len};
	ws->message_opcode = 0;
	ws->delivered = true;
	return WEBSOCKET_MESSAGE;
}

WebsocketResult
websocket_next(Websocket *ws, const char **data, size_t *len, WebsocketOpcode *opcode, Slice *payload)
{
	if (ws->failed)
		return WEBSOCKET_FAILED;
	if (ws->delivered)
	{
		text_free(&ws->message); /* an idle socket holds no memory */
		ws->delivered = false;
	}
	for (;;)
	{
		WebsocketResult result;

		while (!ws->in_payload)
		{
			uint16_t code;

			if (*len == 0)
				return WEBSOCKET_MORE;
			ws->head[ws->head_have++] = (unsigned char) *(*data)++;
			(*len)--;
			if (ws->head_have < 2 || ws->head_have < head_len(ws))
			{
				/* An unmasked frame has no mask to wait for. */
				if (ws->head_have == 2 && (ws->head[1] & 0x80) == 0)
					return fail(ws, 1002);
				continue;
			}
			code = begin_frame(ws);
			if (code != 0)
				return fail(ws, code);
		}
		if (!take_payload(ws, data, len))
			return fail(ws, 1007);
		if (ws->left > 0)
			return WEBSOCKET_MORE;
		result = end_frame(ws, opcode, payload);
		if (result != WEBSOCKET_MORE)
			return result;
	}
}

size_t
websocket_head(char head[WEBSOCKET_HEAD_MAX], WebsocketOpcode opcode, uint64_t len)
{
	unsigned bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

	head[0] = (char) (0x80 | opcode);
	head[1] = (char) (bytes == 0 ? len : bytes == 2 ? 126 : 127);
	for (unsigned i = 0; i < bytes; i++)
		head[2 + i] = (char) (len >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}

bool
websocket_close_code(Slice payload, uint16_t *code)
{
	*code = 1005;
	if (payload.len == 0)
		return true;
	*code = 1002;
	if (payload.len == 1)
		return false;
	if (utf8_run(UTF8_ACCEPT, payload.data + 2, payload.len - 2) != UTF8_ACCEPT)
	{
		*code = 1007;
		return false;
	}
	*code = (uint16_t) ((unsigned char) payload.data[0] << 8 | (unsigned char) payload.data[1]);
	/* RFC 6455, 7.4, and the registry: 1004 to 1006 and 1015 are never sent. */
	if ((*code >= 1000 && *code <= 1003) || (*code >= 1007 && *code <= 1014) || (*code >= 3000 && *code <= 4999))
		return true;
	*code = 1002;
	return false;
}

bool
websocket_accept(Slice key, char accept[29])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
	unsigned char decoded[24], digest[EVP_MAX_MD_SIZE];
	char joined[24 + sizeof(guid)];

	if (key.len != 24 || key.data[22] != '=' || key.data[23] != '=' || key.data[21] == '=')
		return false;
	if (EVP_DecodeBlock(decoded, (const unsigned char *) key.data, 24) != 18)
		return false;
	memcpy(joined, key.data, 24);
	memcpy(joined + 24, guid, sizeof(guid) - 1);
	EVP_Digest(joined, 24 + sizeof(guid) - 1, digest, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *) accept, digest, 20);
	return true;
}

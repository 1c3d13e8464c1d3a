/*
 * gateway/embed.c
 *	  Files that are part of the program: the assembler reads them when this is compiled.
 *
 * Paths are relative to gateway/, where make runs.
 */
#include "embed.h"

#define EMBED(symbol, path)                                                             \
	extern const char symbol[], symbol##_end[];                                         \
	__asm__(".pushsection .rodata\n"                                                    \
			".globl " #symbol "\n.globl " #symbol "_end\n" #symbol ":\n.incbin \"" path \
			"\"\n" #symbol "_end:\n.byte 0\n.popsection\n")

EMBED(embed_schemas, "openapi/schemas.json");
EMBED(embed_docs_html, "../web/docs/index.html");
EMBED(embed_docs_css, "../web/docs/docs.css");
EMBED(embed_docs_js, "../web/docs/docs.js");
EMBED(embed_live_html, "../web/live/index.html");
EMBED(embed_live_css, "../web/live/live.css");
EMBED(embed_live_js, "../web/live/live.js");
EMBED(embed_live_sale_js, "../web/live/sale.js");
EMBED(embed_event_websocket, "../clients/js/event-websocket.js");
EMBED(embed_match, "../clients/js/match.js");
EMBED(embed_sse, "../clients/js/sse.js");

#define JAVASCRIPT "text/javascript; charset=utf-8"

const Embedded embedded_docs[] = {
	{"", "text/html; charset=utf-8", embed_docs_html, embed_docs_html_end},
	{"docs.css", "text/css; charset=utf-8", embed_docs_css, embed_docs_css_end},
	{"docs.js", JAVASCRIPT, embed_docs_js, embed_docs_js_end},
};

const int embedded_ndocs = sizeof(embedded_docs) / sizeof(embedded_docs[0]);

const Embedded embedded_live[] = {
	{"", "text/html; charset=utf-8", embed_live_html, embed_live_html_end},
	{"live.css", "text/css; charset=utf-8", embed_live_css, embed_live_css_end},
	{"live.js", JAVASCRIPT, embed_live_js, embed_live_js_end},
	{"sale.js", JAVASCRIPT, embed_live_sale_js, embed_live_sale_js_end},
	{"event-websocket.js", JAVASCRIPT, embed_event_websocket, embed_event_websocket_end},
	{"match.js", JAVASCRIPT, embed_match, embed_match_end},
	{"sse.js", JAVASCRIPT, embed_sse, embed_sse_end},
};

const int embedded_nlive = sizeof(embedded_live) / sizeof(embedded_live[0]);

const Embedded embedded_schemas = {"schemas.json", "application/json", embed_schemas,
								   embed_schemas_end};

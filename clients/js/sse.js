// clients/js/sse.js: server-sent events by fetch, so that a token can go in a header.

/**
 * Reads blocks of a text/event-stream body (WHATWG HTML, 9.2): yields {id, event, data, retry} for each.
 * A block without data (a heartbeat that carries a position) is yielded, too.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* readBlocks(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let block = {};
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an unfinished block is no block
      rest += decoder.decode(value, { stream: true });
      let from = 0;
      for (let at; (at = rest.indexOf('\n', from)) >= 0; from = at + 1) {
        const line = rest.slice(from, at).replace(/\r$/, '');
        if (line === '') {
          if (Object.keys(block).length) yield block;
          block = {};
          continue;
        }
        if (line.startsWith(':')) continue;
        const colon = line.indexOf(':');
        const name = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (name === 'data') block.data = block.data === undefined ? text : `${block.data}\n${text}`;
        else if (name === 'id' || name === 'event' || name === 'retry') block[name] = text;
      }
      rest = rest.slice(from);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

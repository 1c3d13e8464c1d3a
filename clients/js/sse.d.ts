/** Types of sse.js: server-sent events by fetch. */
export interface Block {
  id?: string;
  event?: string;
  data?: string;
  retry?: string;
}

export function readBlocks(body: ReadableStream<Uint8Array>): AsyncGenerator<Block, void, undefined>;

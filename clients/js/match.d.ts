/** Types of match.js: patterns and filters, as the server has them. */
import type { Filter, LogEvent } from './event-websocket.js';

export function globMatch(pattern: string, name: string): boolean;
export function filterMatch(filter: Filter | null | undefined, event: object): boolean;
export function wants(
  subscription: { types?: string[]; streams?: string[]; filter?: Filter | null },
  event: Pick<LogEvent, 'type'> & Partial<LogEvent>,
  user?: string,
): boolean;

// The live connection: events as the server reads them from the log, and actors of other programs. The browser reconnects
// by itself and says with which event it ended; what it got is folded some times a second, however fast it comes.
import type { InspectedEvent } from '../document.ts';

export type Connection = 'none' | 'connecting' | 'connected' | 'lost';

interface Listener {
  readonly events: (events: readonly InspectedEvent[]) => void;
  readonly actor: (message: unknown) => void;
  readonly connection: (connection: Connection) => void;
}

/** What comes within this time is folded and drawn at once. */
const FOLD_EVERY_MS = 40;

/** Opens the stream beside the page; `complete` says that the page has all events and asks for none. Returns what closes it. */
export const openFeed = (complete: boolean, { events, actor, connection }: Listener): (() => void) => {
  let waiting: InspectedEvent[] = [];
  let last = 0;
  let log: string | null = null;
  const flush = (): void => {
    const fresh = waiting;
    waiting = [];
    if (fresh.length > 0) events(fresh);
  };
  const source = new EventSource(complete ? 'events?after=all' : 'events');
  source.addEventListener('open', () => connection('connected'));
  source.addEventListener('error', () => connection(source.readyState === EventSource.CLOSED ? 'lost' : 'connecting'));
  source.addEventListener('message', (message: MessageEvent<string>) => {
    const event = JSON.parse(message.data) as InspectedEvent;
    // Another log took the place of the one that is shown: it is another history.
    if (log !== null && event.logId !== log) location.reload();
    log = event.logId ?? null;
    if (event.seq <= last) return;
    last = event.seq;
    if (waiting.length === 0) setTimeout(flush, FOLD_EVERY_MS);
    waiting.push(event);
  });
  source.addEventListener('actor', (message: MessageEvent<string>) => actor(JSON.parse(message.data)));
  return () => source.close();
};

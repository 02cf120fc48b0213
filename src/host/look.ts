// Looking at a log without the service: opened for reading, folded, told. Status, wait, monitor and explain are all made
// from the same story, so they say the same with the service up or down.
import { openReader } from '../adapters/log/sqlite.ts';
import { Story } from '../machines/story.ts';
import type { Arguments } from './command.ts';
import { type Configuration, loadConfig } from './config.ts';
import { ping, request } from './control-client.ts';
import { tellSound } from './salvage.ts';
import type { JsonObject } from './control-lines.ts';
import type { LogReader } from '../events/log.ts';

/** The configuration as the common options of a command ask for it. */
export const configurationOf = (args: Arguments): Configuration =>
  loadConfig(args.text('config'), { 'service.stateDir': args.text('state-dir') });

/** The MAC behind --pair, null where none was given. */
export const pairOption = (args: Arguments): string | null => args.text('pair') ?? null;

/** Folds what the log has (up to `until`). The whole log, so that history and findings are complete. */
export const tellLog = (reader: LogReader, until = Infinity): Story => {
  const story = new Story();
  for (const page of reader.fold(reader.first())) {
    for (const event of page) {
      if (event.seq > until) return story;
      tellSound(story, event, reader.path);
    }
  }
  return story;
};

/**
 * Follows the log until nothing is missing, at most `limit_s` seconds; returns what is still missing. What is missing is not
 * asked before event `from`: an order that was just given must be in the story first.
 */
export const untilMet = async (
  reader: LogReader,
  story: Story,
  missing: () => readonly string[],
  limit_s: number,
  from = 0,
): Promise<readonly string[]> => {
  const isMet = (): boolean => story.end.seq >= from && missing().length === 0;
  if (isMet()) return [];
  for await (const event of reader.follow(story.end.seq + 1, AbortSignal.timeout(limit_s * 1000))) {
    story.tell(event);
    if (isMet()) return [];
  }
  const lacking = missing();
  return lacking.length > 0 ? lacking : [`event ${from} is not in the log yet`];
};

/** The log that the configuration names, for reading. */
export const openLogOf = async ({ settings }: Configuration): Promise<LogReader> =>
  settings.log === '' ? openReader(settings.stateDir) : (await import('./remote.ts')).openRemoteReader(settings);

/** What a running service says of itself. */
export interface ServiceState {
  readonly pid: number;
  /** Sequence number of the event that it folded last. */
  readonly seq: number | null;
  /** Why it cannot write its log, null while it can. */
  readonly outage: string | null;
  /** How far the copy on a server is, null where none is made. */
  readonly forwarding: JsonObject | null;
}

/** The running service; null when nobody answers on the control socket. */
export const serviceState = async (configuration: Configuration): Promise<ServiceState | null> => {
  const { controlSocket } = configuration.settings;
  const answer: JsonObject = await request(controlSocket, 'status', {}, { timeout_ms: 1000 }).catch(() => ({}));
  const { pid, seq, outage, forwarding } = answer;
  if (typeof pid !== 'number') return null;
  return {
    pid,
    seq: typeof seq === 'number' ? seq : null,
    outage: typeof outage === 'string' ? outage : null,
    forwarding: typeof forwarding === 'object' && forwarding !== null ? (forwarding as JsonObject) : null,
  };
};

/** Its pid alone. */
export const servicePid = async (configuration: Configuration): Promise<number | null> => {
  const answer = await ping(configuration.settings.controlSocket, 1000).catch(() => null);
  return answer?.pid ?? null;
};

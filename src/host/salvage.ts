// What a log that was set aside as damaged still owed. What was changed in the system does not go with the record of it: as
// far as that can be read, its open obligations are opened again in the new log, so that `restore` gives them back.
import { readableEvents } from '../adapters/log/salvage.ts';
import type { Happening, Obligation, Target } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { NetkvmError } from '../events/errors.ts';
import { Guest } from '../machines/guest.ts';
import type { Story } from '../machines/story.ts';

/** Ids in a new log begin anew; these cannot be met there. */
const PREFIX = 'before.';

/** Whether the fold takes it: one that does not fit what is missing before it, or is damaged itself, it may not. */
const takes = (guest: Guest, event: Foldable): boolean => {
  try {
    guest.apply(event);
    return true;
  } catch {
    return false;
  }
};

/** What the damaged log owed when its service ended, without what this boot has put an end to. Never throws. */
export const owedIn = (path: string, started: Happening): Obligation[] => {
  const guest = new Guest();
  let seq = 0;
  for (const event of readableEvents(path, (checkpoint) => takes(new Guest(), checkpoint))) {
    takes(guest, event);
    ({ seq } = event);
  }
  takes(guest, { ...started, seq: seq + 1, mono_ns: '0' });
  return [...guest.pairs.values(), ...guest.hosted.pairs.values()].flatMap(({ obligations }) => obligations);
};

/** The same as events of the new log, which knows the devices by its own numbers; what was done to a device that is gone, is. */
export const carriedOver = (owed: readonly Obligation[], { adapters }: Pick<Guest, 'adapters'>): Happening[] =>
  owed.flatMap((one): Happening[] => {
    const device = one.device && presentOf(one.device, adapters);
    if (device === null && one.device !== null && one.kind === 'parameters') return [];
    const id = one.id.startsWith(PREFIX) ? one.id : `${PREFIX}${one.id}`;
    return [{ type: 'obligation.opened', data: { ...one, id, device: device ?? one.device } }];
  });

const presentOf = (device: Target, adapters: Guest['adapters']): Target | null => {
  const known = adapters.get(device.ifindex);
  if (known === undefined || known.facts.pci !== device.pci || known.facts.device !== device.device) return null;
  return { ...device, arrival: known.arrival };
};

/** What the fold does not take cannot be what it wrote: a log is damaged, too, where it reads well and makes no sense. */
export const tellSound = (story: Story, event: Foldable, path: string): void => {
  try {
    story.tell(event);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NetkvmError('log.damaged', `${path}: event ${event.seq} cannot be folded: ${reason}`, { cause: error });
  }
};

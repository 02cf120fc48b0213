// One act of the controller on the simulated guest, as the world is told of it, and the question that comes before each: is
// the device that was meant still there?
import type { Adapter, Decision, Target } from '../../events/catalogue.ts';

/** What the world is told of every act, so that invariants can be checked on it. */
export interface Act {
  readonly decision: Decision;
  /** The device acted upon, as the decision named it. */
  readonly target: Target | null;
  readonly what: string;
}

/** Whether the device that a decision names is still the one at that ifindex. */
export const isStillThere = (target: Target | null, adapters: readonly Adapter[]): boolean =>
  target !== null &&
  adapters.some(
    ({ ifindex, device, pci, mac, permMac }) =>
      ifindex === target.ifindex &&
      device === target.device &&
      pci === target.pci &&
      // A bond's MAC is that of its first member.
      (device === null || mac === target.mac || permMac === target.mac),
  );

// The ledger that a platform is handed with a decision: what is owed to the pair, as the fold has it, and the only way to
// say that something is owed. An obligation is durably in the log before the platform goes on, or it does not go on.
import type { Ledger } from '../adapters/platform.ts';
import { BEFORE_CHARS_MAX, type Decision, type Obligation, type Target } from '../events/catalogue.ts';
import type { Clocks } from '../events/envelope.ts';
import type { Story } from '../machines/story.ts';
import { seqOf } from './effects.ts';
import type { Recorder } from './recorder.ts';

/** Whether two targets name one device instance: an ifindex alone does not, and names and drivers may change. */
const isSameInstance = (one: Target | null, other: Target | null): boolean =>
  one === null || other === null ? one === other : one.ifindex === other.ifindex && one.arrival === other.arrival;

/** `now` gives the clocks of what is recorded. */
export const ledgerOf = (decision: Decision, story: Story, recorder: Recorder, now: () => Clocks): Ledger => {
  const openOnes = (): readonly Obligation[] => story.guest.stateOf(decision.pair)?.obligations ?? [];
  const cause = seqOf(decision);
  return {
    get open() {
      return openOnes();
    },
    async owe({ kind, device, before }) {
      const known = openOnes().find((one) => one.kind === kind && isSameInstance(one.device, device));
      if (known !== undefined) {
        await recorder.takeSurely([], now(), cause);
        return known;
      }
      const text = JSON.stringify(before) ?? 'null';
      if (text.length > BEFORE_CHARS_MAX)
        throw new Error(`what is to be remembered takes ${text.length} characters of ${BEFORE_CHARS_MAX}`);
      // A copy: what the platform does to its own from here on is not what was before.
      const copy: unknown = JSON.parse(text);
      const owed: Obligation = { id: `${decision.id}.${kind}`, pair: decision.pair, kind, device, before: copy };
      try {
        await recorder.takeSurely([{ type: 'obligation.opened', data: owed }], now(), cause);
      } catch (error) {
        // Nothing is changed then, and so nothing is owed.
        recorder.take([{ type: 'obligation.closed', data: { id: owed.id, pair: owed.pair, how: 'undone' } }], now(), cause);
        throw error;
      }
      return owed;
    },
    settle(id, how) {
      const isOpen = openOnes().some((one) => one.id === id);
      if (isOpen) recorder.take([{ type: 'obligation.closed', data: { id, pair: decision.pair, how } }], now(), cause);
    },
  };
};

// What is found on the members of a pair, and what people are told of what is owed.
import { expect, test } from 'vitest';
import { explainPair, explanationText } from '../../replay/explain.ts';
import type { Happening } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Story } from '../../src/machines/story.ts';
import { acting, adapter, appeared, bonded, changed, MAC, policy, trio } from '../given.ts';

/** A story of happenings, ten seconds apart; with the codes of the findings that last at its end. */
const told = (...happenings: Happening[]) => {
  const story = new Story();
  const later: Happening = { type: 'operator.commanded', data: { command: 'survey', pair: null, by: 'test' } };
  [...happenings, later].forEach((happening, index) => {
    const event: Foldable = { ...happening, seq: index + 1, mono_ns: `${index + 1}0000000000` };
    for (const decision of story.tell(event).decisions)
      story.guest.unconfirmed.splice(story.guest.unconfirmed.indexOf(decision), 1);
  });
  const lasting = story.findings.list(story.end).filter(({ until_seq }) => until_seq === null);
  return { story, codes: lasting.map(({ code }) => code) };
};
const owing: Happening = {
  type: 'obligation.opened',
  data: { id: 'd9.0.takeover', pair: MAC, kind: 'takeover', device: null, before: null },
};

test('a member in another device is found', () => {
  const bridge = appeared(adapter(7, { kind: 'bridge', permMac: null, mac: null }));
  const pair = [appeared(trio.master), appeared(trio.standby), appeared(trio.primary)];
  expect(told(bridge, ...pair, changed(4, { master: 7 })).codes).toContain('wrongMaster');
  const standby = appeared({ ...bonded.standby, master: 7, slave: null });
  expect(told(acting({ pairs: [{ mac: MAC, mode: 'bond' }] }), bridge, standby).codes).toEqual(['wrongMaster']);
  // A NIC that nobody listed may be in a bridge.
  expect(told(bridge, standby).codes).toEqual([]);
});

test('what is owed with effects off is found, and told', () => {
  const pair = [appeared(bonded.bond), appeared(bonded.standby)];
  expect(told(acting(), ...pair, owing).codes).toEqual([]);
  const { story, codes } = told(acting(), ...pair, owing, policy({ effects: 'off', pairs: [{ mac: MAC }] }));
  expect(codes).toEqual(['obligationOpen']);
  const text = explanationText(explainPair(story.guest.pairs.get(MAC)!, story));
  expect(text).toContain('Owed, until `netkvm restore`: takeover (d9.0.takeover)');
});

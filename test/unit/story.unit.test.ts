// What people read of a fold: entries that have lasted, attempts with what became of them, counts; and their limits.
import { describe, expect, test } from 'vitest';
import type { Happening } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { History, type SettledEntry } from '../../src/machines/history.ts';
import { newPair, type PairState } from '../../src/machines/pair-state.ts';
import { Story } from '../../src/machines/story.ts';
import { Tried } from '../../src/machines/tried.ts';
import { acting, appeared, bonded, MAC, policy, trio } from '../given.ts';

const OTHER = '52:54:00:00:00:99';
type Shown = PairState['shown'];

/** A history that is told of one pair’s states at these milliseconds. */
const history = (limit?: number) => {
  const settled: SettledEntry[] = [];
  const one = new History(20, limit, (entry) => settled.push(entry));
  const pairs = new Map([MAC, OTHER].map((mac) => [mac, newPair(mac, null)]));
  const note = (
    ms: number,
    stage: Shown['stage'],
    datapath: Shown['datapath'],
    over: Partial<PairState> = {},
    mac = MAC,
  ): void => {
    const pair = pairs.get(mac) as PairState;
    const before = { ...pair.shown };
    Object.assign(pair, over);
    Object.assign(pair.shown, { stage, datapath, because: stage === 'onPrimary' ? 'primary.carries' : 'primary.absent' });
    one.note({ pair, before }, { seq: ms, at_ns: String(ms * 1e6) });
  };
  const pass = (ms: number): void => one.pass(String(ms * 1e6));
  const told = (mac = MAC): string[] => one.of(mac).map(({ seq, stage, datapath }) => `${seq} ${stage} ${datapath}`);
  return { one, settled, note, pass, told };
};

describe('the history', () => {
  test('has what lasted for the settling time, and not a moment less', () => {
    const { note, pass, told, one } = history();
    note(100, 'fallback', 'standby');
    pass(119);
    expect([told(), one.nextSettling_ms]).toEqual([[], 120]);
    pass(120);
    expect([told(), one.nextSettling_ms]).toEqual([['100 fallback standby'], null]);
    note(200, 'switching', 'standby');
    note(219, 'onPrimary', 'primary');
    pass(300);
    expect(told()).toEqual(['100 fallback standby', '219 onPrimary primary']);
  });

  test('is told of the end of a state by the next one, too', () => {
    const { note, told, settled } = history();
    note(100, 'fallback', 'standby', { mode: 'kernel' });
    note(120, 'onPrimary', 'primary');
    expect(told()).toEqual(['100 fallback standby']);
    expect(settled).toEqual([
      {
        mac: MAC,
        mode: 'kernel',
        seq: 100,
        at_ns: '100000000',
        stage: 'fallback',
        datapath: 'standby',
        because: 'primary.absent',
      },
    ]);
  });

  test('dates a state that came about in steps from when the traffic moved', () => {
    const { note, pass, told } = history();
    note(100, 'fallback', 'standby');
    pass(200);
    note(300, 'switching', 'primary');
    note(310, 'onPrimary', 'primary');
    pass(400);
    expect(told()).toEqual(['100 fallback standby', '300 onPrimary primary']);
    // Where the traffic did not move, from when the state came.
    note(500, 'detaching', 'primary');
    note(510, 'switching', 'primary');
    pass(600);
    expect(told().at(-1)).toBe('510 switching primary');
    // The same state again, before it settled, is as old as it was.
    note(700, 'fallback', 'standby');
    note(705, 'fallback', 'standby');
    pass(720);
    expect(told().at(-1)).toBe('700 fallback standby');
  });

  test('has no entry for another reason, nor for what came back before it had settled', () => {
    const { note, pass, told } = history();
    note(100, 'fallback', 'standby');
    pass(200);
    note(300, 'fallback', 'standby');
    pass(400);
    note(500, 'switching', 'none');
    note(505, 'fallback', 'standby');
    pass(600);
    expect(told()).toEqual(['100 fallback standby']);
    note(700, 'fallback', 'none');
    pass(800);
    note(900, 'switching', 'none');
    pass(1000);
    expect(told()).toEqual(['100 fallback standby', '700 fallback none', '900 switching none']);
  });

  test('keeps the newest entries of each pair, and knows the next of all to settle', () => {
    const { note, pass, told, one } = history(2);
    note(100, 'fallback', 'standby');
    note(150, 'onPrimary', 'primary');
    note(200, 'detaching', 'primary');
    note(250, 'fallback', 'standby', {}, OTHER);
    expect(one.nextSettling_ms).toBe(220);
    pass(300);
    expect(told()).toEqual(['150 onPrimary primary', '200 detaching primary']);
    expect([told(OTHER), told('52:54:00:00:00:01')]).toEqual([['250 fallback standby'], []]);
    note(400, 'absent', 'none');
    one.end();
    expect(told()).toEqual(['200 detaching primary', '400 absent none']);
    one.end();
    expect(told().length).toBe(2);
  });
});

const made = (id: string, pair = MAC): Foldable => {
  const data = { id, pair, kind: 'bindPrimary', mode: 'bond', attempt: 1, master: null, standby: null, primary: null } as const;
  return { type: 'decision.made', seq: 1, mono_ns: '0', data };
};
const seen = (decision: string): Foldable => {
  const data = { decision, pair: MAC, result: 'failed', reason: 'EPERM', observed: true } as const;
  return { type: 'outcome.seen', seq: 1, mono_ns: '0', data };
};
const place = (seq: number) => ({ seq, at_ns: String(seq) });

test('what was tried: decisions with what became of them, the newest only', () => {
  const tried = new Tried(2);
  tried.note(made('d1.0'), place(1));
  tried.note(made('d2.0', OTHER), place(2));
  tried.note(seen('d1.0'), place(3));
  tried.note(seen('d0.0'), place(4));
  expect(tried.list().map(({ decision, at, outcome }) => [decision.id, at.seq, outcome])).toEqual([
    ['d1.0', 1, { result: 'failed', reason: 'EPERM', observed: true, at: place(3) }],
    ['d2.0', 2, null],
  ]);
  expect(tried.list(OTHER).map(({ decision }) => decision.id)).toEqual(['d2.0']);
  tried.note(made('d5.0'), place(5));
  expect(tried.list().map(({ decision }) => decision.id)).toEqual(['d2.0', 'd5.0']);
  tried.note({ type: 'gap.seen', seq: 6, mono_ns: '0', data: { source: 'rtnetlink', reason: 'ENOBUFS' } }, place(6));
  expect(tried.list().length).toBe(2);
});

describe('the story', () => {
  const told = (...happenings: Happening[]): Story => {
    const story = new Story();
    for (const [at, happening] of happenings.entries())
      story.tell({ ...happening, seq: at + 1, mono_ns: String((at + 1) * 1e9) });
    return story;
  };
  const gap: Happening = { type: 'gap.seen', data: { source: 'rtnetlink', reason: 'ENOBUFS' } };

  test('begins with nothing', () => {
    const { end, gaps, decisions, divergence } = new Story();
    expect([end, gaps, decisions, divergence]).toEqual([{ seq: 0, at_ns: '0' }, 0, 0, null]);
  });

  test('counts gaps and decisions, and knows where it is', () => {
    const story = told(gap, acting(), appeared(bonded.bond), appeared(bonded.standby), appeared(bonded.primary), gap);
    expect([story.end, story.gaps, story.decisions]).toEqual([{ seq: 6, at_ns: '6000000000' }, 2, 1]);
    // The decision that was made was not recorded: that is the first difference, and stays it.
    expect(story.divergence).toMatchObject({ seq: 6, recorded: 'gap.seen' });
    story.tell({ ...made('d9.0'), seq: 7, mono_ns: '7000000000' });
    expect(story.divergence).toMatchObject({ seq: 6 });
  });

  test('settles what is told as time passes, by the settling time of the policy', () => {
    const trioSeen = [appeared(trio.master), appeared(trio.standby)];
    const settling = told(policy({ settle_ms: 500 }), ...trioSeen, gap);
    expect(settling.history.of(MAC).map(({ seq }) => seq)).toEqual([2, 3]);
    expect(told(policy({ settle_ms: 5000 }), ...trioSeen, gap).history.of(MAC)).toEqual([]);
  });
});

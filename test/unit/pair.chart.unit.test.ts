// The chart of a pair by itself, shown facts: where they put the pair, from everywhere; what each decision needs; and what time
// and outcomes bring. xstate is asked each time, not the table.
import { describe, expect, test } from 'vitest';
import { askChart, type Configuration, initialConfiguration } from '../../src/machines/chart-table.ts';
import { BIT, factsOf, type ViewBit } from '../../src/machines/view.ts';

/** Facts that all hold, as words. */
type Facts = string;
const bitsOf = (facts: Facts): number =>
  facts
    .split(' ')
    .filter(Boolean)
    .reduce((sum, fact) => sum | BIT[fact as ViewBit], 0);

class Chart {
  at: Configuration = initialConfiguration;
  bits = 0;
  readonly timers = new Set<string>();
  /** Kinds of decisions, and what was forgotten. */
  readonly done: string[] = [];

  tell(event: string): this {
    const { to, requests } = askChart(this.at, event, this.bits);
    this.at = to;
    for (const request of requests) {
      if (request.op === 'arm') this.timers.add(request.timer);
      else if (request.op === 'cancel') this.timers.delete(request.timer);
      else this.done.push(request.op === 'decide' ? request.kind : request.op);
    }
    return this;
  }
  show(facts: Facts): this {
    this.bits = bitsOf(facts);
    return this.tell('facts').tell('act');
  }
  /** The one armed timer of this delay fires. */
  fire(delay: string): this {
    const [due, ...others] = [...this.timers].filter((timer) => timer.split('.')[2] === delay);
    if (due === undefined || others.length > 0) throw new Error(`not one timer ${delay}: ${this.armed.join(' ')}`);
    this.timers.delete(due);
    return this.tell(due);
  }
  get armed(): string[] {
    return [...this.timers].map((timer) => timer.split('.')[2] ?? '');
  }
}
const shown = (...views: readonly Facts[]): Chart => views.reduce((chart, facts) => chart.show(facts), new Chart());

// A pair that is ours, whose primary can be paired; one whose MTU differs; one without the failover protocol.
const N = 'standby ours compatible attachable';
const UNEQUAL = 'standby ours attachable';
const BARE = 'standby ours compatible';
const LATE = `${N} mayAct holds primary bound carrier`;

test.each<[Facts, string]>([
  ['', 'absent'],
  ['ours', 'absent'],
  ['ours primary', 'absent'],
  ['standby', 'standalone'],
  ['standby primary', 'standalone'],
  [N, 'noPrimary'],
  [UNEQUAL, 'noPrimary'],
  [`${N} held`, 'noPrimary'],
  [`${N} expected`, 'noPrimary'],
  [`${N} viaPrimary leaving flapping bound`, 'noPrimary'],
  [`${N} held expected`, 'awaitingPrimary'],
  [`${N} primary`, 'attaching'],
  [`${N} primary holds`, 'noCarrier'],
  [`${N} primary holds carrier`, 'attaching'],
  [`${N} primary held expected`, 'attaching'],
  [`${N} primary holds held expected`, 'awaitingPrimary'],
  [`${BARE} primary`, 'unattachable'],
  [`${BARE} primary attached holds`, 'noCarrier'],
  [`${BARE} primary held expected`, 'awaitingPrimary'],
  [`${N} primary bound`, 'switching'],
  [`${BARE} primary bound`, 'switching'],
  [LATE, 'attaching'],
  [`${LATE} held`, 'switching'],
  [`${N} holds primary bound carrier`, 'switching'],
  [`${N} mayAct primary bound carrier`, 'switching'],
  [`${BARE} mayAct holds primary bound carrier`, 'switching'],
  [`${N} mayAct holds primary bound`, 'noCarrier'],
  [`${N} primary bound flapping`, 'flapping'],
  [`${UNEQUAL} primary`, 'incompatible'],
  [`${UNEQUAL} primary bound flapping`, 'incompatible'],
  [`${N} primary bound leaving`, 'detaching'],
  [`${UNEQUAL} primary leaving`, 'detaching'],
  [`${N} primary bound leaving viaPrimary`, 'detaching'],
  [`${N} primary bound leaving viaStandby`, 'departing'],
  [`${N} unjoined`, 'unjoined'],
  [`${N} primary leaving unjoined`, 'unjoined'],
  [`${N} primary bound viaPrimary`, 'onPrimary'],
  [`${N} primary bound viaPrimary unjoined flapping`, 'onPrimary'],
])('a new pair with the facts “%s” is %s', (facts, leaf) => expect(shown(facts).at.leaf).toBe(leaf));

test('facts are told by their names', () => {
  expect(factsOf(BIT.standby | BIT.held | BIT.restoring)).toEqual(['standby', 'held', 'restoring']);
  expect(factsOf(0)).toEqual([]);
});

describe('from', () => {
  /** How each place is come to. */
  const PLACES: Readonly<Record<string, () => Chart>> = {
    standalone: () => shown('standby'),
    awaitingPrimary: () => shown(`${N} held expected`),
    noPrimary: () => shown(N),
    incompatible: () => shown(`${UNEQUAL} primary`),
    unattachable: () => shown(`${BARE} primary`),
    notAttached: () => shown(`${N} primary`).fire('attachLimit'),
    noCarrier: () => shown(`${N} primary bound`).fire('switchLimit'),
    flapping: () => shown(`${N} primary bound flapping`),
    unjoined: () => shown(`${N} unjoined`),
    departing: () => shown(`${N} primary bound leaving viaStandby`),
    attaching: () => shown(`${N} primary`),
    switching: () => shown(`${N} primary bound`),
    onPrimary: () => shown(`${N} primary bound viaPrimary`),
    detaching: () => shown(`${N} primary bound leaving`),
  };

  test.each<[string, [Facts, string][]]>([
    [
      'awaitingPrimary',
      [
        [`${N} held`, 'awaitingPrimary'],
        [`${N} expected`, 'noPrimary'],
        [`${N} held expected primary`, 'attaching'],
        [`${N} held expected primary holds`, 'awaitingPrimary'],
        [`${BARE} held expected primary bound`, 'switching'],
        [`${BARE} held expected bound`, 'awaitingPrimary'],
        [`${UNEQUAL} held expected primary holds`, 'incompatible'],
        [`${UNEQUAL} held expected`, 'awaitingPrimary'],
      ],
    ],
    [
      'noPrimary',
      [
        [`${N} primary`, 'attaching'],
        [`${N} unjoined`, 'unjoined'],
      ],
    ],
    [
      'incompatible',
      [
        [UNEQUAL, 'noPrimary'],
        [`${N} primary`, 'attaching'],
        [`${UNEQUAL} primary viaPrimary`, 'incompatible'],
        [`${UNEQUAL} primary unjoined`, 'unjoined'],
      ],
    ],
    [
      'unattachable',
      [
        [BARE, 'noPrimary'],
        [`${BARE} primary viaPrimary bound`, 'onPrimary'],
        [`${N} primary`, 'attaching'],
        [`${BARE} primary attached bound`, 'unattachable'],
      ],
    ],
    [
      'notAttached',
      [
        [N, 'noPrimary'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary leaving`, 'detaching'],
        [`${N} primary bound`, 'switching'],
        [`${N} primary carrier`, 'notAttached'],
        [LATE, 'notAttached'],
      ],
    ],
    [
      'noCarrier',
      [
        [N, 'noPrimary'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary bound flapping`, 'flapping'],
        [`${N} primary bound carrier flapping`, 'flapping'],
        [`${N} primary`, 'attaching'],
        [`${N} primary holds`, 'noCarrier'],
        [`${UNEQUAL} primary`, 'noCarrier'],
        [`${N} primary bound leaving`, 'noCarrier'],
        [`${N} primary bound carrier`, 'switching'],
        [`${BARE} primary bound carrier`, 'switching'],
        [`${N} primary holds carrier`, 'attaching'],
        [`${BARE} primary holds carrier`, 'noCarrier'],
        [`${UNEQUAL} primary bound carrier`, 'incompatible'],
      ],
    ],
    [
      'flapping',
      [
        [`${N} flapping`, 'noPrimary'],
        [`${N} primary bound viaPrimary flapping`, 'onPrimary'],
        [`${N} primary bound`, 'switching'],
        [`${N} primary bound carrier flapping`, 'flapping'],
      ],
    ],
    [
      'unjoined',
      [
        [N, 'noPrimary'],
        [`${N} primary`, 'attaching'],
        [`${N} primary unjoined`, 'unjoined'],
      ],
    ],
    [
      'departing',
      [
        [`${N} viaStandby`, 'noPrimary'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary bound viaPrimary leaving`, 'departing'],
        [`${N} primary bound viaStandby`, 'switching'],
        [`${N} primary leaving`, 'departing'],
      ],
    ],
    [
      'attaching',
      [
        [N, 'noPrimary'],
        [`${N} primary unjoined`, 'unjoined'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary leaving`, 'detaching'],
        [`${UNEQUAL} primary`, 'incompatible'],
        [`${N} primary bound`, 'switching'],
        [LATE, 'attaching'],
        [`${N} primary holds`, 'attaching'],
        [`${BARE} primary`, 'unattachable'],
        [`${BARE} primary attached`, 'attaching'],
      ],
    ],
    [
      'switching',
      [
        [N, 'noPrimary'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary bound leaving`, 'detaching'],
        [`${UNEQUAL} primary bound`, 'incompatible'],
        [`${N} primary`, 'attaching'],
        [`${N} primary bound holds`, 'noCarrier'],
        [`${N} primary bound holds carrier`, 'switching'],
        [`${N} primary bound unjoined flapping`, 'switching'],
      ],
    ],
    [
      'onPrimary',
      [
        [N, 'detaching'],
        [`${N} viaPrimary bound`, 'detaching'],
        [`${N} viaStandby`, 'noPrimary'],
        [`${N} primary bound viaPrimary leaving`, 'detaching'],
        [`${N} primary`, 'detaching'],
        [`${N} primary viaPrimary`, 'onPrimary'],
        [`${N} primary bound`, 'noCarrier'],
        [`${UNEQUAL} primary bound viaPrimary`, 'incompatible'],
        [`${N} primary bound viaPrimary flapping unjoined`, 'onPrimary'],
      ],
    ],
    [
      'detaching',
      [
        [`${N} primary bound leaving viaStandby`, 'departing'],
        [`${N} viaStandby`, 'noPrimary'],
        [`${N} primary bound viaStandby`, 'switching'],
        [`${N} primary bound viaPrimary`, 'onPrimary'],
        [`${N} primary bound`, 'switching'],
        [`${N} primary`, 'detaching'],
        [`${N} bound`, 'detaching'],
        [N, 'detaching'],
      ],
    ],
  ])('%s', (place, ways) => {
    for (const [facts, leaf] of ways) expect(PLACES[place]!().show(facts).at.leaf, facts).toBe(leaf);
  });

  test.each(Object.entries(PLACES))('%s: no standby is absent, and what is not ours is standalone', (place, come) => {
    expect(come().at.leaf).toBe(place);
    expect(come().show('').at.leaf).toBe('absent');
    expect(come().show('standby primary').at.leaf).toBe('standalone');
    const again = come().show('').show(`${N} primary`);
    expect([again.at.leaf, again.armed.filter((name) => name !== 'attachLimit')]).toEqual(['attaching', []]);
  });

  test.each<[string, Facts, string, string, readonly string[]]>([
    ['awaitingPrimary', `${N} held expected`, 'grace', 'noPrimary', []],
    ['awaitingPrimary', `${N} held expected primary holds`, 'grace', 'noCarrier', []],
    ['awaitingPrimary', `${BARE} held expected primary`, 'grace', 'unattachable', []],
    ['notAttached', `${N} primary`, 'blockedRetry', 'notAttached', []],
    ['notAttached', `${N} primary mayAct`, 'blockedRetry', 'attaching', []],
    ['flapping', `${N} primary bound flapping`, 'flapHold', 'flapping', ['forgetFlaps']],
    ['unjoined', `${N} unjoined`, 'blockedRetry', 'unjoined', ['forgetPause']],
    ['departing', `${N} primary bound leaving viaStandby`, 'detachLimit', 'departing', ['forgetSign']],
    ['attaching', `${N} primary`, 'attachLimit', 'notAttached', []],
    ['switching', `${N} primary bound`, 'switchLimit', 'noCarrier', []],
    ['detaching', `${N} primary bound leaving`, 'detachLimit', 'detaching', ['forgetSign']],
    ['detaching', `${N} primary`, 'detachLimit', 'attaching', []],
    ['detaching', N, 'detachLimit', 'noPrimary', []],
  ])('%s with “%s”, when %s is over: %s', (place, facts, delay, leaf, forgotten) => {
    const chart = PLACES[place]!().show(facts);
    expect([chart.at.leaf, chart.armed]).toEqual([place, [delay]]);
    const before = chart.done.length;
    chart.fire(delay);
    expect([chart.at.leaf, chart.done.slice(before)]).toEqual([leaf, forgotten]);
  });

  test('what is entered anew is timed anew', () => {
    expect(PLACES['notAttached']!().fire('blockedRetry').armed).toEqual(['blockedRetry']);
    expect(PLACES['unjoined']!().fire('blockedRetry').armed).toEqual(['blockedRetry']);
    expect(PLACES['detaching']!().fire('detachLimit').armed).toEqual(['detachLimit']);
  });
});

describe('what a decision needs', () => {
  const decided = (...views: readonly Facts[]): string | undefined => {
    const before = shown(...views.slice(0, -1)).done.length;
    return shown(...views).done[before];
  };

  /** The stage is that of the first facts; then those come that must all hold, and those of which none may. */
  test.each<[string, Facts, Facts, Facts]>([
    ['giveBack', N, 'restoring', 'exhausted'],
    ['takeOver', N, 'takingOver', 'exhausted restoring'],
    ['alignParameters', `${N} primary`, 'untuned', 'exhausted viaPrimary takingOver'],
    ['alignParameters', `${N} primary bound`, 'untuned', 'exhausted viaPrimary takingOver'],
    ['alignParameters', N, 'primary untuned', 'leaving'],
    ['holdLink', `${N} primary carrier`, 'mayAct holds', 'held exhausted untuned leaving'],
    ['bindPrimary', `${N} primary`, 'mayAct', 'bound holds exhausted untuned leaving'],
    ['bindPrimary', `${N} primary carrier holds`, 'mayAct held', 'bound exhausted untuned leaving'],
    ['bindPrimary', `${N} primary viaPrimary`, 'mayAct holds', 'bound exhausted leaving'],
    ['unbindPrimary', `${N} primary bound carrier`, 'leaving holds mayAct attached', 'viaStandby exhausted'],
    ['unbindPrimary', `${N} primary bound`, 'holds mayAct attached', 'carrier exhausted'],
    ['unbindPrimary', `${UNEQUAL} primary bound`, 'holds mayAct attached', 'exhausted'],
    ['unbindPrimary', `${N} primary bound carrier`, 'flapping holds mayAct attached', 'exhausted'],
    ['releaseLink', `${N} primary bound attached holds carrier`, 'held mayAct', 'exhausted leaving'],
    ['releaseLink', N, 'held mayAct', 'expected exhausted'],
    ['releaseLink', `${UNEQUAL} primary`, 'held mayAct', 'attached exhausted'],
    ['activatePrimary', `${N} primary`, 'bound eligible mayAct', 'viaPrimary leaving exhausted'],
    ['activateStandby', N, 'standbyReady mayAct', 'holds viaStandby exhausted'],
    ['activateStandby', `${N} primary bound`, 'leaving standbyReady mayAct', 'holds viaStandby exhausted'],
    ['moveAddresses', N, 'strayed', 'exhausted restoring takingOver'],
  ])('%s', (kind, stage, needed, forbidden) => {
    const all = needed.split(' ');
    expect(decided(`${stage} ${needed}`)).toBe(kind);
    expect(shown(`${stage} ${needed}`).at.effects).toBe('pending');
    for (const one of all)
      expect(decided(`${stage} ${all.filter((fact) => fact !== one).join(' ')}`), `no ${one}`).not.toBe(kind);
    for (const one of forbidden.split(' ')) expect(decided(`${stage} ${needed} ${one}`), one).not.toBe(kind);
  });

  test.each<[string, readonly Facts[]]>([
    ['a primary that carries is only bound where it holds the standby', [`${N} primary viaPrimary mayAct`]],
    ['a link is not released while the primary is going', [`${N} primary bound viaPrimary`, `${N} held mayAct`]],
    ['nor held where nothing is to be attached', [`${BARE} primary mayAct holds`]],
    ['the standby is not made active while the primary comes', [`${N} primary bound standbyReady mayAct`]],
    ['what is not attached is not unbound', [`${N} mayAct holds attached`]],
    ['a carrying primary is tuned when it carries no more', [`${N} primary bound viaPrimary untuned`]],
    ['while one is under way there is no other', [`${N} strayed`, `${N} strayed restoring`]],
  ])('%s', (_, views) => expect(decided(...views)).toBeUndefined());

  test('one after the other', () => {
    const ORDERS: [Facts, [string, Facts][]][] = [
      [
        `${N} primary mayAct`,
        [
          ['giveBack', 'restoring'],
          ['takeOver', 'takingOver'],
          ['alignParameters', 'untuned'],
          ['bindPrimary', ''],
        ],
      ],
      [
        `${N} mayAct`,
        [
          ['releaseLink', 'held'],
          ['activateStandby', 'standbyReady'],
          ['moveAddresses', ''],
        ],
      ],
      [
        `${N} primary bound holds mayAct`,
        [
          ['unbindPrimary', 'attached'],
          ['moveAddresses', ''],
        ],
      ],
    ];
    for (const [stage, order] of ORDERS)
      for (const [place, [kind]] of order.entries())
        expect(
          decided(
            `${stage} strayed ${order
              .slice(place)
              .map(([, fact]) => fact)
              .join(' ')}`,
          ),
        ).toBe(kind);
    expect(decided(`${N} primary bound attached holds held mayAct`)).toBe('unbindPrimary');
    expect(decided(`${N} primary bound attached carrier eligible held mayAct`)).toBe('releaseLink');
  });
});

describe('an outcome', () => {
  const wanting = `${N} strayed`;
  const pending = () => shown(wanting);
  test('that succeeds makes free for the next', () => {
    expect([pending().at.effects, pending().tell('act').done]).toEqual(['pending', ['moveAddresses']]);
    const next = pending().tell('outcome.succeeded').show(`${N} restoring`);
    expect(next.done).toEqual(['moveAddresses', 'giveBack']);
  });

  test('that fails is tried again after a pause, whatever is seen meanwhile', () => {
    const failed = pending().tell('outcome.failed').show(wanting);
    expect([failed.at.effects, failed.armed, failed.done]).toEqual(['blocked', ['retryDelay'], ['moveAddresses']]);
    expect(failed.fire('retryDelay').tell('act').done).toEqual(['moveAddresses', 'moveAddresses']);
  });

  test.each(['outcome.refused', 'outcome.void'])('%s waits for a fact, or long', (outcome) => {
    const refused = pending().tell(outcome).tell('act');
    expect([refused.at.effects, refused.armed, refused.done]).toEqual(['blocked', ['blockedRetry'], ['moveAddresses']]);
    expect(refused.fire('blockedRetry').tell('act').done).toEqual(['moveAddresses', 'forgetAttempts', 'moveAddresses']);
    expect(pending().tell(outcome).show(wanting).done).toEqual(['moveAddresses', 'moveAddresses']);
  });

  test('what was tried too often waits as well', () => {
    const exhausted = shown(`${wanting} exhausted`);
    expect([exhausted.done, exhausted.armed]).toEqual([[], ['blockedRetry']]);
  });

  test('a binding that is refused is not waited for while the standby is held for it', () => {
    const held = shown(`${N} primary holds carrier held mayAct`).tell('outcome.refused');
    expect([held.at.leaf, held.at.effects]).toEqual(['notAttached', 'blocked']);
    expect(shown(`${N} primary mayAct`).tell('outcome.refused').at.leaf).toBe('attaching');
    expect(shown(`${N} primary holds carrier held mayAct`).tell('outcome.failed').at.leaf).toBe('attaching');
  });
});

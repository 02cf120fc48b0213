// Faults 1 to 15: what comes, goes and flaps, in any order, and what is heard of it.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { add, at, migration, nic } from '../../src/adapters/simulated/script.ts';
import { bondOnly, type Fault, GUESTS, LATE_BIND, live, plug, standby, trioOnly, truths, windows } from './given.ts';
import { acting, adapter, appeared, bonded, Teller } from '../given.ts';

const flaps = (id: string, from_ms: number, count: number, every_ms: number) =>
  Array.from({ length: count }, (_, flap) => at(from_ms + flap * every_ms, { do: 'link', id, on: flap % 2 === 1 }));

export const EVENT_FAULTS: readonly Fault[] = [
  {
    number: 1,
    name: 'primary-first',
    scenario: 'The primary is there before the standby: in Windows, in a bond, and in net_failover.',
    expectation: 'Nothing is done to it until a standby with its MAC exists; then they are paired.',
    state: 'holds',
    check: async () => {
      let before: unknown;
      const life = await live({
        system: windows,
        actions: [plug(50), at(3000, add('standby', nic()))],
        looks: { 2900: ({ world }) => (before = world.kernel.adapters()[0]?.protocols) },
      });
      deepEqual(before, { ms_tcpip: true, ms_tcpip6: true, ms_server: true, vioprot: true });
      deepEqual([life.decided, life.end], [LATE_BIND.slice(1), 'onPrimary primary primary.carries']);
      ok(life.all('decision.made').every(({ mono_ns }) => Number(mono_ns) > 3e9));
      for (const guest of [bondOnly, trioOnly]) {
        const later = guest.map(({ at_ms, what }) => at(at_ms + 2000, what));
        equal((await live({ actions: [plug(50), ...later] })).end, 'onPrimary primary primary.carries');
      }
    },
  },
  {
    number: 2,
    name: 'late-primary',
    scenario: 'The standby comes first, the primary when the grace time is long over.',
    expectation: 'The link is released after the grace time; then off, bound to VIOPROT alone, on, in this order.',
    state: 'modelled: Windows',
    check: async () => {
      const life = await live({ system: windows, actions: [...standby, plug(8000)] });
      equal(life.at(3000), 'awaitingPrimary none primary.awaited');
      equal(life.at(7000), 'fallback standby primary.absent');
      deepEqual(life.decided, ['releaseLink succeeded', 'unbindPrimary succeeded', ...LATE_BIND]);
      equal(life.end, 'onPrimary primary primary.carries');
    },
  },
  {
    number: 3,
    name: 'dead-primary',
    scenario: 'The primary is plugged in, and gets no carrier for 20 s.',
    expectation: 'NETKVM is not started on it: the standby carries until the primary can.',
    state: 'modelled: Windows',
    check: async () => {
      const found = {};
      const life = await live({
        system: windows,
        actions: [...standby, plug(500, { carrierDelay_ms: 20_000 })],
        looks: truths(found, 5000, 19_000, 30_000),
        until_ms: 31_000,
      });
      deepEqual(found, { 5000: 'standby', 19000: 'standby', 30000: 'primary' });
      deepEqual(life.decided.slice(-3), LATE_BIND);
    },
  },
  {
    number: 4,
    name: 'carrier-flips-while-bound',
    scenario: 'The primary loses its carrier at the moment in which it is being bound, and gets it back after 10 s.',
    expectation: 'Facts are read anew after each effect: every decision is a new one, and the standby is not left held.',
    state: 'modelled: Windows',
    check: async () => {
      const found = {};
      let cut = false;
      const life = await live({
        system: windows,
        actions: [...standby, plug(500), at(11_000, { do: 'link', id: 'primary', on: true })],
        acts: ({ what }, { world }) => {
          if (what === 'set bindings' && !cut) world.happen({ do: 'link', id: 'primary', on: false });
          cut ||= what === 'set bindings';
        },
        looks: truths(found, 5000, 20_000),
        until_ms: 21_000,
      });
      deepEqual(found, { 5000: 'standby', 20000: 'primary' });
      const ids = life.all('decision.made').map(({ data }) => data.id);
      deepEqual([new Set(ids).size, cut], [ids.length, true]);
    },
  },
  {
    number: 5,
    name: 'carrier-lost',
    scenario: 'The primary loses its carrier for 12 s and stays plugged in: Windows, bond, net_failover.',
    expectation: 'The standby carries meanwhile, with the reason and a finding; the primary takes over again.',
    state: 'holds',
    check: async () => {
      const outage = [plug(1000), ...flaps('primary', 8000, 2, 12_000)];
      for (const told of GUESTS) {
        const found = {};
        const looks = truths(found, 9000, 25_000);
        const life = await live({ ...told, actions: [...told.before, ...outage], looks, until_ms: 26_000 });
        deepEqual(found, { 9000: 'standby', 25000: 'primary' });
        equal(life.at(9000), `fallback standby primary.noCarrier`);
        ok(life.findings().includes('carrierLost'));
      }
    },
  },
  {
    number: 6,
    name: 'flap-storm',
    scenario: 'The primary’s carrier comes and goes every 700 ms, twelve times.',
    expectation: 'After flapLimit losses it is left alone for flapHold_ms; one finding says so.',
    state: 'holds',
    check: async () => {
      const life = await live({ actions: [...bondOnly, plug(1000), ...flaps('primary', 8000, 12, 700)], until_ms: 30_000 });
      equal(life.at(15_000), 'fallback standby primary.flapping');
      equal(life.end, 'onPrimary primary primary.carries');
      equal(life.texts.filter((text) => text.includes('within the window')).length, 1);
      const last = life.all('decision.made').filter(({ data }) => data.kind === 'activatePrimary');
      ok(Number(last.at(-1)?.mono_ns) >= 22e9);
    },
  },
  {
    number: 7,
    name: 'standby-flaps',
    scenario: 'The standby’s carrier comes and goes while the primary carries.',
    expectation: 'Nothing is decided, and nothing moves.',
    state: 'holds',
    check: async () => {
      for (const told of GUESTS) {
        const calm = await live({ ...told, actions: [...told.before, plug(1000)] });
        const life = await live({ ...told, actions: [...told.before, plug(1000), ...flaps('standby', 8000, 6, 500)] });
        deepEqual([life.decided, life.path()], [calm.decided, calm.path()]);
      }
    },
  },
  {
    number: 8,
    name: 'unplug-while-binding',
    scenario: 'The bind waits for INetCfg’s lock when the primary is unplugged; in a bond it is carried out 10 s late.',
    expectation: 'The decision ends by its id as void or failed, and what is gone, or has its ifindex now, is not touched.',
    state: 'holds',
    check: async () => {
      const lock = [at(400, { do: 'lock', by: 'Network Connections' }), at(3500, { do: 'lock', by: null })];
      const actions = [...standby, plug(500), at(2500, { do: 'remove', id: 'primary' }), ...lock];
      const life = await live({ system: windows, actions });
      deepEqual(life.decided, ['bindPrimary void', 'releaseLink succeeded']);
      equal(life.end, 'fallback standby primary.absent');
      const late = await live({
        world: { linux: { reuseIndex: true } },
        policy: { effectLimit_ms: 1000 },
        actions: [
          ...bondOnly,
          at(900, { do: 'fault', fault: 'effectLate' }),
          plug(1000),
          at(1500, { do: 'remove', id: 'primary' }),
        ],
        until_ms: 40_000,
      });
      deepEqual(late.decided, ['bindPrimary failed']);
    },
  },
  {
    number: 9,
    name: 'replug-while-restoring',
    scenario: 'The primary leaves and is plugged in again at once, several times, while its bindings are being set.',
    expectation: 'It never stays with TCP/IP beside VIOPROT: the last bind sees to it.',
    state: 'modelled: Windows',
    check: async () => {
      const again = [8000, 8350, 8700].flatMap((when) => [
        at(when, { do: 'remove', id: 'primary', surprise: true }),
        plug(when + 20),
      ]);
      const life = await live({ system: windows, actions: [...standby, plug(500), ...again], until_ms: 20_000 });
      equal(life.end, 'onPrimary primary primary.carries');
      deepEqual(life.wrong, []);
    },
  },
  {
    number: 10,
    name: 'killed-before-the-effect',
    scenario: 'The service is killed when a decision is recorded and not yet carried out.',
    expectation: 'The next run ends it as void and decides anew from fresh facts.',
    state: 'holds',
    check: async () => {
      let killed = false;
      const life = await live({
        actions: [...bondOnly, plug(1000)],
        perform: ({ kind }, run) => {
          if (kind !== 'bindPrimary' || killed) return undefined;
          killed = true;
          run.kill();
          run.clock.after(200, () => run.start());
          return new Promise(() => {});
        },
        until_ms: 10_000,
      });
      deepEqual(life.decided, ['bindPrimary void', 'bindPrimary succeeded', 'activatePrimary succeeded']);
    },
  },
  {
    number: 11,
    name: 'killed-after-the-effect',
    scenario: 'The service is killed when an effect has taken place and its outcome is not recorded.',
    expectation: 'The decision is void; the facts show what happened, and it is not done again.',
    state: 'holds',
    check: async () => {
      let enslavements = 0;
      const life = await live({
        actions: [...bondOnly, plug(1000)],
        acts: ({ what }) => (enslavements += what === 'enslave' ? 1 : 0),
        perform: ({ kind }, run, go) => {
          if (kind !== 'bindPrimary' || enslavements > 0) return undefined;
          run.clock.after(5, () => run.kill());
          run.clock.after(200, () => run.start());
          return go();
        },
        until_ms: 10_000,
      });
      deepEqual([enslavements, life.decided], [1, ['bindPrimary void', 'activatePrimary succeeded']]);
    },
  },
  {
    number: 12,
    name: 'events-lost',
    scenario: 'The kernel’s buffer overruns (ENOBUFS) while a primary comes, and again while it goes.',
    expectation: 'The gap is recorded, everything is read anew, and the difference is folded.',
    state: 'holds',
    check: async () => {
      const lost = (at_ms: number) => at(at_ms, { do: 'fault', fault: 'hintLost' });
      const actions = [...bondOnly, lost(900), plug(1000), lost(7000), at(7001, { do: 'remove', id: 'primary' })];
      const life = await live({ actions, until_ms: 20_000 });
      equal(life.all('gap.seen').length, 2);
      ok(life.all('survey.taken').filter(({ data }) => data.reason === 'gap').length === 2);
      deepEqual([life.at(6000), life.end], ['onPrimary primary primary.carries', 'fallback standby primary.absent']);
    },
  },
  {
    number: 13,
    name: 'no-notifications',
    scenario: 'No notification ever comes; only the slow survey runs.',
    expectation: 'It works all the same, later.',
    state: 'modelled: Windows',
    check: async () => {
      const found = {};
      const actions = [...standby, plug(500), at(150_000, { do: 'link', id: 'primary', on: false })];
      await live({ system: windows, actions, rates: { hintLost: 1 }, looks: truths(found, 140_000, 260_000), until_ms: 300_000 });
      deepEqual(found, { 140000: 'primary', 260000: 'standby' });
    },
  },
  {
    number: 14,
    name: 'events-doubled',
    scenario: 'Every message comes twice.',
    expectation: 'The same decisions and states as without.',
    state: 'holds',
    missing: 'a counter of doubled messages',
    check: async () => {
      for (const told of GUESTS) {
        const actions = [...told.before, plug(1000), at(8000, { do: 'migrate', how: migration() })];
        const calm = await live({ ...told, actions, until_ms: 20_000 });
        const doubled = await live({ ...told, actions, rates: { hintDoubled: 1 }, until_ms: 20_000 });
        deepEqual([doubled.decided, doubled.path()], [calm.decided, calm.path()]);
      }
    },
  },
  {
    number: 15,
    name: 'events-out-of-order',
    scenario: 'uevents and link messages overtake each other; a removal comes before the arrival.',
    expectation: 'Facts decide: the end is the same, and what is not known is not removed.',
    state: 'holds',
    check: async () => {
      const actions = [
        ...bondOnly,
        plug(1000),
        at(8000, { do: 'migrate', how: migration({ primary: { carrierDelay_ms: 200 } }) }),
      ];
      const life = await live({ actions, rates: { hintReordered: 1, hintDelayed: 0 }, until_ms: 20_000 });
      equal(life.end, 'onPrimary primary primary.carries');
      const teller = new Teller();
      teller.tell(acting(), { type: 'adapter.gone', data: { ifindex: 2 } }, appeared(adapter(2, bonded.standby)));
      equal(teller.guest.adapters.size, 1);
    },
  },
];

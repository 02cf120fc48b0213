// The events by themselves: MACs, the rules of the envelope, what the catalogue refuses, errors in one line.
import { describe, expect, test } from 'vitest';
import {
  type Decision,
  isHosts,
  BEFORE_CHARS_MAX,
  catalogue,
  DECISION_KINDS,
  EFFECT_KINDS,
  HOST_KINDS,
  EFFECT_MODES,
  eventTypes,
  OBLIGATION_KINDS,
  OBSERVATIONS,
  OUTCOMES,
  PAIR_MODES,
  PLAIN_KINDS,
  SETTLEMENTS,
  TUNED_STAGES,
} from '../../src/events/catalogue.ts';
import { dataProblem, envelopeProblem, eventProblem, eventTypeOf, isNanoseconds, isSeq } from '../../src/events/check.ts';
import { macFromBytes, parseMac } from '../../src/events/mac.ts';

describe('a MAC', () => {
  test.each([
    ['52:54:00:11:22:33', '52:54:00:11:22:33'],
    ['52-54-00-AB-CD-EF', '52:54:00:ab:cd:ef'],
    ['52540011AaFf', '52:54:00:11:aa:ff'],
    ['000000000000', '00:00:00:00:00:00'],
  ])('%s is read', (text, mac) => expect(parseMac(text)).toBe(mac));
  test.each([
    '',
    '5254001122',
    '52540011223',
    '5254001122334',
    '52540011223g',
    '52:54:00:11:22',
    '52:54:00:11:22:33:44',
    '52:54:00-11:22:33',
    '52-54-00-11-22:33',
    '5254:0011:2233',
    '52:54:00:11:22:3',
    'x52:54:00:11:22:33',
    '52:54:00:11:22:33x',
    ' 525400112233',
    '525400112233\n',
  ])('%j is none', (text) => expect(parseMac(text)).toBeNull());

  test('of bytes: six, and not all zero', () => {
    expect(macFromBytes(Uint8Array.of(0x52, 0x54, 0, 0x11, 0x22, 0xff))).toBe('52:54:00:11:22:ff');
    expect(macFromBytes(Uint8Array.of(0, 0, 0, 0, 0, 1))).toBe('00:00:00:00:00:01');
    expect(macFromBytes(new Uint8Array(6))).toBeNull();
    expect(macFromBytes(Uint8Array.of(1, 2, 3, 4, 5))).toBeNull();
    expect(macFromBytes(Uint8Array.of(1, 2, 3, 4, 5, 6, 7))).toBeNull();
    expect(macFromBytes(new Uint8Array(0))).toBeNull();
  });
});

describe('the envelope', () => {
  const id = '0f0e0d0c-0b0a-4908-8706-050403020100';
  const sound = { id, mono_ns: '1', boot_ns: '2', wall_ns: '3', cause: 4, episode: 'e4' };

  test('a sound one', () => {
    expect(envelopeProblem(sound, 5)).toBeNull();
    expect(envelopeProblem({ ...sound, cause: null, episode: null }, 1)).toBeNull();
    expect(envelopeProblem({ ...sound, cause: 1, episode: 'e1234567890123456' }, 2)).toBeNull();
  });
  test.each([
    ['id', ['', id.toUpperCase(), id.slice(1), `${id}0`, id.replaceAll('-', ''), id.replaceAll('-', '0'), 7, null]],
    ['id', [`g${id.slice(1)}`, `/${id.slice(1)}`, `:${id.slice(1)}`, `\`${id.slice(1)}`, `${id.slice(0, 8)}a${id.slice(9)}`]],
    ['id', [13, 18, 23].map((at) => `${id.slice(0, at)}0${id.slice(at + 1)}`)],
    ['id', [0, 7, 9, 24, 35].map((at) => `${id.slice(0, at)}-${id.slice(at + 1)}`)],
    ['mono_ns', ['', 'x', 1, null, '01', '-', '-0', '1.5', '1e3', ' 1']],
    ['boot_ns', ['', '1 ']],
    ['wall_ns', ['', '9223372036854775808', '-9223372036854775809', '123456789012345678901']],
    ['cause', [0, -1, 5, 6, 1.5, '4', undefined, Number.MAX_SAFE_INTEGER + 1]],
    ['episode', ['', 'e', 'e0', 'e01', 'x4', 'e4x', 'xe4', 4, undefined, 'e12345678901234567']],
  ])('no %s may be any of %j', (field, values) => {
    for (const value of values)
      expect(envelopeProblem({ ...sound, [field]: value }, 5), String(value)).toMatch(new RegExp(`^${field} is not `));
  });

  test('what it says', () => {
    const says = (over: object): string | null => envelopeProblem({ ...sound, ...over }, 5);
    expect(says({ id: '' })).toBe('id is not a UUID in lower case');
    expect(says({ mono_ns: '' })).toBe('mono_ns is not a decimal number of 64 bits');
    expect(says({ boot_ns: '' })).toBe('boot_ns is not a decimal number of 64 bits');
    expect(says({ wall_ns: '' })).toBe('wall_ns is not a decimal number of 64 bits');
    expect(says({ cause: 5 })).toBe('cause is not an earlier sequence number');
    expect(says({ episode: 'e' })).toBe('episode is not `e` and a sequence number');
  });

  test('nanoseconds are 64 bits with a sign', () => {
    const fine = ['0', '9', '-1', '1000000000000000000', '8999999999999999999', '9223372036854775807', '-9223372036854775808'];
    for (const text of [...fine, '9000000000000000000', '-9000000000000000000']) expect(isNanoseconds(text), text).toBe(true);
    const wrong = [
      '-0',
      '00',
      '-01',
      '9223372036854775808',
      '-9223372036854775809',
      '9999999999999999999',
      '10000000000000000000',
    ];
    for (const text of [...wrong, '-10000000000000000000', '1/', '1:', '/1', '--1', 0, undefined])
      expect(isNanoseconds(text), String(text)).toBe(false);
  });

  test('a sequence number is whole and from 1 on', () => {
    expect([1, 2, Number.MAX_SAFE_INTEGER].map(isSeq)).toEqual([true, true, true]);
    expect([0, -1, 0.5, NaN, Infinity, '1', null, Number.MAX_SAFE_INTEGER + 1].map(isSeq)).toEqual(Array(8).fill(false));
  });
});

describe('the catalogue', () => {
  test('says what is wrong with data, and where', () => {
    expect(dataProblem('adapter.gone', { ifindex: 3 })).toBeNull();
    expect(dataProblem('adapter.gone', { ifindex: 'x' })).toMatch(/^adapter\.gone: data\/ifindex must be integer/);
    expect(dataProblem('adapter.gone', { ifindex: 3, more: 1 })).toMatch(/^adapter\.gone: data\/more /);
    expect(dataProblem('adapter.gone', {})).toMatch(/^adapter\.gone: data must have required properties ifindex/);
    expect(dataProblem('no.such', {})).toBe('unknown event type "no.such"');
    expect(dataProblem('x'.repeat(200), {})).toBe(`unknown event type "${'x'.repeat(79)}`);
    const envelope = {
      id: '0f0e0d0c-0b0a-4908-8706-050403020100',
      mono_ns: '1',
      boot_ns: '2',
      wall_ns: '3',
      cause: null,
      episode: null,
    };
    expect(eventProblem({ ...envelope, type: 'adapter.gone', data: { ifindex: 3 } }, 1)).toBeNull();
    expect(eventProblem({ ...envelope, type: 'adapter.gone', data: {} }, 1)).toContain('ifindex');
    expect(eventProblem({ ...envelope, id: '', type: 'adapter.gone', data: {} }, 1)).toContain('UUID');
  });

  test('its words have limits', () => {
    const refuses = (type: string, data: unknown): boolean => dataProblem(type, data) !== null;
    for (const mac of ['52:54:00:11:22:33', 'ff:ff:ff:ff:ff:ff']) expect(refuses('driver.gone', { mac })).toBe(false);
    for (const mac of ['52:54:00:11:22:3G', '52:54:00:AA:22:33', '52:54:00:11:22', 'x52:54:00:11:22:33', ''])
      expect(refuses('driver.gone', { mac }), mac).toBe(true);
    const jumped = (delta_ns: string) => ({ kind: 'stepped', delta_ns });
    for (const text of ['0', '-12', '1'.repeat(20)]) expect(refuses('clock.jumped', jumped(text))).toBe(false);
    for (const text of ['', '-', 'x', '1.5', '1 ', '1'.repeat(21)])
      expect(refuses('clock.jumped', jumped(text)), text).toBe(true);
    expect([256, 257].map((length) => refuses('pci.unbound', { address: 'x'.repeat(length) }))).toEqual([false, true]);
    expect([4096, 4097].map((length) => refuses('gap.seen', { source: 'x', reason: 'x'.repeat(length) }))).toEqual([false, true]);
    for (const ifindex of [-(2 ** 31), 2 ** 32 - 1]) expect(refuses('adapter.gone', { ifindex })).toBe(false);
    for (const ifindex of [-(2 ** 31) - 1, 2 ** 32, 1.5]) expect(refuses('adapter.gone', { ifindex })).toBe(true);
  });

  test('nothing in it is without a limit: objects are closed, texts and lists end', () => {
    const open: string[] = [];
    const walk = (schema: Record<string, unknown>, place: string): void => {
      const inner = (key: string): Record<string, unknown> => (schema[key] ?? {}) as Record<string, unknown>;
      const isText = schema['type'] === 'string' && schema['const'] === undefined && schema['enum'] === undefined;
      if (isText && schema['maxLength'] === undefined && schema['pattern'] === undefined) open.push(place);
      if (schema['type'] === 'array' && schema['maxItems'] === undefined) open.push(place);
      if (schema['properties'] !== undefined && schema['additionalProperties'] !== false) open.push(place);
      if (schema['type'] === 'object' && Object.keys({ ...inner('properties'), ...inner('patternProperties') }).length === 0)
        open.push(place);
      for (const [name, one] of Object.entries({ ...inner('properties'), ...inner('patternProperties') }))
        walk(one as Record<string, unknown>, `${place}.${name}`);
      for (const one of (schema['anyOf'] ?? []) as Record<string, unknown>[]) walk(one, place);
      if (schema['items'] !== undefined) walk(inner('items'), `${place}[]`);
    };
    for (const type of eventTypes) walk(catalogue[type].data as unknown as Record<string, unknown>, type);
    expect(open).toEqual([]);
  });

  test('the hypervisor’s side: what QEMU, VF and guest say is taken whole, and nothing else', () => {
    const pair = '52:54:00:11:22:33';
    const vf = { mac: pair, vlan: 0, qos: 0, spoofchk: null, trust: true };
    const guest = { version: '1', stage: 's', datapath: 'd', primary: pair, episode: null, findings: ['gap'] };
    const told: [string, Record<string, unknown>][] = [
      ['monitor.facts', { pair, connected: true, running: true, incoming: false, migration: '', primary: true, failover: true }],
      ['port.facts', { pair, vf, pfEntry: null, tapEntry: false }],
      ['channel.facts', { pair, guest }],
    ];
    for (const [type, data] of told) {
      expect(dataProblem(type, data)).toBeNull();
      expect(dataProblem(type, { ...data, more: 1 })).not.toBeNull();
      for (const name of Object.keys(data))
        expect(dataProblem(type, { ...data, [name]: undefined }), `${type} without ${name}`).not.toBeNull();
    }
    expect(dataProblem('port.facts', { pair, vf: { ...vf, more: 1 }, pfEntry: null, tapEntry: null })).not.toBeNull();
    const many = { ...guest, findings: Array(33).fill('gap') };
    for (const other of [{ ...guest, more: 1 }, many])
      expect(dataProblem('channel.facts', { pair, guest: other })).not.toBeNull();
  });

  test('each kind of decision says what belongs to it, and whose it is', () => {
    const PLANS: Readonly<Record<string, unknown>> = {
      takeOver: { bond: 'bond0', probe: [], confirm_ms: 1 },
      giveBack: { obligation: 'd1.0.takeover' },
      alignParameters: { parameters: { mtu: 1500, features: { 'rx-gro': true } } },
      tuneStandby: { stage: TUNED_STAGES[0], parameters: {}, elsewhere: { mtu: 1500 } },
      tellGuest: { word: 'prepare', episode: 'b-1' },
      startMigration: { uri: 'tcp:b:1' },
    };
    for (const kind of DECISION_KINDS) {
      const head = { id: 'd1.0', pair: '52:54:00:11:22:33', kind, mode: 'host', attempt: 1, master: null, standby: null };
      const decision = { ...head, primary: null, ...(kind in PLANS ? { plan: PLANS[kind] } : {}) };
      expect(dataProblem('decision.made', decision), kind).toBeNull();
      expect(dataProblem('decision.made', { ...decision, plan: { more: 1 } }), kind).not.toBeNull();
      for (const id of ['d1', 'xd1.0', 'd1.0x', 'd.0']) expect(dataProblem('decision.made', { ...decision, id })).not.toBeNull();
      expect(isHosts(decision as Decision)).toBe((HOST_KINDS as readonly string[]).includes(kind));
    }
  });

  test('a type is one string object for all events, and nothing inherited is one', () => {
    for (const type of eventTypes) expect(eventTypeOf(type)).toBe(type);
    for (const text of ['', 'toString', '__proto__', 'constructor', 'adapter']) expect(eventTypeOf(text)).toBeUndefined();
  });

  test('lists agree with each other', () => {
    expect(DECISION_KINDS).toEqual(Object.keys(EFFECT_KINDS));
    const planned = DECISION_KINDS.filter((kind) => !([...PLAIN_KINDS, ...HOST_KINDS] as readonly string[]).includes(kind));
    expect(planned).toEqual(['takeOver', 'giveBack', 'alignParameters', 'tuneStandby']);
    for (const declared of Object.values(EFFECT_KINDS)) expect(['repeatable', 'atMostOnce']).toContain(declared);
    expect([EFFECT_MODES, PAIR_MODES, OUTCOMES, OBLIGATION_KINDS, SETTLEMENTS]).toMatchInlineSnapshot(`
      [
        [
          "off",
          "dryRun",
          "on",
        ],
        [
          "auto",
          "kernel",
          "bond",
        ],
        [
          "succeeded",
          "failed",
          "refused",
          "void",
        ],
        [
          "takeover",
          "parameters",
          "bindings",
          "driverParameters",
          "service",
          "vfMac",
          "forwarding",
          "unplugged",
        ],
        [
          "givenBack",
          "undone",
          "gone",
        ],
      ]
    `);
    expect(new Set(OBSERVATIONS).size).toBe(OBSERVATIONS.length);
    const own = ['service', 'configuration', 'checkpoint', 'log', 'timer', 'operator', 'decision', 'outcome', 'obligation'];
    const others = eventTypes.filter((type) => !own.includes(type.split('.')[0] ?? ''));
    expect([...OBSERVATIONS].toSorted()).toEqual(others.toSorted());
    expect(BEFORE_CHARS_MAX).toBe(65_536);
    for (const type of eventTypes) expect(catalogue[type].meaning).toMatch(/^[A-Z].*\.$/);
  });
});

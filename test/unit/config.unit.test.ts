// The configuration file: what is read, what is refused and in which words, and where each value came from.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NetkvmError } from '../../src/events/errors.ts';
import { defaultPolicy, PARAMETERS } from '../../src/machines/policy.ts';
import { dumpToml } from '../../src/host/commands/config.ts';
import { defaultFile, FILE_BYTES_MAX, loadConfig } from '../../src/host/config.ts';
import { nearest } from '../../src/host/nearest.ts';
import { KEYS, SETTINGS } from '../../src/host/settings.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (content: string | Uint8Array): string => {
  const path = join(folder, 'config.toml');
  writeFileSync(path, content);
  return path;
};
const refusal = (content: string | Uint8Array): NetkvmError => {
  try {
    loadConfig(file(content));
  } catch (error) {
    if (error instanceof NetkvmError) return error;
    throw error;
  }
  throw new Error('the file was taken');
};

const root = { platform: 'linux', env: {}, uid: 0 };
/** Surroundings in which the default file does not exist. */
const windows = { platform: 'win32', env: { ProgramData: '/nowhere/ProgramData' }, uid: null };

describe('what holds without a file', () => {
  test('every key has its default, and says so', () => {
    const { file: read, settings, policy, origins } = loadConfig(undefined, {}, windows);
    expect(read).toBeNull();
    expect(policy).toEqual(defaultPolicy);
    expect(settings.survey_ms).toBe(SETTINGS.survey_ms.initial);
    expect(Object.keys(origins)).toEqual([...KEYS.map(({ table, name }) => `${table}.${name}`), 'pairs']);
    expect(new Set(Object.values(origins))).toEqual(new Set(['default']));
  });

  test('the folders follow the system and the user', () => {
    // The separator is that of the system that asks, which is always the one that is asked about.
    const slashes = (path: string | null): string => (path ?? '').replaceAll('\\', '/');
    expect(slashes(defaultFile(root))).toBe('/etc/netkvm-failover/config.toml');
    expect(slashes(defaultFile(windows))).toContain('ProgramData/netkvm-failover/config.toml');
    const empty = file('');
    const stateDir = (at: typeof root | typeof windows): string => slashes(loadConfig(empty, {}, at).settings.stateDir);
    expect(stateDir(root)).toBe('/var/lib/netkvm-failover');
    expect(stateDir({ ...root, uid: 1000, env: { HOME: '/home/a' } })).toBe('/home/a/.local/state/netkvm-failover');
    expect(stateDir({ ...root, uid: 1000, env: { HOME: '/home/a', XDG_STATE_HOME: '/s' } })).toBe('/s/netkvm-failover');
    expect(stateDir({ ...root, uid: 1000, env: { HOME: '/home/a', XDG_STATE_HOME: 'relative' } })).toContain('/home/a');
    expect(stateDir(windows)).toBe('/nowhere/ProgramData/netkvm-failover/state');
    expect(slashes(loadConfig(empty, {}, root).settings.controlSocket)).toBe('/run/netkvm-failover/control.sock');
  });

  test('a file that was named must exist', () => {
    expect(() => loadConfig(join(folder, 'none.toml'))).toThrow(
      expect.objectContaining({ code: 'config.unreadable', exit: 6, message: expect.stringContaining('does not exist') }),
    );
  });
});

describe('what a file says', () => {
  const text = `
# a comment
[service]
logLevel = "debug"

[policy]
effects = "on"
grace_ms = 1_500

[[pairs]]
mac = "52-54-00-AA-BB-CC"
[[pairs]]
mac = "525400112233"
standbyName = "eth0"
primaryName = "eth1"
mode = "bond"
bond = "uplink0"
probe = ["192.0.2.1", "2001:db8::1"]
confirm_ms = 800
parameters = { mtu = "standby", rxRing = 2048, features = { "rx-gro" = false }, inf = { "*ReceiveBuffers" = "1024" } }
standbyParameters.fallback = { rxRing = 1024 }
standbyParameters.onPrimary = { txQueue = 50, features = { "rx-gro" = true } }
`;

  test('is taken, with the line it stands in', () => {
    const path = file(text);
    const { settings, policy, origins } = loadConfig(path);
    expect(settings.logLevel).toBe('debug');
    expect(policy).toMatchObject({ effects: 'on', grace_ms: 1500, attachLimit_ms: PARAMETERS.attachLimit_ms.initial });
    expect(policy.pairs).toEqual([
      { mac: '52:54:00:aa:bb:cc' },
      {
        mac: '52:54:00:11:22:33',
        standbyName: 'eth0',
        primaryName: 'eth1',
        bond: 'uplink0',
        mode: 'bond',
        probe: ['192.0.2.1', '2001:db8::1'],
        confirm_ms: 800,
        parameters: { mtu: 'standby', rxRing: 2048, features: { 'rx-gro': false }, inf: { '*ReceiveBuffers': '1024' } },
        standbyParameters: { fallback: { rxRing: 1024 }, onPrimary: { txQueue: 50, features: { 'rx-gro': true } } },
      },
    ]);
    expect(origins).toMatchObject({
      'service.logLevel': `file:${path}:4`,
      'policy.grace_ms': `file:${path}:8`,
      'policy.flapLimit': 'default',
      pairs: `file:${path}:10`,
    });
  });

  test('is refused on Windows where the standby would be restarted', () => {
    expect(() => loadConfig(file(text), {}, windows)).toThrow(/config.toml:12: pairs.1.standbyParameters = .* on Windows/);
  });

  test('gives way to the command line', () => {
    const { settings, policy, origins } = loadConfig(file(text), { 'policy.effects': 'off', 'service.stateDir': folder });
    expect(policy.effects).toBe('off');
    expect(settings.controlSocket).toMatch(process.platform === 'win32' ? /^\\\\\.\\pipe\\/ : /\/control\.sock$/);
    expect(origins).toMatchObject({ 'policy.effects': 'command line', 'service.stateDir': 'command line' });
    expect(() => loadConfig(undefined, { 'service.logLevel': 'loud' }, windows)).toThrow(
      expect.objectContaining({ code: 'usage.value' }),
    );
  });

  test('is frozen all through', () => {
    const { policy, settings } = loadConfig(file(text));
    expect(() => Object.assign(policy.pairs[1]!, { mac: 'x' })).toThrow(TypeError);
    expect(() => Object.assign(settings, { stateDir: 'x' })).toThrow(TypeError);
  });

  test('survives a dump and a second reading', () => {
    const first = loadConfig(file(text), {}, root);
    const second = loadConfig(file(dumpToml(first)), {}, root);
    expect(second.policy).toEqual(first.policy);
    expect(second.settings).toEqual(first.settings);
  });

  test('may begin with a byte order mark and end its lines as Windows does', () => {
    const path = file(`\uFEFF${text.replaceAll('\n', '\r\n')}`);
    expect(loadConfig(path).origins['policy.grace_ms']).toBe(`file:${path}:8`);
  });

  test.each(KEYS.map((key) => [`${key.table}.${key.name}`, key] as const))(
    '%s takes its range and nothing beside it',
    (_, key) => {
      const line = (value: string): string => `[${key.table}]\n${key.name} = ${value}\n`;
      const wrong =
        typeof key.initial === 'string' ? ['1', 'true', '["a"]', ...(key.choices ? ['"nonsense"'] : [])] : ['"1"', '1.5', '[]'];
      const right = key.choices?.map((choice) => JSON.stringify(choice)) ?? [];
      if (typeof key.initial === 'number') {
        wrong.push(String(key.min! - 1), String(key.max! + 1), 'nan', 'inf', '1979-05-27');
        right.push(String(key.min), String(key.max));
      }
      for (const value of wrong) {
        expect(refusal(line(value))).toMatchObject({ code: 'config.value', exit: 6 });
      }
      for (const value of right) expect(() => loadConfig(file(line(value)))).not.toThrow();
    },
  );
});

const pairWith = (line: string, last = 3): string => `[[pairs]]\nmac = "52:54:00:11:22:3${last}"\n${line}`;

describe('what is refused, in one line', () => {
  const cases: [name: string, content: string, code: string, ...parts: string[]][] = [
    [
      'a mistyped key',
      '[policy]\n\ngrace_sm = 3',
      'config.key',
      'config.toml:3:',
      '"grace_sm" in policy',
      'did you mean grace_ms?',
    ],
    ['a mistyped table', '[polcy]\n', 'config.key', 'config.toml:1:', 'did you mean policy?'],
    ['a key of no table', 'effects = "on"\n', 'config.key', '"effects"'],
    ['a mistyped key of a pair', '[[pairs]]\nmacc = "x"', 'config.key', 'config.toml:2:', 'did you mean mac?'],
    ['a mode that does not exist', pairWith('mode = "team"'), 'config.value', 'config.toml:3:', 'one of auto, kernel, bond'],
    ['a name that no interface can have', pairWith('bond = "a bond"'), 'config.value', 'config.toml:3:', '1 to 15 characters'],
    ['a long name', pairWith('bond = "abcdefghijklmnop"'), 'config.value', '1 to 15 characters'],
    ['a bond named like its member', pairWith('bond = "a"\nstandbyName = "a"'), 'config.value', 'another name'],
    ['one bond for two pairs', `${pairWith('bond = "b"')}\n${pairWith('bond = "b"', 4)}`, 'config.value', 'b is listed twice'],
    ['a probe that is no address', pairWith('probe = ["gateway"]'), 'config.value', 'at most 8 IP addresses'],
    ['a probe that is no list', pairWith('probe = "192.0.2.1"'), 'config.value', 'a list'],
    ['no time to confirm', pairWith('confirm_ms = 5'), 'config.value', 'a whole number from 100 to 60000'],
    ['an unknown parameter', pairWith('parameters = { rxRings = 5 }'), 'config.key', 'did you mean rxRing?'],
    ['a parameter out of range', pairWith('parameters = { mtu = 5 }'), 'config.value', 'a whole number from 68 to 65535'],
    ['a feature that is no switch', pairWith('parameters = { features = { tso = 1 } }'), 'config.value', 'each true or false'],
    ['a feature that is no name', pairWith('parameters = { features = { "T SO" = true } }'), 'config.value', 'feature names'],
    ['an MTU in words', pairWith('parameters = { mtu = "primary" }'), 'config.value', 'to 65535, or "standby"'],
    ['driver parameters that are no table', pairWith('parameters = { inf = 5 }'), 'config.value', 'inf', 'each with a text'],
    ['a driver parameter that is no text', pairWith('parameters = { inf = { VlanID = 5 } }'), 'config.value', 'each with a text'],
    [
      'a driver parameter that is a path',
      pairWith("parameters = { inf = { 'a\\b' = '5' } }"),
      'config.value',
      'driver parameters',
    ],
    ['a stage that has none', pairWith('standbyParameters.switching = { txQueue = 5 }'), 'config.key', '"switching"'],
    ['a stage without a table', pairWith('standbyParameters.fallback = 5'), 'config.value', 'a table of parameters'],
    ['stages that are no table', pairWith('standbyParameters = 5'), 'config.value', 'a table with fallback or onPrimary'],
    ['the pair’s MTU in a stage', pairWith('standbyParameters.fallback = { mtu = 1500 }'), 'config.key', '"mtu"'],
    [
      'a stage’s parameter out of range',
      pairWith('standbyParameters.onPrimary = { rxRing = 0 }'),
      'config.value',
      'pairs.0.standbyParameters.onPrimary.rxRing = 0 is not a whole number from 1 to 1000000',
    ],
    ['parameters that are no table', pairWith('parameters = 5'), 'config.value', 'a table of parameters'],
    ['a prototype as a key', '[policy]\n__proto__ = 1', 'config.key', '__proto__'],
    [
      'a value out of range',
      '[policy]\nretryLimit = 0',
      'config.value',
      ':2: policy.retryLimit = 0 is not a whole number from 1 to 100',
    ],
    ['a word that is none of the choices', '[policy]\neffects = "yes"', 'config.value', '"yes" is not one of off, dryRun, on'],
    ['a relative path', '[service]\nstateDir = "state"', 'config.value', 'an absolute path'],
    ['a MAC that is none', '[[pairs]]\nmac = "52:54:00"', 'config.value', 'config.toml:2:', '52:54:00'],
    ['a multicast MAC', '[[pairs]]\nmac = "01:54:00:11:22:33"', 'config.value', 'unicast'],
    ['a missing MAC', '[[pairs]]\nstandbyName = "eth0"', 'config.value', 'pairs.0.mac = undefined'],
    [
      'a MAC listed twice',
      '[[pairs]]\nmac = "52:54:00:11:22:33"\n[[pairs]]\nmac = "525400112233"',
      'config.value',
      'config.toml:4: 52:54:00:11:22:33 is listed twice, first at',
      'config.toml:2',
    ],
    ['one name for both', '[[pairs]]\nmac = "525400112233"\nstandbyName = "a"\nprimaryName = "a"', 'config.value', ':4:'],
    ['pairs that are no tables', 'pairs = ["52:54:00:11:22:33"]', 'config.value', '[[pairs]]'],
    ['a table that is none', 'policy = 3', 'config.value', '[policy]'],
    ['broken TOML', '[policy]\ngrace_ms = \n', 'config.syntax', 'config.toml:2:'],
    ['a key twice', '[policy]\ngrace_ms = 1\ngrace_ms = 2', 'config.syntax', 'config.toml:3:'],
    ['a bottomless value', `pairs = ${'['.repeat(5000)}`, 'config.syntax'],
  ];
  test.each(cases)('%s', (_, content, code, ...parts) => {
    const error = refusal(content);
    expect(error.code).toBe(code);
    expect(error.line).not.toContain('\n');
    for (const part of parts) expect(error.message).toContain(part);
  });

  test('257 pairs', () => {
    const pairs = Array.from({ length: 257 }, (_, n) => `[[pairs]]\nmac = "525400${n.toString(16).padStart(6, '0')}"\n`);
    expect(refusal(pairs.join(''))).toMatchObject({ code: 'config.value' });
    expect(loadConfig(file(pairs.slice(1).join(''))).policy.pairs).toHaveLength(256);
  });

  test('bytes that are no text, and a file too large', () => {
    expect(refusal(new Uint8Array([0x61, 0xff, 0xfe]))).toMatchObject({ code: 'config.syntax' });
    expect(refusal(`# ${'x'.repeat(FILE_BYTES_MAX)}`)).toMatchObject({ code: 'config.unreadable' });
  });

  test('a folder, a FIFO, an endless device', () => {
    const [fifo, zero] = [join(folder, 'fifo'), join(folder, 'zero')];
    const isWindows = process.platform === 'win32';
    if (!isWindows) execFileSync('mkfifo', [fifo]);
    if (!isWindows) symlinkSync('/dev/zero', zero);
    for (const path of isWindows ? [folder] : [folder, fifo, zero]) {
      expect(() => loadConfig(path)).toThrow(expect.objectContaining({ code: 'config.unreadable' }));
    }
  });
});

test('suggestions come only from near words', () => {
  expect(nearest('stauts', ['status', 'wait'])).toBe('status');
  expect(nearest('grace_sm', ['grace_ms', 'settle_ms'])).toBe('grace_ms');
  expect(nearest('banana', ['status', 'wait'])).toBeNull();
  expect(nearest('x'.repeat(1000), ['x'.repeat(999)])).toBeNull();
});

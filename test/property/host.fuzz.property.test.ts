// What strangers may put before the host process: configuration files, requests on the control socket, command lines. They
// are refused in one line or understood; they never crash the process, hang it, or make it hold more than its limits.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { NetkvmError } from '../../src/events/errors.ts';
import { readArguments } from '../../src/host/arguments.ts';
import { runCli } from '../../src/host/cli.ts';
import { COMMANDS } from '../../src/host/commands.ts';
import { FILE_BYTES_MAX, loadConfig } from '../../src/host/config.ts';
import { request } from '../../src/host/control-client.ts';
import { lineCutter } from '../../src/host/control-lines.ts';
import { openControl } from '../../src/host/control.ts';
import { KEYS } from '../../src/host/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'fuzz-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Configuration files.

const VALID = `# a pair
[service]
logLevel = "info"
survey_ms = 60000
[policy]
effects = "dryRun"
grace_ms = 3000
[[pairs]]
mac = "52:54:00:11:22:33"
standbyName = "eth0"
`;
const odd = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', '"', '"a b"', '"\\u0000"', 'mac', 'pairs'];
const name = fc.oneof(fc.constantFrom(...KEYS.map((key) => key.name), 'service', 'policy', 'pairs', ...odd), fc.string());
const value = fc.oneof(
  fc.constantFrom('true', 'inf', 'nan', '-0', '1e400', '9223372036854775808', '1979-05-27', '{}', '[]', '[[', '"', "'''", '0x'),
  fc.constantFrom('{ __proto__ = 1 }', '{ constructor.prototype.x = 1 }', '"\\ud800"', '[{ mac = "02:00:00:00:00:01" }]'),
  fc.double().map(String),
  fc.string().map((text) => JSON.stringify(text)),
  fc.nat(3000).map((depth) => '['.repeat(depth)),
  fc.nat(300).map((depth) => `${'{a='.repeat(depth)}1${'}'.repeat(depth)}`),
);
const tomlLine = fc.oneof(
  fc.tuple(name, value).map(([key, what]) => `${key} = ${what}`),
  fc.tuple(name, name, value).map(([table, key, what]) => `${table}.${key} = ${what}`),
  name.map((table) => `[${table}]`),
  name.map((table) => `[[${table}]]`),
  fc.string({ unit: 'binary' }),
);
const mutated = fc
  .array(fc.tuple(fc.nat(VALID.length), fc.nat(12), fc.oneof(fc.string(), value, name)), { minLength: 1, maxLength: 6 })
  .map((cuts) => cuts.reduce((text, [at, length, more]) => text.slice(0, at) + more + text.slice(at + length), VALID));
const configuration = fc.oneof(
  mutated.map((text) => Buffer.from(text)),
  fc.array(tomlLine, { maxLength: 30 }).map((lines) => Buffer.from(lines.join('\n'))),
  fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
);

const read = (bytes: Uint8Array): 'read' | NetkvmError => {
  const path = join(folder, 'config.toml');
  writeFileSync(path, bytes);
  try {
    loadConfig(path);
    return 'read';
  } catch (error) {
    if (error instanceof NetkvmError) return error;
    throw error;
  }
};
const prototypes = [Object.prototype, Array.prototype].map((one) => Object.getOwnPropertyNames(one).length);

test('a configuration file is read or refused with a config error', () => {
  const seen = { read: 0, refused: new Set<string>() };
  fc.assert(
    fc.property(configuration, (bytes) => {
      const result = read(bytes);
      if (result === 'read') seen.read += 1;
      else seen.refused.add(result.code);
      expect(result === 'read' ? 'config.read' : result.code).toMatch(/^config[.]/);
      expect([Object.prototype, Array.prototype].map((one) => Object.getOwnPropertyNames(one).length)).toEqual(prototypes);
    }),
    { numRuns: 1500 },
  );
  expect(seen.read).toBeGreaterThan(10);
  expect([...seen.refused]).toEqual(expect.arrayContaining(['config.syntax', 'config.key', 'config.value']));
});

test.each([
  ['one long line', 'x'.repeat(FILE_BYTES_MAX)],
  ['blanks', ' '.repeat(FILE_BYTES_MAX)],
  ['blanks before an equals sign', `a${' '.repeat(FILE_BYTES_MAX - 2)}=`],
  ['dotted keys', `${'a.'.repeat(FILE_BYTES_MAX / 2 - 3)}a=1`],
  ['brackets', '['.repeat(FILE_BYTES_MAX)],
  ['many tables', '[[pairs]]\n'.repeat(FILE_BYTES_MAX / 10)],
  ['quotes', '"'.repeat(FILE_BYTES_MAX)],
  ['an open string', `a = "${'\\\\'.repeat(FILE_BYTES_MAX / 2 - 4)}`],
  ['a header of dots', `[${'a. '.repeat(FILE_BYTES_MAX / 3 - 2)}`],
  ['too much', 'x'.repeat(4 * FILE_BYTES_MAX)],
])('a huge file does not take long: %s', (_, text) => {
  const start = performance.now();
  const result = read(Buffer.from(text));
  expect(result === 'read' ? 'config.read' : result.code).toMatch(/^config[.]/);
  expect(performance.now() - start).toBeLessThan(3000);
});

// The control socket.

test('bytes are cut into the same lines wherever they are split, and never into longer ones', () => {
  const LIMIT = 40;
  const bytes = fc.array(fc.oneof(fc.constant(10), fc.nat(255)), { maxLength: 400 });
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(400), { maxLength: 20 }), (whole, cuts) => {
      const found: string[] = [];
      const cutter = lineCutter(LIMIT, (cut) => found.push(cut.toString('latin1')));
      const at = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
      const fits = at.slice(1).every((end, place) => cutter.push(Buffer.from(whole.slice(at[place], Math.max(end, at[place]!)))));
      const lines = Buffer.from(whole).toString('latin1').split('\n');
      const tooLong = lines.findIndex(({ length }) => length > LIMIT);
      expect(fits).toBe(tooLong === -1);
      expect(found).toEqual(lines.slice(0, tooLong === -1 ? -1 : tooLong));
      expect(fits ? cutter.rest().toString('latin1') : '').toBe(fits ? lines.at(-1) : '');
    }),
    { numRuns: 500 },
  );
});

const good = '{"id":1,"request":"echo","params":{"a":[1]}}\n';
const json = fc.oneof(
  fc.json().map((text) => `${text}\n`),
  fc
    .record({
      id: fc.jsonValue(),
      request: fc.constantFrom('echo', 'ping', '__proto__', 'constructor', 'items', 5),
      params: fc.jsonValue(),
    })
    .map((message) => `${JSON.stringify(message)}\n`),
  fc.nat(70_000).map((depth) => `${'['.repeat(depth)}\n`),
  fc
    .nat(10_000)
    .map((depth) => `{"id":1,"request":"echo","params":{"__proto__":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}}\n`),
  fc.tuple(fc.nat(good.length), fc.string({ unit: 'binary' })).map(([at, more]) => good.slice(0, at) + more + good.slice(at)),
  fc.constantFrom(good, good.repeat(40), '\n'.repeat(1000), 'x'.repeat(200_000), good.slice(0, -5)),
);
const pieces = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: json.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  ),
  { minLength: 1, maxLength: 6 },
);

test('whatever a client sends, the next one is served', async () => {
  const faults: unknown[] = [];
  const path = join(folder, 'run/control.sock');
  const control = await openControl({
    path,
    handlers: {
      // Not the whole: what is nested too deeply can be read, but not written again.
      echo: async ({ still }) => ({ still: typeof still === 'string' ? still : null }),
      items: async () =>
        (async function* () {
          yield { item: 1 };
        })(),
    },
    limits: { unread_ms: 500, idle_ms: 500 },
    onFault: (error) => faults.push(error),
  });
  try {
    await fc.assert(
      fc.asyncProperty(pieces, fc.boolean(), fc.boolean(), async (sent, split, abrupt) => {
        const socket = createConnection({ path });
        let answers = '';
        socket.on('error', () => {});
        socket.on('data', (chunk: Buffer) => (answers += chunk.toString()));
        const closed = once(socket, 'close').catch(() => {});
        for (const piece of sent) {
          if (!split) socket.write(piece);
          else for (const part of [piece.subarray(0, piece.length / 3), piece.subarray(piece.length / 3)]) socket.write(part);
          if (split) await new Promise(setImmediate);
        }
        if (abrupt) socket.destroy();
        else socket.end();
        await closed;
        for (const answer of answers.split('\n').slice(0, -1)) expect(JSON.parse(answer)).toHaveProperty('id');
        expect(await request(path, 'echo', { still: 'here' })).toEqual({ still: 'here' });
      }),
      { numRuns: 150 },
    );
    expect(faults).toEqual([]);
  } finally {
    await control.close();
  }
}, 20_000);

// Command lines.

const words = [
  ...COMMANDS.flatMap((command) => command.name.split(' ')),
  ...COMMANDS.flatMap(({ options }) =>
    options.flatMap(({ name: long, short, choices = [] }) => [
      `--${long}`,
      `--no-${long}`,
      `--${long}=`,
      `-${short ?? 'x'}`,
      ...choices,
    ]),
  ),
  '--',
  '-',
  '---',
  '-h',
  '--help',
  '--version',
  '--__proto__',
  '__proto__',
  'constructor',
  '--toString=1',
  '0',
  '-1',
  '1e9',
  'NaN',
  '52:54:00:11:22:33',
  'a\nb',
  '\u001B[31m',
  '',
];
const someWords = fc.array(
  fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...words) }, { weight: 1, arbitrary: fc.string({ unit: 'binary' }) }),
  { maxLength: 6 },
);
const commandLine = fc.oneof(
  someWords,
  fc.tuple(fc.constantFrom(...COMMANDS), someWords).map(([command, rest]) => [...command.name.split(' '), ...rest.slice(0, 2)]),
);

/** Runs a command line against streams in memory. */
const call = async (line: readonly string[]): Promise<{ code: number; out: string; err: string }> => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { out: '', err: '' };
  stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  const code = await runCli(line, { stdin: Readable.from([]), stdout, stderr });
  await new Promise(setImmediate);
  return { code, ...text };
};

test('a command line is understood, or refused with exit code 2 and one line', async () => {
  const seen = { understood: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(commandLine, async (line) => {
      let harmless = true;
      try {
        const asked = readArguments(line);
        // Commands that would do something are only parsed here.
        harmless = asked.kind !== 'command' || asked.command.name === 'help' || asked.command.name === 'version';
      } catch (error) {
        if (!(error instanceof NetkvmError)) throw error;
      }
      if (!harmless) {
        seen.understood += 1;
        return;
      }
      const { code, out, err } = await call(line);
      expect([0, 2]).toContain(code);
      expect(err).not.toContain('internal fault');
      // Nothing at all is answered with the list of commands.
      const oneLine = line.length === 0 || err.split('\n').length === 2;
      expect(code === 0 ? err === '' && out !== '' : out === '' && oneLine).toBe(true);
      seen.refused += code === 2 ? 1 : 0;
    }),
    { numRuns: 1500 },
  );
  expect(seen.understood).toBeGreaterThan(0);
  expect(seen.refused).toBeGreaterThan(200);
});

test('config check says of any file whether it is valid, in one line', async () => {
  const path = join(folder, 'checked.toml');
  await fc.assert(
    fc.asyncProperty(configuration, async (bytes) => {
      writeFileSync(path, bytes);
      const { code, out, err } = await call(['config', 'check', '--config', path]);
      expect([0, 6]).toContain(code);
      expect(err.split('\n')).toHaveLength(code === 0 ? 1 : 2);
      expect(out === '').toBe(code === 6);
    }),
    { numRuns: 300 },
  );
});

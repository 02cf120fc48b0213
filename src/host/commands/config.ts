// `netkvm config check` and `netkvm config dump`: whether the configuration is valid, and every value that holds with the
// place it came from, written as TOML that can be read back.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Run } from '../command.ts';
import { defaultFile, loadConfig, type Configuration } from '../config.ts';
import { KEYS } from '../settings.ts';

/** A string as TOML and JSON write it alike (JSON leaves DEL as it is, TOML does not). */
const quote = (value: unknown): string => JSON.stringify(value).replaceAll('\x7F', '\\u007F');

/** A value as TOML writes it, tables in line. */
const inline = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return quote(value);
  return `{ ${Object.entries(value)
    .map(([name, item]) => `${quote(name)} = ${inline(item)}`)
    .join(', ')} }`;
};

const valueOf = (configuration: Configuration, table: 'service' | 'policy', name: string): unknown =>
  ((table === 'service' ? configuration.settings : configuration.policy) as unknown as Record<string, unknown>)[name];

/** What is legal, but probably not what was meant. */
const notes = ({ policy }: Configuration): string[] => [
  ...(policy.effects === 'on' && policy.pairs.length === 0
    ? ['effects = on, but no pair is listed: nothing will be touched']
    : []),
  ...(policy.flapWindow_ms < policy.settle_ms ? ['flapWindow_ms is shorter than settle_ms: flapping is never seen'] : []),
];

export const dumpToml = (configuration: Configuration): string => {
  const { file, origins, policy } = configuration;
  const lines = [`# netkvm-failover, ${file === null ? 'without a configuration file' : `read from ${JSON.stringify(file)}`}`];
  for (const table of ['service', 'policy'] as const) {
    lines.push('', `[${table}]`);
    for (const { name } of KEYS.filter((key) => key.table === table)) {
      const origin = origins[`${table}.${name}`]!.replaceAll(/[\p{Cc}]/gu, '?');
      lines.push(`${`${name} = ${quote(valueOf(configuration, table, name))}`.padEnd(40)} # ${origin}`);
    }
  }
  for (const pair of policy.pairs) {
    lines.push('', '[[pairs]]', ...Object.entries(pair).map(([name, value]) => `${name} = ${inline(value)}`));
  }
  for (const vm of configuration.vms) {
    lines.push('', '[[vms]]', ...Object.entries(vm).map(([name, value]) => `${name} = ${inline(value)}`));
  }
  return `${lines.join('\n')}\n`;
};

const dumpDocument = (configuration: Configuration): object => {
  const table = (which: 'service' | 'policy') =>
    Object.fromEntries(
      KEYS.filter((key) => key.table === which).map(({ name }) => [
        name,
        { value: valueOf(configuration, which, name), origin: configuration.origins[`${which}.${name}`] },
      ]),
    );
  const pairs = { value: configuration.policy.pairs, origin: configuration.origins['pairs'] };
  return {
    schemaVersion: 1,
    file: configuration.file,
    service: table('service'),
    policy: table('policy'),
    pairs,
    vms: configuration.vms,
  };
};

const check = (args: Arguments): { readonly text: string; readonly document: object } => {
  const configuration = loadConfig(args.text('config'));
  const { file, policy } = configuration;
  const hints = notes(configuration);
  const what =
    file === null
      ? `${defaultFile()} does not exist: the defaults hold`
      : `${file} is valid, ${policy.pairs.length} pairs listed`;
  return {
    text: `${[what, ...hints.map((hint) => `note: ${hint}`)].join('\n')}\n`,
    document: { schemaVersion: 1, valid: true, file, pairs: policy.pairs.length, notes: hints, error: null },
  };
};

export const run: Run = async (args, io) => {
  const json = args.flag('json');
  const print = (document: object): unknown => io.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  if (args.command === 'config dump') {
    const configuration = loadConfig(args.text('config'), { 'service.stateDir': args.text('state-dir') });
    if (json) print(dumpDocument(configuration));
    else io.stdout.write(dumpToml(configuration));
    return EXIT.done;
  }
  try {
    const { text, document } = check(args);
    if (json) print(document);
    else io.stdout.write(text);
  } catch (error) {
    if (json && error instanceof NetkvmError) {
      print({ schemaVersion: 1, valid: false, error: { code: error.code, text: error.message } });
    }
    throw error;
  }
  return EXIT.done;
};

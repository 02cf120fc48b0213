// The `[[pairs]]` of the configuration file: which pairs effects may touch, and what is to become of each. What the keys
// mean and what they take is listed in settings.ts; this checks it, so that nothing else has to.
import { isIP } from 'node:net';
import type { Policy } from '../events/catalogue.ts';
import { NetkvmError } from '../events/errors.ts';
import { type Mac, parseMac } from '../events/mac.ts';
import { badValue, isTable, onlyKnown, type Source, type Table } from './config-source.ts';
import {
  PAIR_KEYS,
  PAIR_MODES,
  PAIRS_MAX,
  PARAMETER_KEYS,
  PARAMETER_RANGES,
  PROBES_MAX,
  STANDBY_KEYS,
  STANDBY_STAGES,
} from './settings.ts';

type Pair = Policy['pairs'][number];
/** Refuses the value of a key, and says what it takes. */
export type Refuse = (key: string, value: unknown, range: string) => NetkvmError;

export const isWhole = (value: unknown, [min, max]: readonly [number, number]): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;

/** What the kernel takes as the name of an interface (dev_valid_name, net/core/dev.c). */
export const isInterfaceName = (name: unknown): name is string =>
  typeof name === 'string' && /^[^\s/:\0]{1,15}$/.test(name) && name !== '.' && name !== '..';

const NAMES_MAX = 64;
const isText = (value: unknown): boolean => typeof value === 'string' && /^[^\0]{0,256}$/.test(value);

/** `key` is `parameters`, or `standbyParameters.<stage>`; `known` is what may stand there. */
const readParameters = (
  source: Source,
  prefix: string,
  key: string,
  value: unknown,
  known: readonly string[],
  refuse: Refuse,
) => {
  if (!isTable(value)) throw refuse(key, value, 'a table of parameters');
  onlyKnown(source, `${prefix}${key}.`, value, known);
  for (const [name, one] of Object.entries(value)) {
    const entries = isTable(one) ? Object.entries(one) : [];
    if (name === 'features') {
      const fits = isTable(one) && entries.every(([feature, on]) => typeof on === 'boolean' && /^[a-z0-9-]{1,32}$/.test(feature));
      if (!fits || entries.length > NAMES_MAX)
        throw refuse(`${key}.features`, one, `a table of at most ${NAMES_MAX} feature names, each true or false`);
    } else if (name === 'inf') {
      const fits = isTable(one) && entries.every(([parameter, text]) => isText(text) && /^[^\0\\]{1,255}$/.test(parameter));
      if (!fits || entries.length > NAMES_MAX)
        throw refuse(`${key}.inf`, one, `a table of at most ${NAMES_MAX} driver parameters, each with a text`);
    } else {
      const range = PARAMETER_RANGES[name as keyof typeof PARAMETER_RANGES];
      const words = name === 'mtu' ? ', or "standby"' : '';
      const fits = isWhole(one, range) || (name === 'mtu' && one === 'standby');
      if (!fits) throw refuse(`${key}.${name}`, one, `a whole number from ${range[0]} to ${range[1]}${words}`);
    }
  }
  return value;
};

const readStages = (source: Source, prefix: string, value: unknown, refuse: Refuse): NonNullable<Pair['standbyParameters']> => {
  if (!isTable(value)) throw refuse('standbyParameters', value, `a table with ${STANDBY_STAGES.join(' or ')}`);
  onlyKnown(source, `${prefix}standbyParameters.`, value, STANDBY_STAGES);
  for (const [stage, parameters] of Object.entries(value))
    readParameters(source, prefix, `standbyParameters.${stage}`, parameters, STANDBY_KEYS, refuse);
  return value;
};

const readNames = (pair: Table, refuse: Refuse): Pick<Pair, 'standbyName' | 'primaryName' | 'bond'> => {
  const names: { standbyName?: string; primaryName?: string; bond?: string } = {};
  for (const key of ['standbyName', 'primaryName'] as const) {
    const name = pair[key];
    if (name === undefined) continue;
    if (typeof name !== 'string' || !/^[^\0]{1,256}$/.test(name))
      throw refuse(key, name, 'an interface name of 1 to 256 characters');
    names[key] = name;
  }
  if (names.standbyName !== undefined && names.standbyName === names.primaryName)
    throw refuse('primaryName', names.primaryName, 'another name than standbyName');
  const { bond } = pair;
  if (bond === undefined) return names;
  if (!isInterfaceName(bond)) throw refuse('bond', bond, 'an interface name of 1 to 15 characters');
  if (bond === names.standbyName || bond === names.primaryName)
    throw refuse('bond', bond, 'another name than those of the members');
  return { ...names, bond };
};

const readWishes = (source: Source, prefix: string, pair: Table, refuse: Refuse): Omit<Pair, 'mac'> => {
  const { mode, probe, confirm_ms, parameters, standbyParameters } = pair;
  const wishes: Omit<Pair, 'mac'> = {};
  if (mode !== undefined) {
    const known = PAIR_MODES.find((name) => name === mode);
    if (known === undefined) throw refuse('mode', mode, `one of ${PAIR_MODES.join(', ')}`);
    wishes.mode = known;
  }
  if (probe !== undefined) {
    const fits =
      Array.isArray(probe) && probe.length <= PROBES_MAX && probe.every((ip) => typeof ip === 'string' && isIP(ip) > 0);
    if (!fits) throw refuse('probe', probe, `a list of at most ${PROBES_MAX} IP addresses`);
    wishes.probe = probe as string[];
  }
  if (confirm_ms !== undefined) {
    if (!isWhole(confirm_ms, [100, 60_000])) throw refuse('confirm_ms', confirm_ms, 'a whole number from 100 to 60000');
    wishes.confirm_ms = confirm_ms;
  }
  if (parameters !== undefined) {
    const known = Object.keys(PARAMETER_KEYS);
    wishes.parameters = readParameters(source, prefix, 'parameters', parameters, known, refuse);
  }
  if (standbyParameters !== undefined) wishes.standbyParameters = readStages(source, prefix, standbyParameters, refuse);
  return wishes;
};

/** Refuses what two pairs may not have in common. */
export const onlyOnce = (seen: Map<string, string>, what: string, at: string): void => {
  const before = seen.get(what);
  if (before !== undefined) throw new NetkvmError('config.value', `${at}: ${what} is listed twice, first at ${before}`);
  seen.set(what, at);
};

export const readMac = (value: unknown, refuse: Refuse): Mac => {
  const mac = typeof value === 'string' ? parseMac(value) : null;
  const unicast = mac !== null && mac !== '00:00:00:00:00:00' && Number.parseInt(mac.slice(0, 2), 16) % 2 === 0;
  if (!unicast) throw refuse('mac', value, 'the unicast MAC of a pair, like "52:54:00:11:22:33"');
  return mac;
};

/** Errors: `config.key`, `config.value`. */
export const readPairs = (source: Source): Policy['pairs'] => {
  const list = source.root['pairs'] ?? [];
  if (!Array.isArray(list) || !list.every(isTable))
    throw badValue(source, 'pairs', list, 'a list of tables, each under [[pairs]]');
  if (list.length > PAIRS_MAX) throw badValue(source, 'pairs', list.length, `at most ${PAIRS_MAX} pairs`);
  const seen = new Map<string, string>();
  return list.map((pair, place) => {
    const prefix = `pairs.${place}.`;
    onlyKnown(source, prefix, pair, Object.keys(PAIR_KEYS));
    const refuse: Refuse = (key, value, range) => badValue(source, prefix + key, value, range);
    const mac = readMac(pair['mac'], refuse);
    onlyOnce(seen, mac, source.where(`${prefix}mac`));
    const names = readNames(pair, refuse);
    if (names.bond !== undefined) onlyOnce(seen, names.bond, source.where(`${prefix}bond`));
    return { mac, ...names, ...readWishes(source, prefix, pair, refuse) };
  });
};

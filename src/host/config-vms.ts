// The guests of a hypervisor: `[[vms]]` of the configuration file, or one from the command line. Keys and meanings are in
// settings.ts (VM_KEYS).
import { isAbsolute } from 'node:path';
import type { VmPolicy } from '../events/hosting.ts';
import { NetkvmError } from '../events/errors.ts';
import { parseMac } from '../events/mac.ts';
import { parkingOf } from '../machines/parking.ts';
import { isInterfaceName, isWhole, onlyOnce, readMac, type Refuse } from './config-pairs.ts';
import { badValue, isTable, onlyKnown, show, type Source, type Table } from './config-source.ts';
import { OVERDUE_ACTIONS, VM_KEYS, VMS_MAX } from './settings.ts';

type Check = readonly [fits: (value: unknown) => boolean, range: string];

const limit = (min: number, max: number): Check => [
  (value) => isWhole(value, [min, max]),
  `a whole number from ${min} to ${max}`,
];
const iface: Check = [isInterfaceName, 'an interface name of 1 to 15 characters'];
const path: Check = [
  (value) => typeof value === 'string' && isAbsolute(value) && value.length <= 107 && !value.includes('\0'),
  'an absolute path of at most 107 characters',
];
const id: Check = [(value) => typeof value === 'string' && /^[\w.-]{1,64}$/.test(value), 'an id of QEMU, 1 to 64 characters'];
const isDevice = (value: unknown): boolean => {
  if (typeof value !== 'string' || value.length > 2048) return false;
  try {
    const device: unknown = JSON.parse(value);
    return isTable(device) && typeof device['driver'] === 'string' && typeof device['id'] === 'string';
  } catch {
    return false;
  }
};

const CHECKS: Readonly<Record<Exclude<keyof VmPolicy, 'mac' | 'parking'>, Check>> = {
  qmp: path,
  standby: id,
  primary: id,
  pf: iface,
  vf: limit(0, 65_535),
  port: iface,
  tap: iface,
  bridge: iface,
  channel: path,
  plug: [isDevice, 'a JSON object with driver and id, of at most 2048 characters'],
  readOnly: [(value) => typeof value === 'boolean', 'true or false'],
  onOverdue: [(value) => OVERDUE_ACTIONS.some((name) => name === value), `one of ${OVERDUE_ACTIONS.join(', ')}`],
  unplugLimit_ms: limit(100, 3_600_000),
  prepareLimit_ms: limit(100, 60_000),
  returnLimit_ms: limit(100, 3_600_000),
};
const REQUIRED = ['qmp', 'standby', 'primary'] as const;

/** Checks one guest, and says its parking MAC: a log must tell it, since pseudonyms would lead to another. */
const readVm = (table: Table, refuse: Refuse): VmPolicy => {
  const mac = readMac(table['mac'], refuse);
  for (const name of REQUIRED) if (table[name] === undefined) throw refuse(name, undefined, CHECKS[name][1]);
  for (const [name, [fits, range]] of Object.entries(CHECKS)) {
    if (table[name] !== undefined && !fits(table[name])) throw refuse(name, table[name], range);
  }
  const { pf, vf, port, tap, bridge, primary, plug, parking } = table;
  if ((pf === undefined) !== (vf === undefined)) throw refuse('vf', vf, 'given: pf and vf go together');
  if ((pf === undefined) === (port === undefined)) throw refuse('pf', pf, 'what is asked for: either pf and vf, or port');
  if (tap !== undefined && bridge === undefined) throw refuse('bridge', bridge, 'given: a tap needs its bridge');
  if (typeof plug === 'string' && (JSON.parse(plug) as Table)['id'] !== primary)
    throw refuse('plug', plug, `the arguments of the primary ${show(primary)}`);
  const parked = parking === undefined ? parkingOf(mac) : readMac(parking, (_, value, range) => refuse('parking', value, range));
  if (parked === mac) throw refuse('parking', parking, 'another MAC than the pair’s');
  return { ...(table as unknown as VmPolicy), mac, parking: parked };
};

/** Errors: `config.key`, `config.value`. */
export const readVms = (source: Source): VmPolicy[] => {
  const list = source.root['vms'] ?? [];
  if (!Array.isArray(list) || !list.every(isTable)) throw badValue(source, 'vms', list, 'a list of tables, each under [[vms]]');
  if (list.length > VMS_MAX) throw badValue(source, 'vms', list.length, `at most ${VMS_MAX} guests`);
  const seen = new Map<string, string>();
  return list.map((table, place) => {
    const prefix = `vms.${place}.`;
    onlyKnown(source, prefix, table, Object.keys(VM_KEYS));
    const vm = readVm(table, (key, value, range) => badValue(source, prefix + key, value, range));
    onlyOnce(seen, vm.mac, source.where(`${prefix}mac`));
    return vm;
  });
};

/** `standby=net0,primary=vf0,pf=ens1f0,vf=3,mac=52:54:00:11:22:33`, and what other options add. Errors: `usage.value`. */
export const vmOf = (spec: string, more: Readonly<Record<string, string | boolean | undefined>>): VmPolicy => {
  const refuse: Refuse = (key, value, range) =>
    new NetkvmError('usage.value', `${key}${value === undefined ? ' is missing, or' : ` = ${show(value)}`} is not ${range}`);
  const table: Record<string, unknown> = {};
  for (const part of spec.split(',')) {
    const [, key = '', value = ''] = /^(\w+)=(.+)$/.exec(part) ?? [];
    if (!['standby', 'primary', 'pf', 'vf', 'port', 'mac', 'parking'].includes(key) || key in table)
      throw new NetkvmError('usage.value', `--pair: ${show(part)} is not standby=, primary=, pf=, vf=, port=, mac= or parking=`);
    table[key] = key === 'vf' && /^[0-9]{1,5}$/.test(value) ? Number(value) : value;
  }
  for (const [key, value] of Object.entries(more)) if (value !== undefined && value !== false) table[key] = value;
  if (typeof table['mac'] === 'string') table['mac'] = parseMac(table['mac']) ?? table['mac'];
  return readVm(table, refuse);
};

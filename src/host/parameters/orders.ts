// Carries out what the parameter commands ask for, on the store of this system. Devices are named by index, MAC, name or
// instance id; an index that was shown once must still mean the same device. Before an MTU or a MAC is written it is held
// against the other device of the pair: a pair whose members disagree is none any more.
import type { Parameter, ParameterDevice, ParameterStore } from '../../adapters/parameters.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import { parseMac } from '../../events/mac.ts';
import { didYouMean } from '../nearest.ts';
import {
  deviceDocument,
  deviceText,
  dumpText,
  type Indexed,
  infoText,
  NO_DEVICES,
  parameterDocument,
  parameterText,
} from './text.ts';
import { faultOf, FRAME_HEADER_BYTES, normalised, valueOf } from '../../adapters/parameter-values.ts';
import type { Order } from './words.ts';

export interface Manner {
  /** Restart the device after writing. */
  readonly apply: boolean;
  /** Write to the other device of the pair, too. */
  readonly both: boolean;
  /** Write although it parts the device from its pair. */
  readonly force: boolean;
  /** The lines of the original tool, to the letter. */
  readonly isOriginal: boolean;
}
export const PLAIN: Manner = { apply: false, both: false, force: false, isOriginal: false };

export interface Answer {
  readonly exit: number;
  readonly document: object;
}
export interface Telling {
  readonly out: (text: string) => void;
  readonly warn: (text: string) => void;
  /** Something was changed: for the log, where a service keeps one. */
  readonly changed?: (change: Noted) => Promise<void>;
}
export interface Noted {
  readonly command: 'setParameter' | 'restartDevice';
  readonly device: ParameterDevice;
  readonly what: string;
}
interface Change {
  readonly device: Indexed;
  readonly parameter: Parameter;
  readonly value: string | null;
}

const named = ({ index, device }: Indexed): string => `${device.name} (index ${index}, ${device.id})`;

export class ParameterSession {
  readonly #store: ParameterStore;
  /** What an index meant when it was last shown or read in a dump. */
  readonly #shown = new Map<number, string>();

  constructor(store: ParameterStore) {
    this.#store = store;
  }

  /** An index from now on means this device, or the order is refused. */
  expect(index: number, id: string): void {
    this.#shown.set(index, id);
  }

  async devices(): Promise<readonly Indexed[]> {
    return (await this.#store.devices()).map((device, index) => ({ index, device }));
  }

  async parameters({ device }: Indexed): Promise<readonly Parameter[]> {
    return this.#store.parameters(device);
  }

  /** The one device that a word names. Throws `parameter.device`. */
  async device(word: string): Promise<Indexed> {
    return this.#named(word, await this.devices());
  }

  /** Errors: `parameter.*`. */
  async perform(order: Order, manner: Manner, telling: Telling): Promise<Answer> {
    switch (order.verb) {
      case 'show devices':
        return this.#showDevices(manner, telling);
      case 'show parameters':
        return this.#showParameters(order, telling);
      case 'show paraminfo':
      case 'getparam':
        return this.#showOne(order, telling);
      case 'setparam':
        return this.#set(order, manner, telling);
      case 'restart':
        return this.#restart([await this.device(order.device)], telling);
      case 'dump':
        return this.#dump(manner, telling);
    }
  }

  #named(word: string, all: readonly Indexed[]): Indexed {
    const found = meant(word, all);
    const [first] = found;
    if (first === undefined)
      throw new NetkvmError('parameter.device', `${JSON.stringify(word)} is none of the ${all.length} devices.`);
    if (found.length > 1)
      throw new NetkvmError('parameter.device', `${word} is more than one device: ${found.map(named).join(', ')}.`);
    const shown = this.#shown.get(first.index);
    if (isIndex(word) && shown !== undefined && shown !== first.device.id)
      throw new NetkvmError('parameter.device', `index ${word} meant ${shown}, and now means ${first.device.id}.`);
    return first;
  }

  async #showDevices({ isOriginal }: Manner, { out }: Telling): Promise<Answer> {
    const all = await this.devices();
    for (const one of all) {
      this.expect(one.index, one.device.id);
      out(deviceText(one, isOriginal));
    }
    if (all.length === 0) out(NO_DEVICES);
    return { exit: EXIT.done, document: { devices: all.map(deviceDocument) } };
  }

  async #showParameters({ device: word }: Order, { out, warn }: Telling): Promise<Answer> {
    const device = await this.device(word);
    const parameters = (await this.parameters(device)).filter(({ readOnly }) => !readOnly);
    for (const parameter of parameters) {
      out(parameterText(parameter));
      warnOf(parameter, warn);
    }
    return { exit: EXIT.done, document: { device: deviceDocument(device), parameters: parameters.map(parameterDocument) } };
  }

  async #showOne({ verb, device: word, name }: Order, { out, warn }: Telling): Promise<Answer> {
    const device = await this.device(word);
    const parameter = parameterOf(await this.parameters(device), name);
    out(verb === 'getparam' ? `${name} = ${valueOf(parameter) ?? ''}\n` : infoText(parameter));
    warnOf(parameter, warn);
    return { exit: EXIT.done, document: { device: deviceDocument(device), parameter: parameterDocument(parameter) } };
  }

  async #set({ device: word, name, value: typed }: Order, manner: Manner, telling: Telling): Promise<Answer> {
    const all = await this.devices();
    const device = this.#named(word, all);
    const parameter = parameterOf(await this.parameters(device), name);
    const changes: Change[] = [{ device, parameter, value: normalised(parameter, typed) }];
    const peers = peersOf(device, all);
    if (manner.both) for (const peer of peers) changes.push(await this.#likewise(peer, changes[0]!, typed));
    else if (!manner.force) mustAgree(changes[0]!, peers);
    for (const change of changes) await this.#write(change, telling);
    const written = changes.map((change) => ({
      device: deviceDocument(change.device),
      parameter: change.parameter.name,
      value: change.value,
    }));
    const restarts = manner.apply && this.#store.needsRestart;
    const answer = restarts
      ? await this.#restart(
          changes.map((change) => change.device),
          telling,
        )
      : null;
    return {
      exit: answer?.exit ?? EXIT.done,
      document: { written, holds: !this.#store.needsRestart || answer?.exit === EXIT.done },
    };
  }

  async #write({ device: { device }, parameter, value }: Change, telling: Telling): Promise<void> {
    await this.#store.write(device, parameter, value);
    const what = `${parameter.name} of ${device.name}: ${valueOf(parameter) ?? 'nothing'} → ${value ?? 'nothing'}`;
    await telling.changed?.({ command: 'setParameter', device, what });
  }

  /** The same for the other device of the pair. */
  async #likewise(peer: Indexed, { parameter: { name, bears } }: Change, typed: string): Promise<Change> {
    const own = await this.parameters(peer);
    const parameter = own.find((one) => (bears === null ? one.name === name : one.bears === bears));
    if (parameter === undefined) throw new NetkvmError('parameter.name', `${named(peer)} has no ${name}.`);
    return { device: peer, parameter, value: normalised(parameter, typed) };
  }

  async #restart(devices: readonly Indexed[], { out, changed }: Telling): Promise<Answer> {
    let exit: number = EXIT.done;
    for (const { index, device } of devices) {
      out(`Restarting device ${index}... `);
      const outcome = await this.#store.restart(device).catch((error: unknown) => {
        out('failed.\n');
        throw error;
      });
      out(outcome === 'done' ? 'done.\n' : 'reboot required.\n');
      if (outcome === 'rebootRequired') exit = EXIT.rebootRequired;
      await changed?.({ command: 'restartDevice', device, what: `${device.name} (${device.id}): ${outcome}` });
    }
    return { exit, document: { restarted: devices.map(deviceDocument), rebootRequired: exit === EXIT.rebootRequired } };
  }

  async #dump({ isOriginal }: Manner, { out }: Telling): Promise<Answer> {
    const all = await this.devices();
    const documents: object[] = [];
    const { needsRestart } = this.#store;
    out('\npushd NetKVM\n\n');
    for (const one of all) {
      const parameters = await this.parameters(one);
      out(dumpText(one, parameters, { isOriginal, needsRestart }));
      documents.push({ device: deviceDocument(one), parameters: parameters.map(parameterDocument) });
    }
    out('popd\n');
    return { exit: EXIT.done, document: { devices: documents } };
  }
}

const isIndex = (word: string): boolean => /^[0-9]{1,5}$/.test(word);

const meant = (word: string, all: readonly Indexed[]): readonly Indexed[] => {
  if (isIndex(word)) return all.filter(({ index }) => index === Number(word));
  const lower = word.toLowerCase();
  const exact = all.filter(({ device }) => device.id.toLowerCase() === lower || device.name.toLowerCase() === lower);
  const mac = parseMac(word);
  return exact.length > 0 || mac === null ? exact : all.filter(({ device }) => device.mac === mac);
};

const parameterOf = (all: readonly Parameter[], word: string): Parameter => {
  const found = all.find(({ name }) => name.toLowerCase() === word.toLowerCase());
  if (found !== undefined) return found;
  const names = all.map(({ name }) => name);
  throw new NetkvmError('parameter.name', `there is no parameter ${JSON.stringify(word.slice(0, 60))}${didYouMean(word, names)}`);
};

const warnOf = (parameter: Parameter, warn: (text: string) => void): void => {
  const fault = faultOf(parameter);
  if (fault !== null) warn(`${parameter.name}: ${fault}; \`setparam\` repairs it`);
};

/** The devices with the same MAC that are no master of another: the other half of a pair. */
const peersOf = ({ index, device }: Indexed, all: readonly Indexed[]): readonly Indexed[] => {
  const masters = new Set(all.map((one) => one.device.master));
  if (device.mac === null || masters.has(device.name)) return [];
  return all.filter((one) => one.index !== index && one.device.mac === device.mac && !masters.has(one.device.name));
};

/** Throws `parameter.pair` where the other half would not have the same. */
const mustAgree = ({ device: { device }, parameter: { name, bears }, value }: Change, peers: readonly Indexed[]): void => {
  if (bears === null) return;
  const refuse = (text: string): NetkvmError => new NetkvmError('parameter.pair', `${name} of ${device.name}: ${text}.`);
  if (bears !== 'mac' && device.master !== null) throw refuse(`its MTU is that of ${device.master}, where it is to be set`);
  for (const peer of peers) {
    if (bears === 'mac') {
      if (value === null || parseMac(value) !== peer.device.mac) throw refuse(`${named(peer)} keeps the MAC ${peer.device.mac}`);
    } else {
      const mtu = Number(value) - (bears === 'frame' ? FRAME_HEADER_BYTES : 0);
      if (peer.device.mtu !== null && peer.device.mtu !== mtu)
        throw refuse(`${named(peer)} has the MTU ${peer.device.mtu}, this would be ${mtu}; --both writes both`);
    }
  }
};

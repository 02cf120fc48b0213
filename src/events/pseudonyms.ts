// Pseudonyms: an export can be shown around without telling whose machine it was. The same MAC, address or name gets the
// same pseudonym throughout one export, so that folding it gives the same stages; they are numbered in the order of
// appearance, so that nothing can be computed back. What does not tell a machine from another stays: kernel names of
// adapters (eth0, enp0s3), PCI addresses, drivers, MTUs, clocks, and ids that were random from the start.
import type { RecordedEvent } from './envelope.ts';
import type { RecordingHeader } from './recording.ts';

/** Numbers from 1 in the order in which things are first seen. */
class Numbering {
  readonly #numbers = new Map<string, number>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  of(thing: string): number {
    const known = this.#numbers.get(thing);
    if (known !== undefined) return known;
    const number = this.#numbers.size + 1;
    if (number > this.#limit) throw new RangeError(`more than ${this.#limit} different things to give pseudonyms to`);
    this.#numbers.set(thing, number);
    return number;
  }

  seen(): IterableIterator<string> {
    return this.#numbers.keys();
  }
}

const LIMIT = 1_000_000;
const NETWORK_LIMIT = 65_535;

const MAC = /(?<![0-9a-f:-])[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}(?![0-9a-f]|[:-][0-9a-f])/gi;
const ADDRESS =
  /(?<![0-9a-z.:])(?:[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![0-9a-z.:])/gi;
/** Names that the kernel, udev or Windows gives everywhere. */
const COMMON_NAME =
  /^(?:lo|(?:eth|en[ops]|bond|br|vlan|veth|tap|tun|dummy|team|ib|wl[ops]?|wlan|virbr|docker|nic)[0-9][0-9a-z]*(?:nsby)?|ethernet(?: [0-9]+)?|wi-fi(?: [0-9]+)?)$/i;
/** Names that udev makes of a MAC. */
const MAC_NAME = /^((?:en|wl)x)([0-9a-f]{12})$/i;
/** Facts about a host that thousands of hosts share. */
const COMMON_FACTS: ReadonlySet<string> = new Set(
  'system kernel kernelVersion arch node platform distribution hypervisor'.split(' '),
);

const octets = (number: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => ((number >>> (8 * (count - 1 - index))) & 0xff).toString(16).padStart(2, '0'));
const group = (number: number): string => number.toString(16);

export class Pseudonyms {
  readonly #macs = new Numbering(LIMIT);
  readonly #networks4 = new Numbering(NETWORK_LIMIT);
  readonly #networks6 = new Numbering(LIMIT);
  readonly #interfaces6 = new Numbering(LIMIT);
  readonly #names = new Numbering(LIMIT);
  readonly #others = new Numbering(LIMIT);

  header(header: RecordingHeader): RecordingHeader {
    return { ...header, host: this.#host(header.host), pseudonyms: true };
  }

  event(event: RecordedEvent): RecordedEvent {
    const names = event.type === 'protocol.installed' || event.type === 'protocol.removed' || event.type === 'controller.seen';
    return names ? event : ({ ...event, data: this.#value(event.data, '') } as RecordedEvent);
  }

  /** The pseudonym of a MAC: locally administered, multicast if it was; none for "no address" and broadcast. */
  mac(mac: string): string {
    const hex = mac.replaceAll(/[:-]/g, '').toLowerCase();
    if (/^(?:0{12}|f{12})$/.test(hex)) return mac;
    const multicast = Number.parseInt(hex.slice(0, 2), 16) & 1;
    const pseudonym = [multicast === 1 ? '03' : '02', '00', ...octets(this.#macs.of(hex), 4)];
    return pseudonym.join(mac.includes('-') ? '-' : ':');
  }

  /** The pseudonym of an IP address without its prefix length; addresses of one network stay in one network. */
  address(address: string): string {
    return address.includes(':') ? this.#address6(address) : this.#address4(address);
  }

  #address4(address: string): string {
    const parts = address.split('.').map(Number);
    const [first = 0, second = 0, , last = 0] = parts;
    if (parts.some((part) => part > 255)) return address;
    if (first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254)) return address;
    const network = this.#networks4.of(parts.slice(0, 3).join('.'));
    return `10.${network >>> 8}.${network & 0xff}.${last}`;
  }

  #address6(address: string): string {
    const groups = groupsOf(address);
    if (groups === null) return address;
    const [first = 0] = groups;
    const isSmall = groups.slice(0, 7).every((part) => part === 0) && (groups[7] ?? 0) <= 1;
    if (isSmall || first >= 0xff00) return address;
    const own = this.#interfaces6.of(groups.slice(4).join(':'));
    const tail = `${group(own >>> 16)}:${group(own & 0xffff)}`;
    if ((first & 0xffc0) === 0xfe80) return `fe80::${tail}`;
    const network = this.#networks6.of(groups.slice(0, 4).join(':'));
    return `fd00:0:${group(network >>> 16)}:${group(network & 0xffff)}::${tail}`;
  }

  #name(name: string): string {
    const [, prefix, hex] = MAC_NAME.exec(name) ?? [];
    if (prefix !== undefined && hex !== undefined) return prefix + this.mac(hex).replaceAll(':', '');
    return COMMON_NAME.test(name) ? name : `name${this.#names.of(name)}`;
  }

  #host(facts: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(facts).map(([key, fact]) => [key, COMMON_FACTS.has(key) ? this.#text(fact) : this.#hidden(fact)]),
    );
  }

  #hidden(text: string): string {
    return text === '' ? text : `name${this.#names.of(text)}`;
  }

  #text(text: string): string {
    return text.replaceAll(MAC, (mac) => this.mac(mac)).replaceAll(ADDRESS, (address) => this.address(address));
  }

  // Prose may also quote a name that was met before.
  #prose(text: string): string {
    let prose = this.#text(text);
    for (const name of this.#names.seen()) {
      if (name.length > 2 && prose.includes(name)) prose = prose.replaceAll(name, `name${this.#names.of(name)}`);
    }
    return prose;
  }

  #string(text: string, key: string): string {
    switch (key) {
      case 'name':
      case 'standbyName':
      case 'primaryName':
      case 'bond':
        return this.#name(text);
      case 'by':
        return this.#hidden(text);
      case 'vmGeneration':
        return `vm${this.#others.of(text)}`;
      case 'device':
        // The end of a Windows device instance id is a serial number, often made of the MAC.
        return this.#text(text.replace(/\\([^\\]+)$/, (_, serial: string) => `\\${this.#others.of(serial)}`));
      case 'reason':
      case 'source':
        return this.#prose(text);
      default:
        return this.#text(text);
    }
  }

  #value(value: unknown, key: string): unknown {
    if (typeof value === 'string') return this.#string(value, key);
    if (Array.isArray(value)) return value.map((item) => this.#value(item, key));
    if (typeof value !== 'object' || value === null) return value;
    if (key === 'host') return this.#host(value as Record<string, string>);
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.#text(name), this.#value(item, name)]));
  }
}

/** The eight groups of an IPv6 address (RFC 4291, 2.2), null for what only looks like one. */
const groupsOf = (address: string): number[] | null => {
  const dotted = /^(.*:)([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})$/.exec(address);
  const [, front, a, b, c, d] = dotted ?? [];
  const plain =
    front === undefined ? address : `${front}${group(Number(a) * 256 + Number(b))}:${group(Number(c) * 256 + Number(d))}`;
  const halves = plain.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const given = halves.flat();
  const isWhole = halves.length === 1 ? given.length === 8 : halves.length === 2 && given.length < 8;
  if (!isWhole || !given.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return null;
  const zeros = Array.from({ length: 8 - given.length }, () => '0');
  return [...(halves[0] ?? []), ...zeros, ...(halves[1] ?? [])].map((part) => Number.parseInt(part, 16));
};

// The parameters of network devices on Linux: MTU and queue from rtnetlink, rings, channels, coalescing and offloads from
// ethtool, with the ranges that the kernel tells. What is written holds at once and until the device goes. Names are those
// of the configuration's `parameters`; an offload has the kernel's own. Sources: rtnetlink(7), ethtool-netlink.rst.
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';
import type { Parameter, ParameterDevice, ParameterStore, ParameterType } from '../parameters.ts';
import { Conversation } from './effects/conversation.ts';
import { type Coalescing, Ethtool } from './effects/ethtool.ts';
import { getLink, setLink } from './effects/requests.ts';
import { allLinks, must, Stop } from './effects/standing.ts';
import type { LinkMessage } from './link-message.ts';
import { align, attributeEnd, attributeType, ATTRIBUTE_BYTES, u32 } from './netlink-bytes.ts';

const U32_MAX = 4_294_967_295;
const SWITCH: ParameterType = { kind: 'enum', values: ['off', 'on'].map((value) => ({ value, meaning: value })) };
const number = (min: number, max: number): ParameterType => ({ kind: 'int', min, max, step: 1 });

const IFLA_MTU_RANGE = { min: 50, max: 51 } as const;
/** nlmsghdr and ifinfomsg. */
const LINK_HEAD_BYTES = 32;

/** IFLA_MIN_MTU and IFLA_MAX_MTU of a link message; a kernel or driver that names no largest one says 0. */
const mtuRange = (reply: Uint8Array): { readonly min: number; readonly max: number } => {
  let min = 68;
  let max = 65_535;
  for (let at = LINK_HEAD_BYTES, end; reply.length - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(reply, at, reply.length);
    if (end - at !== 8) continue;
    if (attributeType(reply, at) === IFLA_MTU_RANGE.min) min = u32(reply, at + ATTRIBUTE_BYTES);
    if (attributeType(reply, at) === IFLA_MTU_RANGE.max) max = u32(reply, at + ATTRIBUTE_BYTES) || max;
  }
  return { min, max };
};

const COALESCING: Readonly<Record<Coalescing, string>> = {
  rxUsecs: 'Microseconds from a packet that came to its interrupt',
  rxFrames: 'Packets that came before an interrupt',
  txUsecs: 'Microseconds from a packet that was sent to its interrupt',
  txFrames: 'Packets that were sent before an interrupt',
  adaptiveRx: 'Adaptive receive coalescing',
  adaptiveTx: 'Adaptive transmit coalescing',
};

type Device = ParameterDevice & { readonly ifindex: number };
type Write = (value: number) => Promise<void>;
type Known = Parameter & { readonly write: Write };

const driverOf = ({ parentBus, parentDevice }: LinkMessage): string | null => {
  if (parentBus === undefined || parentDevice === undefined) return null;
  try {
    return basename(readlinkSync(`/sys/bus/${parentBus}/devices/${parentDevice}/driver`));
  } catch {
    return null; // No driver, or no sysfs.
  }
};

/** The kernel's refusals in the words of this program. */
const refusal = (error: unknown): unknown =>
  error instanceof Stop
    ? new NetkvmError(error.isDenied ? 'parameter.notPermitted' : 'parameter.refused', error.message, { cause: error })
    : error;

export class LinuxParameters implements ParameterStore {
  readonly needsRestart = false;
  readonly #route = new Conversation('route');
  readonly #ethtool = new Ethtool();

  async devices(): Promise<readonly Device[]> {
    const links = await allLinks(this.#route).catch((error: unknown) => Promise.reject(refusal(error)));
    const nameOf = (ifindex: number | undefined): string | null => links.find((one) => one.ifindex === ifindex)?.name ?? null;
    return links
      .filter(({ mac, name }) => typeof mac === 'string' && name !== undefined)
      .toSorted((one, other) => one.ifindex - other.ifindex)
      .map((link) => ({
        ifindex: link.ifindex,
        id: link.parentDevice ?? link.name ?? '',
        name: link.name ?? '',
        description: driverOf(link) ?? link.linkKind ?? 'network device',
        location: link.parentDevice === undefined ? '' : `${link.parentBus ?? ''} ${link.parentDevice}`.trim(),
        busNumber: 0,
        key: `/sys/class/net/${link.name ?? ''}`,
        // A bond gives its members one MAC: a pair has it for good.
        mac: link.permMac ?? link.mac ?? null,
        mtu: link.mtu ?? null,
        master: nameOf(link.master),
      }));
  }

  async parameters(device: Device): Promise<readonly Known[]> {
    try {
      return [...(await this.#ofLink(device)), ...(await this.#ofDriver(device)), ...(await this.#features(device))];
    } catch (error) {
      throw refusal(error);
    }
  }

  /** Throws `parameter.refused` too where the kernel agreed and did not follow. */
  async write(device: Device, parameter: Parameter, value: string | null): Promise<void> {
    const known = (await this.parameters(device)).find(({ name }) => name === parameter.name);
    if (known === undefined || value === null) throw new NetkvmError('parameter.refused', `${parameter.name} is gone`);
    if (known.stored === value) return;
    try {
      await known.write(value === 'on' ? 1 : value === 'off' ? 0 : Number(value));
    } catch (error) {
      throw refusal(error);
    }
    const after = (await this.parameters(device)).find(({ name }) => name === parameter.name)?.stored ?? 'nothing';
    if (after !== value)
      throw new NetkvmError('parameter.refused', `${parameter.name}: the kernel agreed to ${value}, and left it at ${after}`);
  }

  restart({ name }: ParameterDevice): Promise<never> {
    const why = `${name}: what is set on Linux holds at once, and a restart would take the device's settings from it`;
    return Promise.reject(new NetkvmError('parameter.refused', why));
  }

  async close(): Promise<void> {
    await Promise.all([this.#route.close(), this.#ethtool.close()]);
  }

  #link(ifindex: number, what: string, change: Parameters<typeof setLink>[1]): Promise<void> {
    return must(this.#route, what, [setLink(ifindex, change)]);
  }

  async #ofLink({ ifindex }: Device): Promise<Known[]> {
    const { replies } = await this.#route.ask(getLink(ifindex));
    const link = (await allLinks(this.#route)).find((one) => one.ifindex === ifindex);
    const [reply] = replies;
    if (link === undefined || reply === undefined) throw new Stop('void', 'the device is gone');
    const { min, max } = mtuRange(reply);
    return [
      known(
        'mtu',
        'Largest packet in bytes',
        number(min, max),
        link.mtu,
        (mtu) => this.#link(ifindex, `mtu ${mtu}`, { mtu }),
        'mtu',
      ),
      known('txQueue', 'Length of the transmit queue in packets', number(0, U32_MAX), link.queueLength, (queueLength) =>
        this.#link(ifindex, `txQueue ${queueLength}`, { queueLength }),
      ),
    ];
  }

  async #ofDriver({ ifindex }: Device): Promise<Known[]> {
    const ethtool = this.#ethtool;
    const rings = await ethtool.rings(ifindex);
    const channels = await ethtool.channels(ifindex);
    const coalescing = await ethtool.coalescing(ifindex);
    const ring = (side: 'rx' | 'tx', name: string, description: string): Known =>
      known(name, description, number(1, rings[side]?.max ?? 0), rings[side]?.now, (size) =>
        ethtool.setRings(ifindex, { [side]: size }),
      );
    const channel = (side: 'rx' | 'tx' | 'combined', name: string, description: string): Known =>
      known(name, description, number(0, channels[side]?.max ?? 0), channels[side]?.now, (count) =>
        ethtool.setChannels(ifindex, { [side]: count }),
      );
    const all = [
      ring('rx', 'rxRing', 'Entries of the receive ring'),
      ring('tx', 'txRing', 'Entries of the transmit ring'),
      channel('combined', 'channels', 'Channels that receive and transmit'),
      channel('rx', 'rxChannels', 'Channels that only receive'),
      channel('tx', 'txChannels', 'Channels that only transmit'),
      ...(Object.keys(COALESCING) as Coalescing[]).map((name) => {
        const isSwitch = name === 'adaptiveRx' || name === 'adaptiveTx';
        const now = coalescing[name];
        return known(
          name,
          COALESCING[name],
          isSwitch ? SWITCH : number(0, U32_MAX),
          now === undefined || !isSwitch ? now : now !== 0,
          (value) => ethtool.setCoalescing(ifindex, name, value),
        );
      }),
    ];
    return all.filter(({ stored }) => stored !== null);
  }

  async #features({ ifindex }: Device): Promise<Known[]> {
    return [...(await this.#ethtool.features(ifindex))].map(([name, { active, changeable }]) => ({
      ...known(name, 'Offload', SWITCH, active, (value) => this.#ethtool.setFeatures(ifindex, new Map([[name, value === 1]]))),
      readOnly: !changeable,
    }));
  }
}

const known = (
  name: string,
  description: string,
  type: ParameterType,
  now: number | boolean | undefined,
  write: Write,
  bears: Parameter['bears'] = null,
): Known => ({
  name,
  description,
  type,
  initial: null,
  optional: false,
  stored: now === undefined ? null : typeof now === 'boolean' ? (now ? 'on' : 'off') : String(now),
  readOnly: false,
  bears,
  write,
});

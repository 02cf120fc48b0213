// The Node side of deciding.ts, in a namespace of its own: the real platform and the real fold, without a log. Prints when
// each decision had been made that a link set up led to: CLOCK_MONOTONIC, nanoseconds, one a line.
//   node watcher.ts IFNAME COUNT
// The link's messages are the kernel's. That it is the primary of a bond is only told to the fold, because not every
// kernel has bonds: while the standby is active, a primary with carrier calls for the decision to activate it.
import type { Adapter, Happening } from '../../src/events/catalogue.ts';
import { LinuxPlatform } from '../../src/adapters/linux/platform.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { Story } from '../../src/machines/story.ts';

const [name = '', count = '0'] = process.argv.slice(2);
const times: bigint[] = [];
const platform = new LinuxPlatform();
const story = new Story({}, { entries: 1000, findings: 1000 });
let seq = 0;
let made = 0n;

const tell = (mono_ns: string, happening: Happening): void => {
  seq += 1;
  const { decisions } = story.tell({ ...happening, seq, mono_ns });
  if (decisions.length > 0) made = process.hrtime.bigint();
  for (const decision of decisions) {
    tell(mono_ns, { type: 'decision.made', data: decision });
    // What has been decided is not done: the pair waits for the next change of facts.
    const data = { decision: decision.id, pair: decision.pair, result: 'refused', reason: null, observed: false } as const;
    tell(mono_ns, { type: 'outcome.seen', data });
  }
};

const BOND = 900_001;
const STANDBY = 900_002;

const pairUp = (mono_ns: string, primary: Adapter): void => {
  const mac = primary.mac ?? '';
  const pairs = [{ mac, standbyName: 'standby', primaryName: name }];
  tell(mono_ns, { type: 'configuration.applied', data: { policy: { ...defaultPolicy, effects: 'on', flapLimit: 1000, pairs } } });
  const common = { ...primary, permMac: null, up: true, carrier: true };
  const bond: Adapter = { ...common, ifindex: BOND, name: 'bond', kind: 'bond', bond: { mode: 1, activeSlave: STANDBY } };
  const slave = (active: boolean) => ({ master: BOND, slave: { active, miiUp: true } });
  tell(mono_ns, { type: 'adapter.appeared', data: bond });
  tell(mono_ns, { type: 'adapter.appeared', data: { ...common, ifindex: STANDBY, name: 'standby', ...slave(true) } });
  tell(mono_ns, { type: 'adapter.changed', data: { ifindex: primary.ifindex, changed: slave(false) } });
  made = 0n;
  process.stdout.write('ready\n');
};

let ready = false;
platform.sightings.subscribe(({ at, observations }) => {
  for (const observation of observations) {
    tell(at.mono_ns, observation);
    if (made === 0n) continue;
    times.push(made);
    made = 0n;
  }
  if (!ready) {
    const primary = [...story.guest.adapters.values()].find(({ facts }) => facts.name === name);
    if (primary === undefined) throw new Error(`there is no ${name}`);
    ready = true;
    pairUp(at.mono_ns, primary.facts);
  }
  if (times.length < Number(count)) return;
  process.stdout.write(`${times.join('\n')}\n`);
  process.exit(0);
});

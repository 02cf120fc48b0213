// Runs in a network namespace of its own: reads what stands on a link, takes all of it away with requests made from what
// was read, puts it back the same way, and prints both readings. So the kernel is the judge of reader and writer.
import { Conversation } from '../../../src/adapters/linux/effects/conversation.ts';
import { add, ADDRESS, NEIGHBOUR, remove, ROUTE, RULE } from '../../../src/adapters/linux/effects/entries.ts';
import { linkBy, must, standingOn } from '../../../src/adapters/linux/effects/standing.ts';

const name = process.argv[2] ?? 'v0';
const conversation = new Conversation('route');
const link = await linkBy(conversation, name);
if (link === null) throw new Error(`no ${name}`);
const there = { ifindex: link.ifindex, name };

/** Stamps and ages differ from reading to reading, the kernel's own flags are not for us to set. */
const lasting = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (key, field: unknown) =>
      key === 'cacheInfo' && Array.isArray(field) ? field.map((one) => (one === 0xffffffff ? one : 'finite')) : field,
    ),
  );

const before = await standingOn(conversation, there);
const routes = before.routes.filter(({ protocol }) => protocol !== 2);
const neighbours = before.neighbours.filter(({ state }) => state === 0x80);
const addresses = before.addresses.filter(({ scope }) => scope === 0);
await must(
  conversation,
  'rules',
  before.rules.map((rule) => remove(RULE, rule)),
);
await must(
  conversation,
  'neighbours',
  neighbours.map((one) => remove(NEIGHBOUR, { ...one, state: 0 })),
);
await must(
  conversation,
  'routes',
  routes.map((route) => remove(ROUTE, { ...route, headFlags: 0 })),
);
await must(
  conversation,
  'addresses',
  addresses.map((one) => remove(ADDRESS, one)),
);
const between = await standingOn(conversation, there);

await must(
  conversation,
  'addresses',
  addresses.map((one) => add(ADDRESS, { ...one, headFlags: one.headFlags & 0x02 }, 'exclusive')),
);
await must(
  conversation,
  'routes',
  routes.map((route) => add(ROUTE, { ...route, headFlags: 0 }, 'exclusive')),
);
await must(
  conversation,
  'neighbours',
  neighbours.map((one) => add(NEIGHBOUR, one, 'exclusive')),
);
await must(
  conversation,
  'rules',
  before.rules.map((rule) => add(RULE, { ...rule, headFlags: 0 }, 'exclusive')),
);
// The kernel makes its own routes to an IPv6 address a moment after the address, from a work queue.
let after = await standingOn(conversation, there);
for (let waited_ms = 0; waited_ms < 5000 && after.routes.length < before.routes.length; waited_ms += 50) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  after = await standingOn(conversation, there);
}
await conversation.close();
const count = ({ addresses: a, routes: r, rules: u, neighbours: n }: typeof before): number[] => [
  a.length,
  r.length,
  u.length,
  n.length,
];
process.stdout.write(
  JSON.stringify({ before: lasting(before), after: lasting(after), counts: [count(before), count(between), count(after)] }),
);

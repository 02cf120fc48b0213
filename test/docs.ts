// The pages of docs/ that are made from lists in the code, so that they cannot disagree with it. `npm run docs` writes them;
// test/unit/docs.unit.test.ts compares. A new page is a new entry in PAGES.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { catalogue, eventTypes } from '../src/events/catalogue.ts';
import { SCHEMA_VERSION } from '../src/events/envelope.ts';
import { ERRORS, EXIT } from '../src/events/errors.ts';
import { EXIT_MEANINGS, optionHead, optionText } from '../src/host/commands/help.ts';
import { COMMANDS, usageOf } from '../src/host/commands.ts';
import { FILE_BYTES_MAX } from '../src/host/config.ts';
import { METRICS } from '../src/host/metrics.ts';
import { STEP_MEANINGS, STEPS } from '../replay/timeline/document.ts';
import { DURATIONS } from '../replay/counted.ts';
import {
  KEYS,
  PAIR_KEYS,
  PAIRS_MAX,
  PARAMETER_KEYS,
  PARAMETER_RANGES,
  rangeOf,
  STANDBY_KEYS,
  VM_KEYS,
  VMS_MAX,
} from '../src/host/settings.ts';
import { BECAUSE, FINDINGS } from '../src/machines/reasons.ts';
import { chartGeometry, chartMermaid, chartRows, chartStates, chartSvg } from './docs-chart.ts';
import { STATE_MEANINGS, STATES } from './faults/given.ts';
import { FAULTS } from './faults/list.ts';

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('*', '\\*');
const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => '---'), ...rows.map((row) => row.map(cell))].map((row) => `| ${row.join(' | ')} |`).join('\n');
const code = (text: string): string => `\`${text}\``;
const page = (title: string, ...parts: readonly string[]): string =>
  [`# ${title}`, '<!-- Made by `npm run docs` from the lists in the code; edit those. -->', ...parts].join('\n\n') + '\n';

export const commandsPage = (): string =>
  page(
    'The command line',
    'From a checkout: `npm run -s netkvm -- COMMAND`. Every command takes `--help`.',
    table(
      ['command', 'what it does'],
      COMMANDS.map(({ name, summary }) => [`[${name}](#netkvm-${name.replaceAll(' ', '-')})`, summary]),
    ),
    '## Exit codes',
    table(
      ['code', 'meaning'],
      Object.entries(EXIT).map(([name, exit]) => [String(exit), EXIT_MEANINGS[name as keyof typeof EXIT]]),
    ),
    'What can go wrong, and what to do about it: [errors.md](errors.md).',
    ...COMMANDS.map((command) => {
      const { name, alias, summary, positionals = [], options, examples, exits } = command;
      const rows = [
        ...positionals.map((one) => [code(one.name), one.meaning]),
        ...options.map((option) => [code(optionHead(option)), optionText(option)]),
      ];
      return [
        `## netkvm ${name}`,
        alias === undefined ? summary : `${summary} In short: \`netkvm ${alias}\`.`,
        `\`\`\`text\n${usageOf(command)}\n\`\`\``,
        table(['option', 'meaning'], rows),
        `\`\`\`sh\n${examples.map(([line, meaning]) => line + (meaning && `  # ${meaning}`)).join('\n')}\n\`\`\``,
        `Exit codes: ${exits.map((exit) => EXIT[exit]).join(', ')}.`,
      ].join('\n\n');
    }),
  );

export const configurationPage = (): string => {
  const keys = (which: 'service' | 'policy'): string =>
    table(
      ['key', 'default', 'values', 'meaning'],
      KEYS.filter((key) => key.table === which).map((key) => [
        code(key.name),
        code(JSON.stringify(key.initial)),
        rangeOf(key),
        key.meaning,
      ]),
    );
  return page(
    'Configuration',
    `One TOML file of at most ${FILE_BYTES_MAX / 1024} KiB: /etc/netkvm-failover/config.toml (on Windows %ProgramData%\\netkvm-failover\\config.toml), or the one that \`--config\` names. No file is needed: every key has a default, and the defaults watch everything and touch nothing.`,
    'A key that does not exist is an error, and so is a value outside its range: the message names the line. `netkvm config check` reads a file without using it; `netkvm config dump` prints every value that holds, with the place it came from, as a file that can be read back.',
    '```toml\n[policy]\neffects = "on"\ngrace_ms = 5000\n\n[[pairs]]\nmac = "52:54:00:11:22:33"\n```',
    '## [service]',
    keys('service'),
    '## [policy]',
    'What the machine decides by. These values are recorded with the events, so that a replay uses the same.',
    keys('policy'),
    '## [[pairs]]',
    `The pairs that effects may touch, at most ${PAIRS_MAX}, one table each. Pairs that are not listed are observed.`,
    table(
      ['key', 'meaning'],
      Object.entries(PAIR_KEYS).map(([name, meaning]) => [code(name), meaning]),
    ),
    'What a NIC carried when it was taken over goes back to it with `netkvm restore`. The same pair, taken over, with parameters for its primaries:',
    '```toml\n[[pairs]]\nmac = "52:54:00:11:22:33"\nmode = "bond"\nprobe = ["192.0.2.1"]\nparameters = { rxRing = 4096, features = { "rx-gro" = false } }\n```',
    '### Parameters by stage',
    'The machine changes parameters when a pair comes into a stage. Each change is a decision with an outcome in the log; what was there before is an obligation, given back by `netkvm restore`. No switch waits for a parameter: one that fails is tried again when a fact changes or after `blockedRetry_ms`, at most `retryLimit` times in that stage, one that is refused only when the stage comes again.',
    table(
      ['stage', 'device', 'key', 'decision', 'until'],
      [
        [
          'attaching (and fallback, while the MTU differs)',
          'primary',
          code('parameters'),
          code('alignParameters'),
          'the primary leaves; on Windows until `netkvm restore`',
        ],
        ['fallback', 'standby', code('standbyParameters.fallback'), code('tuneStandby'), 'the pair is onPrimary'],
        ['onPrimary', 'standby', code('standbyParameters.onPrimary'), code('tuneStandby'), 'the pair is in fallback'],
      ],
    ),
    '```toml\n[[pairs]]\nmac = "52:54:00:11:22:33"\nparameters = { mtu = "standby" }\nstandbyParameters.fallback = { rxRing = 1024, txQueue = 10000 }\n```',
    `A primary is tried once, and is left alone while it carries. \`standbyParameters\` takes ${STANDBY_KEYS.map(code).join(', ')}; on the way from one stage to the other nothing changes, and nothing does while the primary flaps. In fallback the standby may be carrying: virtio-net stops a ring for a moment when its size changes; a longer queue or an offload costs nothing.`,
    '**Windows.** A driver reads its parameters when its device starts, so each change restarts the device. The service restarts a primary only, while the standby carries and before the primary is held for (`mtu` there is `*JumboPacket`: MTU and 14 bytes), once, with the wait of `effectLimit_ms`. The standby is never restarted: `standbyParameters` is refused. Given back is what the registry had; a primary that is in use then is not restarted for it, so that it holds from its next start on.',
    '### parameters',
    'What is not named is left as it is.',
    table(
      ['key', 'values', 'meaning'],
      Object.entries(PARAMETER_KEYS).map(([name, meaning]) => {
        const range = PARAMETER_RANGES[name as keyof typeof PARAMETER_RANGES] as readonly [number, number] | undefined;
        const values =
          range === undefined
            ? 'a table of at most 64 names'
            : `a whole number from ${range[0]} to ${range[1]}${name === 'mtu' ? ', or "standby"' : ''}`;
        return [code(name), values, meaning];
      }),
    ),
    '## [[vms]]',
    `On a hypervisor (\`netkvm host\`, docs/host.md): its guests, at most ${VMS_MAX}, one table each.`,
    table(
      ['key', 'meaning'],
      Object.entries(VM_KEYS).map(([name, meaning]) => [code(name), meaning]),
    ),
  );
};

export const errorsPage = (): string =>
  page(
    'Errors',
    'Every error that a user can meet is one line on standard error: what was wrong and where, its code in brackets, and what to do. The exit code follows from the code.',
    table(
      ['code', 'exit', 'meaning', 'what to do'],
      Object.entries(ERRORS).map(([name, { exit, meaning, cure }]) => [code(name), String(EXIT[exit]), meaning, cure]),
    ),
  );

export const eventsPage = (): string => {
  const fields = (schema: object): string[] => Object.keys((schema as { properties?: object }).properties ?? {});
  return page(
    'Events',
    'Everything that is recorded, and nothing else is folded. Fields that end in `_ns` are nanoseconds as decimal text, in `_ms` milliseconds. The schemas are in src/events/catalogue.ts, and as JSON Schema in events.schema.json.',
    table(
      ['event', 'meaning', 'fields'],
      eventTypes.map((type) => [code(type), catalogue[type].meaning, fields(catalogue[type].data).map(code).join(', ')]),
    ),
  );
};

/** For programs that read recordings: what each type's data looks like. */
const eventsSchema = (): string => {
  const draft = 'https://json-schema.org/draft/2020-12/schema';
  const types = eventTypes.map((type) => [type, { description: catalogue[type].meaning, ...catalogue[type].data }]);
  return JSON.stringify({
    $schema: draft,
    title: `Data of events, schema version ${SCHEMA_VERSION}`,
    $defs: Object.fromEntries(types),
  });
};

export const findingsPage = (): string =>
  page(
    'Findings and reasons',
    '## Findings',
    table(
      ['code', 'severity', 'meaning', 'cause', 'what to do'],
      Object.entries(FINDINGS).map(([name, { severity, meaning, cause, cure }]) => [code(name), severity, meaning, cause, cure]),
    ),
    '## Reasons',
    '`because`: why a pair is in its stage.',
    table(
      ['code', 'meaning'],
      Object.entries(BECAUSE).map(([name, meaning]) => [code(name), meaning]),
    ),
  );

export const faultsPage = (): string =>
  page(
    'Faults',
    'What can go wrong around a failover, what must come of it, and whether that is seen to hold. Each row is a test (test/faults), most of them a life of the service in a simulated guest; in every one the invariants must hold, too.',
    table(
      ['state', 'meaning', 'faults'],
      STATES.map((state) => [state, STATE_MEANINGS[state], String(FAULTS.filter((fault) => fault.state === state).length)]),
    ),
    table(
      ['#', 'name', 'what happens', 'what must come of it', 'state'],
      FAULTS.map(({ number, name, scenario, expectation, state, missing }) => [
        String(number),
        name,
        scenario,
        expectation,
        missing === undefined ? state : `${state}; missing: ${missing}`,
      ]),
    ),
  );

export const chartPage = (): string =>
  page(
    'The chart of a pair',
    'Two regions side by side: `path` says what is the case, `effects` what is being done about it (ARCHITECTURE.md). `netkvm inspect` shows it alive.',
    '![The states and what leads where](chart.svg)',
    '## States',
    table(
      ['state', 'meaning'],
      chartStates().map(([key = '', meaning = '']) => [code(key), meaning]),
    ),
    '## Transitions',
    'Most are `always`: they are taken as soon as their guard holds. Of several from one state the first whose guard holds is taken.',
    table(['from', 'when', 'guard', 'to', 'does'], chartRows()),
    '## As Mermaid',
    `\`\`\`mermaid\n${chartMermaid()}\n\`\`\``,
  );

export const figuresPage = (): string =>
  page(
    'Figures',
    '## Metrics',
    'The service serves them to Prometheus at http://127.0.0.1:PORT/metrics when the configuration names a `metricsPort`. Counters count from the start of the process.',
    table(
      ['metric', 'type', 'labels', 'meaning'],
      Object.entries(METRICS).map(([name, { type, labels, help }]) => [code(name), type, labels.map(code).join(', '), help]),
    ),
    '## Durations',
    '`netkvm stats` gives the distribution of each: count, smallest, largest, mean, and the smallest sample that 50, 90 and 99 of 100 do not exceed.',
    table(
      ['duration', 'meaning'],
      Object.entries(DURATIONS).map(([name, meaning]) => [code(name), meaning]),
    ),
    '## Steps of an episode',
    'What `netkvm timeline` tells of each time that a primary left. A step that nobody saw is not there.',
    table(
      ['step', 'meaning'],
      STEPS.map((name) => [code(name), STEP_MEANINGS[name]]),
    ),
    'A guest’s clock is put on the hosts’ axis by cause and effect: what the guest saw after something on a host (it was asked to let the primary go, it was resumed, a device was plugged) bounds the offset of their clocks from below, what a host saw after something in the guest (the slot was let go) from above. Between STOP and RESUME the guest’s clock stands still or runs on, so that each time in which a host ran the guest has an offset of its own. The estimate is the quickest chain of cause and effect; the bounds are printed with it. Two hosts’ clocks are taken to agree unless cause would come after effect.',
    '## Losses',
    'Nothing in a guest tells which packets did not arrive: somebody has to send numbered ones and count. `netkvm timeline`, `inspect` and `stats` take the file of such a meter beside the others; `timeline` counts what was missing in each episode, `stats` gives the distribution of packets lost at once, the page draws them under the datapath. JSON Lines: the header, a line for each run of missing packets, and the totals:',
    '```json\n{"format":"netkvm-losses","version":1,"direction":"in","period_us":1000}\n{"lost":3,"silence_us":4012,"at_ns":"1795329759519522198","sent_ns":"1795329759519400000"}\n{"end":true,"received":61234,"lost":3}\n```',
    '`direction` is `in` for packets towards the guest and `out` for those from it, `period_us` how often one is sent, `silence_us` how long nothing came. `at_ns` is the realtime clock of who received the packet behind the hole, `sent_ns` that of who sent it: one of the two is the host’s, and that one is used.',
    '## What a re-run can say',
    '`netkvm replay LOG --with CONFIG` observes again what the log observed, lets timers run on the log’s clock with the other policy’s delays, and decides anew. For each pair this is certain while the decisions are the recorded ones, whose outcomes were recorded. At the first one that is not, it says what it can, and stops: a decision that the log has and the re-run has not is waited for, on timers alone, because facts after it may have followed from it; a decision that the log has not has no outcome that anybody could know.',
  );

interface Page {
  /** From the root of the project. */
  readonly path: string;
  readonly text: () => string;
  /** How it is formatted, as Markdown unless given; null: it is not. */
  readonly parser?: 'json' | null;
}
export const PAGES: readonly Page[] = [
  { path: 'docs/chart.md', text: chartPage },
  { path: 'docs/chart.svg', text: chartSvg, parser: null },
  { path: 'src/host/inspector/chart-geometry.json', text: chartGeometry, parser: 'json' },
  { path: 'docs/commands.md', text: commandsPage },
  { path: 'docs/configuration.md', text: configurationPage },
  { path: 'docs/errors.md', text: errorsPage },
  { path: 'docs/events.md', text: eventsPage },
  { path: 'docs/events.schema.json', text: eventsSchema, parser: 'json' },
  { path: 'docs/faults.md', text: faultsPage },
  { path: 'docs/findings.md', text: findingsPage },
  { path: 'docs/figures.md', text: figuresPage },
];

export const fileOf = ({ path }: Page): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** A page as it stands in docs/: formatted like every other file. */
export const formatted = async (one: Page): Promise<string> =>
  one.parser === null
    ? one.text()
    : format(one.text(), { ...(await resolveConfig(fileOf(one))), parser: one.parser ?? 'markdown' });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(fileURLToPath(new URL('../docs', import.meta.url)), { recursive: true });
  for (const one of PAGES) writeFileSync(fileOf(one), await formatted(one));
}

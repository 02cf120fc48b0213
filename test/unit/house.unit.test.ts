// The house keeps its order: imports run downward only, the pure rooms stay pure, native code has one room, and every list
// that users see is what the rest of the code uses.
import { DATAPATHS, HOST_STAGES, STAGES } from '../../src/machines/stages.ts';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { OBSERVATIONS, eventTypes } from '../../src/events/catalogue.ts';
import { CHART_EVENTS, pairChart } from '../../src/machines/chart.ts';
import { COMMANDS } from '../../src/host/commands.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Rooms from the cellar up; a file may import from its own room and from those named beside it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'src/events': [],
  'src/machines': ['src/events'],
  'src/adapters': ['src/events'],
  replay: ['src/events', 'src/machines', 'src/adapters'],
  'src/host': ['src/events', 'src/machines', 'src/adapters', 'replay'],
};
const PURE = ['src/events', 'src/machines'];
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  'src/events': ['typebox', 'typebox/compile'],
  'src/machines': ['xstate'],
};

const filesOf = (room: string): string[] =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(room, name));
const roomOf = (path: string): string | undefined => Object.keys(MAY_IMPORT).find((room) => path.startsWith(`${room}/`));
const importsOf = (path: string): string[] =>
  [...readFileSync(join(ROOT, path), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name]) => name ?? '');
const withoutComments = (path: string): string =>
  readFileSync(join(ROOT, path), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/gm, '');

/** What `netkvm wait` takes for an option. */
const choicesOf = (option: string) =>
  COMMANDS.find(({ name }) => name === 'wait')?.options.find(({ name }) => name === option)?.choices;

describe.each(Object.keys(MAY_IMPORT))('%s', (room) => {
  const files = filesOf(room);

  test('has files, and each opens with what lives there and why', () => {
    expect(files.length).toBeGreaterThan(0);
    for (const path of files) expect(readFileSync(join(ROOT, path), 'utf8'), path).toMatch(/^(#!.*\n)?\/\/ /);
  });

  test('imports downward only', () => {
    for (const path of files) {
      for (const name of importsOf(path).filter((found) => found.startsWith('.'))) {
        const target = roomOf(relative(ROOT, resolve(ROOT, dirname(path), name)));
        if (target === room) continue;
        expect(MAY_IMPORT[room], `${path} imports ${name}`).toContain(target);
      }
    }
  });

  test('uses koffi in the adapters only', () => {
    const users = files.filter((path) => importsOf(path).includes('koffi'));
    expect(room === 'src/adapters' ? [] : users).toEqual([]);
  });
});

describe.each(PURE)('%s is pure', (room) => {
  test('no node module, no other library than its own, no clock, no chance', () => {
    for (const path of filesOf(room)) {
      const libraries = importsOf(path).filter((name) => !name.startsWith('.'));
      for (const name of libraries) expect(LIBRARIES[room], `${path} imports ${name}`).toContain(name);
      expect(withoutComments(path), path).not.toMatch(
        /\bDate\b|Math\.random|\bprocess\b|setTimeout|setInterval|performance\.|\bBuffer\b/,
      );
    }
  });
});

describe('lists', () => {
  test('every observation is an event type', () => {
    expect(eventTypes).toEqual(expect.arrayContaining([...OBSERVATIONS]));
  });

  test('every stage is a state of the chart with a description, and no state lacks one', () => {
    const seen: string[] = [];
    const undescribed: string[] = [];
    const walk = (node: (typeof pairChart)['root']): void => {
      seen.push(node.key);
      if (node.description === undefined) undescribed.push(node.id);
      for (const child of Object.values(node.states)) walk(child);
    };
    walk(pairChart.root);
    expect(undescribed).toEqual(['pair', 'pair.path', 'pair.effects']);
    for (const stage of STAGES) expect(seen).toContain(stage);
  });

  test('the chart handles the events that it declares', () => {
    for (const name of CHART_EVENTS) expect(pairChart.events).toContain(name);
  });

  test('the command line knows the stages and datapaths', () => {
    expect(choicesOf('stage')).toEqual([...new Set([...STAGES, ...HOST_STAGES])]);
    expect(choicesOf('datapath')).toEqual(DATAPATHS);
  });
});

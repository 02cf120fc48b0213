// The pages of docs/ say what the lists in the code say, in both directions; `npm run docs` writes them anew.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ERRORS } from '../../src/events/errors.ts';
import { COMMANDS, usageOf } from '../../src/host/commands.ts';
import { KEYS } from '../../src/host/settings.ts';
import { commandText, overviewText } from '../../src/host/commands/help.ts';
import { fileOf, formatted, PAGES } from '../docs.ts';

describe('docs/', () => {
  test.each(PAGES.map((page) => [page.path, page] as const))('%s is what the code says', async (_, page) => {
    expect(readFileSync(fileOf(page), 'utf8')).toBe(await formatted(page));
  });

  test('every key, error and command has its place', () => {
    const text = PAGES.map((page) => readFileSync(fileOf(page), 'utf8')).join('\n');
    for (const word of [...KEYS.map(({ name }) => name), ...Object.keys(ERRORS)]) expect(text).toContain(`\`${word}\``);
    for (const { name } of COMMANDS) expect(text).toContain(`## netkvm ${name}\n`);
  });

  test('pages link only to pages that exist', () => {
    for (const page of PAGES) {
      for (const [, target] of readFileSync(fileOf(page), 'utf8').matchAll(/\]\(([^)#]+)\)/g)) {
        expect(existsSync(new URL(`../../docs/${target}`, import.meta.url)), `${page.path}: ${target}`).toBe(true);
      }
    }
  });
});

describe('help', () => {
  test.each(COMMANDS.map((command) => [command.name, command] as const))(
    'of %s names its options and exit codes, in narrow lines',
    (_, command) => {
      const text = commandText(command);
      expect(text).toContain(usageOf(command));
      for (const { name } of command.options) expect(text).toContain(`--${name}`);
      for (const [line] of command.examples) expect(text).toContain(line);
      const [, ...lines] = text.split('\n');
      expect(lines.filter((line) => line.length > 100)).toEqual([]);
    },
  );

  test('the overview names every command', () => {
    for (const { name, alias, summary } of COMMANDS) {
      const words = alias === undefined ? name : `${name}, ${alias}`;
      expect(overviewText().replaceAll(/\s+/g, ' ')).toContain(`${words} ${summary}`);
    }
  });
});

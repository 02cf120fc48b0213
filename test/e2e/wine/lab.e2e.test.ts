// The lab itself: Node for Windows runs, with koffi, and reads what Win32 says.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { missing, Wine } from './lab.ts';

const lacks = missing();
let wine: Wine;
beforeAll(async () => {
  if (lacks === null) wine = await Wine.start();
});
afterAll(() => wine?.stop());

/** Runs a module's code in Wine; what it logs is the result. */
const evaluate = async (code: string): Promise<string> => {
  const { stdout, stderr, code: exit } = await wine.node(['--input-type=module', '-e', code]);
  return exit === 0 ? stdout.trim() : `exit ${exit}: ${stderr}`;
};

test.skipIf(lacks !== null)('a registry value is written, read, listed and removed; what is missing is null', async () => {
  const code = `
    const { createKey, withKey } = await import('./src/adapters/windows/registry.ts');
    const key = createKey('SOFTWARE\\\\NetkvmTest\\\\Sub');
    key.setText('Text', 'grüße'); key.setNumber('Number', 4294967295);
    console.log(JSON.stringify([key.text('Text'), key.number('Number'), key.text('None'), key.values().toSorted(),
      withKey('SOFTWARE\\\\NetkvmTest', (top) => top.subkeys()), withKey('SOFTWARE\\\\Nowhere', () => 1)]));
    key.close(); withKey('SOFTWARE', (top) => top.removeTree('NetkvmTest'), 0xf003f);
    console.log(withKey('SOFTWARE\\\\NetkvmTest', () => 'still there'));`;
  expect(await evaluate(code)).toBe('["grüße",4294967295,null,["Number","Text"],["Sub"],null]\nnull');
});

test.skipIf(lacks !== null)('a service that is not installed is no service, and an error has number and words', async () => {
  const code = `
    const { serviceState } = await import('./src/adapters/windows/scm.ts');
    const { Win32Error } = await import('./src/adapters/windows/win32.ts');
    const denied = new Win32Error('opening x', 5);
    console.log(serviceState('nosuchservice'), serviceState('rpcss') !== null, denied.code, denied.isDenied, denied.message);`;
  expect(await evaluate(code)).toMatch(/^null true windows\.notPermitted true opening x failed: Access denied \(5\)$/i);
});

// Driver parameters on Wine's registry: what is written is there for everybody (reg.exe is the judge), under our own words and
// under those of the original tool.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { join } from 'node:path';
import { INF_PARAMETERS } from '../../fixtures/inf-parameters.ts';
import { missing, PROJECT, Wine } from './lab.ts';

const lacks = missing();
/** A smoke run does without. */
const lacksTime = lacks ?? (process.env['NETKVM_WINE'] === 'full' ? null : 'with --full only');
const MAC = '52:54:00:11:22:33';
const NET = '{4d36e972-e325-11ce-bfc1-08002be10318}';
const DRIVER = `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class\\${NET}\\0041`;
const ID = 'PCI\\VEN_1AF4&DEV_1041\\3&1&0&0041';
let wine: Wine;

/** Standard output; on failure the exit code and what was said. */
const says = async (...words: string[]): Promise<string> => {
  const { code, stdout, stderr } = await wine.netkvm(words);
  return code === 0 ? stdout + stderr : `${stdout}exit ${code}: ${stderr}`;
};
const stored = async (name: string): Promise<string | undefined> => {
  const { stdout } = await wine.run('reg', ['query', DRIVER, '/v', name]);
  return /REG_(SZ|DWORD)\s+(\S+)/.exec(stdout)?.[0].replaceAll(/\s+/g, ' ');
};
const set = (name: string, type: string, value: string) =>
  wine.run('reg', ['add', DRIVER, '/v', name, '/t', type, '/d', value, '/f']);

beforeAll(async () => {
  if (lacks !== null) return;
  wine = await Wine.start();
  for (const [name, mac] of [
    ['nic0', MAC],
    ['nic1', '52:54:00:00:00:09'],
  ] as const)
    wine.ip('link', 'add', name, 'address', mac, 'type', 'veth', 'peer', 'name', `${name}p`);
  const { code, stderr } = await wine.node([
    join(PROJECT, 'test/e2e/wine/seed-parameters.ts'),
    `0041=${MAC}`,
    '0042=52:54:00:00:00:09',
  ]);
  if (code !== 0) throw new Error(stderr);
});
afterAll(() => wine?.stop());

describe.skipIf(lacks !== null)('netkvm', () => {
  test('lists the devices with what pairs them', async () => {
    expect((await says('show', 'devices')).replaceAll('\r', '')).toContain(
      `NetKVM device: ${ID}\n\tIndex: 0\n\tDescription: Red Hat VirtIO Ethernet Adapter\n\tName: Red Hat VirtIO Ethernet Adapter #0041\n\tLocation: PCI bus 0, device 1, function 0\n\tNumber on bus: 0\n\tSoftware registry key: SYSTEM\\CurrentControlSet\\Control\\Class\\${NET}\\0041\n\tMAC: ${MAC}\n\n`,
    );
    const names = (await says('show', 'parameters', '0')).split('\n').filter((line) => line !== '' && !line.startsWith('\t'));
    expect(names.toSorted()).toEqual(expect.arrayContaining(INF_PARAMETERS.map(({ name }) => name).toSorted()));
  });

  test('writes what everybody reads, by index, MAC and instance id', async () => {
    expect(await says('setparam', '0', '*NumRssQueues', '0x10')).toBe('');
    expect(await stored('*NumRssQueues')).toBe('REG_SZ 16');
    expect(await says('setparam', MAC, '*RSS', '0')).toBe('');
    expect(await stored('*RSS')).toBe('REG_SZ 0');
    expect(await says('setparam', ID.toLowerCase(), 'networkaddress', '52-54-00-11-22-33')).toBe('');
    expect(await stored('NetworkAddress')).toBe('REG_SZ 525400112233');
    expect(await says('setparam', '0', 'NetworkAddress', 'value=')).toBe('');
    expect(await stored('NetworkAddress')).toBeUndefined();
    expect(await says('getparam', '0', '*RSS')).toBe('*RSS = 0\n');
  });

  test.skipIf(lacksTime !== null)(
    'numbers that a driver stored are read, and what is not valid is shown and repaired',
    async () => {
      await set('VlanID', 'REG_DWORD', '17');
      expect(await says('getparam', '0', 'VlanID')).toBe('VlanID = 17\n');
      await set('*RscIPv4', 'REG_SZ', 'rubbish');
      expect(await says('getparam', '0', '*RscIPv4')).toBe(
        '*RscIPv4 = rubbish\nnetkvm: *RscIPv4: "rubbish" is not one of 0 (Disabled), 1 (Enabled); `setparam` repairs it\n',
      );
      expect(await says('setparam', '0', '*RscIPv4', '1')).toBe('');
      expect(await stored('*RscIPv4')).toBe('REG_SZ 1');
    },
  );

  test.skipIf(lacksTime !== null)('refuses with the reason, and nothing is written', async () => {
    expect(await says('setparam', '0', '*RSS', '2')).toMatch(/^exit 2: .*"2" is not one of 0 \(Disabled\), 1 \(Enabled\)/);
    expect(await says('setparam', '0', 'VlanID', '4095')).toMatch(/^exit 2: .*a whole number from 0 to 4094/);
    expect(await stored('*RSS')).toBe('REG_SZ 0');
  });

  test('a dump can be fed back', async () => {
    const dump = await says('dump');
    expect(dump).toMatch(/^\npushd NetKVM\n\n# idx=0 is PCI/);
    const { code, stderr } = await wine.netkvm(['shell'], { input: dump.replaceAll(/^restart .*$/gm, '') });
    expect([code, stderr]).toEqual([0, '']);
    expect(await says('dump')).toBe(dump);
  });
});

describe.skipIf(lacksTime !== null)('restarts', () => {
  const SCRIPT = join(PROJECT, 'src/host/netkvm.mjs');
  const answers = (number: number) =>
    wine.run('reg', ['add', 'HKLM\\SOFTWARE\\SetupDouble', '/v', 'Answer', '/t', 'REG_DWORD', '/d', String(number), '/f']);
  const does = async (...words: string[]) => {
    const { code, stdout, stderr } = await wine.nodeWithDoubles([SCRIPT, ...words]);
    return { code, stdout, stderr };
  };
  const restarts = async () => (await wine.run('reg', ['query', 'HKLM\\SOFTWARE\\SetupDouble', '/v', 'Restarts'])).stdout;

  test('a device through its class installer, and tell when it takes a reboot, or is denied', async () => {
    await wine.run('reg', ['delete', 'HKLM\\SOFTWARE\\SetupDouble', '/f']);
    await answers(0);
    expect(await does('restart', '0')).toEqual({ code: 0, stdout: 'Restarting device 0... done.\n', stderr: '' });
    expect((await wine.run('reg', ['query', 'HKLM\\SOFTWARE\\SetupDouble', '/v', 'Device'])).stdout).toContain(ID);
    expect(await does('setparam', '0', 'FastInit', '0', '--apply')).toMatchObject({
      code: 0,
      stdout: 'Restarting device 0... done.\n',
    });
    expect(await restarts()).toContain('0x2');
    await answers(1);
    expect(await does('restart', ID)).toMatchObject({ code: 10, stdout: 'Restarting device 0... reboot required.\n' });
    expect(await does('netkvmco', 'restart', '0')).toMatchObject({
      code: 3010 & 0xff,
      stdout: expect.stringMatching(/^Restarting device 0\.\.\. reboot required\.\n\nUsage: restart /),
    });
    await answers(2);
    expect(await does('restart', '0')).toMatchObject({
      code: 8,
      stdout: 'Restarting device 0... failed.\n',
      stderr: expect.stringContaining('[parameter.notPermitted]'),
    });
    for (const question of ['?', '/?']) await does('restart', question);
    await does('netkvmco', 'restart', '?');
    expect(await restarts()).toContain('0x4');
  });
});

describe.skipIf(lacks !== null)('as netkvmco', () => {
  const co = async (...words: string[]) => {
    const { code, stdout } = await wine.node([join(PROJECT, 'src/host/netkvmco.mjs'), ...words]);
    return { code, stdout };
  };

  test('the original’s lines and codes', async () => {
    expect(await co()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Commands:\n\trestart\t\t/) });
    expect(await co('show')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^show <\.\.\.>\tpossible values:\n/) });
    expect(await co('nonsense')).toMatchObject({ code: 0, stdout: expect.stringContaining('Command groups:') });
    expect(await co('getparam', 'idx=0', 'param=*RSS', 'more')).toEqual({ code: 0, stdout: '*RSS = 0\n' });
    expect(await co('setparam', '0', '*RSS', 'value=1')).toEqual({ code: 0, stdout: '' });
    expect(await stored('*RSS')).toBe('REG_SZ 1');
    expect((await co('show', 'devices')).stdout).not.toContain('MAC:');
    expect((await co('dump')).stdout).toMatch(/^\npushd NetKVM\n\nsetparam idx=0 /);
  });

  test.skipIf(lacksTime !== null).each([
    [['setparam', '0', '*RSS', '7'], /^\nUsage: setparam /],
    [['setparam', '0', 'Nowhere', '7'], /^\nUsage: setparam /],
    [['setparam', '?'], /^\nUsage: setparam /],
    [['restart', '?'], /^\nUsage: restart \[idx=\]0-N\n\nParameters:\n\tIDX - /],
    [['getparam', '9', '*RSS'], /^Device index is out of range\.\n\nUsage: getparam /],
  ])('%j gives 87 and the help', async (words, text) => {
    expect(await co(...words)).toEqual({ code: 87, stdout: expect.stringMatching(text) });
  });
});

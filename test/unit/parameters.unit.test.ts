// Driver parameters: what they take and why not, with all 30 of NETKVM's INF files; the words that ask for them; the lines
// that answer; and that nothing is written that parts a pair. The store here is a table: the real ones are tried in network
// namespaces (test/e2e/netns) and on Wine's registry (test/e2e/wine).
import { describe, expect, test } from 'vitest';
import type { Parameter, ParameterDevice, ParameterStore } from '../../src/adapters/parameters.ts';
import { readInfParameter } from '../../src/adapters/windows/inf-parameter.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { readArguments } from '../../src/host/arguments.ts';
import { completions } from '../../src/host/parameters/completion.ts';
import { ParameterSession, PLAIN, type Manner } from '../../src/host/parameters/orders.ts';
import { infoText } from '../../src/host/parameters/text.ts';
import { faultOf, normalised, readNumber, valueOf } from '../../src/adapters/parameter-values.ts';
import { cutWords, readWords, VERB_NAMES, verbHelp } from '../../src/host/parameters/words.ts';
import { INF_PARAMETERS } from '../fixtures/inf-parameters.ts';

const ALL = INF_PARAMETERS.map((key) => readInfParameter(key, null));
const of = (name: string, stored: string | null = null): Parameter =>
  readInfParameter(
    INF_PARAMETERS.find((key) => key.name === name)!,
    stored,
  );
const refusal = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof NetkvmError) return `${error.code} ${error.message}`;
    throw error;
  }
  throw new Error('it was taken');
};

describe('the 30 parameters of the INF files', () => {
  test('are read with their types, and their defaults fit', () => {
    expect(ALL).toHaveLength(30);
    const faults = ALL.flatMap((parameter) => faultOf(parameter) ?? []);
    expect(faults).toEqual(['"INX_NETKVM_SEPARATE_TAIL" is not one of 0 (Disabled), 1 (Enabled)']);
    expect(ALL.filter(({ type }) => type.kind === 'enum')).toHaveLength(24);
    expect(ALL.filter(({ type }) => type.kind === 'int').map(({ name }) => name)).toEqual([
      'DebugLevel',
      'MinRxBufferPercent',
      '*NumRssQueues',
    ]);
    expect(of('VlanID').type).toEqual({ kind: 'long', min: 0, max: 4094, step: 1 });
    expect(ALL.filter(({ optional }) => optional).map(({ name }) => name)).toEqual(['NetworkAddress']);
  });

  /** What a parameter takes, with how it is written; what it does not take; and how the refusal says so. */
  const cases = ({ type }: Parameter) => {
    if (type.kind === 'enum') {
      const values = type.values.map(({ value }) => value);
      const bad = ['', ' 1', '01', 'Enabled', '32'].filter((value) => !values.includes(value));
      return { good: values.map((value) => [value, value]), bad, text: 'is not one of' };
    }
    if (type.kind === 'int' || type.kind === 'long') {
      const { min, max } = type;
      const good = [
        [String(min), String(min)],
        [`0x${max.toString(16)}`, String(max)],
      ];
      const bad = [String(min - 1), String(max + 1), '', '1.5', 'x', '4294967296', '-1', '09', '0x'];
      return { good, bad, text: `is not a whole number from ${min} to ${max}` };
    }
    const good = [
      ['52-54-00-aA-bB-cc', '525400AABBCC'],
      ['', null],
    ];
    return { good, bad: ['000000000000', '015400112233', '52540011223', 'rubbish'], text: 'is not a unicast MAC' };
  };

  test.each(ALL.map((parameter) => [parameter.name, parameter] as const))(
    '%s takes its values and no others',
    (name, parameter) => {
      const { good, bad, text } = cases(parameter);
      expect(good.map(([typed]) => normalised(parameter, typed ?? ''))).toEqual(good.map(([, written]) => written));
      const refusals = bad.map((typed) => [typed, refusal(() => normalised(parameter, typed))]);
      const right = bad.map((typed) => [
        typed,
        expect.stringContaining(`parameter.value ${name}: ${JSON.stringify(typed)} ${text}`),
      ]);
      expect(refusals).toEqual(right);
    },
  );
});

describe('values', () => {
  test('numbers are decimal, hexadecimal or octal, and are written in decimal', () => {
    expect(['10', '0x10', '010', ' 7 ', '+3', '-0x2'].map(readNumber)).toEqual([10, 16, 8, 7, 3, -2]);
    expect(['', ' ', '08', '0x', '1e3', '1 2', '９'].map(readNumber)).toEqual([null, null, null, null, null, null, null]);
    expect(normalised(of('*JumboPacket'), '0x5EA')).toBe('1514');
    expect(normalised(of('VlanID'), '010')).toBe('8');
  });

  const made = (values: Readonly<Record<string, string>>, stored: string | null = null): Parameter =>
    readInfParameter({ name: 'P', values, choices: [] }, stored);

  test('a step counts from the least value, and one of 0 is 1', () => {
    const stepped = made({ type: 'int', min: '10', max: '40', step: '15' });
    expect(['10', '25', '40'].map((text) => normalised(stepped, text))).toEqual(['10', '25', '40']);
    expect(refusal(() => normalised(stepped, '30'))).toContain('from 10 to 40 in steps of 15 from 10');
    expect(made({ type: 'int', step: '0' }).type).toMatchObject({ min: 0, max: 4_294_967_295, step: 1 });
    expect(made({ type: 'word' }).type).toMatchObject({ kind: 'word', max: 65_535 });
    expect(made({ type: 'dword', max: 'rubbish' }).type).toMatchObject({ kind: 'dword', max: 4_294_967_295 });
  });

  test('texts have a length and a case', () => {
    const text = made({ type: 'edit', LimitText: '3', UpperCase: '1' });
    expect(normalised(text, 'ABC')).toBe('ABC');
    expect(refusal(() => normalised(text, 'ABCD'))).toContain('is not a text of at most 3 characters in capital letters');
    expect(refusal(() => normalised(text, 'AbC'))).toContain('in capital letters');
  });

  test('what is stored and not valid is told, and can be repaired', () => {
    const broken = of('*RSS', '7');
    expect(faultOf(broken)).toBe('"7" is not one of 0 (Disabled), 1 (Enabled)');
    expect([valueOf(broken), normalised(broken, '0')]).toEqual(['7', '0']);
    expect(faultOf(made({ type: 'int' }))).toBe('nothing is stored, and there is no default');
  });

  test('an unknown type is known as such, and never written', () => {
    const unknown = made({ type: 'multi', Default: '1' });
    expect([unknown.type, faultOf(unknown)]).toEqual([{ kind: 'unknown', name: 'multi' }, null]);
    expect(refusal(() => normalised(unknown, '1'))).toContain('the type "multi" is none of ours');
  });

  test('the lines of the original tool', () => {
    expect(infoText(of('*RSS'))).toBe('Parameter type: enumeration\n\tValue "0" - Disabled\n\tValue "1" - Enabled\n');
    expect(infoText(of('DebugLevel'))).toBe('Parameter type: integer\n\tMin value: 0\n\tMax value: 8\n\tValue increment: 1\n');
    expect(infoText(of('VlanID'))).toContain('Parameter type: long integer\n');
    expect(infoText(of('NetworkAddress'))).toBe('Parameter type: text\n\tUpper-case only: 0\n');
    expect(infoText(made({ type: 'edit', LimitText: '12' }))).toBe(
      'Parameter type: text\n\tUpper-case only: 0\n\tMax text length: 12\n',
    );
    expect(infoText(made({ type: 'multi' }))).toBe('Parameter type: UNKNOWN\n');
  });
});

describe('words', () => {
  const order = (line: string): object | string => {
    const asked = readWords(cutWords(line));
    return 'order' in asked ? asked.order : asked.help;
  };

  test('verbs are abbreviated, arguments tagged or in order', () => {
    expect(order('sh dev')).toMatchObject({ verb: 'show devices' });
    expect(order('SHOW PARAMI idx=1 param=*RSS')).toEqual({ verb: 'show paraminfo', device: '1', name: '*RSS', value: '' });
    expect(order('set value=9 0 PARAM=DoLog')).toEqual({ verb: 'setparam', device: '0', name: 'DoLog', value: '9' });
    expect(order('set 0 N value=')).toMatchObject({ value: '' });
    expect(order('setparam 0 N "a b"')).toMatchObject({ value: 'a b' });
    expect(order('g 0 X')).toMatchObject({ verb: 'getparam' });
  });

  test('a question is answered with help, and never acted on', () => {
    for (const verb of VERB_NAMES) expect(order(`${verb} ?`)).toBe(verbHelp(verb));
    expect(order('restart 0 ?')).toBe(verbHelp('restart'));
    expect(order('setparam 0 x /?')).toBe(verbHelp('setparam'));
    expect(order('?')).toContain('Command groups:');
    expect(order('show ?')).toContain('possible values:');
    for (const words of ['setparam ?', 'restart ?', 'restart 0 ?', 'setparam 0 x ?', 'show ?', '?'])
      expect(readArguments(words.split(' ')).kind).toBe('help');
  });

  test.each([
    ['show para', 'could be parameters or paraminfo'],
    ['s', 'could be show or setparam'],
    ['restrat 0', 'did you mean restart?'],
    ['getparam 0', 'getparam needs param'],
    ['getparam', 'getparam needs idx, param'],
    ['getparam 0 a b', '"b" is one too many'],
    ['restart idx=0 idx=1', 'idx= is given twice'],
    ['getparam 0 "x', 'a double quote is not closed'],
  ])('%s is refused', (line, text) => {
    expect(refusal(() => order(line))).toContain(text);
  });
});

const device = (id: string, more: Partial<ParameterDevice> = {}): ParameterDevice => ({
  id,
  name: `Net ${id}`,
  description: 'Red Hat VirtIO Ethernet Adapter',
  location: 'PCI bus 1',
  busNumber: 3,
  key: `SYSTEM\\Class\\${id}`,
  mac: null,
  mtu: 1500,
  master: null,
  ...more,
});
const MAC = '52:54:00:11:22:33';

/** A registry in a map. */
class Table implements ParameterStore {
  readonly needsRestart = true;
  list: ParameterDevice[] = [
    device('PCI\\A', { mac: MAC }),
    device('PCI\\B', { mac: MAC }),
    device('PCI\\C', { mac: '52:54:00:00:00:09' }),
  ];
  readonly stored = new Map<string, string | null>();
  readonly restarted: string[] = [];
  outcome: 'done' | 'rebootRequired' = 'done';

  devices = () => Promise.resolve(this.list);
  parameters = ({ id }: ParameterDevice) =>
    Promise.resolve(INF_PARAMETERS.map((key) => readInfParameter(key, this.stored.get(`${id} ${key.name}`) ?? null)));
  write = ({ id }: ParameterDevice, { name }: Parameter, value: string | null) => {
    this.stored.set(`${id} ${name}`, value);
    return Promise.resolve();
  };
  restart = ({ id }: ParameterDevice) => {
    this.restarted.push(id);
    return Promise.resolve(this.outcome);
  };
  close = () => Promise.resolve();
}

const talk = (table: Table) => {
  const session = new ParameterSession(table);
  const does = async (line: string, manner: Partial<Manner> = {}): Promise<string> => {
    let text = '';
    const asked = readWords(cutWords(line));
    if (!('order' in asked)) return asked.help;
    const telling = { out: (more: string) => void (text += more), warn: (more: string) => void (text += `! ${more}\n`) };
    try {
      const { exit } = await session.perform(asked.order, { ...PLAIN, ...manner }, telling);
      return exit === 0 ? text : `${text}exit ${exit}`;
    } catch (error) {
      if (error instanceof NetkvmError) return `${text}${error.code}: ${error.message}`;
      throw error;
    }
  };
  return { session, does };
};

describe('orders', () => {
  test('devices are named by index, MAC, name or instance id, and an index keeps its meaning', async () => {
    const table = new Table();
    const { does } = talk(table);
    expect(await does('getparam pci\\b *RSS')).toBe('*RSS = 1\n');
    expect(await does('getparam "net pci\\b" *rss')).toBe('*rss = 1\n');
    expect(await does('getparam 52-54-00-00-00-09 VlanID')).toBe('VlanID = 0\n');
    expect(await does(`getparam ${MAC} *RSS`)).toMatch(/^parameter.device: .* is more than one device: Net PCI\\A \(index 0/);
    expect(await does('getparam 3 *RSS')).toBe('parameter.device: "3" is none of the 3 devices.');
    expect(await does('show devices')).toContain(
      'NetKVM device: PCI\\A\n\tIndex: 0\n\tDescription: Red Hat VirtIO Ethernet Adapter\n\tName: Net PCI\\A\n\tLocation: PCI bus 1\n\tNumber on bus: 3\n\tSoftware registry key: SYSTEM\\Class\\PCI\\A\n\tMAC: 52:54:00:11:22:33\n\nNetKVM device: PCI\\B\n',
    );
    expect(await does('show devices', { isOriginal: true })).not.toContain('MAC:');
    table.list = table.list.slice(1);
    expect(await does('restart 0')).toBe('parameter.device: index 0 meant PCI\\A, and now means PCI\\B.');
    expect(table.restarted).toEqual([]);
  });

  test('setparam is silent, restart tells, apply does both', async () => {
    const table = new Table();
    const { does } = talk(table);
    expect(await does('setparam 2 *RSS 0')).toBe('');
    expect(await does('getparam 2 *RSS')).toBe('*RSS = 0\n');
    expect(await does('setparam 2 *RSS 1', { apply: true })).toBe('Restarting device 2... done.\n');
    table.outcome = 'rebootRequired';
    expect(await does('restart 2')).toBe('Restarting device 2... reboot required.\nexit 10');
  });

  test('MTU and MAC are held against the pair', async () => {
    const table = new Table();
    const { does } = talk(table);
    expect(await does('setparam 0 *JumboPacket 9014')).toBe(
      'parameter.pair: *JumboPacket of Net PCI\\A: Net PCI\\B (index 1, PCI\\B) has the MTU 1500, this would be 9000; --both writes both.',
    );
    expect(await does('setparam 0 NetworkAddress 525400000001')).toMatch(/^parameter.pair: .* keeps the MAC 52:54:00:11:22:33/);
    expect(await does('setparam 0 NetworkAddress ""')).toMatch(/^parameter.pair/);
    expect(table.stored.size).toBe(0);
    expect(await does('setparam 0 *JumboPacket 1514')).toBe('');
    expect(await does('setparam 0 NetworkAddress 52:54:00:11:22:33')).toBe('');
    expect(await does('setparam 2 *JumboPacket 9014')).toBe('');
    expect(await does('setparam 0 *JumboPacket 9014', { force: true })).toBe('');
    expect(await does('setparam 0 *JumboPacket 4088', { both: true })).toBe('');
    expect(['PCI\\A', 'PCI\\B'].map((id) => table.stored.get(`${id} *JumboPacket`))).toEqual(['4088', '4088']);
    table.list = [device('a', { mac: MAC, master: 'Net m' }), device('m', { mac: MAC })];
    expect(await does('setparam a *JumboPacket 9014')).toMatch(/its MTU is that of Net m, where it is to be set/);
    expect(await does('setparam m *JumboPacket 9014')).toBe('');
  });

  test('what is not valid is shown, and spoils nothing', async () => {
    const table = new Table();
    const { does } = talk(table);
    table.stored.set('PCI\\A *RSS', '7');
    expect(await does('getparam 0 *RSS')).toBe(
      '*RSS = 7\n! *RSS: "7" is not one of 0 (Disabled), 1 (Enabled); `setparam` repairs it\n',
    );
    expect(await does('show parameters 0')).toMatch(/^Priority\n\tInit.Do802.1PQ\n[^]*\*NdisPoll\n\tNdis Poll Mode\n$/);
    expect(await does('dump')).toContain('\n# setparam idx=0 param=*RSS value=7: "7" is not one of 0 (Disabled), 1 (Enabled)\n');
    expect(await does('setparam 0 *RSS 0')).toBe('');
    expect(await does('getparam 0 *RSS')).toBe('*RSS = 0\n');
  });

  test('a dump has the original’s lines', async () => {
    const { does } = talk(new Table());
    const dump = await does('dump', { isOriginal: true });
    expect(dump).toMatch(/^\npushd NetKVM\n\nsetparam idx=0 param=Priority value=1\n/);
    expect(dump).toContain('setparam idx=0 param=*NdisPoll value=1\nrestart idx=0 \n\nsetparam idx=1 param=Priority value=1\n');
    expect(dump).toMatch(/\nrestart idx=2 \n\npopd\n$/);
    expect(dump).not.toContain('#');
  });
});

describe('completion', () => {
  const complete = async (line: string) => {
    const [found] = await completions(talk(new Table()).session, line);
    return found.map((one) => one.trim());
  };

  test('verbs, devices, names and values', async () => {
    expect(await complete('')).toEqual(['show', 'getparam', 'setparam', 'restart', 'dump', 'help', 'exit']);
    expect(await complete('sh ')).toEqual(['devices', 'parameters', 'paraminfo']);
    expect(await complete('show parami')).toEqual(['paraminfo']);
    expect(await complete('getp 2 *Rs')).toEqual(['*RSS', '*RscIPv4', '*RscIPv6']);
    expect(await complete('setparam idx=2 param=*rs')).toEqual(['param=*RSS', 'param=*RscIPv4', 'param=*RscIPv6']);
    expect(await complete('setparam 2 *PriorityVLANTag ')).toEqual(['0', '1', '2', '3']);
    expect(await complete('restart 52')).toEqual([MAC, MAC, '52:54:00:00:00:09']);
    expect(await complete('getparam 9 ').catch((error: unknown) => (error as NetkvmError).code)).toBe('parameter.device');
    expect(await complete('nonsense ')).toEqual([]);
  });
});

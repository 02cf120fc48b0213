// The kernel log's early sign: which records are one, which slot they name, and which device is in it.
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { deviceInSlot, KernelLog, slotPoweringOff } from '../../src/adapters/linux/kernel-log.ts';
import { Observer } from '../../src/adapters/linux/observer.ts';
import { uevent } from './netlink-make.ts';

const scratch = mkdtempSync(join(tmpdir(), 'netkvm-kernel-log-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const record = (message: string): string => `6,812,5123456,-;${message}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:05.0\n`;

describe('the kernel log', () => {
  test.each([
    ['pcieport 0000:00:05.0: pciehp: Slot(2): Powering off due to button press', '2'],
    ['pcieport 0000:00:05.0: pciehp: Slot(2-1): Button press: will power off in 5 sec', '2-1'],
    ['pcieport 0000:00:05.0: pciehp: Slot(2): Button press: will power on in 5 sec', null],
    ['pcieport 0000:00:05.0: pciehp: Slot(2): Powering on due to button press', null],
    ['pcieport 0000:00:05.0: pciehp: Slot(2): Action canceled due to button press', null],
    ['pcieport 0000:00:05.0: pciehp: Slot(../x): Powering off due to button press', null],
    ['e1000e 0000:02:00.0 eth1: Slot(2): Powering off', null],
    ['', null],
  ])('%s', (message, slot) => expect(slotPoweringOff(record(message))).toBe(slot));

  test('a program that writes the same words further down in its message is not heard', () => {
    expect(slotPoweringOff('12,1,1,-;hello\npciehp: Slot(2): Powering off')).toBeNull();
  });

  test('the device in a slot, as sysfs says', () => {
    mkdirSync(join(scratch, 'bus/pci/slots/2'), { recursive: true });
    writeFileSync(join(scratch, 'bus/pci/slots/2/address'), '0000:02:00\n');
    mkdirSync(join(scratch, 'bus/pci/slots/3'), { recursive: true });
    writeFileSync(join(scratch, 'bus/pci/slots/3/address'), 'nonsense\n');
    expect(['2', '3', '4', '..'].map((slot) => deviceInSlot(slot, scratch))).toEqual(['0000:02:00', null, null, null]);
  });

  test('only what is written after it was opened counts; where it may not be read there is none', () => {
    const path = join(scratch, 'kmsg');
    writeFileSync(path, record('pcieport: pciehp: Slot(1): Powering off due to button press'));
    const log = KernelLog.open(path);
    expect(log?.read()).toEqual([]);
    appendFileSync(path, record('pcieport: pciehp: Slot(2): Powering off due to button press'));
    expect(log?.read()).toEqual(['2']);
    expect(log?.read()).toEqual([]);
    log?.close();
    expect(KernelLog.open(join(scratch, 'nowhere'))).toBeNull();
  });

  test('a slot without a network function is no sign', () => {
    const observer = new Observer();
    observer.uevent(
      uevent('add', '/devices/pci0000:00/0000:00:05.0/0000:02:00.0', {
        SUBSYSTEM: 'pci',
        PCI_CLASS: '20000',
        PCI_ID: '8086:10D3',
        PCI_SLOT_NAME: '0000:02:00.0',
      }),
    );
    expect(observer.slotPoweringOff('0000:02:00')).toEqual([
      { type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'slotPowerOff' } },
    ]);
    expect([observer.slotPoweringOff('0000:02:0'), observer.slotPoweringOff('0000:03:00')]).toEqual([[], []]);
  });
});

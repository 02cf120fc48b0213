// VFs and forwarding entries as bytes: what is written is read back as it was, and no bytes make the reader throw anything but
// Damage. What a kernel makes of them is tried in test/e2e.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addFdb, Damage, deleteFdb, fdbIn, getFdb, getFdbOfBridge, setVf, vfIn } from '../../src/adapters/linux/vf.ts';

const MAC = '52:54:00:11:22:33';

test('a VF is read as it was written, and no other one for it', () => {
  const request = setVf(7, 3, { mac: MAC, vlan: { vlan: 100, qos: 5 }, spoofchk: true, trust: false });
  expect(vfIn(request, 3)).toEqual({ mac: MAC, vlan: 100, qos: 5, spoofchk: true, trust: false });
  expect(vfIn(request, 2)).toBeNull();
});

test('settings that a driver does not know are not told, and -1 is read as unknown', () => {
  const request = setVf(7, 3, { mac: MAC, spoofchk: null, trust: null });
  expect(vfIn(request, 3)).toEqual({ mac: MAC, vlan: 0, qos: 0, spoofchk: null, trust: null });
  const unknown = setVf(7, 3, { mac: MAC, trust: true });
  // The last four bytes are the setting.
  unknown.fill(0xff, unknown.length - 4);
  expect(vfIn(unknown, 3)?.trust).toBeNull();
});

test.each([
  [addFdb(4, MAC, 'self'), { ifindex: 4, mac: MAC, table: 'self', master: null, fixed: true }],
  [addFdb(4, MAC, 'master'), { ifindex: 4, mac: MAC, table: 'master', master: null, fixed: true }],
  [addFdb(4, MAC, 'master', true), { ifindex: 4, mac: MAC, table: 'master', master: null, fixed: true }],
  [deleteFdb(4, MAC, 'master'), { ifindex: 4, mac: MAC, table: 'master', master: null, fixed: false }],
])('an entry is read as it was written (%#)', (request, entry) => {
  expect(fdbIn(request)).toEqual(entry);
});

test('an entry of the device itself is removed as the permanent one that it is', () => {
  expect(fdbIn(deleteFdb(4, MAC, 'self'))?.fixed).toBe(true);
});

test('a table is asked for by device, or by bridge (ndm_ifindex, NDA_MASTER): nothing else may be set in a strict request', () => {
  const [device, bridge] = [getFdb(4), getFdbOfBridge(7)];
  expect([...device.subarray(16)]).toEqual([7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
  expect([...bridge.subarray(16)]).toEqual([7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 9, 0, 7, 0, 0, 0]);
});

test('bytes that are cut or changed are damage, or nothing', () => {
  const whole = setVf(7, 3, { mac: MAC, vlan: { vlan: 1, qos: 0 }, trust: true });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.nat(whole.length).map((length) => whole.slice(0, length)),
    fc
      .tuple(fc.nat(whole.length - 1), fc.nat(255))
      .map(([at, value]) => whole.map((byte, index) => (index === at ? value : byte))),
  );
  const thrownBy = (read: () => unknown): unknown => {
    try {
      read();
      return null;
    } catch (error) {
      return error instanceof Damage ? null : error;
    }
  };
  fc.assert(
    fc.property(bytes, (one) => {
      expect(thrownBy(() => vfIn(one, 3))).toBeNull();
      expect(thrownBy(() => fdbIn(one))).toBeNull();
    }),
  );
});

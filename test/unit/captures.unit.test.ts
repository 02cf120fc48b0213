// Real migrations of a real guest: what replaying their captures gives, held against the committed report, against the
// datapaths that the kernel's own rule gives, and against what the guest itself said (sysfs and its kernel log).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { replayFile } from '../../replay/replay.ts';
import type { Report } from '../../replay/report.ts';
import { captureNames, makeRecording, RECORDINGS, versionOf } from '../recordings.ts';

const raw = (name: string, file: string): string => join(RECORDINGS, 'raw', name, file);

/** What the kernel's rule gives for each; a leading `none`, while devices come up, counts for nothing. */
const DATAPATHS: Readonly<Record<string, string>> = {
  'a-boot-with-vf': 'standby primary',
  'b-migration': 'standby primary standby primary',
  'c-migration-cancelled': 'standby primary standby primary',
  'd-vf-hotplug-later': 'standby primary',
  'e-vf-different-mac': 'standby',
  'f-vf-del-and-add': 'standby primary standby primary',
  'g-vf-link-down-up': 'standby primary standby primary',
  'h-three-migrations': 'standby primary standby primary standby primary standby primary',
  'i-two-same-mac-vfs': 'standby primary standby',
  'j-no-failover-userspace-bond': 'standby none standby primary standby primary',
  'k-cancel-in-wait-unplug': 'standby primary standby primary',
  'l-destination-dies': 'standby primary standby primary',
};

/** Findings besides the inbound holes, which every plug of an e1000e has. */
const FINDINGS: Readonly<Record<string, string[]>> = {
  'a-boot-with-vf': [],
  'b-migration': ['announceSeen', 'primaryReturned'],
  'c-migration-cancelled': ['primaryReturned'],
  'd-vf-hotplug-later': [],
  'e-vf-different-mac': ['foreignMac'],
  'f-vf-del-and-add': ['primaryReturned'],
  'g-vf-link-down-up': ['carrierLost'],
  'h-three-migrations': ['announceSeen', 'primaryReturned', 'announceSeen', 'primaryReturned', 'announceSeen', 'primaryReturned'],
  'i-two-same-mac-vfs': ['secondPrimary', 'attachFailed'],
  'j-no-failover-userspace-bond': ['noPath', 'primaryReturned'],
  'k-cancel-in-wait-unplug': ['primaryReturned'],
  'l-destination-dies': ['primaryReturned'],
};

const datapaths = ({ pairs }: Report): string => {
  const all = pairs[0]?.history.map(({ datapath }) => datapath) ?? [];
  const changes = all.filter((datapath, index) => datapath !== all[index - 1]);
  return (changes[0] === 'none' ? changes.slice(1) : changes).join(' ');
};

/** Monotonic milliseconds of the kernel log's lines that match. The log's clock is a few ms off and has its own start. */
const kernelTimes = (state: string, what: RegExp): number[] => {
  const lines = [...new Set(state.split('\n'))].filter((line) => what.test(line));
  return lines.map((line) => Number(/\[\s*([0-9.]+)\]/.exec(line)?.[1]) * 1000);
};

describe.each(captureNames())('%s', (name) => {
  test('gives the committed report, whole', async () => {
    const { report, complaints } = await replayFile(raw(name, 'guest.jsonl'));
    expect(complaints).toEqual([]);
    expect(report).toEqual(JSON.parse(readFileSync(raw(name, 'expected.json'), 'utf8')));
  });

  test('passes through the datapaths that the kernel’s rule gives, and shows the findings that the scenario has', async () => {
    const { report } = await replayFile(raw(name, 'guest.jsonl'));
    expect(datapaths(report)).toBe(DATAPATHS[name]);
    expect(report.findings.map(({ code }) => code).filter((code) => code !== 'inboundHole')).toEqual(FINDINGS[name]);
  });

  test('ends with the devices that the guest itself lists', async () => {
    const { story } = await replayFile(raw(name, 'guest.jsonl'));
    const state = readFileSync(raw(name, 'guest-state.txt'), 'utf8');
    const last = state.split('### ').at(-1) ?? '';
    const said = last.split('\n').flatMap((line) => {
      const found = /^(\S+) idx=(\d+) mac=(\S+) op=\S+ master=(\S*)/.exec(line);
      return found === null ? [] : [`${found[1]} ${found[2]} ${found[4]?.split('/').at(-1) ?? ''}`];
    });
    const { adapters } = story.guest;
    const folded = [...adapters.values()].map(({ facts }) => {
      const master = facts.master === null ? '' : (adapters.get(facts.master)?.facts.name ?? '?');
      return `${facts.name} ${facts.ifindex} ${master}`;
    });
    expect(folded.toSorted()).toEqual(said.toSorted());
  });

  test('changes the datapath when the guest’s kernel says so', async () => {
    const { report } = await replayFile(raw(name, 'guest.jsonl'));
    const history = report.pairs[0]?.history ?? [];
    const state = readFileSync(raw(name, 'guest-state.txt'), 'utf8');
    const toPrimary = history
      .filter(({ datapath, stage }) => datapath === 'primary' && stage === 'onPrimary')
      .map(({ at_ns }) => Number(at_ns) / 1e6);
    // A bond follows its carrier check, so it is later than the link; the log keeps 40 lines, so it may lack early ones.
    const late_ms = name.startsWith('j') ? 150 : 60;
    for (const up of kernelTimes(state, /NIC Link is Up/)) {
      const nearest = Math.min(...toPrimary.map((at) => Math.abs(at - up)));
      expect(nearest, `link up at ${up} ms`).toBeLessThan(late_ms);
    }
    for (const gone of kernelTimes(state, /failover primary slave:\S+ unregistered/)) {
      const leaving = history.filter(({ datapath }) => datapath === 'standby').map(({ at_ns }) => Number(at_ns) / 1e6);
      expect(Math.min(...leaving.map((at) => Math.abs(at - gone))), `unregistered at ${gone} ms`).toBeLessThan(60);
    }
  });

  test('has a recording that folds to the same life cycle, and that making it again does not change', async () => {
    const { report } = await replayFile(raw(name, 'guest.jsonl'));
    const { report: recorded } = await replayFile(join(RECORDINGS, `${name}.jsonl`));
    const states = ({ pairs }: Report) =>
      pairs.map(({ mac, mode, history }) => [mac, mode, history.map(({ seq: _, ...entry }) => entry)]);
    expect(recorded.divergence).toBeNull();
    expect(states(recorded)).toEqual(states(report));
    expect(recorded.findings.map(({ code, text }) => [code, text])).toEqual(
      report.findings.map(({ code, text }) => [code, text]),
    );
    const dir = mkdtempSync(join(tmpdir(), 'netkvm-test-'));
    try {
      const path = join(RECORDINGS, `${name}.jsonl`);
      await makeRecording(name, join(dir, 'again.jsonl'), versionOf(path));
      expect(readFileSync(join(dir, 'again.jsonl'), 'utf8')).toBe(readFileSync(path, 'utf8'));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

test('the guest’s kernel log has what the comparison above compares', () => {
  const state = readFileSync(raw('b-migration', 'guest-state.txt'), 'utf8');
  expect(kernelTimes(state, /NIC Link is Up/).length).toBe(2);
  expect(kernelTimes(state, /failover primary slave:\S+ unregistered/).length).toBe(1);
});

// The metrics: every one of the list, in Prometheus' own format, over the real socket of the real service; and a socket that
// nobody else can make anything of.
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { METRICS, Meters, metricsText } from '../../src/host/metrics.ts';
import { openMetrics, type MetricsServer } from '../../src/host/metrics-server.ts';
import { Story } from '../../src/machines/story.ts';
import { changed, appeared, gone, MAC, trio } from '../given.ts';
import { HostedStory, RUNNING } from '../hosted.given.ts';
import { cleanUp, daemon, folder, inProcess, Running, until } from './service.given.ts';
import type { Happening } from '../../src/events/catalogue.ts';

/** Parses the text exposition format 0.0.4 strictly; throws for a line that is none. */
const parse = (text: string): Map<string, { type: string; samples: Map<string, number> }> => {
  const families = new Map<string, { type: string; samples: Map<string, number> }>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.slice(0, -1).split('\n')) {
    if (/^# HELP [a-z_]+ [^\n]+$/.test(line)) continue;
    const [, family, type] = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line) ?? [];
    if (family !== undefined && type !== undefined) {
      if (families.has(family)) throw new Error(`${family} comes twice`);
      families.set(family, { type, samples: new Map() });
      continue;
    }
    const [, name = '', labels = '', value = ''] =
      /^([a-z_]+)((?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (-?[0-9.e+-]+)$/.exec(line) ?? [];
    const samples = families.get(name)?.samples;
    if (samples === undefined || samples.has(labels)) throw new Error(`no sample, or one that came before: ${line}`);
    samples.set(labels, Number(value));
  }
  return families;
};

const get = (
  port: number,
  path: string,
  options: { host?: string; method?: string } = {},
): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', host = `127.0.0.1:${port}` } = options;
    const sent = request({ port, path, method, host: '127.0.0.1', headers: { host }, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more: string) => (text += more));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end();
  });

const free = async (): Promise<number> => {
  const server = await openMetrics(0, () => '');
  await server.close();
  return server.port;
};

describe('counted', () => {
  const told = (meters: Meters, ...happenings: readonly (readonly [s: number, happening: Happening])[]): Story => {
    const story = new Story();
    for (const [index, [s, happening]] of happenings.entries()) {
      const event = { ...happening, seq: index + 1, mono_ns: `${Math.round(s * 1e9)}` };
      meters.note(event, story.tell(event));
    }
    return story;
  };
  const source = {
    seq: 7,
    outage: null,
    version: '1"\\\n',
    machineVersion: 2,
    platform: 'linux',
    started_s: 5,
    mono_ns: '100000000000',
  };

  test('time on each path, changes of it, and what lasts', () => {
    const meters = new Meters();
    const story = told(
      meters,
      [10, appeared(trio.master)],
      [10, appeared(trio.standby)],
      [10, appeared(trio.primary)],
      [40, gone(4)],
      [90, changed(3, { carrier: false })],
    );
    const families = parse(metricsText(meters.samples({ ...source, story })));
    const of = (name: string, labels: string) => families.get(name)?.samples.get(labels);
    expect(of('netkvm_path_seconds_total', `{pair="${MAC}",datapath="primary"}`)).toBe(30);
    expect(of('netkvm_path_seconds_total', `{pair="${MAC}",datapath="standby"}`)).toBe(50);
    expect(of('netkvm_path_seconds_total', `{pair="${MAC}",datapath="none"}`)).toBe(10);
    expect(of('netkvm_pair_datapath', `{pair="${MAC}",datapath="none"}`)).toBe(1);
    expect(of('netkvm_datapath_changes_total', `{pair="${MAC}",datapath="standby"}`)).toBe(2);
    expect(of('netkvm_findings_open', '{code="noPath",severity="error"}')).toBe(1);
    expect(of('netkvm_events_total', '{type="adapter.appeared"}')).toBe(3);
    expect(of('netkvm_outcomes_total', `{pair="${MAC}",result="failed"}`)).toBe(0);
    // Asked twice, a counter goes on from where it was.
    const later = parse(metricsText(meters.samples({ ...source, story, mono_ns: '103000000000' })));
    expect(later.get('netkvm_path_seconds_total')?.samples.get(`{pair="${MAC}",datapath="none"}`)).toBe(13);
  });

  test('a hypervisor’s pairs, with their own stages', () => {
    const meters = new Meters();
    const host = new HostedStory();
    host.port();
    host.qemu(RUNNING);
    host.later(30_000).qemu({ migration: 'active' });
    host.run();
    const { events } = host;
    const story = new Story();
    for (const event of events) meters.note(event, story.tell(event));
    const families = parse(metricsText(meters.samples({ ...source, story, mono_ns: events.at(-1)?.mono_ns ?? '' })));
    const of = (name: string, labels: string) => families.get(name)?.samples.get(labels);
    expect(of('netkvm_pair_stage', `{pair="${MAC}",stage="parked"}`)).toBe(1);
    expect(of('netkvm_pair_stage', `{pair="${MAC}",stage="present"}`)).toBe(0);
    expect(of('netkvm_pair_stage', `{pair="${MAC}",stage="onPrimary"}`)).toBeUndefined();
    expect(of('netkvm_pair_datapath', `{pair="${MAC}",datapath="standby"}`)).toBe(1);
    expect(of('netkvm_path_seconds_total', `{pair="${MAC}",datapath="primary"}`)).toBeCloseTo(30, 1);
    expect(of('netkvm_decisions_total', `{pair="${MAC}",kind="parkMac"}`)).toBe(1);
    expect(of('netkvm_outcomes_total', `{pair="${MAC}",result="succeeded"}`)).toBe(2);
  });

  test('whatever stands in a label, the text is Prometheus’', () => {
    const families = parse(metricsText(new Meters().samples({ ...source, story: new Story() })));
    expect([...families.keys()]).toEqual(Object.keys(METRICS));
    expect(families.get('netkvm_build_info')?.samples.get('{version="1\\"\\\\\\n",machine_version="2",platform="linux"}')).toBe(
      1,
    );
  });

  test('an outage of the log is seen', () => {
    const families = parse(metricsText(new Meters().samples({ ...source, story: new Story(), outage: 'ENOSPC' })));
    expect(families.get('netkvm_log_outage')?.samples.get('')).toBe(1);
  });
});

describe('served', () => {
  let server: MetricsServer;
  beforeAll(async () => {
    server = await openMetrics(0, () => 'x 1\n');
  });
  afterAll(() => server.close());

  test.each([
    ['/metrics', {}, 200],
    ['/metrics?name=x', {}, 200],
    ['/metrics', { method: 'HEAD' }, 200],
    ['/', {}, 404],
    ['/metrics/../etc/passwd', {}, 404],
    ['/metrics', { method: 'POST' }, 405],
    ['/metrics', { host: 'evil.example' }, 403],
    ['/metrics', { host: '127.0.0.1' }, 403],
  ])('%s %j is answered with %i', async (path, options, status) => {
    expect((await get(server.port, path, options)).status).toBe(status);
  });

  test('a port that is taken is an error, not a crash', async () => {
    await expect(openMetrics(server.port, () => '')).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test('clients that talk nonsense, or say nothing, leave it to the others', async () => {
    const sockets = Array.from({ length: 7 }, () => connect(server.port, '127.0.0.1').on('error', () => {}));
    for (const socket of sockets.slice(3)) socket.write('\u0000\u0001 nonsense\r\n\r\n');
    expect((await get(server.port, '/metrics')).text).toBe('x 1\n');
    for (const socket of sockets) socket.destroy();
  });
});

describe('the service', () => {
  afterAll(cleanUp);

  test('serves every metric of the list where the configuration names a port, and what it says is what happened', async () => {
    const [dir, port] = [folder(), await free()];
    writeFileSync(join(dir, 'config.toml'), `[service]\nmetricsPort = ${port}\n`);
    const service = daemon(dir, '--config', join(dir, 'config.toml'));
    await until('it has been played', () => service.all('transition').length === 8);
    const families = parse((await get(port, '/metrics')).text);
    expect([...families.keys()]).toEqual(Object.keys(METRICS));
    for (const [name, { type, labels }] of Object.entries(METRICS)) {
      const found = families.get(name);
      expect(found?.type).toBe(type);
      for (const text of found?.samples.keys() ?? [])
        expect([...text.matchAll(/([a-z_]+)="/g)].map(([, label]) => label)).toEqual([...labels]);
    }
    const of = (name: string, labels: string) => families.get(name)?.samples.get(labels);
    expect(of('netkvm_pair_stage', `{pair="${MAC}",stage="onPrimary"}`)).toBe(1);
    expect(of('netkvm_datapath_changes_total', `{pair="${MAC}",datapath="primary"}`)).toBe(2);
    expect(of('netkvm_events_total', '{type="service.started"}')).toBe(1);
    expect((await service.stop()).code).toBe(0);
  });

  test('has the guests of a hypervisor, and `wait` waits for them', async () => {
    const [dir, port] = [folder(), await free()];
    const vm = `mac = "${MAC}"\nqmp = "${dir}/qmp"\nstandby = "s"\nprimary = "p"\npf = "nowhere"\nvf = 0`;
    writeFileSync(join(dir, 'config.toml'), `[service]\nmetricsPort = ${port}\n[[vms]]\n${vm}\n`);
    const host = new Running(['host', '--state-dir', dir, '--config', join(dir, 'config.toml'), '--json']);
    await host.line('watching');
    const families = parse((await get(port, '/metrics')).text);
    expect(families.get('netkvm_pair_stage')?.samples.get(`{pair="${MAC}",stage="unwatched"}`)).toBe(1);
    const wait = (...words: string[]) => inProcess('wait', '--state-dir', dir, ...words);
    expect((await wait('--stage', 'unwatched', '--pair', MAC)).status).toBe(0);
    expect(await wait('--stage', 'parked', '--timeout', '0.1')).toMatchObject({
      status: 3,
      stderr: expect.stringContaining(`${MAC} is in stage unwatched (monitor.gone), not parked`) as string,
    });
    expect((await host.stop()).code).toBe(0);
  });

  test('goes on without them when the port is taken', async () => {
    const taken = await openMetrics(0, () => '');
    const dir = folder();
    writeFileSync(join(dir, 'config.toml'), `[service]\nmetricsPort = ${taken.port}\n`);
    const service = daemon(dir, '--config', join(dir, 'config.toml'));
    expect(await service.line('degraded', ({ part }) => part === 'metrics')).toMatchObject({
      reason: expect.stringContaining('EADDRINUSE') as string,
    });
    await service.line('watching');
    expect((await service.stop()).code).toBe(0);
    await taken.close();
  });
});

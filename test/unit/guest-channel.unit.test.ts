// The guest's side of the channel on a real service, whose world does as it is told: it moves traffic when the hypervisor says
// so, answers from facts, and forgets a departure that does not come. The port is one of this test.
import { afterEach, expect, test } from 'vitest';
import { type GuestSays, channelLine, guestSays, type HostSays } from '../../src/events/channel.ts';
import { GuestChannel } from '../../src/host/guest-channel.ts';
import { MAC } from '../given.ts';
import { ACTING, cleanUp, folder, serve, until, World } from './service.given.ts';

afterEach(cleanUp);

const bytes = (message: HostSays): Uint8Array => new TextEncoder().encode(channelLine(message).trimEnd());

/** A service on its primary, with a hypervisor behind its port. */
const begin = async (policy = ACTING) => {
  const world = new World();
  const started = await serve(folder(), world, { policy });
  const said: GuestSays[] = [];
  let hear: (line: Uint8Array) => Promise<void> = () => Promise.resolve();
  const channel = new GuestChannel(started.service, '1', (_name, _limit, take) => {
    hear = take;
    return {
      write: (line) => {
        const message = guestSays(new TextEncoder().encode(line.trimEnd()));
        if (message !== null) said.push(message);
        return Promise.resolve(true);
      },
      close: () => {},
    };
  });
  const tell = (message: HostSays): Promise<void> => hear(bytes(message));
  return { ...started, world, said, tell, channel };
};
const states = (said: readonly GuestSays[]) => said.flatMap((one) => (one.say === 'state' ? one.pairs : []));

test('hello is answered with the state of every pair, and a change is told by itself', async () => {
  const { said, tell, stage, world, channel } = await begin();
  await until('on the primary', () => stage() === 'onPrimary');
  expect(said).toEqual([]);
  await tell({ say: 'hello' });
  expect(states(said).at(-1)).toMatchObject({
    pair: MAC,
    version: '1',
    stage: 'onPrimary',
    datapath: 'primary',
    primary: MAC,
    episode: null,
  });
  world.change(4, { carrier: false });
  await until('told', () => states(said).at(-1)?.datapath !== 'primary');
  channel.close();
});

test('prepare moves the traffic, and is answered when the standby carries it; what stays is used again', async () => {
  const { said, tell, stage, world, opened, channel } = await begin();
  await until('on the primary', () => stage() === 'onPrimary');
  await tell({ say: 'prepare', pair: MAC, episode: 'b-1' });
  expect(said).toContainEqual({ say: 'prepared', pair: MAC, episode: 'b-1', reason: null });
  expect(world.kinds.at(-1)).toBe('activateStandby');
  expect(states(said).at(-1)).toMatchObject({ datapath: 'standby', episode: 'b-1' });
  await tell({ say: 'arriving', pair: MAC, episode: 'b-1' });
  await until('back on the primary', () => stage() === 'onPrimary');
  const recorded = [...opened.log.read(1)].flatMap((event) => (event.type === 'channel.heard' ? [event.data.word] : []));
  expect(recorded).toEqual(['prepare', 'arriving']);
  channel.close();
});

test('where nothing may be done it says why, and does nothing; so it does for a pair that it has not', async () => {
  const { said, tell, stage, world, channel } = await begin({ ...ACTING, effects: 'off' });
  await until('the pair is there', () => stage() !== undefined);
  const before = world.kinds.length;
  await tell({ say: 'prepare', pair: '02:00:00:00:00:01', episode: 'b-1' });
  expect(said).toContainEqual({
    say: 'refused',
    pair: '02:00:00:00:00:01',
    episode: 'b-1',
    reason: 'this guest has no such pair',
  });
  world.change(4, { master: 9, up: true, carrier: true, slave: { active: true, miiUp: true } });
  world.change(2, { slave: { active: false, miiUp: true } });
  await tell({ say: 'prepare', pair: MAC, episode: 'b-1' });
  expect(said).toContainEqual({
    say: 'refused',
    pair: MAC,
    episode: 'b-1',
    reason: expect.stringContaining('effects are not on'),
  });
  expect(world.kinds).toHaveLength(before);
  channel.close();
});

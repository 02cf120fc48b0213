/// <reference lib="dom" />
// Runs in the browser, as somebody else's page: a stock inspector and a stock receiver of @statelyai/inspect.
import { createWebSocketInspector, createWebSocketReceiver } from '@statelyai/inspect';
import { createActor, createMachine } from 'xstate';

const url = new URLSearchParams(location.search).get('socket') ?? '';
const inspector = createWebSocketInspector({ url });
const door = createMachine({ id: 'door', initial: 'shut', states: { shut: { on: { OPEN: 'ajar' } }, ajar: {} } });
const actor = createActor(door, { inspect: inspector.inspect });
actor.start();
const received: unknown[] = [];
createWebSocketReceiver({ server: url }).subscribe((event) => received.push(event));
Object.assign(globalThis, { received, openDoor: () => actor.send({ type: 'OPEN' }) });

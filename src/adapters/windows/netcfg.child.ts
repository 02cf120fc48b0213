// The process in which INetCfg is called: it answers one request after the other, and ends when nobody is there to ask.
import { initializeCom } from './com.ts';
import { answer, type Request } from './netcfg.ts';

initializeCom();
process.on('message', ({ id, request }: { id: number; request: Request }) => process.send?.({ id, answer: answer(request) }));
process.on('disconnect', () => process.exit(0));

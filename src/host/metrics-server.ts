// Where Prometheus fetches the metrics: GET /metrics on 127.0.0.1, and nothing else. Off unless the configuration names a
// port. A page of some site in a browser on this machine is refused by its Host (DNS rebinding). Whatever a client does,
// it costs little: connections, headers and time are limited.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const CONNECTIONS_MAX = 8;
const PATIENCE_MS = 5000;

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves `text()`; port 0 takes any. Rejects with the system's error when it cannot listen. */
export const openMetrics = (port: number, text: () => string): Promise<MetricsServer> =>
  new Promise((resolve, reject) => {
    const options = {
      requestTimeout: PATIENCE_MS,
      headersTimeout: PATIENCE_MS,
      keepAliveTimeout: PATIENCE_MS,
      maxHeaderSize: 8192,
    };
    const server = createServer(options, (request, response) => {
      const { port: own } = server.address() as AddressInfo;
      const say = (status: number, body: string): void => {
        response.writeHead(status, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
        });
        response.end(request.method === 'HEAD' ? undefined : body);
      };
      const host = request.headers.host ?? '';
      if (host !== `127.0.0.1:${own}` && host !== `localhost:${own}`) return say(403, 'only as 127.0.0.1 or localhost\n');
      if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'only GET\n');
      if (request.url?.split('?', 1)[0] !== '/metrics') return say(404, 'see /metrics\n');
      say(200, text());
    });
    server.maxConnections = CONNECTIONS_MAX;
    server.timeout = 2 * PATIENCE_MS;
    server.on('clientError', (_, socket) => socket.destroy());
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      // accept(2) can fail later: the others are still served.
      server.on('error', () => {});
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
    server.unref();
  });

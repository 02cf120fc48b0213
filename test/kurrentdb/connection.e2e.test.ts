// Who may connect, and how: TLS with an authority from a file, user and password from a file, user certificates; and what
// is said where something of it is wrong, with nothing secret in it.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { connectionOf, connectionProblem, secretOf } from '../../src/adapters/kurrentdb/connection.ts';
import { RemoteLog } from '../../src/adapters/kurrentdb/remote-log.ts';
import { codeOf } from '../unit/log.contract.ts';
import { flaps } from '../unit/log.samples.ts';
import { makeCertificates } from './certificates.ts';
import { copyOf, forward, newFolder, newLog, until } from './given.ts';
import { startStandIn } from './stand-in.ts';

const dir = newFolder();
const certificates = makeCertificates(dir);
const PASSWORD = 'p@ss:w/rd?&%';
const credentialsFile = join(dir, 'credentials');
writeFileSync(credentialsFile, `ops:${PASSWORD}\n`, { mode: 0o600 });
const { ca, caFile, serverKey: key, serverCert: cert, userCertFile, userKeyFile } = certificates;
const users = { ops: PASSWORD };
const standIn = await startStandIn({ security: { key, cert, users } });
const strict = await startStandIn({ security: { key, cert, clientCa: ca } });
afterAll(() => Promise.all([standIn.close(), strict.close()]));

const forwards = async (url: string, file: string) => {
  const connection = connectionOf(url, file);
  const { dir: state, log } = newLog();
  log.append(flaps(1, 5), 0);
  const copying = forward(state, connection, log);
  await copying.reaches(5);
  await copying.stop();
  const copy = await copyOf(connection, log.logId);
  log.close();
  return copy.map(({ event }) => event.seq);
};

test('TLS, with user and password from a file', async () => {
  const url = `kurrentdb://127.0.0.1:${standIn.ports[0]}?tlsCAFile=${caFile}`;
  expect(await forwards(url, credentialsFile)).toEqual([1, 2, 3, 4, 5]);
});

test('TLS, with a user certificate', async () => {
  const url = `kurrentdb://127.0.0.1:${strict.ports[0]}?tlsCAFile=${caFile}`;
  const copied = await forwards(`${url}&userCertFile=${userCertFile}&userKeyFile=${userKeyFile}`, '');
  expect(copied).toEqual([1, 2, 3, 4, 5]);
});

test.each([
  ['no user', () => ({ url: `?tlsCAFile=${caFile}`, file: '' }), 'kurrentdb.denied'],
  ['a certificate of an unknown authority', () => ({ url: '', file: credentialsFile }), 'kurrentdb.unreachable'],
  ['no TLS', () => ({ url: '?tls=false', file: '' }), 'kurrentdb.unreachable'],
])('with %s nothing is copied, and the reason is told without the password', async (_, given, code) => {
  const { url, file } = given();
  const connection = connectionOf(`kurrentdb://127.0.0.1:${standIn.ports[0]}${url}`, file);
  const { dir: state, log } = newLog();
  log.append(flaps(1, 5), 0);
  const copying = forward(state, connection, log);
  const error = await until(() => copying.state()?.error);
  await copying.stop();
  expect(error.code).toBe(code);
  expect(JSON.stringify(copying.states)).not.toContain('p@ss');
  log.close();
});

test('as the log itself, too', () => {
  const connection = connectionOf(`kurrentdb://127.0.0.1:${standIn.ports[0]}?tlsCAFile=${caFile}`, credentialsFile);
  const lock = { unclean: false, release: () => {} };
  const log = RemoteLog.open(connection, { logId: crypto.randomUUID(), bootId: 'b' }, lock);
  expect(log.append(flaps(1, 2), 0)).toHaveLength(2);
  expect(log.path).not.toContain('ops');
  log.close();
});

describe('a connection string', () => {
  test.each([
    'kurrentdb://db.example',
    'kurrentdb://db.example:2113',
    'kurrentdb+discover://cluster.example?nodePreference=leader',
    'kurrentdb://a,b:1,10.0.0.3:2113?tls=true&tlsCAFile=/etc/ca.pem',
    'kurrentdb://a/?keepAliveInterval=10000',
  ])('%s is fine', (text) => {
    expect(connectionProblem(text)).toBeNull();
  });

  test.each([
    ['', /does not begin with kurrentdb/],
    ['http://x', /does not begin with kurrentdb/],
    ['kurrentdb://', /"" is not a host/],
    ['kurrentdb://a b', /is not a host/],
    ['kurrentdb://a:99999', /no port 99999/],
    ['kurrentdb://user:secret@a', /credentialsFile/],
    ['kurrentdb://a?colour=red', /no option colour/],
    ['kurrentdb://a?tls=maybe', /tls is not true or false/],
    ['kurrentdb://a?tls=true&tls=false', /given twice/],
    ['kurrentdb://a?tlsCAFile=ca.pem', /absolute path/],
    ['kurrentdb://a?userCertFile=/c', /go together/],
    ['kurrentdb://a?__proto__=x', /no option __proto__/],
  ])('%s is refused', (text, problem) => {
    expect(connectionProblem(text)).toMatch(problem);
  });

  test('the files that it names must be readable, and credentials not everybody’s', () => {
    expect(codeOf(() => connectionOf('kurrentdb://a?tlsCAFile=/nowhere/ca.pem', ''))).toBe('config.unreadable');
    expect(codeOf(() => connectionOf('kurrentdb://a', '/nowhere/credentials'))).toBe('config.unreadable');
    expect(codeOf(() => connectionOf('kurrentdb://a?tls=false', credentialsFile))).toBe('config.value');
    const open = join(dir, 'open');
    writeFileSync(open, 'ops:x\n');
    chmodSync(open, 0o644);
    expect(codeOf(() => connectionOf('kurrentdb://a', open))).toBe('config.value');
    const wrong = join(dir, 'wrong');
    writeFileSync(wrong, 'secret-without-a-user\n', { mode: 0o600 });
    expect(() => connectionOf('kurrentdb://a', wrong)).toThrow(/one line of the form/);
    expect(() => connectionOf('kurrentdb://a', wrong)).not.toThrow(/secret/);
  });

  test('user and password reach the client and nothing else', () => {
    const connection = connectionOf('kurrentdb://a', credentialsFile);
    expect(connection.name).toBe('kurrentdb://a');
    const secret = secretOf(connection);
    expect(new URL(secret.replace('kurrentdb:', 'http:')).username).toBe('ops');
    expect(decodeURIComponent(new URL(secret.replace('kurrentdb:', 'http:')).password)).toBe(PASSWORD);
  });
});

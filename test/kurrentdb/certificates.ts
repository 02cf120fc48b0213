// Certificates for the tests, made anew by openssl(1): an authority, a server on 127.0.0.1, and a user.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificates {
  readonly caFile: string;
  readonly userCertFile: string;
  readonly userKeyFile: string;
  readonly ca: string;
  readonly serverKey: string;
  readonly serverCert: string;
}

export const makeCertificates = (dir: string): Certificates => {
  const at = (name: string) => join(dir, name);
  const openssl = (...words: string[]) => execFileSync('openssl', words, { stdio: 'ignore', cwd: dir });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test authority');
  writeFileSync(at('server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  writeFileSync(at('user.ext'), 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n');
  for (const name of ['server', 'user']) {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const authority = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...authority);
  }
  const text = (name: string) => readFileSync(at(name), 'utf8');
  return {
    caFile: at('ca.crt'),
    userCertFile: at('user.crt'),
    userKeyFile: at('user.key'),
    ca: text('ca.crt'),
    serverKey: text('server.key'),
    serverCert: text('server.crt'),
  };
};

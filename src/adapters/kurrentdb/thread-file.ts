// Where the file of a thread lies: beside this one in the source, and under the same name in the folder that is shipped,
// where everything else is bundled (rolldown.config.ts).

export type Thread = 'forwarder' | 'remote-log';

export const threadFile = (name: Thread): URL => {
  const isSource = import.meta.url.endsWith('.ts');
  return new URL(isSource ? `./${name}.worker.ts` : `./${name}.worker.js`, import.meta.url);
};

// Options that many commands have, described once.
import type { Option } from './command.ts';

export const JSON_OUT: Option = { name: 'json', meaning: 'Print JSON with a schemaVersion instead of text.' };
export const CONFIG: Option = { name: 'config', value: 'FILE', meaning: 'Configuration file to use instead of the default one.' };
export const STATE_DIR: Option = {
  name: 'state-dir',
  value: 'DIR',
  meaning: 'Folder of the log, instead of the configured one.',
};
export const LOG_OPTIONS = [CONFIG, STATE_DIR, JSON_OUT];

// The result of the full matrix as a page for docs/: which scenario held in which mode, with which primary, killed or not.
import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import { type Made, madeWhen } from './kept.ts';

/** As much as is needed of vitest's JSON report. */
export interface Results {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly title: string; readonly status: string; readonly duration?: number | null }[];
  }[];
}

/** What became of one case. */
export interface Verdict extends Made {
  readonly status: string;
}
/** By title, whatever the seed; cases that did not run are none. */
export const verdictsIn = ({ testResults }: Results, made: Made): Record<string, Verdict> =>
  Object.fromEntries(
    testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ title, status }) => [title.replace(/, seed [0-9]+$/, ''), { ...made, status }]),
  );

/** Titles are `scenario, mode, primary[, killed]`; others stand in a list of their own. */
const CASE = /^(.+), (kernel|bond), (e1000e|vmxnet3)(, killed)?$/;
const MARK: Readonly<Record<string, string>> = { passed: 'holds', failed: '**fails**' };

export const matrixPage = (verdicts: Readonly<Record<string, Verdict>>): string => {
  const rows = new Map<string, Map<string, string>>();
  const columns = new Set<string>();
  const others: string[] = [];
  for (const [title, { status }] of Object.entries(verdicts)) {
    const mark = MARK[status] ?? status;
    const [, scenario, mode, model, killed = ''] = CASE.exec(title) ?? [];
    if (scenario === undefined) others.push(`- ${title}: ${mark}`);
    else {
      const column = `${mode ?? ''}, ${model ?? ''}${killed}`;
      columns.add(column);
      const row = rows.get(scenario) ?? new Map<string, string>();
      rows.set(scenario, row.set(column, mark));
    }
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const heads = ['scenario', ...columns];
  const table = [
    line(heads),
    line(heads.map(() => '---')),
    ...[...rows].map(([scenario, cells]) => line([scenario, ...[...columns].map((column) => cells.get(column) ?? '')])),
  ];
  const [qemu = ''] = execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).split('\n');
  const host = `${qemu}, Linux ${release().split('-')[0] ?? ''}, ${cpus()[0]?.model.trim() ?? ''}, ${cpus().length} cores`;
  return (
    [
      '# The service in real guests',
      '<!-- Written by `npm run test:qemu -- --full`. -->',
      `${madeWhen(Object.values(verdicts))}, ${host}. After each case the fold equals what the guest’s \`ip\` and sysfs say, the host reaches the guest over IPv4 and IPv6, \`netkvm log verify\` is clean, and \`netkvm replay\` of the log pulled out of the guest has no divergence. In the columns “killed” the service gets SIGKILL in the middle and is started again. What has no entry was not run.`,
      table.join('\n'),
      others.join('\n'),
    ].join('\n\n') + '\n'
  );
};

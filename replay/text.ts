// A report for people: a line per change, then the findings with what to do about each; and what every text for people needs.
import { BECAUSE, FINDINGS } from '../src/machines/reasons.ts';
import type { Report } from './report.ts';

/** Names and reasons come from elsewhere and could hold anything; a terminal gets one line of text. */
export const plain = (text: string): string => text.replaceAll(/\p{C}+/gu, ' ');

const seconds = (ns: string): string => (Number(ns) / 1e9).toFixed(3).padStart(12);

export const timelineText = ({ events, decisions, gaps, pairs, findings }: Report): string => {
  const lines = [`${events} events, ${decisions} decisions, ${gaps} gaps`];
  for (const { mac, mode, stage, datapath, history } of pairs) {
    lines.push('', `${mac} (${mode}) is in stage ${stage}, datapath ${datapath}`);
    for (const entry of history) {
      const { seq, at_ns, because } = entry;
      const state = `${entry.stage.padEnd(15)} ${entry.datapath.padEnd(8)}`;
      lines.push(`${seconds(at_ns)} s  ${String(seq).padStart(7)}  ${state} ${because.padEnd(19)} ${BECAUSE[because]}`);
    }
  }
  if (pairs.length === 0) lines.push('', 'No pair: there is no virtio NIC in this log.');
  if (findings.length > 0) lines.push('', 'Findings');
  for (const { severity, code, seq, until_seq, text } of findings) {
    const where = until_seq === seq ? `${seq}` : `${seq} to ${until_seq ?? 'the end'}`;
    lines.push(`  ${severity.padEnd(8)} ${code} at ${where}`, `           ${text}`, `           ${FINDINGS[code].cure}`);
  }
  return `${lines.map(plain).join('\n')}\n`;
};

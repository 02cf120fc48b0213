// What `netkvm replay --json` prints: the story of a log as one document. Its shape is a promise to scripts.
import type { Datapath, HostStage, Stage } from '../src/machines/stages.ts';
import type { Divergence } from '../src/machines/step.ts';
import type { Entry } from '../src/machines/history.ts';
import type { FindingCode, Severity } from '../src/machines/reasons.ts';
import type { Mode } from '../src/machines/roles.ts';
import type { Story } from '../src/machines/story.ts';

export interface Report {
  readonly schemaVersion: 1;
  /** Folded events; for a raw capture its messages. */
  readonly events: number;
  readonly decisions: number;
  readonly gaps: number;
  readonly divergence: Divergence | null;
  readonly pairs: readonly {
    readonly mac: string;
    readonly mode: Mode | 'host';
    readonly stage: Stage | HostStage;
    readonly datapath: Datapath;
    readonly history: readonly Entry[];
  }[];
  readonly findings: readonly {
    readonly code: FindingCode;
    readonly severity: Severity;
    readonly seq: number;
    /** null while it lasts at the end of the log. */
    readonly until_seq: number | null;
    readonly text: string;
  }[];
}

export const reportOf = (story: Story, events: number): Report => {
  story.history.end();
  return {
    schemaVersion: 1,
    events,
    decisions: story.decisions,
    gaps: story.gaps,
    divergence: story.divergence,
    pairs: [...story.guest.pairs.values(), ...story.guest.hosted.pairs.values()].map(
      ({ mac, mode, shown: { stage, datapath } }) => ({
        mac,
        mode,
        stage,
        datapath,
        history: story.history.of(mac),
      }),
    ),
    findings: story.findings.list(story.end).map(({ code, severity, mac, seq, until_seq, text }) => ({
      code,
      severity,
      seq,
      until_seq,
      text: mac === null ? text : `${mac}: ${text}`,
    })),
  };
};

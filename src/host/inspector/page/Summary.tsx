// What a reader wants to know first: where the pair is at this position and why, and what was wrong in the whole log.
import type { Finding } from '../../../machines/findings.ts';
import { BECAUSE, FINDINGS } from '../../../machines/reasons.ts';
import type { Arrived } from '../../../machines/roles.ts';
import type { Moment } from './moment.ts';
import { duration } from './words.ts';

const memberText = ({ facts }: Arrived): string =>
  `${facts.name} · ${facts.pci ?? facts.device ?? 'no bus'} · ${facts.up ? (facts.carrier ? 'up, carrier' : 'up, no carrier') : 'down'}`;

export const Now = ({ moment }: { readonly moment: Moment }) => {
  const { pair } = moment;
  if (pair === undefined)
    return (
      <section class="now" aria-label="State of the pair">
        <p class="stage">unknown</p>
        <p class="because muted">No event so far tells of this pair.</p>
      </section>
    );
  const { shown, mode, roles, configuration, pending } = pair;
  const members = (['standby', 'master', 'primary'] as const).flatMap((role) => {
    const adapter = roles[role];
    return adapter === null ? [] : [{ role, text: memberText(adapter) }];
  });
  return (
    <section class="now" aria-label="State of the pair">
      <p class="stage" data-stage={shown.stage}>
        {shown.stage}
      </p>
      <p class={`path-word is-${shown.datapath}`} data-datapath={shown.datapath}>
        {shown.datapath === 'none' ? 'no path' : `via ${shown.datapath}`}
      </p>
      <p class="because">
        {BECAUSE[shown.because]} <code class="muted">{shown.because}</code>
      </p>
      <dl>
        <dt>mode</dt>
        <dd>{mode}</dd>
        {members.map(({ role, text }) => (
          <>
            <dt>{role}</dt>
            <dd>{text}</dd>
          </>
        ))}
        <dt>effects</dt>
        <dd>
          {configuration.effects}
          {pending === null ? '' : `: ${pending.kind} ${pending.id}`}
        </dd>
      </dl>
    </section>
  );
};

interface FindingsProps {
  readonly findings: readonly Finding[];
  readonly mac: string;
  /** The place (not the index) of the position. */
  readonly place: number;
  readonly goTo: (place: number) => void;
}

const lasts = ({ at_ns, until_ns, until_seq, seq }: Finding): string =>
  until_ns === null ? 'lasts' : until_seq === seq && until_ns === at_ns ? '' : duration((Number(until_ns) - Number(at_ns)) / 1e6);

/** So many are listed round the position; a log of years may have thousands. */
const LISTED = 100;

const around = (findings: readonly Finding[], place: number): readonly [number, number] => {
  const passed = findings.findLastIndex(({ seq }) => seq <= place);
  const from = Math.max(0, Math.min(passed - LISTED / 2, findings.length - LISTED));
  return [from, Math.min(findings.length, from + LISTED)];
};

export const Findings = ({ findings, mac, place, goTo }: FindingsProps) => {
  const all = findings.filter((finding) => finding.mac === null || finding.mac === mac);
  const [from, to] = around(all, place);
  const listed = all.slice(from, to);
  return (
    <section class="findings" aria-label="Findings">
      <h2>
        Findings{' '}
        <span class="muted number">{all.length === listed.length ? all.length : `${from + 1} to ${to} of ${all.length}`}</span>
      </h2>
      {all.length === 0 && <p class="muted">Nothing was wrong, as far as this log tells.</p>}
      <ol tabIndex={listed.length > 4 ? 0 : -1}>
        {listed.map((finding) => {
          const { code, severity, seq, until_seq, text } = finding;
          const within = place >= seq && (until_seq === null || place <= until_seq);
          return (
            <li key={`${code} ${seq} ${text}`}>
              <button
                type="button"
                class={`finding is-${severity}`}
                aria-current={within ? 'true' : undefined}
                onClick={() => goTo(seq)}
                title={FINDINGS[code].cure}
              >
                <span class="head">
                  <strong>{code}</strong> <span class="severity">{severity}</span>
                  <span class="number muted">
                    {lasts(finding)} at {seq}
                  </span>
                </span>
                <span class="what">{text}</span>
                {within && <span class="cure muted">{FINDINGS[code].cure}</span>}
              </button>
            </li>
          );
        })}
      </ol>
    </section>
  );
};

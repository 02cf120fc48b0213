// One event in full: what it means, what it changed, its envelope and its data. Everything is text.
import { catalogue } from '../../../events/catalogue.ts';
import { BECAUSE } from '../../../machines/reasons.ts';
import { VIEW_BITS, type ViewBit } from '../../../machines/view.ts';
import type { HostLane } from '../document.ts';
import { Meanwhile } from './HostLanes.tsx';
import type { Moment } from './moment.ts';
import { placeOf, type Row, type Tracks } from './tracks.ts';
import { since, wallClock } from './words.ts';

const Facts = ({ sign, facts }: { readonly sign: '+' | '−'; readonly facts: readonly ViewBit[] }) => (
  <>
    {facts.map((fact) => (
      <li key={fact} class={sign === '+' ? 'began' : 'ended'}>
        <b aria-label={sign === '+' ? 'now holds:' : 'holds no longer:'}>{sign}</b> <code>{fact}</code>{' '}
        <span class="muted">{VIEW_BITS[fact]}</span>
      </li>
    ))}
  </>
);

const Changes = ({ row, moment, mac }: { readonly row: Row; readonly moment: Moment; readonly mac: string }) => {
  const { step, began, ended } = moment;
  const timers = step?.timers.filter(({ pair }) => pair === mac) ?? [];
  const decisions = step?.decisions.filter(({ pair }) => pair === mac) ?? [];
  const quiet = row.changes.length + began.length + ended.length + timers.length + decisions.length + moment.taken.length === 0;
  return (
    <ul class="changes">
      {row.changes.map(({ mac: pair, before, after }) => (
        <li key={pair}>
          <code>{pair}</code> {before.stage} · {before.datapath} <span aria-label="became">→</span>{' '}
          <strong>
            {after.stage} · {after.datapath}
          </strong>
          <br />
          <span class="muted">{BECAUSE[after.because]}</span>
        </li>
      ))}
      <Facts sign="+" facts={began} />
      <Facts sign="−" facts={ended} />
      {decisions.map(({ id, kind }) => (
        <li key={id}>
          decides <strong>{kind}</strong> <code>{id}</code>
        </li>
      ))}
      {timers.map((timer) => (
        <li key={`${timer.op} ${timer.timer}`}>
          {timer.op === 'arm' ? `arms a timer of ${timer.delay_ms} ms, ` : 'cancels the timer '}
          <code>{timer.timer.split('.').slice(2).join('.')}</code>
        </li>
      ))}
      {moment.taken.map((edge, at) => (
        <li key={`${edge} ${at}`} class="muted">
          takes{' '}
          {edge
            .split(' ')
            .map((id) => id.split('.').at(-1))
            .join(' → ')}
        </li>
      ))}
      {quiet && <li class="muted">Nothing for this pair.</li>}
    </ul>
  );
};

const Field = ({ name, value }: { readonly name: string; readonly value: string | number | null | undefined }) =>
  value === undefined || value === null ? null : (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );

interface DetailProps {
  readonly hosts: readonly HostLane[];
  readonly tracks: Tracks;
  readonly row: Row | undefined;
  readonly moment: Moment;
  readonly mac: string;
  readonly go: (index: number) => void;
}

export const Detail = ({ hosts, tracks, row, moment, mac, go }: DetailProps) => {
  if (row === undefined)
    return (
      <section class="detail" aria-label="Event">
        <p class="muted">No event yet.</p>
      </section>
    );
  const { event } = row;
  const { cause } = event;
  return (
    <section class="detail" aria-label="Event" tabIndex={0}>
      <h2>
        <span class="number">{placeOf(event)}</span> {event.type}
      </h2>
      <p class="muted">{catalogue[event.type].meaning}</p>
      <h3>What it changed</h3>
      <Changes row={row} moment={moment} mac={mac} />
      <Meanwhile hosts={hosts} tracks={tracks} index={row.index} />
      <h3>Data</h3>
      <pre tabIndex={0}>{JSON.stringify(event.data, null, 2)}</pre>
      <h3>Envelope</h3>
      <dl>
        <Field name="seq" value={event.seq} />
        <Field name="line" value={event.line} />
        <Field name="since start" value={`${since(row.at_ms)} s`} />
        <Field name="wall clock" value={wallClock(event)} />
        <Field name="mono_ns" value={event.mono_ns} />
        <Field name="boot_ns" value={event.boot_ns} />
        <Field name="episode" value={event.episode} />
        <Field name="id" value={event.id} />
        {cause !== undefined && cause !== null && (
          <>
            <dt>cause</dt>
            <dd>
              <button type="button" class="link" onClick={() => go(tracks.indexOf(cause))}>
                event {cause}
              </button>
            </dd>
          </>
        )}
      </dl>
    </section>
  );
};

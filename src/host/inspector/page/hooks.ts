// Small ties between the components and the browser.
import { useEffect, useRef, useState } from 'preact/hooks';

/** The width of an element, kept up to date. */
export const useWidth = () => {
  const ref = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return { ref, width };
};

/** What a link to a position says: `#at=23&pair=52:54:00:11:22:33`. Anything else in a fragment is passed over. */
export interface Link {
  readonly at: number | null;
  readonly pair: string | null;
}

export const readLink = (hash: string): Link => {
  const words = new URLSearchParams(hash.replace(/^#/, ''));
  const at = Number(words.get('at') ?? Number.NaN);
  return { at: Number.isSafeInteger(at) && at > 0 ? at : null, pair: words.get('pair') };
};

export const linkTo = (at: number, pair: string): string =>
  `#${new URLSearchParams({ at: String(at), pair }).toString().replaceAll('%3A', ':')}`;

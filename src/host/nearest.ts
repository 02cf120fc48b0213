// The nearest known word to a mistyped one, for "did you mean": edit distance with neighbours swapped counting as one
// (optimal string alignment), upper and lower case alike. Bounded: a word of more than 64 characters gets no suggestion.

const distance = (a: string, b: string): number => {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) least = Math.min(least, before[column - 2]! + 1);
      current.push(least);
    }
    before = previous;
    previous = current;
  }
  return previous[b.length]!;
};

/** The known word nearest to `word`, or null when none is near: at most a third of its letters, and never above 4, differ. */
export const nearest = (word: string, known: Iterable<string>): string | null => {
  if (word.length > 64) return null;
  let best: string | null = null;
  let least = Math.min(4, Math.max(1, Math.floor(word.length / 3))) + 1;
  for (const candidate of known) {
    const far = distance(word.toLowerCase(), candidate.toLowerCase());
    if (far < least) [best, least] = [candidate, far];
  }
  return best;
};

/** `; did you mean X?` or nothing: the tail of a message about an unknown word. */
export const didYouMean = (word: string, known: Iterable<string>): string => {
  const near = nearest(word, known);
  return near === null ? '' : `; did you mean ${near}?`;
};

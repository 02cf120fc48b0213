// The entry of the page: reads what is embedded, folds it, and shows it.
import { render } from 'preact';
import type { InspectorDocument } from '../document.ts';
import { ActorBook } from './actors.ts';
import { App } from './App.tsx';
import { Tracks } from './tracks.ts';

const embedded = JSON.parse(document.getElementById('document')?.textContent ?? '') as InspectorDocument;
const tracks = new Tracks();
const book = new ActorBook();
tracks.append(embedded.events);
book.follow(tracks);
document.title = `${embedded.source.name} · netkvm inspector`;
const root = document.getElementById('page');
if (root !== null) render(<App document={embedded} tracks={tracks} book={book} />, root);

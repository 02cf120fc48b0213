// `node --import`: whoever loads the adapter for Linux gets the stand-in beside this file.
import { registerHooks } from 'node:module';

const standIn = new URL('bridge-bond.ts', import.meta.url).href;
registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    return found.url.endsWith('/src/adapters/linux/platform.ts') ? { ...found, url: standIn } : found;
  },
});

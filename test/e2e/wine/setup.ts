// Once for all tests of the project `wine`: the lab, where this machine can have one.
import { missing, prepare } from './lab.ts';

export default (): void => {
  if (missing() === null) prepare();
};

// NetworkManager lets the bond alone, and systemd-networkd keeps the lease for as long as there is one. That of
// DHCPv6 it was seen to ask for under a name of its own, although it is told NetworkManager’s.
import { coexists } from './coexists.ts';
import { STANDBY } from './machine.ts';

coexists({
  name: 'NetworkManager',
  begin: 'systemctl enable NetworkManager',
  told: ['NetworkManager'],
  state: `nmcli -t -f DEVICE,STATE device | grep '^${STANDBY}:connected$'`,
  keepsSix: false,
  networkd: /^inactive/,
});

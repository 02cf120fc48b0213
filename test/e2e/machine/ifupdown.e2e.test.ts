// ifupdown’s DHCP clients end, and others for the bond go on with their leases.
import { coexists } from './coexists.ts';
import { STANDBY } from './machine.ts';

const STANZAS = `auto ${STANDBY}\\niface ${STANDBY} inet dhcp\\niface ${STANDBY} inet6 dhcp\\n`;

coexists({
  name: 'ifupdown',
  begin: `printf '${STANZAS}' >>/etc/network/interfaces; systemctl enable networking`,
  told: ['dhclient', 'dhclient -6'],
  state: `ifquery --state ${STANDBY} && kill -0 $(cat /run/dhclient.${STANDBY}.pid) $(cat /run/dhclient6.${STANDBY}.pid)`,
  keepsSix: true,
  networkd: /^inactive/,
});

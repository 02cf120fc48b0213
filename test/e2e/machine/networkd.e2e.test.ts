// systemd-networkd goes on with the bond, under the client id of the standby’s lease.
import { coexists } from './coexists.ts';
import { STANDBY } from './machine.ts';

coexists({
  name: 'systemd-networkd',
  begin: `printf '[Match]\\nName=en*\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/50-all.network; systemctl enable systemd-networkd`,
  told: ['systemd-networkd'],
  state: `networkctl --no-pager list ${STANDBY} | grep -w configured`,
  keepsSix: true,
  networkd: /^active/,
});

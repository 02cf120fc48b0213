CREATE TABLE runs(
     run INTEGER PRIMARY KEY, log_id TEXT NOT NULL, boot_id TEXT NOT NULL, machine_id TEXT NOT NULL
   ) STRICT;
CREATE TABLE events(
     seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL,
     mono_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
     cause INTEGER, episode TEXT, v INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs(run), data TEXT NOT NULL
   ) STRICT;
CREATE TABLE retention(first INTEGER NOT NULL) STRICT;
CREATE INDEX checkpoints ON events(seq) WHERE type = 'checkpoint.made';
CREATE INDEX large ON events(seq) WHERE octet_length(data) > 16384;
INSERT INTO runs VALUES(1, '4bf4001e-23a7-4764-b837-8093a219e646', 'boot-1', 'machine-1');
INSERT INTO runs VALUES(2, '4bf4001e-23a7-4764-b837-8093a219e646', 'boot-2', 'machine-1');
INSERT INTO events VALUES(4, '0198c2a1-0000-7000-8000-000000000004', 'checkpoint.made', 1996059042, 2996059042, 1795329753263217573, NULL, NULL, 1, 1, '{"state":{"pairs":[],"timers":[4],"note":"ü\u0000\""}}');
INSERT INTO events VALUES(5, '0198c2a1-0000-7000-8000-000000000005', 'survey.taken', 1996060042, 2996060042, 1795329753263217574, NULL, NULL, 1, 1, '{"reason":"start","adapters":[{"ifindex":1,"name":"eth1","mac":"52:54:00:11:22:33","permMac":null,"bus":"virtio","device":"virtio1","pci":"0000:00:03.0","driver":"virtio_net","mtu":1500,"up":true,"carrier":true,"master":null,"kind":null,"bond":null,"slave":null,"protocols":null},{"ifindex":2,"name":"eth2","mac":"52:54:00:11:22:33","permMac":null,"bus":"virtio","device":"virtio2","pci":"0000:00:03.0","driver":"virtio_net","mtu":1500,"up":true,"carrier":true,"master":null,"kind":null,"bond":null,"slave":null,"protocols":null}],"functions":[],"addresses":[]}');
INSERT INTO events VALUES(6, '0198c2a1-0000-7000-8000-000000000006', 'adapter.changed', 1996061042, 2996061042, 1795329753263217575, NULL, 'e6', 1, 1, '{"ifindex":4,"changed":{"up":true,"carrier":true}}');
INSERT INTO events VALUES(7, '0198c2a1-0000-7000-8000-000000000007', 'adapter.changed', 1996062042, 2996062042, 1795329753263217576, NULL, NULL, 1, 1, '{"ifindex":4,"changed":{"up":true,"carrier":false}}');
INSERT INTO events VALUES(8, '0198c2a1-0000-7000-8000-000000000008', 'decision.made', 1996063042, 2996063042, 1795329753263217577, 7, NULL, 1, 2, '{"id":"d7.0","pair":"52:54:00:11:22:33","kind":"activateStandby","mode":"bond","attempt":1,"master":null,"standby":{"ifindex":4,"mac":"52:54:00:11:22:33","device":"virtio1","pci":"0000:00:03.0","arrival":1},"primary":null}');
INSERT INTO events VALUES(9, '0198c2a1-0000-7000-8000-000000000009', 'outcome.seen', 1996064042, 2996064042, 1795329753263217578, 8, 'e9', 1, 2, '{"decision":"d7.0","pair":"52:54:00:11:22:33","result":"succeeded","reason":null,"observed":false}');
INSERT INTO retention VALUES(4);
PRAGMA application_id = 1313560141;
PRAGMA user_version = 1;

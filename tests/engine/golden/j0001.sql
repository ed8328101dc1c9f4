BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('j0001');
CREATE TABLE blobs (
	run_id TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	codec TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	CONSTRAINT pk_blobs PRIMARY KEY (run_id, sha256)
);
INSERT INTO "blobs" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc','7ff306ec359d01828cfb199082b7ac0bb5bec2fbc81a784dff8f23f0e2146774','zlib',3026,X'789CAB564ACB2F52B252AA1805A360148C8251300A46C1281805A360140C7AA0A4A354929199970E6CC22715A526A628D50200AA648693');
INSERT INTO "blobs" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc','8054e3e8a10369fb26bde460673ba99f8fe1c6a1c8aec15e649eec4ef74b66c7','zlib',3025,X'789CAB564ACB2F52B252AA1805A360148C8251300A46C1281805A360140C7AA0A4A354929199970E6CC29767E6A52AD5020024298648');
CREATE TABLE chain (
	n INTEGER NOT NULL, 
	run_id TEXT NOT NULL, 
	event TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	head_hash TEXT NOT NULL, 
	prev_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_chain PRIMARY KEY (n)
);
INSERT INTO "chain" VALUES(1,'01a20349-a208-7644-9f1c-2cfe10494acc','created',1,'b0ea18fa61f221bf4ba9c83f36a18fc599bd66e733c05f8030d580386bb6ba12','','16a00b826b519b72be17f17188b2f279e9685dc35fcbf8a17099a41ede3a90d2');
CREATE TABLE entries (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	state TEXT NOT NULL, 
	name TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	payload TEXT NOT NULL, 
	prev_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_entries PRIMARY KEY (run_id, seq), 
	CONSTRAINT ck_entries_kind CHECK (kind IN ('created', 'transition', 'intent', 'outcome', 'attempt', 'warning', 'parked', 'lease', 'closed'))
);
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',1,'created','shopping','errands','',0,1795351486984465,'{"data":{},"deadline_at":null,"lifecycle":"errands","settings":{},"subject":"dinner","timeout_seconds":null,"version":1}','','b0ea18fa61f221bf4ba9c83f36a18fc599bd66e733c05f8030d580386bb6ba12');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',2,'lease','shopping','claimed','',1,1795351486997629,'{"after_death":false,"epoch":1,"holder":{"boot_id":"golden","host":"golden","pid":4242,"pid_namespace":"pid:[1]","start_time":1}}','b0ea18fa61f221bf4ba9c83f36a18fc599bd66e733c05f8030d580386bb6ba12','8530adec19d271d425aabf6de0a596f6c47760e9da878b435562acd4d0ad3bee');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',3,'intent','shopping','buy','bread',1,1795351487005771,'{"ordinal":0,"visit":0}','8530adec19d271d425aabf6de0a596f6c47760e9da878b435562acd4d0ad3bee','915ab89592e56d0fe78c7899ec0177be875acd6c43e7746c2d9bcd9351b84d3a');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',4,'outcome','shopping','buy','bread',1,1795351487006420,'{"ordinal":0,"result":{"$blob":"7ff306ec359d01828cfb199082b7ac0bb5bec2fbc81a784dff8f23f0e2146774"},"visit":0}','915ab89592e56d0fe78c7899ec0177be875acd6c43e7746c2d9bcd9351b84d3a','75d450f252930f1abfc095b2b6b0d10d21c7fd56395ab91c4c65ddb9350a440a');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',5,'intent','shopping','buy','wine',1,1795351487006727,'{"ordinal":1,"visit":0}','75d450f252930f1abfc095b2b6b0d10d21c7fd56395ab91c4c65ddb9350a440a','d062e005f136c2ce65d2ac3b8a94c28df929d1eee7074950b4db4a8c98627942');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',6,'outcome','shopping','buy','wine',1,1795351487008338,'{"ordinal":1,"result":{"$blob":"8054e3e8a10369fb26bde460673ba99f8fe1c6a1c8aec15e649eec4ef74b66c7"},"visit":0}','d062e005f136c2ce65d2ac3b8a94c28df929d1eee7074950b4db4a8c98627942','40cd9927dc6a143f4e71e75d1df7727030ece6bce9a159b3f9678b54e02845a3');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',7,'outcome','shopping','clock','',1,1795351487010318,'{"ordinal":2,"result":1795351487010215,"visit":0}','40cd9927dc6a143f4e71e75d1df7727030ece6bce9a159b3f9678b54e02845a3','3f6acdacdd34f4d8142097955c32a8d31d52ff7691751969b80a768cb6b8b96d');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',8,'transition','cooking','bought','shopping',1,1795351487010318,'{"patch":{"at":"2026-11-22T12:44:47.010215+00:00","bag":["bread","wine"]},"visit":1}','3f6acdacdd34f4d8142097955c32a8d31d52ff7691751969b80a768cb6b8b96d','99c82102dad74f759b2fabcfd8ff795371a68fcb419e23e38ed149a1e0d58efe');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',9,'outcome','cooking','random','',1,1795351487010631,'{"ordinal":0,"result":0.9059031263295446,"visit":1}','99c82102dad74f759b2fabcfd8ff795371a68fcb419e23e38ed149a1e0d58efe','112a8d359994ce8f9ab314650ebe3d10b5fd07aed0b7ce53826fffddc825dac6');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',10,'intent','cooking','cook','',1,1795351487010631,'{"ordinal":1,"visit":1}','112a8d359994ce8f9ab314650ebe3d10b5fd07aed0b7ce53826fffddc825dac6','7864d01f99e9de38f5edc96f5273c1db81588ba947a5eb31376ceedaee13d01a');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',11,'attempt','cooking','cook','',1,1795351487012806,'{"error":{"message":"the gas went out","stop_reason":"service_unavailable","type":"Transient"},"final":false,"in_doubt":false,"number":1,"ordinal":1,"retry_at":1795351487012777,"visit":1}','7864d01f99e9de38f5edc96f5273c1db81588ba947a5eb31376ceedaee13d01a','56dd71634d0a4e568c31a076e141aa1042f278153c2512e8089db2722614b205');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',12,'outcome','cooking','cook','',1,1795351487014343,'{"ordinal":1,"result":{"heat":0.9059031263295446},"visit":1}','56dd71634d0a4e568c31a076e141aa1042f278153c2512e8089db2722614b205','1e3fed21975f66d5e8a6321e2f3c2c6a52e852e5914588571214ef63bb320c4b');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',13,'transition','shopping','burnt','cooking',1,1795351487014958,'{"patch":{"heat":0.9059031263295446,"meals":1},"visit":2}','1e3fed21975f66d5e8a6321e2f3c2c6a52e852e5914588571214ef63bb320c4b','e73ac0a40298d82e237dcbf08944841adadd2790087b451b6c26f2745fca35c8');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',14,'intent','shopping','buy','bread',1,1795351487018236,'{"ordinal":0,"visit":2}','e73ac0a40298d82e237dcbf08944841adadd2790087b451b6c26f2745fca35c8','541439df64e39cecbd4687eb50960577d8256e4de0c049f2e251da3decd520b7');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',15,'outcome','shopping','buy','bread',1,1795351487019627,'{"ordinal":0,"result":{"$blob":"7ff306ec359d01828cfb199082b7ac0bb5bec2fbc81a784dff8f23f0e2146774"},"visit":2}','541439df64e39cecbd4687eb50960577d8256e4de0c049f2e251da3decd520b7','9351a1c8c914ef80e982db8022fa8dd64279348a83545d5366df5edfeb83879c');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',16,'intent','shopping','buy','wine',1,1795351487019849,'{"ordinal":1,"visit":2}','9351a1c8c914ef80e982db8022fa8dd64279348a83545d5366df5edfeb83879c','1bd3fc79d16e29d72c22f0727608d98ccc857a052a6bb83327120e5f44a23bde');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',17,'outcome','shopping','buy','wine',1,1795351487020957,'{"ordinal":1,"result":{"$blob":"8054e3e8a10369fb26bde460673ba99f8fe1c6a1c8aec15e649eec4ef74b66c7"},"visit":2}','1bd3fc79d16e29d72c22f0727608d98ccc857a052a6bb83327120e5f44a23bde','800cde47acd4e8c1376a85bc936808987dc83a05bd08a0101de705f51302108a');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',18,'outcome','shopping','clock','',1,1795351487021202,'{"ordinal":2,"result":1795351487021149,"visit":2}','800cde47acd4e8c1376a85bc936808987dc83a05bd08a0101de705f51302108a','059f05e1425395838a565747aa206eb6734c078c00626d536388c3f0ddb49507');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',19,'transition','cooking','bought','shopping',1,1795351487021202,'{"patch":{"at":"2026-11-22T12:44:47.021149+00:00","bag":["bread","wine"]},"visit":3}','059f05e1425395838a565747aa206eb6734c078c00626d536388c3f0ddb49507','baededda598a8d35c5c28b33ae547bc9f20177b697fbc1255dfcba36cae328fd');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',20,'outcome','cooking','random','',1,1795351487021655,'{"ordinal":0,"result":0.04749188970327556,"visit":3}','baededda598a8d35c5c28b33ae547bc9f20177b697fbc1255dfcba36cae328fd','aa01ec35f07e698e78f3ddd24842b5e57c24cb7aa984aa4a1f0ea9ca01181def');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',21,'intent','cooking','cook','',1,1795351487021655,'{"ordinal":1,"visit":3}','aa01ec35f07e698e78f3ddd24842b5e57c24cb7aa984aa4a1f0ea9ca01181def','8ee18c4eb947b7c9cd65c9932d61106ef6a0e0c8daab89044c7c9c6b34d71789');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',22,'attempt','cooking','cook','',1,1795351487022288,'{"error":{"message":"the gas went out","stop_reason":"service_unavailable","type":"Transient"},"final":false,"in_doubt":false,"number":1,"ordinal":1,"retry_at":1795351487022262,"visit":3}','8ee18c4eb947b7c9cd65c9932d61106ef6a0e0c8daab89044c7c9c6b34d71789','1a220a8413df379814e8e0e59bb19e25083f434e59602257530ad9baab6bcb25');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',23,'outcome','cooking','cook','',1,1795351487022795,'{"ordinal":1,"result":{"heat":0.04749188970327556},"visit":3}','1a220a8413df379814e8e0e59bb19e25083f434e59602257530ad9baab6bcb25','01670d10388e7490f0af39562a1b85bbfc540d1ac4b8423595bce2340117cdd3');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',24,'transition','serving','cooked','cooking',1,1795351487023644,'{"patch":{"heat":0.04749188970327556,"meals":2},"visit":4}','01670d10388e7490f0af39562a1b85bbfc540d1ac4b8423595bce2340117cdd3','fe3e4eb1458ce42a72c546d75ecf26c526f33bbfb03f786e9ca2cae3aa4a43d7');
INSERT INTO "entries" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',25,'intent','serving','carry','',1,1795351487023915,'{"ordinal":0,"visit":4}','fe3e4eb1458ce42a72c546d75ecf26c526f33bbfb03f786e9ca2cae3aa4a43d7','8ddfa67bc78f2de21d2e98e6e28a8f666a2c679107f1acdc2e80c99919f50b20');
CREATE TABLE leases (
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	held INTEGER NOT NULL, 
	holder TEXT NOT NULL, 
	beat INTEGER NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (run_id)
);
INSERT INTO "leases" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc',1,1,'{"boot_id":"golden","host":"golden","pid":4242,"pid_namespace":"pid:[1]","start_time":1}',0);
CREATE TABLE outbox (
	item_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	sink TEXT NOT NULL, 
	call TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	attempts INTEGER NOT NULL, 
	last_error TEXT, 
	delivered_at BIGINT, 
	CONSTRAINT pk_outbox PRIMARY KEY (item_id)
);
CREATE TABLE requests (
	run_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (run_id, kind)
);
CREATE TABLE runs (
	run_id TEXT NOT NULL, 
	lifecycle TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	subject TEXT NOT NULL, 
	state TEXT NOT NULL, 
	status TEXT NOT NULL, 
	stop_reason TEXT, 
	data TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	head_seq INTEGER NOT NULL, 
	head_hash TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	CONSTRAINT pk_runs PRIMARY KEY (run_id), 
	CONSTRAINT ck_runs_status CHECK (status IN ('live', 'interrupted', 'parked', 'closed'))
);
INSERT INTO "runs" VALUES('01a20349-a208-7644-9f1c-2cfe10494acc','errands',1,'dinner','serving','live',NULL,'{"at":"2026-11-22T12:44:47.021149+00:00","bag":["bread","wine"],"heat":0.04749188970327556,"meals":2}',1,25,'8ddfa67bc78f2de21d2e98e6e28a8f666a2c679107f1acdc2e80c99919f50b20',1795351486984465,1795351487023915,NULL);
CREATE TABLE tombstones (
	run_id TEXT NOT NULL, 
	head_seq INTEGER NOT NULL, 
	head_hash TEXT NOT NULL, 
	pruned_at BIGINT NOT NULL, 
	pruned_by TEXT NOT NULL, 
	CONSTRAINT pk_tombstones PRIMARY KEY (run_id)
);
CREATE UNIQUE INDEX uq_runs_live_subject ON runs (subject) WHERE status != 'closed';
CREATE INDEX ix_runs_open ON runs (status) WHERE status != 'closed';
CREATE INDEX ix_outbox_run_id ON outbox (run_id);
CREATE INDEX ix_chain_run_id ON chain (run_id);
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER blobs_no_update BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;
CREATE TRIGGER chain_no_update BEFORE UPDATE ON chain BEGIN SELECT RAISE(ABORT, 'chain are append-only'); END;
CREATE TRIGGER tombstones_no_update BEFORE UPDATE ON tombstones BEGIN SELECT RAISE(ABORT, 'tombstones are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.run_id = OLD.run_id) BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER blobs_no_delete BEFORE DELETE ON blobs WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.run_id = OLD.run_id) BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;
CREATE TRIGGER chain_no_delete BEFORE DELETE ON chain BEGIN SELECT RAISE(ABORT, 'chain are append-only'); END;
CREATE TRIGGER tombstones_no_delete BEFORE DELETE ON tombstones BEGIN SELECT RAISE(ABORT, 'tombstones are append-only'); END;
COMMIT;

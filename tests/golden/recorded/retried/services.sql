BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('s0001');
CREATE TABLE artifacts (
	idempotency_key TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	type TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	metadata TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_artifacts PRIMARY KEY (idempotency_key)
);
INSERT INTO "artifacts" VALUES('b42b7efb-159a-5255-86d1-5300ca878d77','56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','changes.diff','diff',242,'{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448727660);
INSERT INTO "artifacts" VALUES('cd5e11ce-f3b6-555f-bd6f-43c8294c38bd','14e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd','tests.json','test',488,'{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448795208);
INSERT INTO "artifacts" VALUES('42f1a4e9-2da9-5e6f-8192-ee9ff4e4fd9b','0e31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56','run.log','log',14599,'{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448838608);
CREATE TABLE loans (
	slot_id TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	loan_key TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	lent_at BIGINT NOT NULL, 
	renewed_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	ended_by TEXT, 
	CONSTRAINT pk_loans PRIMARY KEY (slot_id, generation)
);
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'e5fdb470-34bb-51d9-86e8-8232ca63a581','01a21600-33c5-7a3a-8599-76ac7d71e5ac',1795665443303521,1795665449068393,1795665449123485,'released');
CREATE TABLE slots (
	slot_id TEXT NOT NULL, 
	repo_key TEXT NOT NULL, 
	repo_url TEXT NOT NULL, 
	path TEXT NOT NULL, 
	status TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	run_id TEXT, 
	loan_key TEXT, 
	holder TEXT, 
	former_run TEXT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_slots PRIMARY KEY (slot_id), 
	CONSTRAINT uq_slots_loan_key UNIQUE (loan_key)
);
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795665443223853,1795665449119894);
CREATE TABLE task_artifacts (
	id INTEGER NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	type TEXT NOT NULL, 
	uri TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_task_artifacts PRIMARY KEY (id), 
	CONSTRAINT uq_task_artifacts_idempotency_key UNIQUE (idempotency_key)
);
INSERT INTO "task_artifacts" VALUES(1,'9c7e40b7-1641-5d39-841b-c1f3cc90138e','greeting','1','diff','file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105',242,'56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448727660);
INSERT INTO "task_artifacts" VALUES(2,'3612ca24-35bb-527d-b059-cb2b01c4fbf4','greeting','1','test','file:///tmp/necrocode-golden/home/artifacts/sha256/14/e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd',488,'14e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd','{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448795208);
INSERT INTO "task_artifacts" VALUES(3,'9ad14cf3-df60-5e34-9614-80cbcc18873c','greeting','1','log','file:///tmp/necrocode-golden/home/artifacts/sha256/0e/31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56',14599,'0e31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56','{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","task_id":"1"}',1795665448838608);
CREATE TABLE task_events (
	id INTEGER NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	data TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_task_events PRIMARY KEY (id), 
	CONSTRAINT uq_task_events_idempotency_key UNIQUE (idempotency_key)
);
INSERT INTO "task_events" VALUES(1,'98817c65-d186-5bc3-b774-777d3b7bd926','greeting','1','RunnerStarted','{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","runner_id":"runner-e65afeab1759"}',1,1795665442941464);
INSERT INTO "task_events" VALUES(2,'28f2bf46-7bbf-5b0e-97c1-6730668307c2','greeting','1','TaskCompleted','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/14/e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd","file:///tmp/necrocode-golden/home/artifacts/sha256/0e/31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56"],"branch":"feature/task-greeting-1","commit":"08db93d52dada9ddb514e73e41b987935202989a","journal_head":"43103532d5e03b2afd808724232755b6df892592a66343b03da28a300674def0","pushed":true,"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","runner_id":"runner-e65afeab1759"}',1,1795665449005771);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a21600-33c5-7a3a-8599-76ac7d71e5ac',1);
CREATE TABLE task_statuses (
	id INTEGER NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_task_statuses PRIMARY KEY (id), 
	CONSTRAINT uq_task_statuses_idempotency_key UNIQUE (idempotency_key)
);
INSERT INTO "task_statuses" VALUES(1,'3f45b02c-d8b4-5dd2-9b88-0b345aca4dbe','greeting','1','running','{"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","runner_id":"runner-e65afeab1759"}','01a21600-33c5-7a3a-8599-76ac7d71e5ac',1,1795665442755150);
INSERT INTO "task_statuses" VALUES(2,'8fe3d0b4-fdb6-58f6-981f-3e98ec1cf1ee','greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/14/e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd","file:///tmp/necrocode-golden/home/artifacts/sha256/0e/31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56"],"branch":"feature/task-greeting-1","commit":"08db93d52dada9ddb514e73e41b987935202989a","journal_head":"43103532d5e03b2afd808724232755b6df892592a66343b03da28a300674def0","pushed":true,"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","runner_id":"runner-e65afeab1759"}','01a21600-33c5-7a3a-8599-76ac7d71e5ac',1,1795665448982832);
CREATE TABLE tasks (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (spec_name, task_id)
);
INSERT INTO "tasks" VALUES('greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/14/e92997ee3635d7c8a43c495b471cc64230dadd14bb00b5ce3befdda2bc5fdd","file:///tmp/necrocode-golden/home/artifacts/sha256/0e/31801d13c4f925e425e4dfe5efa03668b7814bbad21c9227bcd6d6ce726a56"],"branch":"feature/task-greeting-1","commit":"08db93d52dada9ddb514e73e41b987935202989a","journal_head":"43103532d5e03b2afd808724232755b6df892592a66343b03da28a300674def0","pushed":true,"run_id":"01a21600-33c5-7a3a-8599-76ac7d71e5ac","runner_id":"runner-e65afeab1759"}','01a21600-33c5-7a3a-8599-76ac7d71e5ac',1,1795665442755150,1795665448982832);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
COMMIT;

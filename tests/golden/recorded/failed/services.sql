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
INSERT INTO "artifacts" VALUES('5068841e-3f60-5432-aac1-7a6b2622f64d','0ab35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a','partial.diff','diff',233,'{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461362855);
INSERT INTO "artifacts" VALUES('1928689f-c3d7-58ce-88b2-92abb20b03fe','6b7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309','tests.json','test',253,'{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461522124);
INSERT INTO "artifacts" VALUES('5c1ec9e7-607f-572c-a340-99bb46a386b7','c9d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f','run.log','log',9516,'{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461732523);
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
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'5afdef8b-0a0c-5859-bd67-2a0ce2582aaa','01a21600-6cfa-761d-a44c-42b85e5ad7fb',1795665457559894,1795665462164698,1795665462226878,'released');
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
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795665457549662,1795665462217927);
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
INSERT INTO "task_artifacts" VALUES(1,'aa576423-cf2c-5172-a2a3-a91814590c16','greeting','1','diff','file:///tmp/necrocode-golden/home/artifacts/sha256/0a/b35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a',233,'0ab35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a','{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461362855);
INSERT INTO "task_artifacts" VALUES(2,'9ebfb1e2-d191-560b-b4a1-bbacac80dee0','greeting','1','test','file:///tmp/necrocode-golden/home/artifacts/sha256/6b/7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309',253,'6b7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309','{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461522124);
INSERT INTO "task_artifacts" VALUES(3,'12b7abee-b632-5330-8ce7-9f6d3cd1707b','greeting','1','log','file:///tmp/necrocode-golden/home/artifacts/sha256/c9/d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f',9516,'c9d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f','{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","task_id":"1"}',1795665461732523);
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
INSERT INTO "task_events" VALUES(1,'2fd438db-18b1-5ebe-a972-769586042a8d','greeting','1','RunnerStarted','{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","runner_id":"runner-b008cea795b1"}',1,1795665457418159);
INSERT INTO "task_events" VALUES(2,'d2d9eadf-27c3-5648-aa35-8a9305233c19','greeting','1','TaskFailed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/0a/b35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a","file:///tmp/necrocode-golden/home/artifacts/sha256/6b/7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309","file:///tmp/necrocode-golden/home/artifacts/sha256/c9/d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f"],"error":"after 1 attempts these tests still fail: ''sh check.sh''","journal_head":"e1649019a5d5e7d5b11834e481b80f10695937a39f079bafcbe5627275844e8b","run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","runner_id":"runner-b008cea795b1","spec_name":"greeting","stop_reason":"tests_failed"}',1,1795665462092902);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a21600-6cfa-761d-a44c-42b85e5ad7fb',1);
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
INSERT INTO "task_statuses" VALUES(1,'aff1745d-968b-5e15-9b1d-c0a22f877a8b','greeting','1','running','{"run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","runner_id":"runner-b008cea795b1"}','01a21600-6cfa-761d-a44c-42b85e5ad7fb',1,1795665457291110);
INSERT INTO "task_statuses" VALUES(2,'23780357-2ee6-51e1-9e51-1682df8bcaaf','greeting','1','failed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/0a/b35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a","file:///tmp/necrocode-golden/home/artifacts/sha256/6b/7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309","file:///tmp/necrocode-golden/home/artifacts/sha256/c9/d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f"],"error":"after 1 attempts these tests still fail: ''sh check.sh''","journal_head":"e1649019a5d5e7d5b11834e481b80f10695937a39f079bafcbe5627275844e8b","run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","runner_id":"runner-b008cea795b1","spec_name":"greeting","stop_reason":"tests_failed"}','01a21600-6cfa-761d-a44c-42b85e5ad7fb',1,1795665462053971);
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
INSERT INTO "tasks" VALUES('greeting','1','failed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/0a/b35b88450adf7291f5304911032972798b3651a9379025c833fa2baff5429a","file:///tmp/necrocode-golden/home/artifacts/sha256/6b/7370838906f210039d4d22a417c57d3fb14df4acb7db784af1307e98a8f309","file:///tmp/necrocode-golden/home/artifacts/sha256/c9/d982345aeb1a7a80c40682333155d8c543d9852c5b4b31a8bf5a7b42dd9a4f"],"error":"after 1 attempts these tests still fail: ''sh check.sh''","journal_head":"e1649019a5d5e7d5b11834e481b80f10695937a39f079bafcbe5627275844e8b","run_id":"01a21600-6cfa-761d-a44c-42b85e5ad7fb","runner_id":"runner-b008cea795b1","spec_name":"greeting","stop_reason":"tests_failed"}','01a21600-6cfa-761d-a44c-42b85e5ad7fb',1,1795665457291110,1795665462053971);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
COMMIT;

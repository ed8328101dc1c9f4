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
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'0bdb85ce-de30-5b1a-be97-58419a566afc','01a21600-f35f-7a36-a08f-5bbf431525a8',1795665492449368,1795665495826390,1795665495865983,'released');
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
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795665492401459,1795665495864433);
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
INSERT INTO "task_events" VALUES(1,'75d5d9e0-a43c-5f95-b75a-70370af0e27e','greeting','1','RunnerStarted','{"run_id":"01a21600-f35f-7a36-a08f-5bbf431525a8","runner_id":"runner-059abf01a64d"}',1,1795665492271530);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a21600-f35f-7a36-a08f-5bbf431525a8',1);
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
INSERT INTO "task_statuses" VALUES(1,'b43ded18-cf1a-56a5-a85a-2c10766e5cca','greeting','1','running','{"run_id":"01a21600-f35f-7a36-a08f-5bbf431525a8","runner_id":"runner-059abf01a64d"}','01a21600-f35f-7a36-a08f-5bbf431525a8',1,1795665492100191);
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
INSERT INTO "tasks" VALUES('greeting','1','running','{"run_id":"01a21600-f35f-7a36-a08f-5bbf431525a8","runner_id":"runner-059abf01a64d"}','01a21600-f35f-7a36-a08f-5bbf431525a8',1,1795665492100191,1795665492100191);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
COMMIT;

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
INSERT INTO "artifacts" VALUES('acbfa540-0da4-5f00-a5d7-ee1be24ef2e3','2aa132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d','run.log','log',6366,'{"run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","task_id":"1"}',1795665482220226);
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
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'24d1233d-bfdf-5cc3-b748-81ed59b137f4','01a21600-b10d-7fd7-b6df-463d13b988af',1795665475258352,1795665482612809,1795665482721796,'released');
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
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795665475241856,1795665482719153);
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
INSERT INTO "task_artifacts" VALUES(1,'f116228a-81f3-5627-8165-beb29cf31d9d','greeting','1','log','file:///tmp/necrocode-golden/home/artifacts/sha256/2a/a132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d',6366,'2aa132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d','{"run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","task_id":"1"}',1795665482220226);
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
INSERT INTO "task_events" VALUES(1,'b89f8491-d158-5eea-9f90-a7fd133d7b26','greeting','1','RunnerStarted','{"run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","runner_id":"runner-0b363bd28b74"}',1,1795665475183755);
INSERT INTO "task_events" VALUES(2,'1663f588-d5ea-598c-8236-cd5b15862b93','greeting','1','TaskFailed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/2a/a132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d"],"error":"cancelled on request","journal_head":"bf56b800eaa25cbcf4f5988af0130a3165bda9ce7930002e40a36e303a63e3e1","run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","runner_id":"runner-0b363bd28b74","spec_name":"greeting","stop_reason":"cancelled"}',2,1795665482439579);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a21600-b10d-7fd7-b6df-463d13b988af',2);
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
INSERT INTO "task_statuses" VALUES(1,'43eb3a14-605b-5d08-9f82-ef16a73802a4','greeting','1','running','{"run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","runner_id":"runner-0b363bd28b74"}','01a21600-b10d-7fd7-b6df-463d13b988af',1,1795665475029039);
INSERT INTO "task_statuses" VALUES(2,'d27833a5-b0c8-5558-ba95-62bad7db8619','greeting','1','failed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/2a/a132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d"],"error":"cancelled on request","journal_head":"bf56b800eaa25cbcf4f5988af0130a3165bda9ce7930002e40a36e303a63e3e1","run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","runner_id":"runner-0b363bd28b74","spec_name":"greeting","stop_reason":"cancelled"}','01a21600-b10d-7fd7-b6df-463d13b988af',2,1795665482350606);
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
INSERT INTO "tasks" VALUES('greeting','1','failed','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/2a/a132df25dcfb58f0296f25b82e5ef88576546c484c09dd92c04994b6f1124d"],"error":"cancelled on request","journal_head":"bf56b800eaa25cbcf4f5988af0130a3165bda9ce7930002e40a36e303a63e3e1","run_id":"01a21600-b10d-7fd7-b6df-463d13b988af","runner_id":"runner-0b363bd28b74","spec_name":"greeting","stop_reason":"cancelled"}','01a21600-b10d-7fd7-b6df-463d13b988af',2,1795665475029039,1795665482350606);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
COMMIT;

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
INSERT INTO "artifacts" VALUES('194af87e-34f2-5d53-9c22-dd7d2b4cf28b','56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','changes.diff','diff',242,'{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432688439);
INSERT INTO "artifacts" VALUES('f83e839c-d98d-5184-a521-d8b18791ead4','f113c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f','tests.json','test',253,'{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432780189);
INSERT INTO "artifacts" VALUES('f6f3aaf7-fab5-5556-ada7-3c46565d5b5c','dc6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7','run.log','log',11440,'{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432817089);
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
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'8f134377-eb8d-566e-b361-f7d4b6729694','01a215ff-fbef-79a2-9d3d-5b190ec73088',1795665428632724,1795665433037134,1795665433059748,'released');
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
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795665428585368,1795665433057591);
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
INSERT INTO "task_artifacts" VALUES(1,'ec943798-2e2e-57f5-ae2c-195b8d9db6fa','greeting','1','diff','file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105',242,'56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432688439);
INSERT INTO "task_artifacts" VALUES(2,'8af65d03-b410-5350-8f68-3ec8d8922687','greeting','1','test','file:///tmp/necrocode-golden/home/artifacts/sha256/f1/13c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f',253,'f113c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f','{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432780189);
INSERT INTO "task_artifacts" VALUES(3,'8cff0901-5ae0-5ef0-8efe-1c686d23ab97','greeting','1','log','file:///tmp/necrocode-golden/home/artifacts/sha256/dc/6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7',11440,'dc6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7','{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","task_id":"1"}',1795665432817089);
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
INSERT INTO "task_events" VALUES(1,'342cefc7-81e1-5a9e-94d6-22197b87f4e8','greeting','1','RunnerStarted','{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","runner_id":"runner-696e9a87bd59"}',1,1795665428467824);
INSERT INTO "task_events" VALUES(2,'1bf53d5e-ea27-5fda-8740-e5bdf3ced407','greeting','1','TaskCompleted','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/f1/13c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f","file:///tmp/necrocode-golden/home/artifacts/sha256/dc/6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7"],"branch":"feature/task-greeting-1","commit":"5291903ffbc50db2351c085a0dad519c83d5fcd5","journal_head":"89bd1a3af398272bff97593ffcc4b8508a035b3c4f7f8bdb06f486828dd5af54","pushed":true,"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","runner_id":"runner-696e9a87bd59"}',1,1795665433005918);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a215ff-fbef-79a2-9d3d-5b190ec73088',1);
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
INSERT INTO "task_statuses" VALUES(1,'aac9bc0a-9f1c-503e-9c0a-a2b32248eafc','greeting','1','running','{"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","runner_id":"runner-696e9a87bd59"}','01a215ff-fbef-79a2-9d3d-5b190ec73088',1,1795665428347973);
INSERT INTO "task_statuses" VALUES(2,'f4a659e6-e66b-547a-90c7-120eaf72fcc1','greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/f1/13c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f","file:///tmp/necrocode-golden/home/artifacts/sha256/dc/6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7"],"branch":"feature/task-greeting-1","commit":"5291903ffbc50db2351c085a0dad519c83d5fcd5","journal_head":"89bd1a3af398272bff97593ffcc4b8508a035b3c4f7f8bdb06f486828dd5af54","pushed":true,"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","runner_id":"runner-696e9a87bd59"}','01a215ff-fbef-79a2-9d3d-5b190ec73088',1,1795665432984876);
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
INSERT INTO "tasks" VALUES('greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/f1/13c2e118599ac25bd0e3e93095e897995ac4cd44b9f8bd193f44bca8239d8f","file:///tmp/necrocode-golden/home/artifacts/sha256/dc/6dc0bc26c61a9503f539bbb82267252b7fb2bcb65b0438313d7c95878c25c7"],"branch":"feature/task-greeting-1","commit":"5291903ffbc50db2351c085a0dad519c83d5fcd5","journal_head":"89bd1a3af398272bff97593ffcc4b8508a035b3c4f7f8bdb06f486828dd5af54","pushed":true,"run_id":"01a215ff-fbef-79a2-9d3d-5b190ec73088","runner_id":"runner-696e9a87bd59"}','01a215ff-fbef-79a2-9d3d-5b190ec73088',1,1795665428347973,1795665432984876);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
COMMIT;

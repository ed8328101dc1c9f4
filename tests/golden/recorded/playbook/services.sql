BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('s0002');
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
INSERT INTO "artifacts" VALUES('9923eeae-9e75-5e0a-8363-c2ae78e2b42b','56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','changes.diff','diff',242,'{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671936893);
INSERT INTO "artifacts" VALUES('9dcb2303-88fd-5834-92d0-f3c04bb8a1aa','24dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010','tests.json','test',4281,'{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671947535);
INSERT INTO "artifacts" VALUES('0f7afc00-51ad-5e2a-9e82-e064c49107ec','d153914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7','run.log','log',18579,'{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671953238);
CREATE TABLE loans (
	slot_id TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	loan_key TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	lent_at BIGINT NOT NULL, 
	renewed_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	ended_by TEXT, release_key TEXT, 
	CONSTRAINT pk_loans PRIMARY KEY (slot_id, generation)
);
INSERT INTO "loans" VALUES('remote-af7dd348236f-1',1,'66e2635d-e5fd-5785-9fa6-6e05fecaafa9','01a21771-e8b8-72b8-aee8-9972e4985758',1795689671128420,1795689671990918,1795689671999093,'released','66e2635d-e5fd-5785-9fa6-6e05fecaafa9');
CREATE TABLE run_fences (
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_run_fences PRIMARY KEY (run_id)
);
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
INSERT INTO "slots" VALUES('remote-af7dd348236f-1','remote-af7dd348236f','/tmp/necrocode-golden/remote.git','/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work','free',1,NULL,NULL,NULL,NULL,1795689671125286,1795689671997895);
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
INSERT INTO "task_artifacts" VALUES(1,'fb95cc1e-3a9a-524e-a61a-5ed8adc2726d','greeting','1','diff','file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105',242,'56f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105','{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671936893);
INSERT INTO "task_artifacts" VALUES(2,'cbc1464e-42b2-5cfe-99d1-cc688edb363b','greeting','1','test','file:///tmp/necrocode-golden/home/artifacts/sha256/24/dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010',4281,'24dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010','{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671947535);
INSERT INTO "task_artifacts" VALUES(3,'ef1310eb-0ebf-521f-bf8d-5f015f3de96a','greeting','1','log','file:///tmp/necrocode-golden/home/artifacts/sha256/d1/53914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7',18579,'d153914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7','{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","spec_name":"greeting","task_id":"1"}',1795689671953238);
CREATE TABLE task_dependencies (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	depends_on TEXT NOT NULL, 
	CONSTRAINT pk_task_dependencies PRIMARY KEY (spec_name, task_id, depends_on)
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
INSERT INTO "task_events" VALUES(1,'a3b037b2-0da2-5a20-9aa5-087e40d43736','greeting','1','RunnerStarted','{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","runner_id":"runner-74d4bb522153"}',1,1795689671102456);
INSERT INTO "task_events" VALUES(2,'fca8a9d9-c17e-503f-be8a-da35238a0dbd','greeting','1','TaskCompleted','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/24/dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010","file:///tmp/necrocode-golden/home/artifacts/sha256/d1/53914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7"],"branch":"feature/task-greeting-1","commit":"e6ccae1dbdc52c11b7c813edf8f0c3288d8769c8","journal_head":"46a6fcd981667c59f8b719c078cfea4d45cdbc4bedd1783a8c9cab196b47b6e0","pushed":true,"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","runner_id":"runner-74d4bb522153","tests":{"commands":{"allowed":1,"flaky":1,"passed":1,"skipped":1},"flaky":[{"command":"test $(cat runs.log | wc -c) -gt 1 || { echo >> runs.log; false; }","runs":2,"tests":[]}]}}',1,1795689671974200);
CREATE TABLE task_fences (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_task_fences PRIMARY KEY (spec_name, task_id, run_id)
);
INSERT INTO "task_fences" VALUES('greeting','1','01a21771-e8b8-72b8-aee8-9972e4985758',1);
CREATE TABLE task_set_keys (
	idempotency_key TEXT NOT NULL, 
	spec_name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_task_set_keys PRIMARY KEY (idempotency_key)
);
CREATE TABLE task_set_versions (
	spec_name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	document TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_task_set_versions PRIMARY KEY (spec_name, version)
);
CREATE TABLE task_sets (
	spec_name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_task_sets PRIMARY KEY (spec_name)
);
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
INSERT INTO "task_statuses" VALUES(1,'311c7104-04da-5fba-936a-ba605ab23fed','greeting','1','running','{"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","runner_id":"runner-74d4bb522153"}','01a21771-e8b8-72b8-aee8-9972e4985758',1,1795689671083056);
INSERT INTO "task_statuses" VALUES(2,'58e83cf5-2066-5648-ac22-a79bc414aa7b','greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/24/dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010","file:///tmp/necrocode-golden/home/artifacts/sha256/d1/53914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7"],"branch":"feature/task-greeting-1","commit":"e6ccae1dbdc52c11b7c813edf8f0c3288d8769c8","journal_head":"46a6fcd981667c59f8b719c078cfea4d45cdbc4bedd1783a8c9cab196b47b6e0","pushed":true,"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","runner_id":"runner-74d4bb522153","tests":{"commands":{"allowed":1,"flaky":1,"passed":1,"skipped":1},"flaky":[{"command":"test $(cat runs.log | wc -c) -gt 1 || { echo >> runs.log; false; }","runs":2,"tests":[]}]}}','01a21771-e8b8-72b8-aee8-9972e4985758',1,1795689671969354);
CREATE TABLE tasks (
	spec_name TEXT NOT NULL, 
	task_id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, version INTEGER DEFAULT '1' NOT NULL, definition TEXT, position INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (spec_name, task_id)
);
INSERT INTO "tasks" VALUES('greeting','1','done','{"artifacts":["file:///tmp/necrocode-golden/home/artifacts/sha256/56/f9a60a55039e26ef6a01cdb2abb6c06bbc8f15595f16ef882926eea8521105","file:///tmp/necrocode-golden/home/artifacts/sha256/24/dc6ea38d21c4e7e13dddc2857fec8a8927365ceb25f8702a6172055fa5d010","file:///tmp/necrocode-golden/home/artifacts/sha256/d1/53914f517d71f39391b9c6478c5049c7e0c91bb0f1babf71261c86ea1b98c7"],"branch":"feature/task-greeting-1","commit":"e6ccae1dbdc52c11b7c813edf8f0c3288d8769c8","journal_head":"46a6fcd981667c59f8b719c078cfea4d45cdbc4bedd1783a8c9cab196b47b6e0","pushed":true,"run_id":"01a21771-e8b8-72b8-aee8-9972e4985758","runner_id":"runner-74d4bb522153","tests":{"commands":{"allowed":1,"flaky":1,"passed":1,"skipped":1},"flaky":[{"command":"test $(cat runs.log | wc -c) -gt 1 || { echo >> runs.log; false; }","runs":2,"tests":[]}]}}','01a21771-e8b8-72b8-aee8-9972e4985758',1,1795689671083056,1795689671969354,2,NULL,0);
CREATE INDEX ix_slots_repo_key ON slots (repo_key);
CREATE INDEX ix_loans_loan_key ON loans (loan_key);
CREATE INDEX ix_loans_run_id ON loans (run_id);
CREATE INDEX ix_task_statuses_spec_name_task_id_at ON task_statuses (spec_name, task_id, at);
CREATE INDEX ix_task_events_spec_name_task_id_at ON task_events (spec_name, task_id, at);
CREATE INDEX ix_task_artifacts_spec_name_task_id ON task_artifacts (spec_name, task_id);
CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);
CREATE INDEX ix_tasks_spec_name_position_task_id ON tasks (spec_name, position, task_id);
CREATE INDEX ix_task_dependencies_spec_name_depends_on ON task_dependencies (spec_name, depends_on);
CREATE INDEX ix_loans_release_key ON loans (release_key);
COMMIT;

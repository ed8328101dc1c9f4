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
INSERT INTO "chain" VALUES(1,'01a21601-214d-7a10-ae7c-25766515e558','created',1,'565f85a335fa8bea059ebd140ddd1e745cd0f2b94e9d2b6c543acca625a8492a','','4fc0680a6ac2184c9e78a3be34c0604888a3a468c8fba68e5d4d679c176cc903');
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
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',1,'created','received','coding-task','',0,1795665502547383,'{"data":{"task":{"acceptance_criteria":[],"base_branch":null,"branch_name":null,"deadline_at":null,"dependencies":[],"description":"greet() should say hello to the one it is given.","env":{},"fail_fast":true,"max_tokens":null,"metadata":{},"pass_env":[],"playbook_path":null,"related_files":[],"repo_url":"/tmp/necrocode-golden/remote.git","required_skill":null,"setup_commands":["echo made > made.log"],"slot_id":null,"slot_path":null,"spec_name":"greeting","task_id":"1","test_commands":["sh check.sh"],"timeout_seconds":null,"title":"Greet by name"}},"deadline_at":null,"lifecycle":"coding-task","settings":{"artifact_store_url":null,"artifact_token_env_var":"ARTIFACT_STORE_TOKEN","command_timeout_seconds":600.0,"committer_email":"necrocode@localhost","committer_name":"necrocode","default_timeout_seconds":1800.0,"durability":"power-loss","git_retry_count":3,"git_token_env_var":"GIT_TOKEN","llm_api_key_env_var":"LLM_API_KEY","llm_endpoint":"http://127.0.0.1:42035/v1","llm_max_tokens":4000,"llm_model":"gpt-4","llm_retry_count":3,"llm_timeout_seconds":120.0,"lock_timeout_seconds":30.0,"log_level":"info","mask_secrets":true,"max_cost_usd":null,"max_cpu_percent":null,"max_implementation_attempts":3,"max_memory_mb":null,"max_output_bytes":65536,"max_total_tokens":null,"max_turns":100,"network":false,"network_retry_count":3,"on_branch_exists":"fail","on_dirty_folder":"refuse","pool_size":4,"pool_token_env_var":"REPO_POOL_TOKEN","prices":{},"push":true,"registry_token_env_var":"TASK_REGISTRY_TOKEN","repo_pool_url":null,"retention_days":30,"retry_initial_seconds":0.05,"sandbox":"off","service_timeout_seconds":30.0,"slot_retention_days":14,"slot_timeout_seconds":600.0,"structured_logging":false,"task_registry_dir":null,"task_registry_url":null,"tool_mode":"auto"},"subject":"/tmp/necrocode-golden/remote.git\ngreeting\n1","timeout_seconds":1800.0,"version":1}','','565f85a335fa8bea059ebd140ddd1e745cd0f2b94e9d2b6c543acca625a8492a');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',2,'lease','received','claimed','',1,1795665503256354,'{"after_death":false,"epoch":1,"holder":{"boot_id":"bb296a84-d7d3-43f5-8f06-d6b6b53662ca","host":"golden","pid":17494,"pid_namespace":"pid:[4026531836]","start_time":264348}}','565f85a335fa8bea059ebd140ddd1e745cd0f2b94e9d2b6c543acca625a8492a','2ee677a2e0d36a33da1a8074122b85713e991b5d937ce87f2474589ec6b0426f');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',3,'transition','registering','accepted','received',1,1795665503344601,'{"patch":{"attempt":0,"branch":"feature/task-greeting-1","max_attempts":3,"push":true},"visit":1}','2ee677a2e0d36a33da1a8074122b85713e991b5d937ce87f2474589ec6b0426f','80e53d918b7d79f119a12059be92b8c08331d73c2de47759846de60c6e45ed6a');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',4,'outcome','registering','runner_id','',1,1795665503369315,'{"ordinal":0,"result":"runner-e014cb29e617","visit":1}','80e53d918b7d79f119a12059be92b8c08331d73c2de47759846de60c6e45ed6a','39f1c5607635fcd7438d7f75ab1245a8ae09eaea310980a0780dccbbd4f0609b');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',5,'outcome','registering','clock','',1,1795665503369315,'{"ordinal":1,"result":1795665503368975,"visit":1}','39f1c5607635fcd7438d7f75ab1245a8ae09eaea310980a0780dccbbd4f0609b','63166c921517ff87c9cf42652a92018574552dbeb8840bc1e2bd6d74c454bb7d');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',6,'intent','registering','registry.status','running',1,1795665503369315,'{"note":{"report_id":"17cb98b5-2672-5f8b-a782-0b06ac8e85e4"},"ordinal":2,"visit":1}','63166c921517ff87c9cf42652a92018574552dbeb8840bc1e2bd6d74c454bb7d','f1bb11dbd4ea810ae96d920b3af59897097fe3cbd7fffa0ce94f1c07110f15c9');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',7,'outcome','registering','registry.status','running',1,1795665503554990,'{"ordinal":2,"result":{"report_id":"17cb98b5-2672-5f8b-a782-0b06ac8e85e4"},"visit":1}','f1bb11dbd4ea810ae96d920b3af59897097fe3cbd7fffa0ce94f1c07110f15c9','6e567cce5817e3adc32131943dcad9dba0c705b79b050209463c298e1eee6d96');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',8,'outcome','registering','clock','',1,1795665503603701,'{"ordinal":3,"result":1795665503603421,"visit":1}','6e567cce5817e3adc32131943dcad9dba0c705b79b050209463c298e1eee6d96','5b0a3b41aaf94b697b6c88d28c4819fa4705b5d83a90beb8e9102622099f5628');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',9,'intent','registering','registry.event','started',1,1795665503603701,'{"note":{"report_id":"e0fba413-10a5-522d-89aa-87d14f63fb00"},"ordinal":4,"visit":1}','5b0a3b41aaf94b697b6c88d28c4819fa4705b5d83a90beb8e9102622099f5628','c8067a8d75c25b7ead44c632664fd8502ae7599ba11988cd597efd59b855d979');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',10,'outcome','registering','registry.event','started',1,1795665503638823,'{"ordinal":4,"result":{"report_id":"e0fba413-10a5-522d-89aa-87d14f63fb00"},"visit":1}','c8067a8d75c25b7ead44c632664fd8502ae7599ba11988cd597efd59b855d979','1ae2af68f8f58c475e0f353e3a03fe6b4a0268801195aeed1fa99d95bddbabe8');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',11,'transition','allocating','registered','registering',1,1795665503669432,'{"patch":{"runner_id":"runner-e014cb29e617"},"visit":2}','1ae2af68f8f58c475e0f353e3a03fe6b4a0268801195aeed1fa99d95bddbabe8','7fd7f1bce8c0ea73b4e2f18ca6fe2849a9345962e6050c09d1a721d600ef0081');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',12,'outcome','allocating','slot.wanted','',1,1795665503697376,'{"ordinal":0,"result":{"wanted_tenure":1},"visit":2}','7fd7f1bce8c0ea73b4e2f18ca6fe2849a9345962e6050c09d1a721d600ef0081','659e579a61e46f28b0cd13f262703b7d60308355173aecdf76bb0dc29a1a7b8c');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',13,'intent','allocating','slot.allocate','tenure-1',1,1795665503697376,'{"ordinal":1,"visit":2}','659e579a61e46f28b0cd13f262703b7d60308355173aecdf76bb0dc29a1a7b8c','fbed676043bcdabefbccd40e66f184bf30fb963e0848aae8808e1a7380e88ef3');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',14,'outcome','allocating','slot.allocate','tenure-1',1,1795665504198813,'{"ordinal":1,"result":{"generation":1,"kind":"pool","path":"/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work","slot_id":"remote-af7dd348236f-1"},"visit":2}','fbed676043bcdabefbccd40e66f184bf30fb963e0848aae8808e1a7380e88ef3','c0787e5d3d2f438eb290ac2b78f384296cd493d2da9a196b1177857afb2c85f7');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',15,'transition','preparing','allocated','allocating',1,1795665504215568,'{"patch":{"last_slot":{"generation":1,"kind":"pool","path":"/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work","slot_id":"remote-af7dd348236f-1"},"slot":{"generation":1,"kind":"pool","path":"/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work","slot_id":"remote-af7dd348236f-1"},"tenure":1},"visit":3}','c0787e5d3d2f438eb290ac2b78f384296cd493d2da9a196b1177857afb2c85f7','d8ceef38c8b8d400dfae35c56dd80096f6209d72525706de7951ba08149a5e00');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',16,'intent','preparing','git.fetch','feature/task-greeting-1',1,1795665504239992,'{"ordinal":0,"visit":3}','d8ceef38c8b8d400dfae35c56dd80096f6209d72525706de7951ba08149a5e00','da7c0f0fc208e21409a1d1ee3feaabb42d1706a67d24f3a50e7063f6023494e3');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',17,'outcome','preparing','git.fetch','feature/task-greeting-1',1,1795665504840245,'{"ordinal":0,"result":{"base_branch":"main","base_commit":"146e037896b1f56601173c6e6f2c906b604be875","branch_commit":null,"ours":false},"visit":3}','da7c0f0fc208e21409a1d1ee3feaabb42d1706a67d24f3a50e7063f6023494e3','a6cf47372443ae30921eb99a39008d7bb298332b61603196719f09716e7274a8');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',18,'intent','preparing','workspace.lay','146e037896b1f56601173c6e6f2c906b604be875',1,1795665504852049,'{"ordinal":1,"visit":3}','a6cf47372443ae30921eb99a39008d7bb298332b61603196719f09716e7274a8','a64066b0f0513f75c717bfccccb4ce7d1e9e143987f877a64173a9e64860a3ad');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',19,'outcome','preparing','workspace.lay','146e037896b1f56601173c6e6f2c906b604be875',1,1795665504909380,'{"ordinal":1,"result":{"base_tree":"2cf3f01b691b300dced648e58afea1a09fd7fb55","conflicts":[],"snapshot":"2cf3f01b691b300dced648e58afea1a09fd7fb55"},"visit":3}','a64066b0f0513f75c717bfccccb4ce7d1e9e143987f877a64173a9e64860a3ad','276532cb65421a7bcd62182fb0f9f2a51bcbe42bd77cc116ee963517aaae643a');
INSERT INTO "entries" VALUES('01a21601-214d-7a10-ae7c-25766515e558',20,'intent','preparing','command.setup','echo made > made.log',1,1795665504917507,'{"note":{"command":"echo made > made.log"},"ordinal":2,"visit":3}','276532cb65421a7bcd62182fb0f9f2a51bcbe42bd77cc116ee963517aaae643a','4a9933f7ceda2e1e0a67ea3c8d2bf42e00eee51c7023bb486be76c5ffbef494b');
CREATE TABLE leases (
	run_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	held INTEGER NOT NULL, 
	holder TEXT NOT NULL, 
	beat INTEGER NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (run_id)
);
INSERT INTO "leases" VALUES('01a21601-214d-7a10-ae7c-25766515e558',1,1,'{"boot_id":"bb296a84-d7d3-43f5-8f06-d6b6b53662ca","host":"golden","pid":17494,"pid_namespace":"pid:[4026531836]","start_time":264348}',0);
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
INSERT INTO "runs" VALUES('01a21601-214d-7a10-ae7c-25766515e558','coding-task',1,'/tmp/necrocode-golden/remote.git
greeting
1','preparing','live',NULL,'{"attempt":0,"branch":"feature/task-greeting-1","last_slot":{"generation":1,"kind":"pool","path":"/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work","slot_id":"remote-af7dd348236f-1"},"max_attempts":3,"push":true,"runner_id":"runner-e014cb29e617","slot":{"generation":1,"kind":"pool","path":"/tmp/necrocode-golden/home/repos/remote-af7dd348236f/slots/1/work","slot_id":"remote-af7dd348236f-1"},"task":{"acceptance_criteria":[],"base_branch":null,"branch_name":null,"deadline_at":null,"dependencies":[],"description":"greet() should say hello to the one it is given.","env":{},"fail_fast":true,"max_tokens":null,"metadata":{},"pass_env":[],"playbook_path":null,"related_files":[],"repo_url":"/tmp/necrocode-golden/remote.git","required_skill":null,"setup_commands":["echo made > made.log"],"slot_id":null,"slot_path":null,"spec_name":"greeting","task_id":"1","test_commands":["sh check.sh"],"timeout_seconds":null,"title":"Greet by name"},"tenure":1}',1,20,'4a9933f7ceda2e1e0a67ea3c8d2bf42e00eee51c7023bb486be76c5ffbef494b',1795665502547383,1795665504917507,NULL);
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

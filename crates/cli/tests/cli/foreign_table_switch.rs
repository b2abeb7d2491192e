//! What an application has around a column of vectors, and what becomes of it when its table is
//! moved by `kokeshi migrate`.

use crate::foreign::{passed, step};
use crate::foreign_table::connected;
use crate::index::success;
use crate::{Run, Sandbox, tiny_v3};
use kokeshi_testkit::postgres::Client;
use kokeshi_testkit::postgres::error::SqlState;
use kokeshi_testkit::servers::Server;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server with an application's table `app.docs`.
struct Application {
    _server: Server,
    /// Its address for kokeshi.
    address: String,
    sandbox: Sandbox,
    client: Client,
}

const EXTENSION: &str = "CREATE EXTENSION vector";
const TABLE: &str = "CREATE SCHEMA app; CREATE TABLE app.docs (id bigint GENERATED ALWAYS AS IDENTITY \
     PRIMARY KEY, title text, body text, embedding vector(3) NOT NULL); \
     INSERT INTO app.docs (title, body, embedding) SELECT 'Title ' || n, 'Text number ' || n || '.', \
     ARRAY[1, n, 0]::real[]::vector FROM generate_series(1, 12) AS n";

impl Application {
    /// `None` if no server is installed.
    fn start(statements: &[&str]) -> Option<Self> {
        let server = crate::server("postgres")?;
        let (client, address) = (connected(&server), server.address());
        let mut application = Self { _server: server, address, sandbox: Sandbox::new(), client };
        statements.iter().for_each(|sql| application.execute(sql));
        Some(application)
    }

    #[track_caller]
    fn execute(&mut self, sql: &str) {
        self.client.batch_execute(sql).expect(sql);
    }

    /// The only value of a query, as text.
    #[track_caller]
    fn value(&mut self, sql: &str) -> String {
        let sql = format!("SELECT ({sql})::text");
        self.client
            .query_one(&sql, &[])
            .expect(&sql)
            .get::<_, Option<String>>(0)
            .unwrap_or_default()
    }

    fn plan(&self, more: &[&str]) -> Run {
        let (store, model) = (self.address.clone(), tiny_v3().display().to_string());
        let plan = ["migrate", "plan", "--store", &store, "--table", "app.docs", "--to", "new"];
        self.sandbox.run(plan.iter().chain(&["--model", &model]).chain(more))
    }

    fn step(&self, name: &str, more: &[&str]) -> Run {
        let store = self.address.clone();
        let all: Vec<&str> = ["--store", store.as_str()].iter().chain(more).copied().collect();
        step(&self.sandbox, name, &all)
    }

    #[track_caller]
    fn steps(&self, names: &[&str]) {
        names.iter().for_each(|name| passed(&self.step(name, &[])));
    }

    fn width(&mut self, relation: &str) -> String {
        self.value(&format!("SELECT max(vector_dims(embedding)) FROM {relation}"))
    }
}

/// The width of the new vectors.
const NEW: &str = "64";

#[test]
fn not_null_grants_and_storage_follow_the_column_and_come_back() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    app.execute(
        "CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT USAGE ON SCHEMA app TO reader; \
         GRANT SELECT (id, body, embedding) ON app.docs TO reader; \
         GRANT UPDATE (embedding) ON app.docs TO reader WITH GRANT OPTION; \
         COMMENT ON COLUMN app.docs.embedding IS 'Of the body.'; \
         ALTER TABLE app.docs ALTER embedding SET STORAGE PLAIN, ALTER embedding SET STATISTICS 77",
    );
    let attributes = "SELECT concat_ws(' ', attname, attnotnull, attstorage, attstattarget, \
                      attacl) FROM pg_attribute WHERE attrelid = 'app.docs'::regclass AND attname = 'embedding'";
    let before = app.value(attributes);
    let planned = app.plan(&[]);
    passed(&planned);
    for part in ["NOT NULL: moves to the new column if", "grants to reader: move", "comment: moves"]
    {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    app.steps(&["run", "verify", "switch"]);
    assert_eq!(app.value(attributes), before);
    assert_eq!(app.width("app.docs"), NEW);
    let insert = |value: &str| {
        format!("INSERT INTO app.docs (title, body, embedding) VALUES ('t', 'New.', {value})")
    };
    app.execute(&insert("array_fill(0.1, ARRAY[64])::vector"));
    let refused = app.client.batch_execute(&insert("NULL")).expect_err("a NULL");
    assert_eq!(refused.code(), Some(&SqlState::NOT_NULL_VIOLATION));
    let constraints = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'kokeshi%' AND \
                       conrelid = 'app.docs'::regclass";
    assert_eq!(app.value(constraints), "0");
    app.execute("SET ROLE reader; SELECT id, body, embedding FROM app.docs; RESET ROLE");
    let comment = app.value(
        "SELECT col_description('app.docs'::regclass, attnum) FROM pg_attribute \
                             WHERE attrelid = 'app.docs'::regclass AND attname = 'embedding'",
    );
    assert!(comment.starts_with("Of the body.\n{\"kokeshi\""), "{comment}");
    // The row that was written since has no old vector, until the application gives it one.
    app.steps(&["rollback"]);
    let without_not_null = before.replacen(" t ", " f ", 1);
    assert_eq!(app.value(attributes), without_not_null);
    assert_eq!(app.width("app.docs"), "3");
    app.execute("UPDATE app.docs SET embedding = '[1,1,1]', new = NULL WHERE embedding IS NULL");
    app.steps(&["run", "verify", "switch"]);
    assert_eq!(app.value(attributes), before, "the old column was NOT NULL at first");
    app.steps(&["rollback"]);
    assert_eq!(app.value(attributes), before);
    app.execute(&insert("'[1,2,3]'"));
    app.steps(&["run", "verify", "switch"]);
    passed(&app.step("clean", &["--yes"]));
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'kokeshi%'";
    assert_eq!(app.value(left), "0");
}

/// Everything that can depend on a column and follow it.
const DEPENDENTS: &str = "CREATE ROLE reader; CREATE ROLE author; GRANT USAGE, CREATE ON SCHEMA app TO author; \
     GRANT SELECT ON app.docs TO author; CREATE TABLE app.log (id bigint); \
     CREATE VIEW app.recent WITH (security_barrier = true) AS SELECT id, body AS words, embedding \
     FROM app.docs WHERE id > 2; \
     CREATE VIEW app.latest AS SELECT id, embedding FROM app.recent WHERE id > 10; \
     CREATE VIEW app.counted AS SELECT count(*) AS n FROM app.docs WHERE embedding IS NOT NULL; \
     CREATE VIEW app.over_counted AS SELECT n FROM app.counted; \
     COMMENT ON VIEW app.recent IS 'What''s new.'; COMMENT ON COLUMN app.recent.words IS 'Text.'; \
     GRANT SELECT ON app.recent, app.latest TO reader; GRANT UPDATE (words) ON app.recent TO reader; \
     ALTER VIEW app.recent OWNER TO author; \
     CREATE FUNCTION app.width(n bigint) RETURNS int LANGUAGE sql STABLE BEGIN ATOMIC \
     SELECT vector_dims(embedding) FROM app.docs WHERE id = n; END; \
     CREATE FUNCTION app.newest() RETURNS SETOF app.latest LANGUAGE sql STABLE BEGIN ATOMIC \
     SELECT * FROM app.latest; END; REVOKE ALL ON FUNCTION app.newest FROM PUBLIC; \
     GRANT EXECUTE ON FUNCTION app.newest TO reader; \
     CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN INSERT INTO app.log VALUES (NEW.id); RETURN NEW; END $$; \
     CREATE TRIGGER noted BEFORE UPDATE OF embedding ON app.docs FOR EACH ROW EXECUTE FUNCTION app.note(); \
     ALTER TABLE app.docs ENABLE ALWAYS TRIGGER noted; \
     CREATE POLICY filled ON app.docs FOR SELECT TO reader USING (embedding IS NOT NULL); \
     CREATE STATISTICS app.together ON (embedding IS NULL), title FROM app.docs; \
     ALTER TABLE app.docs ADD CONSTRAINT present CHECK (embedding IS NOT NULL OR body IS NULL)";

/// Descriptions of what depends on the column.
const ALL_DEPENDENTS: &str = "SELECT string_agg(description, E'\n' ORDER BY description) FROM (SELECT DISTINCT \
     pg_describe_object(classid, objid, 0) AS description FROM pg_depend WHERE deptype IN ('n', 'a') \
     AND refobjid = 'app.docs'::regclass AND refobjsubid = (SELECT attnum FROM pg_attribute WHERE \
     attrelid = refobjid AND attname = 'embedding')) AS all_of_them WHERE description NOT LIKE '%not_null%'";
/// Owners, grants, options and comments of the views.
const DEFINITIONS: &str = "SELECT string_agg(concat_ws(' ', relname, relowner::regrole, relacl, reloptions, \
     obj_description(oid), (SELECT string_agg(concat(attacl, col_description(attrelid, attnum)), ' ' \
     ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid)), E'\n' ORDER BY relname) \
     FROM pg_class c WHERE relkind = 'v' AND relnamespace = 'app'::regnamespace";
/// Owners and grants of the functions.
const FUNCTIONS: &str = "SELECT string_agg(concat_ws(' ', proname, proowner::regrole, proacl), E'\n' ORDER BY \
     proname) FROM pg_proc WHERE proname IN ('width', 'newest')";
/// The trigger, and whether it always fires.
const TRIGGERS: &str = "SELECT string_agg(pg_get_triggerdef(oid) || tgenabled::text, E'\n') FROM pg_trigger WHERE \
     tgname = 'noted'";

#[test]
fn what_depends_on_the_column_follows_it_and_comes_back() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    app.execute(DEPENDENTS);
    let states = [ALL_DEPENDENTS, DEFINITIONS, FUNCTIONS, TRIGGERS];
    let before = states.map(|sql| app.value(sql));
    assert!(
        before[0].contains("policy filled") && before[0].contains("constraint present"),
        "{}",
        before[0]
    );
    let planned = app.plan(&["--text", "body"]);
    passed(&planned);
    for part in [
        "view app.recent: is made anew",
        "view app.latest: is made anew",
        "view app.counted: is made anew",
        "function app.width(bigint): is made anew",
        "function app.newest(): is made anew",
        "trigger noted on table app.docs: is made anew",
        "policy filled on table app.docs: is made anew",
        "statistics object app.together: is made anew",
        "constraint present on table app.docs: is made anew",
    ] {
        assert!(planned.text().contains(part), "{part}: {}", planned.text());
    }
    app.steps(&["run", "verify", "switch"]);
    let check = |app: &mut Application, width: &str| {
        for relation in ["app.docs", "app.recent", "app.latest", "app.newest()"] {
            assert_eq!(app.width(relation), width, "{relation}");
        }
        assert_eq!(app.value("SELECT app.width(3)"), width);
        assert_eq!(states.map(|sql| app.value(sql)), before);
        app.execute("TRUNCATE app.log; UPDATE app.docs SET embedding = embedding WHERE id = 4");
        assert_eq!(app.value("SELECT id FROM app.log"), "4");
    };
    check(&mut app, NEW);
    assert!(app.step("verify", &[]).text().contains("nothing else reads the old vectors"));
    app.execute("CREATE VIEW app.stale AS SELECT embedding_before FROM app.docs");
    let stale = app.step("verify", &[]);
    assert_eq!(stale.status, Some(1), "{}", stale.text());
    assert!(stale.text().contains("still on the old vectors: view app.stale"), "{}", stale.text());
    app.execute("DROP VIEW app.stale");
    app.steps(&["rollback"]);
    check(&mut app, "3");
    app.steps(&["run", "verify", "switch"]);
    check(&mut app, NEW);
    passed(&app.step("clean", &["--yes"]));
    check(&mut app, NEW);
}

#[test]
fn what_cannot_follow_is_named_with_the_statements_that_help() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    app.execute(
        "CREATE MATERIALIZED VIEW app.kept AS SELECT id, embedding FROM app.docs; \
         CREATE UNIQUE INDEX kept_id ON app.kept (id); \
         ALTER TABLE app.docs ADD COLUMN dims int GENERATED ALWAYS AS (vector_dims(embedding)) STORED",
    );
    let planned = app.plan(&["--text", "body"]);
    passed(&planned);
    assert!(
        planned.text().contains("materialized view app.kept: cannot be made anew"),
        "{}",
        planned.text()
    );
    app.steps(&["run", "verify"]);
    let refused = app.step("switch", &[]);
    for part in [
        "materialized view app.kept",
        "cannot follow readers of `embedding`",
        "DROP MATERIALIZED VIEW app.kept; ",
        "CREATE UNIQUE INDEX kept_id ON app.kept",
        "ADD COLUMN dims integer GENERATED ALWAYS AS (public.vector_dims(embedding)) STORED",
    ] {
        assert!(refused.failure(4).contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(app.width("app.docs"), "3", "nothing has changed");
    let statements =
        refused.stderr.split_once("after that: ").expect("statements").1.trim().to_owned();
    // The hint is the last line; the column is created again first.
    let (first, last) = statements.split_once("; ALTER TABLE app.docs ADD").expect("two parts");
    app.execute(first);
    app.steps(&["switch"]);
    app.execute(&format!("ALTER TABLE app.docs ADD{last}"));
    assert_eq!(app.width("app.kept"), NEW);
    assert_eq!(app.value("SELECT max(dims) FROM app.docs"), NEW);
}

#[test]
fn a_text_that_changes_unseen_is_embedded_again() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    // Its name comes after those of most triggers.
    app.execute(
        "CREATE FUNCTION app.fill() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.body := 'About ' || NEW.title; RETURN NEW; END $$; \
         CREATE TRIGGER zz_fill BEFORE UPDATE OF title ON app.docs FOR EACH ROW EXECUTE FUNCTION app.fill()",
    );
    passed(&app.plan(&["--text", "body"]));
    app.steps(&["run", "verify"]);
    app.execute("UPDATE app.docs SET title = 'lamps' WHERE id = 3");
    assert_eq!(app.value("SELECT body FROM app.docs WHERE new IS NULL"), "About lamps");
    assert!(success(&app.step("run", &[])).contains("wrote 1 document"));
    app.steps(&["verify"]);
    // No trigger fires, as when rows are replicated.
    app.execute(
        "SET session_replication_role = replica; UPDATE app.docs SET body = 'Unseen.' WHERE id = 5; \
         RESET session_replication_role",
    );
    assert_eq!(app.value("SELECT count(*) FROM app.docs WHERE new IS NULL"), "0");
    let plan = std::fs::read_to_string(app.sandbox.path("new.plan.toml")).expect("a plan");
    app.sandbox.write("new.plan.toml", plan.replace("sample = 200", "sample = 1"));
    let failed = app.step("verify", &[]);
    assert!(
        failed.text().contains("1 changed in the old collection since: 5"),
        "{}",
        failed.text()
    );
    assert!(success(&app.step("run", &[])).contains("wrote 1 document"));
    app.steps(&["verify", "switch"]);
}

#[test]
fn the_index_is_that_of_the_replaced_column() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    app.execute(
        "ALTER TABLE app.docs ADD COLUMN other vector(3); \
         CREATE INDEX ON app.docs USING hnsw (other vector_cosine_ops); \
         CREATE INDEX ON app.docs USING hnsw (embedding vector_l2_ops) WITH (m = 7, ef_construction = 33) \
         WHERE id > 1",
    );
    let refused = app.plan(&["--text", "body", "--from", "wrong"]);
    assert!(refused.failure(4).contains("it has `embedding`, `other`"), "{}", refused.stderr);
    passed(&app.plan(&["--text", "body"]));
    app.steps(&["run"]);
    let index = "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%(new %'";
    let wanted = "vector_l2_ops) WITH (m='7', ef_construction='33') WHERE (id > 1)";
    assert!(app.value(index).contains(wanted), "{}", app.value(index));
    let verified = app.step("verify", &[]);
    passed(&verified);
    assert!(verified.text().contains("the planner uses one for `<->`"), "{}", verified.text());
    app.execute("DROP INDEX app.docs_new_idx");
    let failed = app.step("verify", &[]);
    assert!(failed.text().contains("the planner uses none for `<->`"), "{}", failed.text());
    assert_eq!(failed.status, Some(1));
    app.steps(&["run", "verify", "switch"]);
}

#[test]
fn a_generated_text_is_embedded_and_what_cannot_be_moved_is_said_at_once() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    app.execute(
        "ALTER TABLE app.docs ADD COLUMN whole text GENERATED ALWAYS AS (title || ': ' || body) STORED; \
         CREATE TABLE app.pairs (a int, b int, text text, v vector(3), PRIMARY KEY (a, b)); \
         CREATE TABLE app.parts (id int, text text, v vector(3)) PARTITION BY RANGE (id); \
         CREATE TABLE app.part PARTITION OF app.parts FOR VALUES FROM (1) TO (9); \
         CREATE VIEW app.seen AS SELECT * FROM app.docs; \
         CREATE TABLE app.owned (id int PRIMARY KEY, text text, v vector(3)); \
         ALTER TABLE app.owned ENABLE ROW LEVEL SECURITY; CREATE ROLE other LOGIN PASSWORD 'kokeshi-test'; \
         GRANT USAGE ON SCHEMA app TO other; GRANT SELECT, UPDATE ON app.owned TO other",
    );
    let (own, model) = (app.address.clone(), tiny_v3().display().to_string());
    let other = own.replacen("kokeshi:", "other:", 1);
    for (table, more, wanted) in [
        ("app.pairs", &["--id", "a"][..], "its primary key has 2 columns (a, b), and `a` alone"),
        ("app.parts", &[], "cannot open table `app.parts` of"),
        ("app.parts", &[], "it is a partitioned table; kokeshi opens plain tables only"),
        ("app.part", &[], "it is a partition, whose columns"),
        ("app.seen", &[], "it is a view"),
        ("app.none", &[], "it does not exist; the search path is"),
        ("app.owned", &["--store", &other], "its row-level security applies to this user"),
    ] {
        let store = if more.contains(&"--store") { &[][..] } else { &["--store", own.as_str()] };
        let plan =
            ["migrate", "plan", "--table", table, "--text", "text", "--to", "x", "--from", "v"];
        let refused =
            app.sandbox.run(plan.iter().chain(&["--model", &model]).chain(store).chain(more));
        let message = refused.failure(4);
        assert!(message.contains(wanted) && !message.contains("is not the address"), "{message}");
    }
    passed(&app.plan(&["--text", "whole"]));
    app.steps(&["run", "verify"]);
    // A user who may change a text need not have the right to change vectors.
    app.execute(
        "CREATE ROLE editor; GRANT USAGE ON SCHEMA app TO editor; \
         GRANT SELECT (id), UPDATE (title) ON app.docs TO editor; SET ROLE editor; \
         UPDATE app.docs SET title = 'lamps' WHERE id = 3; RESET ROLE",
    );
    assert_eq!(app.value("SELECT whole FROM app.docs WHERE new IS NULL"), "lamps: Text number 3.");
    assert!(success(&app.step("run", &[])).contains("wrote 1 document"));
    app.steps(&["verify", "switch", "rollback"]);
    app.execute("UPDATE app.docs SET title = 'ships' WHERE id = 4");
    assert_eq!(app.value("SELECT whole FROM app.docs WHERE new IS NULL"), "ships: Text number 4.");
}

#[test]
fn pgvector_may_be_in_a_schema_of_its_own() {
    let prepare = "CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions; \
                   SET search_path = public, extensions";
    let Some(mut app) = Application::start(&[prepare, TABLE]) else { return };
    app.execute(
        "CREATE INDEX ON app.docs USING hnsw (embedding vector_l2_ops); \
         CREATE VIEW app.near AS SELECT id, embedding <-> '[1,2,3]' AS distance FROM app.docs; \
         CREATE VIEW app.recent AS SELECT id, embedding FROM app.docs",
    );
    passed(&app.plan(&["--text", "body"]));
    app.steps(&["run", "verify"]);
    let refused = app.step("switch", &["--dry-run"]);
    assert!(refused.quiet().contains("extensions.<->"), "{}", refused.text());
    app.execute("DROP VIEW app.near");
    app.steps(&["switch"]);
    assert_eq!(app.width("app.recent"), NEW);
    app.steps(&["rollback", "run", "verify", "switch"]);
    passed(&app.step("clean", &["--yes"]));
    // Collections of kokeshi as well.
    let (store, model) = (app.address.clone(), tiny_v3().display().to_string());
    app.sandbox.write("a.txt", "Ships carry bread.");
    let index = ["index", "a.txt", "--store", &store, "--model", &model, "--shortlist", "bits"];
    passed(&app.sandbox.run(index));
    let found = app.sandbox.run(["search", "bread", "--store", &store, "--json"]);
    assert!(found.text().contains("Ships carry bread."), "{}", found.stderr);
}

/// Passes connections on to a server, and keeps the names of the statements that clients prepare.
fn tap(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (own, names) = (listener.local_addr().expect("an address").port(), Arc::default());
    let all = Arc::clone(&names);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).expect("a server");
            let (mut from, mut to) =
                (server.try_clone().expect("a stream"), client.try_clone().expect("a stream"));
            std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
            let names = Arc::clone(&all);
            std::thread::spawn(move || drop(pass_on(client, server, &names)));
        }
    });
    (own, names)
}

/// Messages are a kind, a length and a body; the first one has no kind.
fn pass_on(
    mut from: TcpStream,
    mut to: TcpStream,
    names: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut kind = Vec::new();
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        from.read_exact(&mut body)?;
        if kind == b"P" {
            let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
            names.lock().expect("no panic").push(String::from_utf8_lossy(name).into_owned());
        }
        to.write_all(&[&kind[..], &length, &body].concat())?;
        kind = vec![0];
        from.read_exact(&mut kind)?;
    }
}

#[test]
fn statements_have_no_names_that_another_client_of_a_pooler_could_have_taken() {
    let Some(mut app) = Application::start(&[EXTENSION, TABLE]) else { return };
    let port: u16 = app.address.rsplit([':', '/']).nth(1).expect("a port").parse().expect("a port");
    let (own, names) = tap(port);
    app.address =
        app.address.replace(&format!(":{port}/"), &format!(":{own}/")) + "?sslmode=disable";
    passed(&app.plan(&["--text", "body"]));
    app.steps(&["run", "verify", "switch", "rollback", "run", "verify", "switch"]);
    passed(&app.step("clean", &["--yes"]));
    let names = names.lock().expect("no panic");
    assert!(names.len() > 100 && names.iter().all(String::is_empty), "{names:?}");
}

#[test]
fn a_text_that_postgres_cannot_store_is_set_aside() {
    let Some(server) = crate::server("postgres") else { return };
    drop(connected(&server));
    let (sandbox, store) = (Sandbox::new(), server.address());
    let row = |id: &str, text: &str| json!({ "id": id, "text": text }).to_string() + "\n";
    sandbox.write("old.jsonl", row("a", "One.") + &row("b", "Two\0.") + &row("c\0", "Three."));
    let model = tiny_v3().display().to_string();
    let plan =
        ["migrate", "plan", "--source", "old.jsonl", "--store", &store, "--to", "new", "--model"];
    passed(&sandbox.run(plan.iter().chain(&[model.as_str()])));
    let run = step(&sandbox, "run", &["--store", &store]);
    assert_eq!(run.status, Some(3), "{}", run.stderr);
    let failed = std::fs::read_to_string(sandbox.path("new.plan.failed.jsonl")).expect("failures");
    assert!(failed.contains("its text contains the character U+0000"), "{failed}");
    assert!(failed.contains("its path contains the character U+0000"), "{failed}");
    assert_eq!(step(&sandbox, "verify", &["--store", &store]).status, Some(1));
    sandbox.write("old.jsonl", row("a", "One.") + &row("b", "Two.") + &row("c", "Three."));
    for one in ["run", "verify", "switch"] {
        passed(&step(&sandbox, one, &["--store", &store]));
    }
}

/// Makes an authority and a certificate for another name, and passes TLS on to a server: PostgreSQL's
/// handshake begins with a request for it.
const TLS: &str = r#"
import socket, ssl, subprocess, sys, threading
folder, target = sys.argv[1], int(sys.argv[2])
def run(*arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stderr=subprocess.DEVNULL)
run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "9", "-subj", "/CN=Private")
run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "db.key", "-out", "db.csr", "-subj", "/CN=db")
open(folder + "/ext", "w").write("subjectAltName=DNS:" + sys.argv[3])
run("x509", "-req", "-in", "db.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "db.pem", "-days", "9", "-extfile", "ext")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/db.pem", folder + "/db.key")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    b.close()
def serve(raw):
    try:
        raw.recv(8)
        raw.sendall(b"S")
        client = context.wrap_socket(raw, server_side=True)
    except OSError:
        return
    server = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=copy, args=(client, server), daemon=True).start()
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// The proxy of [`TLS`], whose certificate is for `name`, and its port; it ends when it is dropped.
struct TlsProxy(std::process::Child, u16);

impl TlsProxy {
    fn start(sandbox: &Sandbox, server: u16, name: &str) -> Self {
        let (folder, port) = (sandbox.path("."), server.to_string());
        let mut child = std::process::Command::new("python3")
            .args(["-c", TLS, folder.to_str().expect("a path"), &port, name])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)
            .expect("a port");
        Self(child, line.trim().parse().expect("a port"))
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_private_authority_is_trusted_by_its_file_and_names_are_checked() {
    let Some(app) = Application::start(&[EXTENSION, TABLE]) else { return };
    let port: u16 = app.address.rsplit([':', '/']).nth(1).expect("a port").parse().expect("a port");
    let proxy = TlsProxy::start(&app.sandbox, port, "localhost");
    let root = app.sandbox.path("ca.pem").display().to_string();
    let status = |host: &str, parameters: &str| {
        let address =
            app.address.replace(&format!("127.0.0.1:{port}/"), &format!("{host}:{}/", proxy.1));
        app.sandbox.run(["status", "--store", &format!("{address}?{parameters}")])
    };
    let trusted = format!("sslrootcert={root}");
    passed(&status("localhost", &format!("sslmode=verify-full&{trusted}")));
    passed(&status("localhost", &format!("sslmode=require&{trusted}")));
    let refused = status("127.0.0.1", &format!("sslmode=verify-full&{trusted}"));
    assert!(refused.failure(4).contains("certificate"), "{}", refused.stderr);
    passed(&status("127.0.0.1", &format!("sslmode=verify-ca&{trusted}")));
    for mode in ["sslmode=verify-full", "sslmode=verify-ca", "sslmode=require"] {
        let refused = status("localhost", mode);
        let message = refused.failure(4);
        assert!(message.contains("sslrootcert=FILE") && !message.contains("disable"), "{message}");
    }
    let refused = status("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem");
    assert!(
        refused.failure(4).contains("sslrootcert cannot be used: /nowhere.pem"),
        "{}",
        refused.stderr
    );
    let address =
        app.address.replace(&format!("127.0.0.1:{port}/"), &format!("localhost:{}/", proxy.1));
    let mut command = app.sandbox.command(crate::PROGRAM, ["status", "--store", &address]);
    let output = command.env("SSL_CERT_FILE", &root).output().expect("a run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

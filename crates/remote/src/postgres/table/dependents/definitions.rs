//! How each kind of dependent is removed and created again.

use super::{Fate, Key};
use crate::postgres::queries::Queries as _;
use crate::postgres::table::columns::{Column, literal};
use crate::postgres::table::schema::quoted;
use postgres::{Error, Row, Transaction};

/// An object as it is defined now.
#[derive(Debug)]
pub(super) enum Definition {
    View {
        text: String,
        name: String,
        has_vectors: bool,
        rest: Vec<String>,
    },
    Function {
        name: String,
        text: String,
        rest: Vec<String>,
    },
    /// Any other kind that can be dropped, or altered, and created again.
    Object {
        before: Vec<String>,
        after: Vec<String>,
        finally: Vec<String>,
    },
    Index {
        text: String,
        is_plain: bool,
    },
    Default {
        column: i16,
    },
    Blocks {
        before: Vec<String>,
        after: Vec<String>,
    },
    /// It belongs to the column, and is dealt with there.
    Part,
}

impl Definition {
    /// Whether it has to be dropped: the columns of a view cannot change their types, and nothing
    /// can depend on what does not exist.
    pub(super) fn is_dropped(&self, parent_is_dropped: bool) -> bool {
        match self {
            Self::View { has_vectors, .. } => parent_is_dropped || *has_vectors,
            Self::Function { .. } => parent_is_dropped,
            _ => false,
        }
    }

    pub(super) fn into_fate(self, is_dropped: bool, of: &Column) -> Option<Fate> {
        let follows = |before, after| Fate::Follows { before, after, finally: Vec::new() };
        Some(match (self, is_dropped) {
            (Self::View { text, name, rest, .. }, true) => {
                let create = vec![format!("CREATE VIEW {text}")];
                follows(vec![format!("DROP VIEW {name}")], [create, rest].concat())
            }
            (Self::View { text, .. }, false) => {
                follows(Vec::new(), vec![format!("CREATE OR REPLACE VIEW {text}")])
            }
            (Self::Function { name, text, rest }, true) => {
                follows(vec![format!("DROP ROUTINE {name}")], [vec![text], rest].concat())
            }
            (Self::Function { text, .. }, false) => follows(Vec::new(), vec![text]),
            (Self::Object { before, after, finally }, _) => {
                Fate::Follows { before, after, finally }
            }
            (Self::Index { is_plain: true, .. }, _) => {
                Fate::Stays("the new column gets one with its operator class".to_owned())
            }
            (Self::Index { text, .. }, _) => Fate::Stays(format!(
                "the new column gets none like it, which you can create before the switch; this one \
                 is {text}"
            )),
            (Self::Default { column }, _) if column == of.number => {
                Fate::Stays("the new column has no default".to_owned())
            }
            (Self::Default { .. } | Self::Part, _) => return None,
            (Self::Blocks { before, after }, _) => Fate::Blocks { before, after },
        })
    }
}

/// What an object is, for people, and its definition.
pub(super) fn read(
    transaction: &mut Transaction<'_>,
    (catalog, id): &Key,
) -> Result<(String, Definition), Error> {
    let sql = "SELECT pg_describe_object($1::text::regclass, $2, 0), \
               coalesce((SELECT relkind::text FROM pg_class WHERE oid = $2 AND $1 = 'pg_class'), '')";
    let row = transaction.row(sql, &[catalog, id])?;
    let (what, kind): (String, String) = (row.get(0), row.get(1));
    let definition = match (catalog.as_str(), kind.as_str()) {
        ("pg_class", "v") => view(transaction, *id)?,
        ("pg_class", "m") => materialized_view(transaction, *id)?,
        ("pg_class", "i") => index(transaction, *id)?,
        ("pg_proc", _) => function(transaction, *id)?,
        ("pg_trigger", _) => trigger(transaction, *id)?,
        ("pg_policy", _) => policy(transaction, *id)?,
        ("pg_constraint", _) => constraint(transaction, *id)?,
        ("pg_statistic_ext", _) => statistics(transaction, *id)?,
        ("pg_attrdef", _) => default(transaction, *id)?,
        _ => Definition::Blocks { before: Vec::new(), after: Vec::new() },
    };
    Ok((what, definition))
}

fn view(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT oid::regclass::text, rtrim(pg_get_viewdef(oid), ';'), coalesce(reloptions, '{}'), \
               EXISTS (SELECT 1 FROM pg_attribute JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_type e \
               ON e.oid = t.typelem WHERE attrelid = c.oid AND attnum > 0 AND ('vector' IN (t.typname, \
               e.typname) OR 'halfvec' IN (t.typname, e.typname))) FROM pg_class c WHERE oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let (name, text, options): (String, String, Vec<String>) = (row.get(0), row.get(1), row.get(2));
    let options = match options.is_empty() {
        true => String::new(),
        false => format!(" WITH ({})", options.join(", ")),
    };
    let rest = relation_rest(transaction, id, ("VIEW", &name))?;
    let text = format!("{name}{options} AS{}{text}", if text.starts_with(' ') { "" } else { " " });
    Ok(Definition::View { text, name, has_vectors: row.get(3), rest })
}

/// Statements that give a new view, called `name`, what the old one has besides its text; the first
/// one gives it its owner.
fn relation_rest(
    transaction: &mut Transaction<'_>,
    id: u32,
    (kind, name): (&str, &str),
) -> Result<Vec<String>, Error> {
    let sql = "SELECT pg_get_userbyid(relowner), obj_description(oid, 'pg_class') FROM pg_class \
               WHERE oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let mut rest = vec![format!("ALTER {kind} {name} OWNER TO {}", quoted(row.get(0)))];
    rest.extend(unexpected_grants(transaction, name, "r")?);
    let acl = "SELECT a.*, NULL::name FROM pg_class, aclexplode(relacl) a WHERE oid = $1 AND \
               grantee <> relowner UNION ALL SELECT a.*, attname FROM pg_attribute, aclexplode(attacl) a \
               WHERE attrelid = $1";
    rest.extend(grants(transaction, id, acl, name)?);
    let comment = row.get::<_, Option<&str>>(1);
    rest.extend(comment.map(|text| format!("COMMENT ON {kind} {name} IS {}", literal(text))));
    let sql = "SELECT attname, col_description($1, attnum), (SELECT pg_get_expr(adbin, adrelid) FROM \
               pg_attrdef WHERE adrelid = $1 AND adnum = attnum) FROM pg_attribute \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    for row in transaction.rows(sql, &[&id])? {
        let column = quoted(row.get(0));
        let comment = row.get::<_, Option<&str>>(1);
        rest.extend(
            comment.map(|text| format!("COMMENT ON COLUMN {name}.{column} IS {}", literal(text))),
        );
        let default = row.get::<_, Option<&str>>(2);
        rest.extend(
            default.map(|value| {
                format!("ALTER {kind} {name} ALTER COLUMN {column} SET DEFAULT {value}")
            }),
        );
    }
    Ok(rest)
}

/// Statements that take away what default privileges give to every new object of a kind.
fn unexpected_grants(
    transaction: &mut Transaction<'_>,
    name: &str,
    kind: &str,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) \
               END FROM pg_default_acl, aclexplode(defaclacl) WHERE defaclobjtype::text = $1 AND \
               defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND grantee <> defaclrole";
    let object = if kind == "f" { "ROUTINE " } else { "" };
    let revoke = |row: &Row| format!("REVOKE ALL ON {object}{name} FROM {}", row.get::<_, &str>(0));
    Ok(transaction.rows(sql, &[&kind])?.iter().map(revoke).collect())
}

/// The `GRANT` statements of an object; `acl` selects its exploded privileges, and the column that
/// each is for.
fn grants(
    transaction: &mut Transaction<'_>,
    id: u32,
    acl: &str,
    name: &str,
) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE \
         quote_ident(pg_get_userbyid(grantee)) END, is_grantable, attname::text \
         FROM ({acl}) AS a (grantor, grantee, privilege_type, is_grantable, attname)"
    );
    let grant = |row: &Row| {
        let (privilege, to): (&str, &str) = (row.get(0), row.get(1));
        let column = row.get::<_, Option<&str>>(3);
        let column = column.map_or_else(String::new, |column| format!(" ({})", quoted(column)));
        let option = if row.get(2) { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {privilege}{column} ON {name} TO {to}{option}")
    };
    Ok(transaction.rows(&sql, &[&id])?.iter().map(grant).collect())
}

/// A materialized view keeps its rows, and filling it again would block its readers for long.
fn materialized_view(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT oid::regclass::text, rtrim(pg_get_viewdef(oid), ';'), \
               ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1) \
               FROM pg_class WHERE oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let (name, text, indexes): (String, String, Vec<String>) = (row.get(0), row.get(1), row.get(2));
    let mut after = vec![format!("CREATE MATERIALIZED VIEW {name} AS{text}")];
    after.extend(indexes);
    after.extend(relation_rest(transaction, id, ("MATERIALIZED VIEW", &name))?);
    Ok(Definition::Blocks { before: vec![format!("DROP MATERIALIZED VIEW {name}")], after })
}

fn function(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT oid::regprocedure::text, pg_get_functiondef(oid), pg_get_userbyid(proowner), \
               obj_description(oid, 'pg_proc'), proacl IS NOT NULL FROM pg_proc \
               WHERE oid = $1 AND prokind IN ('f', 'p', 'w')";
    let Some(row) = transaction.row_if_any(sql, &[&id])? else {
        return Ok(Definition::Blocks { before: Vec::new(), after: Vec::new() });
    };
    let name: String = row.get(0);
    let mut rest = vec![format!("ALTER ROUTINE {name} OWNER TO {}", quoted(row.get(2)))];
    rest.extend(unexpected_grants(transaction, &name, "f")?);
    if row.get(4) {
        rest.push(format!("REVOKE ALL ON ROUTINE {name} FROM PUBLIC"));
        let acl = "SELECT a.*, NULL::name FROM pg_proc, aclexplode(proacl) a WHERE oid = $1 AND \
                   grantee <> proowner";
        rest.extend(grants(transaction, id, acl, &format!("ROUTINE {name}"))?);
    }
    let comment = row.get::<_, Option<&str>>(3);
    rest.extend(comment.map(|text| format!("COMMENT ON ROUTINE {name} IS {}", literal(text))));
    Ok(Definition::Function { name, text: row.get(1), rest })
}

fn trigger(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT quote_ident(tgname), tgrelid::regclass::text, pg_get_triggerdef(oid), \
               tgenabled::text, obj_description(oid, 'pg_trigger') FROM pg_trigger \
               WHERE oid = $1 AND NOT tgisinternal";
    let Some(row) = transaction.row_if_any(sql, &[&id])? else { return Ok(Definition::Part) };
    let (name, table, text): (&str, &str, String) = (row.get(0), row.get(1), row.get(2));
    let mut after = vec![text];
    let state = match row.get::<_, &str>(3) {
        "D" => Some("DISABLE"),
        "R" => Some("ENABLE REPLICA"),
        "A" => Some("ENABLE ALWAYS"),
        _ => None,
    };
    after.extend(state.map(|state| format!("ALTER TABLE {table} {state} TRIGGER {name}")));
    let comment = row.get::<_, Option<&str>>(4);
    after.extend(
        comment.map(|text| format!("COMMENT ON TRIGGER {name} ON {table} IS {}", literal(text))),
    );
    let before = vec![format!("DROP TRIGGER {name} ON {table}")];
    Ok(Definition::Object { before, after, finally: Vec::new() })
}

fn policy(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT quote_ident(polname), polrelid::regclass::text, pg_get_expr(polqual, polrelid), \
               pg_get_expr(polwithcheck, polrelid) FROM pg_policy WHERE oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let (name, table): (&str, &str) = (row.get(0), row.get(1));
    let clause = |keyword: &str, at: usize| match row.get::<_, Option<&str>>(at) {
        Some(condition) => format!(" {keyword} ({condition})"),
        None => String::new(),
    };
    let (using, check) = (clause("USING", 2), clause("WITH CHECK", 3));
    let after = vec![format!("ALTER POLICY {name} ON {table}{using}{check}")];
    Ok(Definition::Object { before: Vec::new(), after, finally: Vec::new() })
}

/// A constraint of the table. The rows are checked after the switch, which would wait for long.
fn constraint(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT quote_ident(conname), conrelid::regclass::text, pg_get_constraintdef(oid), \
               pg_get_expr(conbin, conrelid), convalidated, contype::text, \
               obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let (name, table, text): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let Some(condition) = row.get::<_, Option<&str>>(3) else {
        // NOT NULL is an attribute; keys have an index.
        return Ok(Definition::Part);
    };
    if name.starts_with("kokeshi_") {
        return Ok(Definition::Part);
    }
    let is_valid: bool = row.get(4);
    let text = if is_valid { format!("{text} NOT VALID") } else { text.to_owned() };
    let mut after = vec![
        format!("ALTER TABLE {table} ADD CONSTRAINT {name} {text}"),
        probe(table, name, condition),
    ];
    let comment = row.get::<_, Option<&str>>(6);
    after.extend(
        comment.map(|text| format!("COMMENT ON CONSTRAINT {name} ON {table} IS {}", literal(text))),
    );
    let validate = is_valid.then(|| format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}"));
    Ok(Definition::Object {
        before: vec![format!("ALTER TABLE {table} DROP CONSTRAINT {name}")],
        after,
        finally: validate.into_iter().collect(),
    })
}

/// The statement that fails if rows do not satisfy a constraint; it looks at some of them, because
/// others wait for it.
fn probe(table: &str, name: &str, condition: &str) -> String {
    let message = literal(&format!(
        "the new vectors do not satisfy the constraint {name}: CHECK {condition}; change or drop it"
    ));
    format!(
        "DO $kokeshi$ BEGIN IF EXISTS (SELECT 1 FROM (SELECT * FROM {table} LIMIT 1000) AS sample \
         WHERE NOT {condition}) THEN RAISE check_violation USING MESSAGE = {message}; END IF; END $kokeshi$"
    )
}

fn statistics(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT format('%I.%I', nspname, stxname), pg_get_statisticsobjdef(s.oid), \
               pg_get_userbyid(stxowner), coalesce(stxstattarget::int, -1), \
               obj_description(s.oid, 'pg_statistic_ext') FROM pg_statistic_ext s \
               JOIN pg_namespace n ON n.oid = stxnamespace WHERE s.oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let (name, target): (&str, i32) = (row.get(0), row.get(3));
    let owner = quoted(row.get(2));
    let mut after = vec![row.get(1), format!("ALTER STATISTICS {name} OWNER TO {owner}")];
    if target >= 0 {
        after.push(format!("ALTER STATISTICS {name} SET STATISTICS {target}"));
    }
    let comment = row.get::<_, Option<&str>>(4);
    after.extend(comment.map(|text| format!("COMMENT ON STATISTICS {name} IS {}", literal(text))));
    let before = vec![format!("DROP STATISTICS {name}")];
    Ok(Definition::Object { before, after, finally: Vec::new() })
}

/// A default, or the expression of a generated column, whose values only a new column would have.
fn default(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT adnum, attgenerated::text, adrelid::regclass::text, quote_ident(attname), \
               format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid) FROM pg_attrdef \
               JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE pg_attrdef.oid = $1";
    let row = transaction.row(sql, &[&id])?;
    let kind = match row.get::<_, &str>(1) {
        "s" => "STORED",
        "v" => "VIRTUAL",
        _ => return Ok(Definition::Default { column: row.get(0) }),
    };
    let [table, name, of, value] = [2, 3, 4, 5].map(|at| row.get::<_, &str>(at));
    Ok(Definition::Blocks {
        before: vec![format!("ALTER TABLE {table} DROP COLUMN {name}")],
        after: vec![format!(
            "ALTER TABLE {table} ADD COLUMN {name} {of} GENERATED ALWAYS AS ({value}) {kind}"
        )],
    })
}

fn index(transaction: &mut Transaction<'_>, id: u32) -> Result<Definition, Error> {
    let sql = "SELECT pg_get_indexdef(indexrelid), indexprs IS NULL AND indpred IS NULL AND indnatts = 1 \
               AND amname IN ('hnsw', 'ivfflat') FROM pg_index JOIN pg_class ON oid = indexrelid \
               JOIN pg_am ON pg_am.oid = relam WHERE indexrelid = $1";
    let row = transaction.row(sql, &[&id])?;
    Ok(Definition::Index { text: row.get(0), is_plain: row.get(1) })
}

//! A switch: another column gets the name that readers use, and what belongs to that name.

use super::attributes;
use super::columns::{Column, LOCK_TIMEOUT};
use super::dependents::{self, Dependent, Fate};
use super::guard;
use super::schema::{TableSchema, quoted};
use postgres::{Error, Transaction};

/// The statements of a switch.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// Those that block readers, for a moment, in one transaction.
    pub(super) transaction: Vec<String>,
    /// Those that make the column NOT NULL again, and look at all rows for that.
    pub(super) fill: Option<Fill>,
    /// Those that check constraints afterwards.
    pub(super) finally: Vec<String>,
}

/// How a column becomes NOT NULL: the rows are checked while others read and write.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    pub(super) validate: String,
    pub(super) set: [String; 2],
    /// What remains to be done if a row has no vector.
    pub(super) give_up: String,
}

/// Why a name cannot be given to a column.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// Another column has the name.
    Taken(String),
    /// Objects cannot follow: what they are, and statements that remove and create them.
    Blocked { objects: Vec<String>, statements: Vec<String> },
}

/// The names of a switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    /// The name that readers use.
    pub(super) name: &'a str,
    /// The column that gets it.
    pub(super) target: &'a Column,
    /// The name of the column that has it now, unless kokeshi created that.
    pub(super) kept: Option<&'a str>,
    /// Whether every row has a vector in the target.
    pub(super) is_full: bool,
}

impl Fill {
    /// How the column `column`, which is called `name`, becomes NOT NULL.
    pub(super) fn new(schema: &TableSchema, column: &Column, name: &str) -> Self {
        let (table, constraint) = (&schema.table, column.filled_constraint(schema));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {constraint}");
        Self {
            validate: format!("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}"),
            set: [format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL"), drop.clone()],
            give_up: drop,
        }
    }
}

impl Statements {
    /// All of them in order, for people.
    pub(super) fn into_lines(self) -> Vec<String> {
        if self.transaction.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["BEGIN".to_owned()];
        lines.extend(self.transaction);
        lines.push("COMMIT".to_owned());
        if let Some(Fill { validate, set, .. }) = self.fill {
            lines.push(validate);
            lines.extend(set);
        }
        lines.extend(self.finally);
        lines
    }
}

/// The statements that take all locks of a switch, in the order in which a reader takes them: from
/// the outermost view to the table.
pub(super) fn locks(schema: &TableSchema, dependents: &[Dependent]) -> Vec<String> {
    let views = dependents.iter().rev().filter_map(|dependent| dependent.lock.clone());
    views.chain([format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", schema.table)]).collect()
}

/// The statements that give a name to a column; none if it already has it. The column that has the
/// name now gets its own name back if kokeshi created it, and is called `kept` otherwise. A column
/// that kokeshi created has triggers only until readers use it: from then on, the other program
/// writes its vectors.
///
/// # Errors
///
/// If a query fails; in the result, what is in the way.
pub(super) fn statements(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    all: &[Column],
    names: Names<'_>,
) -> Result<Result<Statements, Obstacle>, Error> {
    let Names { name, target, .. } = names;
    if target.name == name {
        return Ok(Ok(Statements::default()));
    }
    let mut statements = vec![LOCK_TIMEOUT.to_owned()];
    let Some(current) = all.iter().find(|column| column.name == name) else {
        if schema.columns.iter().any(|column| column == name) {
            return Ok(Err(Obstacle::Taken(name.to_owned())));
        }
        statements.extend(retire_guard(schema, target));
        statements.push(rename(schema, &target.name, name));
        return Ok(Ok(Statements { transaction: statements, ..Statements::default() }));
    };
    let to = match new_name(schema, all, current, names) {
        Ok(to) => to,
        Err(taken) => return Ok(Err(Obstacle::Taken(taken))),
    };
    let dependents = dependents::of(transaction, schema, current)?;
    if let Some(blocked) = blocked(&dependents) {
        return Ok(Err(blocked));
    }
    statements.extend(locks(schema, &dependents));
    statements.extend(retire_guard(schema, target));
    let mut handover = handover(transaction, schema, (current, &quoted(&to)), names)?;
    let [before, after, finally] = steps(dependents);
    statements.extend(before);
    statements.extend([rename(schema, name, &to), rename(schema, &target.name, name)]);
    statements.append(&mut handover.transaction);
    statements.extend(after);
    Ok(Ok(Statements { transaction: statements, fill: handover.fill, finally }))
}

fn rename(schema: &TableSchema, from: &str, to: &str) -> String {
    format!("ALTER TABLE {} RENAME COLUMN {} TO {}", schema.table, quoted(from), quoted(to))
}

/// Statements that end the watch over a column which readers will use.
fn retire_guard(schema: &TableSchema, target: &Column) -> Vec<String> {
    match target.is_own && target.name == target.collection {
        true => guard::drop_triggers(schema, target),
        false => Vec::new(),
    }
}

/// The new name of the column that has the name of the switch now.
fn new_name(
    schema: &TableSchema,
    all: &[Column],
    current: &Column,
    Names { name, kept, .. }: Names<'_>,
) -> Result<String, String> {
    let own = (current.collection != name).then_some(current.collection.as_str());
    let to = own.or(kept).ok_or_else(|| name.to_owned())?;
    let is_taken = schema.columns.iter().any(|column| column == to)
        || all.iter().any(|column| column.name == to);
    if is_taken { Err(to.to_owned()) } else { Ok(to.to_owned()) }
}

fn blocked(dependents: &[Dependent]) -> Option<Obstacle> {
    let (mut objects, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for Dependent { what, fate, .. } in dependents {
        if let Fate::Blocks { before, after } = fate {
            objects.push(what.clone());
            first.splice(..0, before.iter().cloned());
            last.extend(after.iter().cloned());
        }
    }
    let statements = [first, last].concat();
    (!objects.is_empty()).then_some(Obstacle::Blocked { objects, statements })
}

/// The statements of all dependents before and after columns are renamed, and after the switch.
fn steps(dependents: Vec<Dependent>) -> [Vec<String>; 3] {
    let mut steps = [Vec::new(), Vec::new(), Vec::new()];
    for dependent in dependents {
        if let Fate::Follows { before, after, finally } = dependent.fate {
            // The last one that was created is the first to go.
            steps[0].splice(..0, before);
            steps[1].extend(after);
            steps[2].extend(finally);
        }
    }
    steps
}

/// Statements after the renaming: `current` is called `to` by then, and the target has the name. It
/// gets the attributes of `current`.
fn handover(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (current, to): (&Column, &str),
    Names { name, target, is_full, .. }: Names<'_>,
) -> Result<Statements, Error> {
    let name = quoted(name);
    let [old, new] = [current, target].map(|one| attributes::read(transaction, schema, one));
    let (old, new) = (old?, new?);
    let alter = |what: String| format!("ALTER TABLE {} {what}", schema.table);
    let is_wanted = old.is_never_null
        || old.is_pending
        || [current, target].iter().any(|column| column.replaced_not_null());
    let (mut statements, mut fill) = (Vec::new(), None);
    if old.is_pending {
        let constraint = current.filled_constraint(schema);
        statements.push(alter(format!("DROP CONSTRAINT {constraint}")));
    }
    if old.is_never_null {
        statements.push(alter(format!("ALTER COLUMN {to} DROP NOT NULL")));
    }
    if is_wanted && is_full && !new.is_never_null {
        let constraint = target.filled_constraint(schema);
        statements.push(alter(format!(
            "ADD CONSTRAINT {constraint} CHECK ({name} IS NOT NULL) NOT VALID"
        )));
        fill = Some(Fill::new(schema, target, &name));
    }
    statements.extend(new.storage_statements(schema, &name, &old));
    statements.extend(old.grant_statements(schema, (to, &name)));
    let text = current.comment.as_deref();
    if target.is_own || target.comment.as_deref() != text {
        statements.push(target.set_comment(schema, (&name, text), is_wanted));
    }
    if current.is_own {
        // A rollback to rows without an old vector leaves NOT NULL to the next switch.
        statements.push(current.set_comment(schema, (to, None), is_wanted && !is_full));
        if current.name != current.collection {
            statements.extend(guard::create_triggers(schema, current, to));
        }
    }
    Ok(Statements { transaction: statements, fill, finally: Vec::new() })
}

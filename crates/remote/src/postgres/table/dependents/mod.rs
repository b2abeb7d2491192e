//! What depends on a column: views, functions, triggers, policies and more. PostgreSQL ties them to
//! the column itself, not to its name, so a switch makes them anew over the other column.

mod definitions;

use super::columns::Column;
use super::schema::TableSchema;
use crate::postgres::queries::Queries as _;
use definitions::Definition;
use postgres::{Error, Transaction};
use std::collections::BTreeMap;

/// An object that depends on a column, directly or through another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dependent {
    /// Its kind and name, for people.
    pub(super) what: String,
    /// The statement that takes the lock of a view and changes nothing: `LOCK TABLE` would lock what
    /// the view reads as well, with the privileges of its owner.
    pub(super) lock: Option<String>,
    pub(super) fate: Fate,
}

/// What a switch does with a dependent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is made anew over the new column, by statements before and after columns are renamed;
    /// the last ones need no lock that others wait for, and come after the switch.
    Follows { before: Vec<String>, after: Vec<String>, finally: Vec<String> },
    /// It stays with the old column; the reason, for people.
    Stays(String),
    /// The switch is refused while it exists. Statements that remove it, and create it again.
    Blocks { before: Vec<String>, after: Vec<String> },
}

/// The catalog that an object is in, and its id.
type Key = (String, u32);

/// An object of the graph of dependents.
#[derive(Debug)]
struct Node {
    what: String,
    definition: Definition,
    /// Whether it has to be dropped, and not only replaced.
    is_dropped: bool,
    /// What depends on it, if it is dropped.
    children: Vec<Key>,
}

/// Everything that depends on a column, in an order in which it can be created.
///
/// # Errors
///
/// If a statement fails.
pub(super) fn of(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<Vec<Dependent>, Error> {
    // Names outside of the search path are written with their schemas: so the statements mean the
    // same whoever runs them.
    let path: String = transaction.row("SELECT current_setting('search_path')", &[])?.get(0);
    let set = "SELECT set_config('search_path', $1, true)";
    transaction.change(set, &[&"pg_catalog"])?;
    let mut graph = Graph { transaction, nodes: BTreeMap::new() };
    let first = graph.children(("pg_class", schema.oid, i32::from(column.number)))?;
    for key in &first {
        graph.add(key, false)?;
    }
    let mut ordered = Vec::new();
    first.iter().for_each(|key| graph.order(key, &mut ordered));
    ordered.reverse();
    let mut nodes = graph.nodes;
    let found = ordered.iter().filter_map(|key| nodes.remove(key));
    let found = found.filter_map(|node| node.into_dependent(column)).collect();
    transaction.change(set, &[&path])?;
    Ok(found)
}

struct Graph<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    nodes: BTreeMap<Key, Node>,
}

impl Graph<'_, '_> {
    /// The objects that depend on one in `catalog`; on one of its columns unless `sub` is 0.
    fn children(&mut self, (catalog, id, sub): (&str, u32, i32)) -> Result<Vec<Key>, Error> {
        // A view is its rule: `_RETURN` depends on what the view reads. Whatever mentions the rows
        // of a view depends on its type.
        let sql = "SELECT DISTINCT CASE rulename WHEN '_RETURN' THEN 'pg_class' ELSE \
                   classid::regclass::text END, CASE rulename WHEN '_RETURN' THEN ev_class ELSE objid END \
                   FROM pg_depend LEFT JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND \
                   pg_rewrite.oid = objid WHERE deptype IN ('n', 'a') AND \
                   (refclassid = $1::text::regclass AND refobjid = $2 AND ($3 = 0 OR refobjsubid = $3) \
                   OR $3 = 0 AND $1 = 'pg_class' AND refclassid = 'pg_type'::regclass AND refobjid IN \
                   (SELECT t.oid FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem \
                   WHERE $2 IN (t.typrelid, e.typrelid))) ORDER BY 2";
        let rows = self.transaction.rows(sql, &[&catalog, &id, &sub])?;
        let keys = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, u32>(1)));
        Ok(keys.filter(|key| *key != (catalog.to_owned(), id)).collect())
    }

    /// Adds an object, whose parent is dropped or only replaced, and what depends on it.
    fn add(&mut self, key: &Key, parent_is_dropped: bool) -> Result<(), Error> {
        if let Some(node) = self.nodes.get(key)
            && (node.is_dropped || !parent_is_dropped)
        {
            return Ok(());
        }
        let (what, definition) = definitions::read(self.transaction, key)?;
        let is_dropped = definition.is_dropped(parent_is_dropped);
        let children = match is_dropped {
            true => self.children((&key.0, key.1, 0))?,
            false => Vec::new(),
        };
        let node = Node { what, definition, is_dropped, children: children.clone() };
        self.nodes.insert(key.clone(), node);
        children.iter().try_for_each(|child| self.add(child, true))
    }

    /// Appends what depends on an object, and then the object.
    fn order(&self, key: &Key, to: &mut Vec<Key>) {
        if to.contains(key) {
            return;
        }
        for child in self.nodes.get(key).into_iter().flat_map(|node| &node.children) {
            self.order(child, to);
        }
        to.push(key.clone());
    }
}

impl Node {
    fn into_dependent(self, column: &Column) -> Option<Dependent> {
        let lock = match &self.definition {
            Definition::View { rest, .. } => rest.first().cloned(),
            _ => None,
        };
        let fate = self.definition.into_fate(self.is_dropped, column)?;
        Some(Dependent { what: self.what, lock, fate })
    }
}

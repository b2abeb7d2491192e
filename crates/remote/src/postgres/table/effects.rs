//! What a switch does besides renaming columns, in words, and what can be checked of it.

use super::attributes;
use super::columns::Column;
use super::dependents::{self, Dependent, Fate};
use super::index;
use super::schema::TableSchema;
use kokeshi_store::{SwitchCheck, SwitchEffect};
use postgres::{Error, Transaction};

/// What depends on a column and what belongs to it, each with what a switch does with it.
pub(super) fn of(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<Vec<SwitchEffect>, Error> {
    let attributes = attributes::read(transaction, schema, column)?;
    let mut effects = Vec::new();
    let mut follows = |what: &str, effect: &str| {
        let (what, effect) = (what.to_owned(), effect.to_owned());
        effects.push(SwitchEffect { what, effect, is_refused: false, statements: Vec::new() });
    };
    if attributes.is_never_null || attributes.is_pending {
        follows("NOT NULL", "moves to the new column if every row has a new vector");
    }
    let grantees = attributes.grantees().join(", ");
    if !grantees.is_empty() {
        follows(&format!("grants to {grantees}"), "move to the new column");
    }
    if column.comment.is_some() {
        follows("comment", "moves to the new column");
    }
    effects.extend(dependents::of(transaction, schema, column)?.into_iter().map(effect));
    Ok(effects)
}

fn effect(dependent: Dependent) -> SwitchEffect {
    let Dependent { what, fate, .. } = dependent;
    let (effect, is_refused, statements) = match fate {
        Fate::Follows { .. } => ("is made anew over the new column".to_owned(), false, Vec::new()),
        Fate::Stays(reason) => (format!("stays with the old column; {reason}"), false, Vec::new()),
        Fate::Blocks { before, after } => {
            let effect = "cannot be made anew during a switch, which is refused while it exists";
            (effect.to_owned(), true, [before, after].concat())
        }
    };
    SwitchEffect { what, effect, is_refused, statements }
}

/// The checks of a switch from `old` to `new`.
pub(super) fn checks(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (old, new): &(Column, Column),
) -> Result<Vec<SwitchCheck>, Error> {
    let mut checks = vec![dependents_check(transaction, schema, (old, new))?];
    if index::is_too_wide(new.kind, new.provenance.dimensions) {
        return Ok(checks);
    }
    let served = index::served_operators(transaction, schema, (old, new))?;
    if !served.is_empty() {
        let list = |wanted: bool| {
            let those = served.iter().filter(|(_, is_served)| *is_served == wanted);
            those.map(|(operator, _)| format!("`{operator}`")).collect::<Vec<_>>().join(", ")
        };
        let missing = list(false);
        checks.push(SwitchCheck {
            name: "an index serves the operators of before",
            passed: missing.is_empty(),
            detail: match missing.is_empty() {
                true => format!("the planner uses one for {}", list(true)),
                false => format!("the planner uses none for {missing}: `run` creates it"),
            },
        });
    }
    Ok(checks)
}

/// The check that all readers use the same column: what depends on the old one can follow or, if
/// readers use the new one, has followed.
fn dependents_check(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (old, new): (&Column, &Column),
) -> Result<SwitchCheck, Error> {
    let is_switched = new.name != new.collection;
    let dependents = dependents::of(transaction, schema, old)?;
    let names = |is_it: fn(&Fate) -> bool| {
        let those = dependents.iter().filter(|dependent| is_it(&dependent.fate));
        those.map(|dependent| dependent.what.as_str()).collect::<Vec<_>>()
    };
    let readers = names(|fate| !matches!(fate, Fate::Stays(_)));
    let blocking = names(|fate| matches!(fate, Fate::Blocks { .. }));
    let (passed, detail) = match (is_switched, readers.is_empty(), blocking.is_empty()) {
        (_, true, _) => (true, "nothing else reads the old vectors".to_owned()),
        (true, false, _) => (false, format!("still on the old vectors: {}", readers.join(", "))),
        (false, _, true) => (true, format!("a switch makes anew: {}", readers.join(", "))),
        (false, _, false) => {
            (true, format!("a switch is refused until they are removed: {}", blocking.join(", ")))
        }
    };
    Ok(SwitchCheck { name: "views and functions show the vectors of readers", passed, detail })
}

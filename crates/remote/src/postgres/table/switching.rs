//! The steps of a switch: what happens before, in and after its transaction.

use super::Table;
use super::switch::{self, Names, Obstacle, Statements};
use super::{attributes, columns, connect, dependents, rows};
use crate::retry::CallError;
use ::postgres::Transaction;
use kokeshi_store::{Error, Result, Source as _};

impl Table {
    /// The statements that give a name to a column; none if it already has this name.
    pub(super) fn switch_statements(
        &self,
        transaction: &mut Transaction<'_>,
        names: Names<'_>,
    ) -> Result<Statements, CallError> {
        let all = self.columns(transaction)?;
        let statements = switch::statements(transaction, &self.schema, &all, names);
        statements
            .map_err(self.session.fail())?
            .map_err(|obstacle| self.obstacle(names.name, obstacle))
    }

    fn obstacle(&self, name: &str, obstacle: Obstacle) -> CallError {
        let (store, name) = (self.name(), name.to_owned());
        let error = match obstacle {
            Obstacle::Taken(name) => Error::NameTaken { name, kind: "column", store },
            Obstacle::Blocked { objects, statements } => {
                Error::CannotFollow { store, name, objects: objects.join(", "), statements }
            }
        };
        error.into()
    }

    /// Gives a name to a column, and returns what remains to be done after the transaction.
    pub(super) fn rename(
        &self,
        transaction: &mut Transaction<'_>,
        names: Names<'_>,
    ) -> Result<Statements, CallError> {
        let fail = self.session.fail();
        // Nothing may change between reading what depends on the column and changing it.
        let all = self.columns(transaction)?;
        if let Some(current) = all.iter().find(|column| column.name == names.name) {
            let dependents = dependents::of(transaction, &self.schema, current).map_err(fail)?;
            let locks = switch::locks(&self.schema, &dependents).join("; ");
            let locks = format!("{}; {locks}", columns::LOCK_TIMEOUT);
            transaction.batch_execute(&locks).map_err(fail)?;
        }
        let statements = self.switch_statements(transaction, names)?;
        let run = |statement: &String| transaction.batch_execute(statement);
        statements.transaction.iter().try_for_each(run).map_err(fail)?;
        Ok(statements)
    }

    /// Whether every row has a vector in the column with the [`Collection::id`] `id`, of which a
    /// switch makes no condition.
    pub(super) fn is_full(&self, id: &str) -> Result<bool> {
        self.session.read(|transaction| {
            let all = self.columns(transaction)?;
            let is_it = |column: &&columns::Column| column.as_collection(&self.schema).id == id;
            let Some(column) = all.iter().find(is_it) else { return Ok(false) };
            rows::is_full(transaction, &self.schema, column).map_err(self.session.fail())
        })
    }

    /// Runs what follows a switch, which reads all rows and blocks nobody for long.
    pub(super) fn settle(&self, statements: Statements) -> Result<()> {
        let run = |statements: &[String]| {
            self.session.write(|transaction| {
                let statements = statements.join("; ");
                let sql = format!("{}; {statements}", columns::LOCK_TIMEOUT);
                match transaction.batch_execute(&sql) {
                    Err(error) if connect::is_check_violation(&error) => Ok(false),
                    other => other.map(|()| true).map_err(self.session.fail()),
                }
            })
        };
        if let Some(fill) = statements.fill {
            // A row without a vector may have been added meanwhile.
            match run(&[fill.validate])? {
                true => run(&fill.set)?,
                false => run(&[fill.give_up])?,
            };
        }
        // A constraint holds for new rows even if an old one does not satisfy it.
        statements.finally.iter().try_for_each(|one| run(std::slice::from_ref(one)).map(drop))
    }

    /// What an interrupted switch has left to be done for the column with this name.
    pub(super) fn unsettled(&self, name: &str) -> Result<Statements> {
        self.session.read(|transaction| {
            let column = self.require(transaction, name)?;
            let attributes = attributes::read(transaction, &self.schema, &column);
            let is_pending = attributes.map_err(self.session.fail())?.is_pending;
            let fill = || switch::Fill::new(&self.schema, &column, &column.sql());
            Ok(Statements { fill: is_pending.then(fill), ..Statements::default() })
        })
    }
}

//! `kokeshi migrate switch`, `rollback` and `clean`.

use super::Migration;
use crate::args::{MigrateCleanArguments, MigrateSwitchArguments};
use crate::commands::confirm::confirm;
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_migrate::Removal;

pub(super) fn switch(arguments: &MigrateSwitchArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    if arguments.dry_run {
        let calls = match plan.switch == plan.to.collection {
            true => vec![format!("nothing: readers open `{}`", plan.switch)],
            false => migration.store.switch_calls(&plan.switch, &plan.to.collection, &plan.kept)?,
        };
        return printer.print(&lines(&calls));
    }
    let ledger = migration.open_ledger()?;
    let source = migration.source()?;
    kokeshi_migrate::switch(plan, &*source, &mut *migration.store, &ledger)?;
    let (switch, new) = (&plan.switch, &plan.to.collection);
    let what = match switch == new {
        true => format!("point readers to `{new}` now"),
        false => format!("`{switch}` is now `{new}`"),
    };
    let task = plan.to.query_task.as_deref().unwrap_or("none");
    printer.note(&format!("{what}; queries now need {}, task {task}", plan.to.model));
    let file = arguments.plan.plan.display();
    let end = format!("to finish: `kokeshi migrate clean {file}`");
    printer.note(&match plan.is_between_stores() {
        true => end,
        false => format!("to go back: `kokeshi migrate rollback {file}`; {end}"),
    });
    Ok(())
}

pub(super) fn rollback(
    arguments: &MigrateSwitchArguments,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    if arguments.dry_run {
        let old =
            if plan.switch == plan.from.collection { &plan.kept } else { &plan.from.collection };
        let calls = match plan.switch == plan.to.collection {
            true => vec![format!("nothing: readers open `{old}`")],
            false => migration.store.switch_calls(&plan.switch, old, &plan.kept)?,
        };
        return printer.print(&lines(&calls));
    }
    let ledger = migration.open_ledger()?;
    let old = kokeshi_migrate::rollback(plan, &mut *migration.store, &ledger)?;
    let (switch, model) = (&plan.switch, &plan.from.model);
    printer.note(&match *switch == plan.to.collection {
        true => format!("point readers to `{old}` again, with {model}"),
        false => format!("`{switch}` is `{old}` again, with {model}"),
    });
    Ok(())
}

pub(super) fn clean(arguments: &MigrateCleanArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    let ledger = migration.open_ledger()?;
    let store = migration.store.name();
    let found = kokeshi_migrate::removal(plan, &*migration.store, &ledger)?;
    if arguments.dry_run {
        return printer.print(&match found {
            Removal::Collection(old) => format!("drop collection `{old}` of {store}\n"),
            Removal::Gone => "nothing: the old collection no longer exists\n".to_owned(),
            Removal::Elsewhere => "nothing: the old vectors are elsewhere\n".to_owned(),
        });
    }
    if let Removal::Collection(old) = &found
        && !arguments.yes
    {
        confirm(&format!("Remove `{old}` of {store} permanently?"))?;
    }
    let model = &plan.from.model;
    printer.note(&match kokeshi_migrate::clean(plan, &mut *migration.store, &ledger)? {
        Removal::Collection(old) => {
            format!("removed `{old}`: the vectors of {model} no longer exist")
        }
        Removal::Gone => "done; the old collection no longer existed".to_owned(),
        Removal::Elsewhere => "done; the source of the old vectors was not changed".to_owned(),
    });
    Ok(())
}

/// One call per line.
fn lines(calls: &[String]) -> String {
    calls.iter().map(|call| format!("{}\n", visible(call))).collect()
}

//! `kokeshi migrate switch`, `rollback` and `clean`.

use super::Migration;
use crate::args::{MigrateCleanArguments, MigrateSwitchArguments};
use crate::commands::confirm::confirm;
use crate::printer::Printer;

pub(super) fn switch(arguments: &MigrateSwitchArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    if arguments.dry_run {
        let calls = match plan.switch == plan.to.collection {
            true => vec![format!("nothing: readers open `{}`", plan.switch)],
            false => migration.store.switch_calls(&plan.switch, &plan.to.collection, &plan.kept)?,
        };
        return printer.print(&(calls.join("\n") + "\n"));
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
        return printer.print(&(calls.join("\n") + "\n"));
    }
    let ledger = migration.open_ledger()?;
    kokeshi_migrate::rollback(plan, &mut *migration.store, &ledger)?;
    let (switch, old, model) = (&plan.switch, &plan.from.collection, &plan.from.model);
    printer.note(&match *switch == plan.to.collection {
        true => format!("point readers to `{old}` again, with {model}"),
        false => format!("`{switch}` is the old collection again, with {model}"),
    });
    Ok(())
}

pub(super) fn clean(arguments: &MigrateCleanArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut migration = Migration::open(&arguments.plan)?;
    let plan = &migration.plan;
    let old = match plan.switch == plan.from.collection {
        true => plan.kept.clone(),
        false => plan.from.collection.clone(),
    };
    if arguments.dry_run {
        return printer.print(&match plan.is_between_stores() {
            true => "nothing: the old vectors are elsewhere\n".to_owned(),
            false => format!("drop collection `{old}` of {}\n", migration.store.name()),
        });
    }
    if !arguments.yes && !plan.is_between_stores() {
        confirm(&format!("Remove `{old}` of {} permanently?", migration.store.name()))?;
    }
    let ledger = migration.open_ledger()?;
    match kokeshi_migrate::clean(plan, &mut *migration.store, &ledger)? {
        Some(removed) => printer.note(&format!(
            "removed `{removed}`: the vectors of {} no longer exist",
            plan.from.model
        )),
        None => printer.note("done; the source of the old vectors was not changed"),
    }
    Ok(())
}

//! `kokeshi migrate switch`, `rollback` and `clean`.

use super::Opened;
use crate::args::{MigrateCleanArguments, MigrateSwitchArguments};
use crate::failure::hinted;
use crate::printer::Printer;
use std::io::{BufRead, IsTerminal, Write};

pub(super) fn switch(arguments: &MigrateSwitchArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut opened = Opened::new(&arguments.plan)?;
    let plan = &opened.plan;
    if arguments.dry_run {
        let calls = match plan.switch == plan.to.collection {
            true => vec![format!("nothing: readers open `{}`", plan.switch)],
            false => opened.store.switch_calls(&plan.switch, &plan.to.collection, &plan.kept)?,
        };
        return printer.print(&(calls.join("\n") + "\n"));
    }
    let book = opened.book()?;
    let source = opened.source()?;
    kokeshi_migrate::switch(plan, &*source, &mut *opened.store, &book)?;
    let (switch, new) = (&plan.switch, &plan.to.collection);
    let what = match switch == new {
        true => format!("let readers open `{new}` now"),
        false => format!("`{switch}` is now `{new}`"),
    };
    let task = plan.to.query_task.as_deref().unwrap_or("none");
    printer.note(&format!("{what}; queries need {}, task {task}", plan.to.model));
    let file = arguments.plan.plan.display();
    let end = format!("to end it: `kokeshi migrate clean {file}`");
    printer.note(&match plan.is_apart() {
        true => end,
        false => format!("back: `kokeshi migrate rollback {file}`; {end}"),
    });
    Ok(())
}

pub(super) fn rollback(
    arguments: &MigrateSwitchArguments,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut opened = Opened::new(&arguments.plan)?;
    let plan = &opened.plan;
    if arguments.dry_run {
        let old =
            if plan.switch == plan.from.collection { &plan.kept } else { &plan.from.collection };
        let calls = match plan.switch == plan.to.collection {
            true => vec![format!("nothing: readers open `{old}`")],
            false => opened.store.switch_calls(&plan.switch, old, &plan.kept)?,
        };
        return printer.print(&(calls.join("\n") + "\n"));
    }
    let book = opened.book()?;
    kokeshi_migrate::rollback(plan, &mut *opened.store, &book)?;
    let (switch, old, model) = (&plan.switch, &plan.from.collection, &plan.from.model);
    printer.note(&match *switch == plan.to.collection {
        true => format!("let readers open `{old}` again, with {model}"),
        false => format!("`{switch}` is the old collection again, with {model}"),
    });
    Ok(())
}

pub(super) fn clean(arguments: &MigrateCleanArguments, printer: &Printer) -> anyhow::Result<()> {
    let mut opened = Opened::new(&arguments.plan)?;
    let plan = &opened.plan;
    let old = match plan.switch == plan.from.collection {
        true => plan.kept.clone(),
        false => plan.from.collection.clone(),
    };
    if arguments.dry_run {
        return printer.print(&match plan.is_apart() {
            true => "nothing: the old vectors lie elsewhere\n".to_owned(),
            false => format!("drop collection `{old}` of {}\n", opened.store.name()),
        });
    }
    if !arguments.yes && !plan.is_apart() {
        confirm(&format!("Remove `{old}` of {} for good?", opened.store.name()))?;
    }
    let book = opened.book()?;
    match kokeshi_migrate::clean(plan, &mut *opened.store, &book)? {
        Some(removed) => printer
            .note(&format!("removed `{removed}`: there is no way back to {}", plan.from.model)),
        None => printer.note("done; what the old vectors lie in stays as it is"),
    }
    Ok(())
}

/// # Errors
///
/// If the answer is not yes, or nobody can be asked.
fn confirm(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(hinted(
            "nobody can be asked here, and nothing was removed",
            "--yes removes it",
        ));
    }
    write!(std::io::stderr(), "{question} [yes/no] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("nothing was removed")),
    }
}

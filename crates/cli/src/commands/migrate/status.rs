//! `kokeshi migrate status`.

use super::{ledger_path, locations};
use crate::args::MigrateStatusArguments;
use crate::config;
use crate::layout::counted;
use crate::printer::Printer;
use crate::visible::visible;
use kokeshi_collections::StoreLocation;
use kokeshi_migrate::{Ledger, MigrationProgress, Plan};
use kokeshi_store::Address;
use serde_json::json;
use std::fmt::Write;

pub(super) fn run(arguments: &MigrateStatusArguments, printer: &Printer) -> anyhow::Result<()> {
    let all = match &arguments.plan {
        Some(path) => {
            let plan = Plan::read(path)?;
            let locations = locations(&plan, arguments.store.as_ref(), None)?;
            let file = ledger_path(&locations.store, path);
            let ledger = Ledger::read(&file)?;
            ledger
                .map(|ledger| ledger.find(&plan.name))
                .transpose()?
                .flatten()
                .into_iter()
                .collect()
        }
        None => of_store(arguments)?,
    };
    if arguments.json {
        let all: Vec<_> = all.iter().map(object).collect();
        return printer.print(&format!("{}\n", json!(all)));
    }
    if all.is_empty() {
        return printer.print("no migration has begun: `kokeshi migrate run PLAN` begins one\n");
    }
    let mut text = String::new();
    for one in &all {
        let pass = match (&one.after, one.passes) {
            (Some(after), _) => format!("a pass is under way, done up to {}", visible(after)),
            (None, 0) => "not run yet".to_owned(),
            (None, passes) => format!("{} done", counted(passes, "pass")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {}; {pass}; wrote {} with {}, {} tokens in {:.1} s",
            visible(&one.name),
            one.state,
            counted(one.documents, "document"),
            counted(one.chunks, "chunk"),
            one.tokens,
            one.seconds
        );
    }
    printer.print_lines(&text)
}

fn of_store(arguments: &MigrateStatusArguments) -> anyhow::Result<Vec<MigrationProgress>> {
    let configured = config::current().value(config::Key::Store).map(Address::from);
    let location =
        StoreLocation::to_search(arguments.store.as_ref().or(configured.as_ref()), None)?;
    match &location.store {
        Address::File(file) => {
            if !file.exists() {
                // Opening the store reports what is wrong with it.
                location.open()?;
            }
            let ledger = Ledger::read(file)?;
            Ok(ledger.map(|ledger| ledger.all()).transpose()?.unwrap_or_default())
        }
        Address::Server(_) => Err(crate::failure::hinted(
            "the migrations of a server are recorded next to their plans",
            "name a plan: `kokeshi migrate status PLAN`",
        )),
    }
}

fn object(one: &MigrationProgress) -> serde_json::Value {
    json!({
        "name": one.name,
        "state": one.state.name(),
        "after": one.after,
        "passes": one.passes,
        "documents": one.documents,
        "chunks": one.chunks,
        "tokens": one.tokens,
        "seconds": one.seconds,
    })
}
